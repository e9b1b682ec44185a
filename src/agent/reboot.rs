//! A reboot in the middle of a boot: counted, so that a profile that never gets done does not go on for ever.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use loitsut_profile::resource::Reboot;
use loitsut_profile::sha256::Sha256;
use serde::{Deserialize, Serialize};

use crate::host::Host;
use crate::host::file_error::FileError;
use crate::host::files::Attributes;
use crate::host::process::Program;
use crate::stop;

/// What is remembered over a reboot.
const RECORD: &str = "/var/lib/loitsut/reboots.json";

/// Another one for each boot of the kernel.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// How many one launch may have.
const MOST: u32 = 3;

/// From the order to our being asked to stop. Units that stop before us may take their 90 s.
const DEADLINE: Duration = Duration::from_secs(300);

/// The reboots of a launch.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Record {
    launch: String,
    count: u32,
    /// What the last one was for, as long as it is not known to have helped.
    pending: Option<Pending>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Pending {
    /// Digest of the `onlyif`.
    reason: Sha256,
    /// The boot that it was to end.
    boot: String,
}

/// Reboots the machine because a resource asks for it; returns once we are asked to stop.
///
/// # Errors
/// The last reboot did not help, there were too many, or systemd does not do it.
pub async fn reboot(host: &Host, resource: &Reboot, launch: &str) -> Result<()> {
    let record = next(read(host, launch)?, resource, &boot_id(host)?)?;
    host.write(Path::new(RECORD), &serde_json::to_vec_pretty(&record)?, Attributes::PUBLIC)?;
    tracing::warn!("rebooting ({} of at most {MOST}): `{}` asks for it", record.count, resource.onlyif.join(" "));
    host.run_checked(&Program::new(["systemctl", "reboot", "--no-block"])).await?;
    if tokio::time::timeout(DEADLINE, stop::requested()).await.is_err() {
        bail!(
            "systemd was told to reboot, and {} s later it has not: `systemctl list-jobs` tells why",
            DEADLINE.as_secs()
        );
    }
    Ok(())
}

/// Everything is applied: no reboot was in vain.
///
/// # Errors
/// That cannot be noted.
pub fn helped(host: &Host, launch: &str) -> Result<()> {
    let record = read(host, launch)?;
    if record.pending.is_some() {
        let record = Record { pending: None, ..record };
        host.write(Path::new(RECORD), &serde_json::to_vec_pretty(&record)?, Attributes::PUBLIC)?;
    }
    Ok(())
}

fn next(record: Record, resource: &Reboot, boot: &str) -> Result<Record> {
    let reason = Sha256::of(resource.onlyif.join("\0").as_bytes());
    let pending = Some(Pending { reason, boot: boot.to_owned() });
    if record.pending == pending {
        // An agent that was killed between its note and the reboot.
        return Ok(record);
    }
    let why = resource.onlyif.join(" ");
    if record.pending.is_some_and(|pending| pending.reason == reason) {
        bail!(
            "the machine was rebooted because of `{why}`, and it still asks for it\nhelp: `onlyif` must fail afterwards"
        );
    }
    if record.count >= MOST {
        bail!("`{why}` asks for a reboot, and this launch has had {MOST} already: no more are made");
    }
    Ok(Record { count: record.count + 1, pending, ..record })
}

/// The record of this launch; those of others do not count.
fn read(host: &Host, launch: &str) -> Result<Record, FileError> {
    let fresh = || Record { launch: launch.to_owned(), ..Record::default() };
    let Some(text) = host.read(Path::new(RECORD))? else { return Ok(fresh()) };
    match serde_json::from_slice::<Record>(&text) {
        Ok(record) if record.launch == launch => Ok(record),
        Ok(_) => Ok(fresh()),
        Err(error) => {
            tracing::warn!("{RECORD} is damaged, and taken for absent: {error}");
            Ok(fresh())
        }
    }
}

/// Which boot of the kernel this is.
///
/// # Errors
/// The kernel does not tell.
pub fn boot_id(host: &Host) -> Result<String, FileError> {
    Ok(host.read_text(Path::new(BOOT_ID))?.unwrap_or_default().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(word: &str) -> Reboot {
        Reboot { onlyif: vec![word.to_owned()] }
    }

    fn message(record: Record, word: &str, boot: &str) -> String {
        next(record, &resource(word), boot).unwrap_err().to_string()
    }

    #[test]
    fn a_reboot_that_did_not_help_is_not_made_again() {
        let once = next(Record::default(), &resource("a"), "boot-1").unwrap();
        assert_eq!(once.count, 1);
        assert!(message(once, "a", "boot-2").contains("`a`, and it still asks"));
    }

    #[test]
    fn an_agent_killed_before_the_reboot_makes_the_same_one() {
        let once = next(Record::default(), &resource("a"), "boot-1").unwrap();
        assert_eq!(next(once, &resource("a"), "boot-1").unwrap().count, 1);
    }

    #[test]
    fn a_launch_has_three_reboots_and_no_more() {
        let mut record = Record::default();
        for (word, boot) in [("a", "boot-1"), ("b", "boot-2"), ("c", "boot-3")] {
            record = next(record, &resource(word), boot).unwrap();
        }
        assert!(message(record, "d", "boot-4").contains("has had 3"));
    }

    #[test]
    fn another_launch_and_a_damaged_record_begin_anew() {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::at(folder.path());
        let write = |bytes: &[u8]| host.write(Path::new(RECORD), bytes, Attributes::PUBLIC).unwrap();
        let record = next(read(&host, "one").unwrap(), &resource("a"), "boot-1").unwrap();
        write(&serde_json::to_vec(&record).unwrap());
        assert_eq!(read(&host, "one").unwrap(), record);
        assert_eq!(read(&host, "two").unwrap().count, 0);
        helped(&host, "one").unwrap();
        assert_eq!(read(&host, "one").unwrap(), Record { pending: None, ..record });
        for torn in [&b""[..], b"{\"launch\": \"one\", \"co"] {
            write(torn);
            assert_eq!(read(&host, "one").unwrap().count, 0);
        }
    }
}
