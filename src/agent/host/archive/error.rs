//! What is wrong with an archive.

use std::io;

use crate::host::file_error::FileError;
use crate::host::plain;
use crate::stop::Stopped;

/// Why an archive was not extracted.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// One entry is refused; reads "entry `NAME` PROBLEM".
    #[error("entry `{name}` {problem}")]
    Entry {
        /// Its name as it is written, without control characters.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The archive as a whole is refused; reads "the archive PROBLEM".
    #[error("the archive {0}")]
    Archive(String),
    /// The machine does not take it.
    #[error(transparent)]
    File(#[from] FileError),
    /// The agent was asked to stop.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl ArchiveError {
    /// About one entry. What libraries say of it may have its name in it, so that is made plain too.
    pub(crate) fn entry(name: &str, problem: impl Into<String>) -> Self {
        Self::Entry { name: plain(name), problem: plain(&problem.into()) }
    }

    /// About the whole.
    pub(crate) fn archive(problem: impl Into<String>) -> Self {
        Self::Archive(plain(&problem.into()))
    }

    /// About bytes that cannot be had from it.
    pub(super) fn unreadable(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::archive("is cut off: its end is missing"),
            _ => Self::archive(format!("is broken: {error}")),
        }
    }
}
