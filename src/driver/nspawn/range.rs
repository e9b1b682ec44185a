//! The addresses that instances get, and the names of the host's ends.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// What the host's ends are called, before the number. Interface names have 15 characters at most.
pub(crate) const PREFIX: &str = "loitsut-";

/// A /16 that instances take their addresses from.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Range(pub(super) Ipv4Addr);

impl Default for Range {
    fn default() -> Self {
        Self(Ipv4Addr::new(10, 83, 0, 0))
    }
}

impl TryFrom<String> for Range {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Self> {
        let address: Option<Ipv4Addr> = text.strip_suffix(".0.0/16").and_then(|a| format!("{a}.0.0").parse().ok());
        let address = address.with_context(|| format!("network range {text:?} is no /16, such as \"10.83.0.0/16\""))?;
        ensure!(address.is_private(), "network range {text:?} is not a private one");
        Ok(Self(address))
    }
}

impl From<Range> for String {
    fn from(range: Range) -> Self {
        range.to_string()
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/16", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_private_16_is_a_range() {
        let range = |text: &str| Range::try_from(text.to_owned());
        assert_eq!(range("172.20.0.0/16").unwrap().to_string(), "172.20.0.0/16");
        for bad in ["10.83.0.0/24", "8.8.0.0/16", "10.83.0.0", "10.83.1.0/16", ""] {
            assert!(range(bad).is_err(), "{bad}");
        }
    }
}
