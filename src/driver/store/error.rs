//! What the store cannot do, and what to do about it.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// The store cannot do what it was asked; nothing of it was done.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be made or opened.
    #[error("{}: {source}", path.display())]
    Open {
        /// The database.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process has it.
    #[error("{}: it is in use by another process: stop the other driver, or close the program that looks into it", .0.display())]
    Locked(PathBuf),
    /// It is not what was written.
    #[error(
        "{}: it is damaged ({what}): restore it from a backup, or move it away, whereupon the driver begins without requests \
         and stops the instances that it made, five minutes after it has found them",
        path.display()
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// SQLite's words, or those of the row that cannot be read.
        what: String,
    },
    /// There is no room for it.
    #[error("{}: the disk is full: make room, and the driver goes on by itself", .0.display())]
    Full(PathBuf),
    /// It is of a later version of the driver.
    #[error(
        "{}: it has format {found}, this driver knows {known} at most: install the version that wrote it, or a later one",
        path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The latest that is known.
        known: i64,
    },
    /// It is a database of something else.
    #[error("{}: it is not a database of loitsut-driver: set `state_dir` to a directory of its own", .0.display())]
    Foreign(PathBuf),
    /// Anything else.
    #[error("{}: {source}", path.display())]
    Other {
        /// The database.
        path: PathBuf,
        /// SQLite's words.
        source: rusqlite::Error,
    },
}

impl StoreError {
    /// Whether the same may go well later without anybody touching the file.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Full(_) | Self::Locked(_) | Self::Other { .. })
    }

    pub(super) fn of(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked(path),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Damaged { path, what: source.to_string() }
            }
            Some(ErrorCode::DiskFull) => Self::Full(path),
            _ => Self::Other { path, source },
        }
    }
}
