//! Archives put in place as a whole, and what is there looked at again.
#![allow(clippy::disallowed_methods)]

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::openat;
use nix::sys::stat::{Mode, mkdirat};

use super::Host;
use super::archive::{ArchiveError, DIRECTORY, Extraction, MARKER, Packed, difference, unpack};
use super::file_error::FileError;
use super::files::Kind;
use super::walk::{Entry, Missing};
use crate::stop::{self, Stopped};

/// What is at the place of an extracted archive.
pub enum Extracted {
    /// Nothing, or an empty directory.
    Nothing,
    /// What was to be extracted, whole.
    Whole,
    /// An extraction that differs, in words.
    Differs(String),
    /// Something that was not extracted here.
    Foreign,
}

impl Host {
    /// Opens a file that is an archive.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open_archive(&self, path: &Path) -> Result<File, FileError> {
        File::open(self.rooted(path)).map_err(|error| FileError::io("read", path, &error))
    }

    /// What is at the place of an archive, by looking at every entry and at no content.
    ///
    /// # Errors
    /// It cannot be looked at.
    pub fn extracted(&self, into: &Path, label: &str) -> Result<Extracted, FileError> {
        match self.stat(into)?.map(|stat| stat.kind) {
            None => return Ok(Extracted::Nothing),
            Some(Kind::Directory) => {}
            Some(_) => return Ok(Extracted::Foreign),
        }
        Ok(match self.read_text(&into.join(MARKER))? {
            None if self.list(into)?.is_empty() => Extracted::Nothing,
            None => Extracted::Foreign,
            Some(text) => match difference(&self.rooted(into), label, &text) {
                Some(words) => Extracted::Differs(words),
                None => Extracted::Whole,
            },
        })
    }

    /// Whether an agent was killed while it extracted to this place.
    ///
    /// # Errors
    /// It cannot be asked.
    pub fn has_half_extracted(&self, into: &Path) -> Result<bool, FileError> {
        Ok(self.stat(&self.beside(into))?.is_some())
    }

    /// Removes what such an agent left.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove_half_extracted(&self, into: &Path) -> Result<(), FileError> {
        self.remove_tree(&self.beside(into))
    }

    /// Extracts an archive beside its place and then puts it there: whole, or not at all. What was extracted there
    /// before is removed first.
    ///
    /// # Errors
    /// There is something in the archive that is refused, or the disk does not take it; nothing has changed then.
    pub async fn extract(&self, packed: Box<dyn Packed>, wanted: &Extraction) -> Result<(), ArchiveError> {
        let entry = self.entry(&wanted.into, Missing::Create)?;
        self.remove_half_extracted(&wanted.into)?;
        let done = match self.unpack_beside(&entry, packed, wanted).await {
            Ok(()) => self.replace_tree(&wanted.into).map_err(ArchiveError::from),
            Err(error) => Err(error),
        };
        if done.is_err() {
            self.remove_half_extracted(&wanted.into)?;
        }
        done
    }

    fn replace_tree(&self, into: &Path) -> Result<(), FileError> {
        self.remove_tree(into)?;
        self.put_in_place(&self.beside(into), into)
    }

    async fn unpack_beside(
        &self,
        entry: &Entry,
        packed: Box<dyn Packed>,
        wanted: &Extraction,
    ) -> Result<(), ArchiveError> {
        let fail = |errno| FileError::errno("make a directory beside", &wanted.into, errno);
        let name = self.beside(&wanted.into);
        let name = name.file_name().unwrap_or(&entry.name);
        // Its owner's and readable by others only in the end: nobody can plant links in what is being written.
        mkdirat(&entry.directory, name, Mode::from_bits_truncate(0o700)).map_err(fail)?;
        let directory = openat(&entry.directory, name, DIRECTORY, Mode::empty()).map_err(fail)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (wanted, stopping) = (wanted.clone(), stop.clone());
        // On another thread: whoever wants to stop the agent, or to hear of it, must not wait for gigabytes.
        let mut unpacking = tokio::task::spawn_blocking(move || unpack(packed, directory, &wanted, &stopping));
        tokio::select! {
            done = &mut unpacking => done.map_err(|error| ArchiveError::archive(error.to_string()))?,
            () = stop::requested() => {
                stop.store(true, Ordering::Relaxed);
                // It looks at that after every chunk; what it has written is removed by the caller.
                let _ = unpacking.await;
                Err(Stopped.into())
            }
        }
    }
}
