//! One agent at a time.
#![allow(clippy::disallowed_methods)]

use std::fs::File;
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};

use super::Host;
use super::files::{Attributes, FileError};

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
        if self.stat(path)?.is_none() {
            self.write(path, b"", Attributes::PRIVATE)?;
        }
        let file = File::open(self.rooted(path)).map_err(|error| FileError::new("open", path, error.to_string()))?;
        Ok(Flock::lock(file, FlockArg::LockExclusiveNonblock).ok().map(|file| Lock { _file: file }))
    }
}
