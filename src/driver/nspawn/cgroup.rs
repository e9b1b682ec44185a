//! A control group per instance.
//!
//! systemd-nspawn makes its groups `supervisor` and `payload` below its own; without a group per instance, two
//! instances on a host without systemd would share them, and each PID 1 would tidy up the other's services. It is also
//! what finds every process that a killed supervisor leaves behind.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// SIGKILL is obeyed at once, except by a process that waits for a disk.
const KILL_DEADLINE: Duration = Duration::from_secs(20);

/// The control group of one instance.
pub(crate) struct Cgroup(PathBuf);

impl Cgroup {
    /// The group with this name, at the top of the unified hierarchy: whoever looks for it later may be elsewhere.
    pub(crate) fn named(name: &str) -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").context("/proc/self/mounts")?;
        let top =
            unified(&mounts).context("no cgroup2 file system is mounted: `mount -t cgroup2 none /sys/fs/cgroup`")?;
        Ok(Self(Path::new(top).join(name)))
    }

    pub(crate) fn create(&self) -> Result<()> {
        fs::create_dir_all(&self.0).with_context(|| self.0.display().to_string())
    }

    /// The file a process writes `0` to in order to move itself here.
    pub(crate) fn entrance(&self) -> PathBuf {
        self.0.join("cgroup.procs")
    }

    /// Kills all that is in it, and removes it.
    pub(crate) async fn destroy(&self) -> Result<()> {
        match fs::write(self.0.join("cgroup.kill"), "1") {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            result => result.with_context(|| format!("{}: cannot kill what is in it", self.0.display()))?,
        }
        let begin = Instant::now();
        while let Err(error) = remove_groups(&self.0) {
            if begin.elapsed() > KILL_DEADLINE {
                bail!("{}: still busy after SIGKILL: {error}", self.0.display());
            }
            tokio::time::sleep(Duration::from_millis(20)).await; // a group has no event for "its last zombie is reaped"
        }
        Ok(())
    }
}

/// Where the unified hierarchy is mounted: /sys/fs/cgroup, or below it where version 1 is still about.
fn unified(mounts: &str) -> Option<&str> {
    mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .find(|f| f.get(2) == Some(&"cgroup2"))?
        .get(1)
        .copied()
}

/// Removes a group after those below it. Its files go with it.
fn remove_groups(path: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_groups(&entry.path())?;
        }
    }
    fs::remove_dir(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unified_hierarchy_is_found_in_both_layouts() {
        let hybrid = "cgroup /sys/fs/cgroup/pids cgroup rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(unified(hybrid), Some("/sys/fs/cgroup/unified"));
        assert_eq!(unified("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n"), Some("/sys/fs/cgroup"));
        assert_eq!(unified("cgroup /sys/fs/cgroup/pids cgroup rw 0 0\n"), None);
    }
}
