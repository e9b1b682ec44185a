//! `reboot`.

use serde::Deserialize;
use toml::Spanned;
use toml::de::DeTable;

use super::command::program;
use super::tree::{TableError, typed};

/// A reboot in the middle of a boot, which goes on after it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Reboot {
    /// Only if this program succeeds.
    pub onlyif: Vec<String>,
}

impl Reboot {
    pub(super) fn read(table: Spanned<DeTable<'_>>) -> Result<Self, TableError> {
        let table: Self = typed(table)?;
        Ok(Self { onlyif: program("onlyif", table.onlyif)? })
    }

    pub(super) fn title(&self) -> String {
        format!("onlyif {}", self.onlyif.join(" ")).chars().take(60).collect()
    }
}
