//! `user`.

use serde::Deserialize;

use super::{Claim, Claims};
use crate::names::{AbsPath, UserName};

/// A user, with a group of its own name and a home directory.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Login name.
    pub name: UserName,
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
    pub(super) fn claims(&self) -> Vec<Claim> {
        Claims::about(format!("user {}", self.name))
            .want_if("uid", self.uid)
            .want_if("home", self.home.as_ref())
            .want_if("shell", self.shell.as_ref())
            .want_if("ssh_authorized_keys", self.ssh_authorized_keys.as_ref().map(|keys| keys.join("\n")))
            .done()
    }
}
