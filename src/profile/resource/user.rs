//! `user`.

use serde::Deserialize;
use toml::Spanned;
use toml::de::DeTable;

use super::tree::{TableError, typed};
use super::{Claim, Claims};
use crate::names::{AbsPath, NewUserName, UserName};

/// A user, with a group of its own name and a home directory.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Login name.
    pub name: NewUserName,
    /// Numeric id; the system chooses one unless said.
    pub uid: Option<u32>,
    /// Supplementary groups that it has to be in; others are left alone.
    #[serde(default)]
    pub groups: Vec<UserName>,
    /// Home directory.
    pub home: Option<AbsPath>,
    /// Login shell.
    pub shell: Option<AbsPath>,
    /// An id of the system's range, for daemons.
    #[serde(default)]
    pub system: bool,
    /// The whole content of `~/.ssh/authorized_keys`, one key each.
    pub ssh_authorized_keys: Option<Vec<String>>,
}

impl User {
    pub(super) fn read(table: Spanned<DeTable<'_>>) -> Result<Self, TableError> {
        let user: Self = typed(table)?;
        let keys = user.ssh_authorized_keys.iter().flatten();
        if keys.into_iter().any(|key| key.trim_end().contains(['\n', '\r'])) {
            let problem = "a key has more than one line in it";
            return Err(TableError::value("ssh_authorized_keys", problem).help("give each key as an item of the list"));
        }
        Ok(user)
    }

    pub(super) fn claims(&self) -> Vec<Claim> {
        let own = Claims::about(format!("user {}", self.name))
            .want("system", self.system)
            .want_if("uid", self.uid)
            .want_if("home", self.home.as_ref())
            .want_if("shell", self.shell.as_ref())
            .want_if("ssh_authorized_keys", self.ssh_authorized_keys.as_ref().map(|keys| keys.join("\n")));
        // Two names for one id are one user, with the files of both.
        let id = self.uid.map(|uid| Claims::about(format!("uid {uid}")).want("name", &self.name).done());
        own.done().into_iter().chain(id.into_iter().flatten()).collect()
    }
}
