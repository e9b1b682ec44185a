//! `service`.

use serde::Deserialize;
use toml::Spanned;
use toml::de::DeTable;

use super::tree::{TableError, typed};
use super::{Claim, Claims};
use crate::names::{AbsPath, UnitName};

/// A systemd unit; what is not said is left as it is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Which.
    pub name: UnitName,
    /// Started at boot, or not.
    pub enabled: Option<bool>,
    /// Running now, or not.
    pub running: Option<bool>,
    /// Made impossible to start, or not.
    pub masked: Option<bool>,
    /// The text of the unit, written to /etc/systemd/system.
    pub unit: Option<String>,
    /// Restarted when one of these files has changed since it was last started.
    #[serde(default)]
    pub restart_on: Vec<AbsPath>,
}

impl Service {
    pub(super) fn read(table: Spanned<DeTable<'_>>) -> Result<Self, TableError> {
        let service: Self = typed(table)?;
        if service.masked == Some(true) && (service.running == Some(true) || service.enabled == Some(true)) {
            return Err(TableError::about("masked", "a masked service can be neither running nor enabled"));
        }
        if service.masked == Some(true) && service.unit.is_some() {
            return Err(TableError::about("masked", "a masked service has no unit of its own: leave out `unit`"));
        }
        Ok(service)
    }

    pub(super) fn claims(&self) -> Vec<Claim> {
        // What is masked can be neither.
        let masked = self.masked == Some(true);
        Claims::about(format!("service {}", self.name))
            .want_if("enabled", self.enabled.or(masked.then_some(false)))
            .want_if("running", self.running.or(masked.then_some(false)))
            .want_if("masked", self.masked)
            .want_if("unit", self.unit.as_ref())
            .done()
    }
}
