//! Owner, group and permissions, wanted and found.

use anyhow::Result;
use loitsut_profile::names::{Mode, UserName};

use crate::host::Host;
use crate::host::accounts::AccountError;
use crate::host::files::{Attributes, Stat};

/// What a resource wants of a file's owner and permissions.
pub struct WantedAttributes<'a> {
    pub mode: Mode,
    pub owner: &'a UserName,
    pub group: &'a UserName,
}

impl WantedAttributes<'_> {
    /// As numbers.
    ///
    /// # Errors
    /// There is no such user or group.
    pub fn attributes(&self, host: &Host) -> Result<Attributes, AccountError> {
        let (uid, gid) = (host.uid(self.owner.as_str())?, host.gid(self.group.as_str())?);
        Ok(Attributes { mode: self.mode.0, uid, gid })
    }

    /// How what is there differs, in a few words each; users that do not exist yet differ from anybody.
    pub fn drift(&self, host: &Host, found: &Stat) -> Result<Vec<String>> {
        let mut drift = Vec::new();
        if found.mode != self.mode.0 {
            drift.push(format!("mode {:04o}, not {}", found.mode, self.mode));
        }
        match self.attributes(host) {
            Ok(wanted) if (wanted.uid, wanted.gid) == (found.uid, found.gid) => {}
            Ok(_) => drift.push(format!("owner {}:{}, not {}:{}", found.uid, found.gid, self.owner, self.group)),
            Err(AccountError::File(error)) => return Err(error.into()),
            Err(missing) => drift.push(missing.to_string()),
        }
        Ok(drift)
    }
}
