//! The answer: orders.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::duration::HumanDuration;

/// What a driver answers to a report. Keys that are not known are those of a later version, and ignored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// How many seconds ago the driver last heard of the owner of the request that this launch is for; absent or null
    /// if there is none, or it was never heard of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_seen: Option<u64>,
    /// Orders, by their names. Null is no order.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub orders: BTreeMap<String, Value>,
}

/// An order that is understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Another lease.
    Lease(LeaseOrder),
    /// The launch is to end.
    Stop(StopOrder),
    /// A failed boot is to be held longer.
    Hold(HoldOrder),
}

/// `lease`: what takes the place of `idle` and `life`, both counted from the receipt. What is absent or null holds no
/// longer; one of them must be there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseOrder {
    /// Told back when it is obeyed; one that comes again is not counted anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Without work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<HumanDuration>,
    /// In all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life: Option<HumanDuration>,
}

/// `stop`: the worker is stopped gracefully; an instance with a lease is powered off then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopOrder {
    /// Told back when it is obeyed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// For the journal.
    pub reason: String,
}

/// `hold`: how long from its receipt an instance stays whose boot has failed, or fails later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldOrder {
    /// Told back when it is obeyed; one that comes again is not counted anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// How long.
    #[serde(rename = "for")]
    pub duration: HumanDuration,
}

/// Why an order cannot be obeyed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

impl Order {
    /// Understands an order by its name.
    ///
    /// # Errors
    /// It is not known, or does not make sense.
    pub fn read(name: &str, value: &Value) -> Result<Self, Refusal> {
        match name {
            "lease" => {
                let order: LeaseOrder = typed(value)?;
                order.check()?;
                Ok(Self::Lease(order))
            }
            "stop" => Ok(Self::Stop(typed(value)?)),
            "hold" => Ok(Self::Hold(typed(value)?)),
            _ => Err(Refusal("this version of loitsut does not know it".into())),
        }
    }

    /// What it is told back by.
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Lease(order) => order.id.as_deref(),
            Self::Stop(order) => order.id.as_deref(),
            Self::Hold(order) => order.id.as_deref(),
        }
    }
}

impl LeaseOrder {
    /// An instance that no limit holds for any more would never end.
    fn check(&self) -> Result<(), Refusal> {
        if self.idle.is_none() && self.life.is_none() {
            return Err(Refusal("it has neither `idle` nor `life`".into()));
        }
        let spans = [("idle", self.idle), ("life", self.life)];
        match spans.iter().find(|(_, span)| span.is_some_and(|span| span.get().is_zero())) {
            Some((key, _)) => Err(Refusal(format!("`{key}` is zero; order `stop` to end the launch"))),
            None => Ok(()),
        }
    }
}

fn typed<T: DeserializeOwned>(value: &Value) -> Result<T, Refusal> {
    T::deserialize(value).map_err(|error| Refusal(error.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn orders_are_read_by_name_and_later_keys_pass() {
        let lease = Order::read("lease", &json!({ "id": "7", "idle": "30m", "life": null, "later": 1 })).unwrap();
        let idle = Some(HumanDuration::from_secs(1800));
        assert_eq!(lease, Order::Lease(LeaseOrder { id: Some("7".into()), idle, life: None }));
        let hold = Order::read("hold", &json!({ "for": "1h" })).unwrap();
        assert_eq!(hold, Order::Hold(HoldOrder { id: None, duration: HumanDuration::from_secs(3600) }));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_reason() {
        for (name, order, words) in [
            ("lease", json!({}), "neither"),
            ("lease", json!({ "idle": "0s" }), "`idle` is zero"),
            ("lease", json!({ "life": 8 }), "invalid type"),
            ("stop", json!({}), "`reason`"),
            ("hold", json!({ "for": "long" }), "not a duration"),
            ("publish", json!({}), "does not know"),
        ] {
            let refusal = Order::read(name, &order).unwrap_err().to_string();
            assert!(refusal.contains(words), "{name} {order}: {refusal}");
        }
    }

    #[test]
    fn an_answer_may_have_anything_more_in_it() {
        let answer: Answer = serde_json::from_str(r#"{"loitsut": 2, "later": [], "owner_seen": null}"#).unwrap();
        assert_eq!(answer, Answer::default());
    }
}
