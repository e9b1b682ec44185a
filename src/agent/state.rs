//! Whose the state of this machine is. An image may have been made of an instance with everything that it remembered:
//! which commands have run, what it skipped, how often it was rebooted.

use std::path::Path;

use anyhow::Result;

use crate::host::Host;
use crate::host::file_error::FileError;
use crate::host::files::{Attributes, Kind};

/// All that outlives a boot.
const STATE: &str = "/var/lib/loitsut";

/// The instance that it is of.
const OWNER: &str = "/var/lib/loitsut/instance";

/// Known of every machine, where the metadata service does not name the instance.
const MACHINE_ID: &str = "/etc/machine-id";

/// Forgets what another instance remembered. What `loitsut apply` noted before the first boot, while an image was made,
/// is nobody else's and stays.
///
/// # Errors
/// It cannot be read, removed or written.
pub fn adopt(host: &Host, instance: &str) -> Result<()> {
    let owner = Path::new(OWNER);
    let us = if instance.is_empty() {
        host.read_text(Path::new(MACHINE_ID))?.unwrap_or_default().trim().to_owned()
    } else {
        instance.to_owned()
    };
    let found = host.read_text(owner)?;
    match found.as_deref().map(str::trim_end) {
        Some(other) if !other.is_empty() && other != us => {
            tracing::warn!("this machine remembers what the instance {other} did, and is {us}: it starts afresh");
            forget(host)?;
        }
        Some("") => tracing::warn!("{OWNER} is empty, and taken for absent"),
        _ => {}
    }
    if found.as_deref() != Some(&format!("{us}\n")) {
        host.write(owner, format!("{us}\n").as_bytes(), Attributes::PUBLIC)?;
    }
    Ok(())
}

/// The name of the owner goes last: a machine that stops in between begins again.
fn forget(host: &Host) -> Result<(), FileError> {
    let state = Path::new(STATE);
    let owner = Path::new(OWNER);
    for name in host.list(state)? {
        let path = state.join(name);
        match host.stat(&path)?.map(|stat| stat.kind) {
            Some(Kind::Directory) => host.remove_tree(&path)?,
            _ if path != owner => host.remove(&path)?,
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> (tempfile::TempDir, Host) {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::at(folder.path());
        host.write(Path::new(MACHINE_ID), b"0123\n", Attributes::PUBLIC).unwrap();
        (folder, host)
    }

    fn remembers(host: &Host) -> bool {
        host.stat(Path::new("/var/lib/loitsut/commands/x")).unwrap().is_some()
    }

    fn remember(host: &Host) {
        host.write(Path::new("/var/lib/loitsut/commands/x"), b"done\n", Attributes::PUBLIC).unwrap();
        host.write(Path::new("/var/lib/loitsut/list.json"), b"[]", Attributes::PUBLIC).unwrap();
    }

    #[test]
    fn the_state_of_another_instance_is_forgotten() {
        let (_folder, host) = machine();
        adopt(&host, "i-1").unwrap();
        remember(&host);
        adopt(&host, "i-1").unwrap();
        assert!(remembers(&host));
        adopt(&host, "i-2").unwrap();
        assert_eq!(host.list(Path::new(STATE)).unwrap(), ["instance"]);
        remember(&host);
        adopt(&host, "i-2").unwrap();
        assert!(remembers(&host));
    }

    #[test]
    fn what_was_done_while_the_image_was_made_stays() {
        let (_folder, host) = machine();
        remember(&host);
        adopt(&host, "i-1").unwrap();
        assert!(remembers(&host));
    }

    #[test]
    fn where_nobody_names_the_instance_the_machine_id_does_and_a_torn_name_is_none() {
        let (_folder, host) = machine();
        adopt(&host, "").unwrap();
        remember(&host);
        host.write(Path::new(OWNER), b"", Attributes::PUBLIC).unwrap();
        adopt(&host, "").unwrap();
        assert!(remembers(&host));
        host.write(Path::new(MACHINE_ID), b"4567\n", Attributes::PUBLIC).unwrap();
        adopt(&host, "").unwrap();
        assert!(!remembers(&host));
    }
}
