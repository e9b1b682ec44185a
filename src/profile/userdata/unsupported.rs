//! Keys that are read and checked, but that no agent obeys yet. This file goes away with the last of them.

use super::Document;

/// The keys of a document that ask for what this agent cannot do yet; `boot` must refuse it then, since an instance
/// whose lease is ignored never ends.
pub fn unsupported(document: &Document) -> Vec<&'static str> {
    let asked = [("driver", document.driver.is_some()), ("lease", document.lease.is_some())];
    asked.into_iter().filter_map(|(key, asked)| asked.then_some(key)).collect()
}
