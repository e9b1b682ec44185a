//! Other package managers at work: waited for, with a deadline, by name.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep};

use crate::host::Host;
use crate::host::lock::Holder;
use crate::stop;

/// How long another one is waited for: an unattended upgrade of many packages takes minutes.
pub(super) const LONGEST: Duration = Duration::from_secs(600);

/// The kernel tells nobody that a lock is free who does not queue for it.
const PAUSE: Duration = Duration::from_millis(500);

/// A file by which a package manager keeps others out.
#[derive(Clone, Copy)]
pub(super) enum Lock {
    /// Locked as fcntl(2) does.
    Fcntl(&'static str),
    /// With the id of the process in it.
    Pid(&'static str),
}

/// Waits until nobody has any of these.
///
/// # Errors
/// Somebody still has one at the deadline.
pub(super) async fn wait_until_free(host: &Host, locks: &[Lock], whose: &str, until: Instant) -> Result<()> {
    let mut told = None;
    while let Some((file, holder)) = held(host, locks)? {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            bail!(
                "{holder} still holds {whose} lock ({file}), after {} s\nhelp: see what it does (`ps -ef`, `journalctl`); \
                 an early `service` resource with `running = false` keeps timers such as apt-daily.timer quiet",
                LONGEST.as_secs()
            );
        }
        if told.as_ref() != Some(&holder) {
            tracing::warn!("waiting for {holder}, which holds {whose} lock, at most {} s", left.as_secs());
            told = Some(holder);
        }
        stop::unless_requested(sleep(PAUSE)).await?;
    }
    Ok(())
}

fn held(host: &Host, locks: &[Lock]) -> Result<Option<(&'static str, Holder)>> {
    for lock in locks {
        let (file, holder) = match lock {
            Lock::Fcntl(file) => (file, host.lock_holder(Path::new(file))?),
            Lock::Pid(file) => (file, host.pid_file_holder(Path::new(file))?),
        };
        if let Some(holder) = holder {
            return Ok(Some((file, holder)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::{FcntlArg, fcntl};
    use nix::libc;

    #[tokio::test]
    async fn the_wait_ends_at_its_deadline_with_what_to_do() {
        let root = tempfile::tempdir().unwrap();
        let file = tempfile::Builder::new().prefix("lock").rand_bytes(0).tempfile_in(root.path()).unwrap();
        let wait =
            async || wait_until_free(&Host::at(root.path()), &[Lock::Fcntl("/lock")], "dpkg's", Instant::now()).await;
        assert!(wait().await.is_ok());
        let whole = libc::flock {
            l_type: libc::F_WRLCK as i16,
            l_whence: libc::SEEK_SET as i16,
            l_start: 0,
            l_len: 0,
            l_pid: 0,
        };
        // Of a description of ours, which counts as somebody else's.
        fcntl(file.as_file(), FcntlArg::F_OFD_SETLK(&whole)).unwrap();
        let error = wait().await.unwrap_err().to_string();
        assert!(error.contains("still holds dpkg's lock (/lock), after 600 s") && error.contains("help: "), "{error}");
    }
}
