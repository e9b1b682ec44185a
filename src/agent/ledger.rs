//! What is kept of a launch on disk, so that neither a crash of the agent nor a reboot gives it a longer life.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::host::Host;
use crate::host::clock;
use crate::host::files::Attributes;
use crate::lease::Standing;

const LEDGER: &str = "/var/lib/loitsut/launch.json";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

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
    /// Where the lease stands.
    pub standing: Standing,
}

impl Ledger {
    /// The ledger of this launch, with one more start of the agent in it. A launch that was never seen begins when
    /// this agent did, `began` since boot: the machine may have been up long before.
    ///
    /// # Errors
    /// The kernel does not tell its boot, or the file cannot be read.
    pub fn open(host: &Host, launch: &str, began: Duration) -> Result<Self> {
        let boot = host.read_text(Path::new(BOOT_ID))?.unwrap_or_default().trim().to_owned();
        let known = host.read(Path::new(LEDGER))?.and_then(|text| match serde_json::from_slice::<Self>(&text) {
            Ok(ledger) => Some(ledger),
            Err(error) => {
                tracing::warn!("{LEDGER} cannot be understood, so this launch begins anew: {error}");
                None
            }
        });
        Ok(match known.filter(|ledger| ledger.launch == launch) {
            Some(ledger) if ledger.boot == boot => Self { run: ledger.run + 1, ..ledger },
            Some(ledger) => {
                Self { boot, run: ledger.run + 1, at: began, standing: ledger.standing.rebooted(ledger.age), ..ledger }
            }
            None => Self {
                launch: launch.to_owned(),
                boot,
                run: 1,
                age: Duration::ZERO,
                at: began,
                standing: Standing::default(),
            },
        })
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
        host.write(Path::new(BOOT_ID), id.as_bytes(), Attributes::PUBLIC).unwrap();
    }

    fn ago(seconds: u64) -> Duration {
        clock::since_boot().saturating_sub(Duration::from_secs(seconds))
    }

    #[test]
    fn a_restart_of_the_agent_goes_on_and_a_reboot_adds_up() {
        let (_root, host) = host();
        let mut first = Ledger::open(&host, "l", ago(100)).unwrap();
        first.keep(&host, &Standing::default()).unwrap();
        let restarted = Ledger::open(&host, "l", ago(0)).unwrap();
        assert_eq!((restarted.run, restarted.age().as_secs()), (2, 100));
        boots(&host, "second");
        let rebooted = Ledger::open(&host, "l", ago(30)).unwrap();
        assert_eq!((rebooted.run, rebooted.age().as_secs()), (2, 130));
        assert_eq!(rebooted.standing, Standing::default().rebooted(first.age));
    }

    #[test]
    fn another_launch_and_a_torn_file_begin_anew() {
        let (_root, host) = host();
        Ledger::open(&host, "l", ago(100)).unwrap().keep(&host, &Standing::default()).unwrap();
        assert_eq!(Ledger::open(&host, "other", ago(5)).unwrap().age().as_secs(), 5);
        host.write(Path::new(LEDGER), b"{\"laun", Attributes::PRIVATE).unwrap();
        assert_eq!(Ledger::open(&host, "l", ago(5)).unwrap().run, 1);
    }
}
