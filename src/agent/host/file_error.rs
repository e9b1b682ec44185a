//! What went wrong with a file, and what may be done about it.

use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

/// What went wrong with a file.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}: {problem}")]
pub struct FileError {
    action: &'static str,
    path: PathBuf,
    problem: String,
}

impl FileError {
    /// Completes "cannot `action` `path`: `problem`".
    pub fn new(action: &'static str, path: &Path, problem: impl Into<String>) -> Self {
        Self { action, path: path.to_owned(), problem: problem.into() }
    }

    /// A system call that failed.
    pub(super) fn errno(action: &'static str, path: &Path, errno: Errno) -> Self {
        let hint = match errno {
            Errno::EPERM => " (immutable? `lsattr` shows it, `chattr -i` ends it)",
            Errno::ENOSPC => " (blocks: `df`, inodes: `df -i`)",
            Errno::EROFS => " (`mount -o remount,rw` would change that)",
            _ => "",
        };
        Self::new(action, path, format!("{}{hint}", errno.desc()))
    }

    /// A call of the standard library that failed.
    pub(super) fn io(action: &'static str, path: &Path, error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(code) => Self::errno(action, path, Errno::from_raw(code)),
            None => Self::new(action, path, error.to_string()),
        }
    }
}
