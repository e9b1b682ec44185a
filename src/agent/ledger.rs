//! What is kept of a launch on disk, so that neither a crash of the agent nor a reboot gives it a longer life.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use loitsut_profile::sha256::Sha256;
use loitsut_profile::userdata::document::Lease;
use serde::{Deserialize, Serialize};

use crate::host::Host;
use crate::host::clock;
use crate::host::file_error::FileError;
use crate::host::files::Attributes;
use crate::lease::Standing;
use crate::reboot;

const LEDGER: &str = "/var/lib/loitsut/launch.json";

/// What tells a machine from a copy of its disk, as far as each is there: DMI's and Xen's id, and the one that image
/// builders are asked to remove.
const MACHINE: [&str; 3] = ["/sys/class/dmi/id/product_uuid", "/sys/hypervisor/uuid", "/etc/machine-id"];

/// The file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ledger {
    /// The launch.
    pub launch: String,
    /// The kernel's id of the boot.
    pub boot: String,
    /// How often the agent was started in this launch.
    pub run: u64,
    /// The age of the launch, at a time since this boot.
    age: Duration,
    at: Duration,
    /// The terms of its lease.
    pub terms: Option<Lease>,
    /// Where the lease stands.
    pub standing: Standing,
    /// Digest of what tells this machine from others.
    machine: Sha256,
}

impl Ledger {
    /// The ledger of this launch, with one more start of the agent in it. A launch that was never seen begins when
    /// this agent did, `began` since boot: the machine may have been up long before.
    ///
    /// # Errors
    /// The kernel does not tell its boot, or the file cannot be read.
    pub fn open(host: &Host, launch: &str, terms: Option<Lease>, began: Duration) -> Result<Self> {
        match read(host)?.filter(|ledger| ledger.launch == launch) {
            Some(ledger) => Self { terms, ..ledger }.again(host, began),
            None => Ok(Self {
                launch: launch.to_owned(),
                boot: reboot::boot_id(host)?,
                run: 1,
                age: Duration::ZERO,
                at: began,
                terms,
                standing: Standing::default(),
                machine: machine(host)?,
            }),
        }
    }

    /// The ledger of the last launch that this machine itself had, with one more start of the agent in it: what holds
    /// when nobody tells of a launch. What a copied disk has of another machine's is not it.
    ///
    /// # Errors
    /// As above.
    pub fn of_this_machine(host: &Host, began: Duration) -> Result<Option<Self>> {
        let machine = machine(host)?;
        read(host)?.filter(|ledger| ledger.machine == machine).map(|ledger| ledger.again(host, began)).transpose()
    }

    fn again(self, host: &Host, began: Duration) -> Result<Self> {
        let (boot, machine) = (reboot::boot_id(host)?, machine(host)?);
        let again = Self { run: self.run + 1, machine, ..self };
        if again.boot == boot {
            return Ok(again);
        }
        Ok(Self { boot, at: began, standing: again.standing.rebooted(again.age), ..again })
    }

    /// The age of the launch.
    pub fn age(&self) -> Duration {
        self.age + clock::since_boot().saturating_sub(self.at)
    }

    /// Keeps it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn keep(&mut self, host: &Host, standing: &Standing) -> Result<()> {
        let now = clock::since_boot();
        self.age += now.saturating_sub(self.at);
        self.at = now;
        self.standing = standing.clone();
        let text = serde_json::to_vec_pretty(self)?;
        Ok(host.write(Path::new(LEDGER), &text, Attributes::PRIVATE)?)
    }
}

/// The ledger that is on disk, whosever it is.
fn read(host: &Host) -> Result<Option<Ledger>> {
    Ok(host.read(Path::new(LEDGER))?.and_then(|text| match serde_json::from_slice(&text) {
        Ok(ledger) => Some(ledger),
        Err(error) => {
            tracing::warn!("{LEDGER} cannot be understood, so this launch begins anew: {error}");
            None
        }
    }))
}

fn machine(host: &Host) -> Result<Sha256, FileError> {
    let ids = MACHINE.into_iter().map(|path| Ok(host.read(Path::new(path))?.unwrap_or_default()));
    Ok(Sha256::of(&ids.collect::<Result<Vec<_>, FileError>>()?.join(&b'\n')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> (tempfile::TempDir, Host) {
        let root = tempfile::tempdir().unwrap();
        let host = Host::at(root.path());
        boots(&host, "first");
        (root, host)
    }

    fn boots(host: &Host, id: &str) {
        host.write(Path::new("/proc/sys/kernel/random/boot_id"), id.as_bytes(), Attributes::PUBLIC).unwrap();
    }

    fn ago(seconds: u64) -> Duration {
        clock::since_boot().saturating_sub(Duration::from_secs(seconds))
    }

    #[test]
    fn a_restart_of_the_agent_goes_on_and_a_reboot_adds_up() {
        let (_root, host) = host();
        let mut first = Ledger::open(&host, "l", None, ago(100)).unwrap();
        first.keep(&host, &Standing::default()).unwrap();
        let restarted = Ledger::open(&host, "l", None, ago(0)).unwrap();
        assert_eq!((restarted.run, restarted.age().as_secs()), (2, 100));
        boots(&host, "second");
        let rebooted = Ledger::open(&host, "l", None, ago(30)).unwrap();
        assert_eq!((rebooted.run, rebooted.age().as_secs()), (2, 130));
        assert_eq!(rebooted.standing, Standing::default().rebooted(first.age));
    }

    #[test]
    fn a_copied_disk_has_no_launch_of_its_own() {
        let (_root, host) = host();
        let is = |id: &str| host.write(Path::new(MACHINE[0]), id.as_bytes(), Attributes::PUBLIC).unwrap();
        is("ec2-one");
        assert!(Ledger::of_this_machine(&host, ago(0)).unwrap().is_none());
        Ledger::open(&host, "l", None, ago(100)).unwrap().keep(&host, &Standing::default()).unwrap();
        boots(&host, "second");
        let again = Ledger::of_this_machine(&host, ago(30)).unwrap().unwrap();
        assert_eq!((again.launch.as_str(), again.run, again.age().as_secs()), ("l", 2, 130));
        is("ec2-two");
        assert!(Ledger::of_this_machine(&host, ago(30)).unwrap().is_none());
    }

    #[test]
    fn another_launch_and_a_torn_file_begin_anew() {
        let (_root, host) = host();
        Ledger::open(&host, "l", None, ago(100)).unwrap().keep(&host, &Standing::default()).unwrap();
        assert_eq!(Ledger::open(&host, "other", None, ago(5)).unwrap().age().as_secs(), 5);
        host.write(Path::new(LEDGER), b"{\"laun", Attributes::PRIVATE).unwrap();
        assert_eq!(Ledger::open(&host, "l", None, ago(5)).unwrap().run, 1);
    }
}
