//! `group`.

use serde::Deserialize;

use super::{Claim, Claims};
use crate::names::NewUserName;

/// A group; who is in it is said by each `user`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Its name.
    pub name: NewUserName,
    /// Numeric id; the system chooses one unless said.
    pub gid: Option<u32>,
    /// An id of the system's range, for daemons.
    #[serde(default)]
    pub system: bool,
}

impl Group {
    pub(super) fn claims(&self) -> Vec<Claim> {
        let own = Claims::about(format!("group {}", self.name)).want("system", self.system).want_if("gid", self.gid);
        // Two names for one id are one group, of whichever name is found first.
        let id = self.gid.map(|gid| Claims::about(format!("gid {gid}")).want("name", &self.name).done());
        own.done().into_iter().chain(id.into_iter().flatten()).collect()
    }
}
