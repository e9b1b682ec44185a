//! One agent at a time.

use std::fs::File;
use std::path::Path;

use nix::fcntl::{Flock, FlockArg, OFlag, openat};
use nix::sys::stat::Mode;

use super::Host;
use super::file_error::FileError;
use super::walk::Missing;

/// Held by the agent that is at work.
const LOCK: &str = "/run/loitsut/lock";

/// Held until dropped, or until the process ends in whatever way.
#[derive(Debug)]
pub struct Lock {
    _file: Flock<File>,
}

impl Host {
    /// Takes the lock; `None` if another agent has it.
    ///
    /// # Errors
    /// The lock file cannot be made.
    pub fn lock(&self) -> Result<Option<Lock>, FileError> {
        let path = Path::new(LOCK);
        let entry = self.entry(path, Missing::Create)?;
        // Never replaced: two agents must mean the same file.
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(&entry.directory, entry.name.as_os_str(), flags, Mode::from_bits_truncate(0o600))
            .map_err(|errno| FileError::new("open", path, errno.desc()))?;
        Ok(Flock::lock(File::from(file), FlockArg::LockExclusiveNonblock).ok().map(|file| Lock { _file: file }))
    }
}
