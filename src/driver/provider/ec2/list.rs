//! What there is: DescribeInstances, and what its states and reasons mean to the fleet.

use tracing::warn;

use super::answers::{Item, Reservations};
use super::api::{Api, Query};
use super::buckets::Kind;
use super::error::CallError;
use super::tags;
use crate::model::{Instance, InstanceState, LaunchId, Price};

/// As many as EC2 tells at once.
const PAGE: &str = "1000";

/// A token that leads nowhere must not be followed for ever: this is a million instances.
const PAGES: usize = 1000;

/// Everything of a driver; of one launch only, where that is given.
pub(super) async fn describe(api: &Api, driver: &str, launch: Option<&LaunchId>) -> Result<Vec<Item>, CallError> {
    let mut found = Vec::new();
    let mut token = None;
    for _ in 0..PAGES {
        let mut query = Query::new("DescribeInstances").with("MaxResults", PAGE).with_filter(
            1,
            &format!("tag:{}", tags::DRIVER),
            driver,
        );
        if let Some(launch) = launch {
            query = query.with_filter(2, &format!("tag:{}", tags::LAUNCH), launch.as_str());
        }
        if let Some(token) = token {
            query = query.with("NextToken", token);
        }
        let answer: Reservations = api.ask(&query.counted_as(Kind::Look)).await?;
        found.extend(answer.reservation_set.items.into_iter().flat_map(|it| it.instances_set.items));
        token = answer.next_token.filter(|token| !token.is_empty());
        if token.is_none() {
            break;
        }
    }
    Ok(found)
}

/// The launch that an instance bears.
pub(super) fn launch_of(item: &Item) -> Option<LaunchId> {
    let launch = LaunchId::try_from(item.tag(tags::LAUNCH).unwrap_or_default().to_owned()).ok();
    if launch.is_none() {
        warn!("instance {} bears the driver's tag and no launch: it is left alone", item.instance_id);
    }
    launch
}

/// As the fleet sees it. `public`: its public address is the one to reach it by.
pub(super) fn instance(item: Item, launch: LaunchId, region: &str, public: bool) -> Instance {
    let price = match item.instance_lifecycle.as_deref() {
        Some("spot") => Price::Spot,
        _ => Price::OnDemand,
    };
    Instance {
        launch,
        state: state(&item.instance_state.name),
        reason: reason(&item),
        pool: item.tag(tags::POOL).map(str::to_owned),
        address: if public { item.ip_address.or(item.private_ip_address) } else { item.private_ip_address },
        id: item.instance_id,
        kind: item.instance_type,
        image: item.image_id,
        region: Some(region.to_owned()),
        zone: item.placement.availability_zone,
        price: Some(price),
    }
}

fn state(name: &str) -> InstanceState {
    match name {
        "pending" => InstanceState::Pending,
        "shutting-down" | "stopping" => InstanceState::Stopping,
        "stopped" => InstanceState::Stopped,
        "terminated" => InstanceState::Ended,
        // What is not known takes a place, and is ended like all others.
        _ => InstanceState::Running,
    }
}

/// Why it ends or has ended; AWS's code and words, and before them what they mean.
fn reason(item: &Item) -> Option<String> {
    let transition = item.reason.as_deref().unwrap_or_default();
    let (code, words) = match &item.state_reason {
        Some(reason) if !reason.code.is_empty() => (reason.code.as_str(), reason.message.as_str()),
        _ if transition.is_empty() => return None,
        _ => ("", transition),
    };
    let meaning = match code {
        // EC2 says so of each that begins.
        "pending" => return None,
        "Server.SpotInstanceTermination" | "Server.SpotInstanceShutdown" => "spot interruption",
        "Client.InstanceInitiatedShutdown" => "powered off",
        "Client.UserInitiatedShutdown" => "terminated by a call",
        "Server.InsufficientInstanceCapacity" => "no capacity after all",
        "" => return Some(words.to_owned()),
        _ => return Some(format!("{code}: {words}")),
    };
    // `Client.X: words` is what the message usually is, code included.
    let words = words.strip_prefix(code).unwrap_or(words).trim_start_matches([':', ' ']);
    Some(format!("{meaning} ({code}: {words})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(inner: &str) -> Item {
        let text = format!(
            "<item><instanceId>i-1</instanceId>{inner}<tagSet><item><key>loitsut:launch</key><value>l-1</value></item></tagSet></item>"
        );
        quick_xml::de::from_str(&text).unwrap()
    }

    fn told(item: Item) -> Instance {
        let launch = launch_of(&item).unwrap();
        instance(item, launch, "eu-north-1", false)
    }

    #[test]
    fn a_spot_interruption_is_told_from_a_power_off() {
        let ended = |code: &str, words: &str| {
            let text = format!(
                "<instanceState><code>48</code><name>terminated</name></instanceState><future>1</future><reason>Server.x</reason><stateReason><code>{code}</code><message>{code}: {words}</message></stateReason>"
            );
            told(item(&text))
        };
        let spot = ended("Server.SpotInstanceTermination", "Spot instance termination");
        assert_eq!(spot.state, InstanceState::Ended);
        let words = "spot interruption (Server.SpotInstanceTermination: Spot instance termination)";
        assert_eq!(spot.reason.as_deref(), Some(words));
        let own = ended("Client.InstanceInitiatedShutdown", "Instance initiated shutdown");
        assert!(own.reason.unwrap().starts_with("powered off ("));
    }

    #[test]
    fn empty_reasons_are_none() {
        let item = item("<instanceState><name>running</name></instanceState><reason/>");
        let instance = told(item);
        assert_eq!((instance.state, instance.reason), (InstanceState::Running, None));
    }
}
