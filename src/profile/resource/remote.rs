//! What is downloaded: an address, and what must be found there.

use serde::Deserialize;

use crate::sha256::Sha256;
use crate::userdata::field::HttpUrl;

/// A file somewhere else.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Remote {
    /// http or https.
    pub url: HttpUrl,
    /// What the file must be.
    pub sha256: Sha256,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL may hold a secret.
        write!(f, "a download ({})", self.sha256)
    }
}
