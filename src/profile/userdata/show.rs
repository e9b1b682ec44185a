//! A document as it may be shown.

use std::fmt;

use serde_json::{Value, json};

use super::document::Params;
use super::{Document, bundle::Bundle};
use crate::secret::MASK;

impl Document {
    /// The document as plain JSON. Secrets, queries of URLs and the values of all `params` (of which some may be secret)
    /// are masked, unless `reveal`.
    pub fn to_masked_json(&self, reveal: bool) -> Value {
        let mut shown = json!(self);
        if reveal {
            self.put_secrets_back(&mut shown);
        } else {
            mask_params(&mut shown);
        }
        shown
    }

    /// What `Serialize` masks.
    fn put_secrets_back(&self, shown: &mut Value) {
        if let Some(worker) = &self.worker {
            shown["worker"]["password"] = json!(worker.password.reveal());
        }
        if let Some(driver) = &self.driver {
            shown["driver"]["token"] = json!(driver.token.reveal());
            shown["driver"]["url"] = json!(driver.url.reveal().as_str());
        }
        if let Some(Bundle::Url { url, .. }) = &self.bundle {
            shown["bundle"]["url"] = json!(url.reveal().as_str());
        }
        for (arch, url) in self.agent.iter().flat_map(|agent| &agent.url) {
            shown["agent"]["url"][arch.as_str()] = json!(url.reveal().as_str());
        }
    }
}

fn mask_params(shown: &mut Value) {
    let params = shown.get_mut("params").and_then(Value::as_object_mut);
    for value in params.into_iter().flat_map(|params| params.values_mut()) {
        *value = json!(MASK);
    }
}

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.keys().map(|name| (name, MASK))).finish()
    }
}
