//! `mount`.

use serde::Deserialize;

use super::{Claim, Claims};
use crate::names::AbsPath;
use crate::text::{Invalid, checked_text};

/// A disk at its place in the tree, now and after every boot.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// The block device, best by a name that stays: `/dev/disk/by-id/…`.
    pub device: AbsPath,
    /// What is on it; made if the disk is blank, and only then.
    pub filesystem: Filesystem,
    /// Where it is mounted.
    pub path: AbsPath,
    /// As mount(8) takes them: `noatime`.
    #[serde(default)]
    pub options: Vec<MountOption>,
}

checked_text!(
    /// A file system that `mkfs.NAME` makes: `ext4`, `xfs`.
    Filesystem,
    |text| {
        if !text.is_empty() && text.len() <= 16 && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()) {
            return Ok(text.to_owned());
        }
        Err(Invalid::new(text, "is not a file system").advise("write `ext4` or `xfs`, for example"))
    }
);

checked_text!(
    /// One option of a mount.
    MountOption,
    |text| {
        if !text.is_empty() && !text.starts_with('-') && !text.contains(|c: char| c.is_control() || " ,\"\\%".contains(c)) {
            return Ok(text.to_owned());
        }
        Err(Invalid::new(text, "is not a mount option").advise("give each option as an item of the list"))
    }
);

impl Mount {
    pub(super) fn claims(&self) -> Vec<Claim> {
        let options: Vec<&str> = self.options.iter().map(MountOption::as_str).collect();
        let place = Claims::about(format!("mount {}", self.path))
            .want("device", &self.device)
            .want("filesystem", &self.filesystem)
            .want("options", options.join(","));
        let disk = Claims::about(format!("disk {}", self.device)).want("mounted at", &self.path);
        place.done().into_iter().chain(disk.done()).collect()
    }
}
