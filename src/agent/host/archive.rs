//! Archives: read by libraries, but extracted by our own hand, beneath one directory that nobody else can enter, which
//! is put in place as a whole.
#![allow(clippy::disallowed_methods)]

mod beneath;
mod error;
mod format;
mod limits;
mod manifest;
mod tar;
mod zip;
mod zstd;

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fchmod, mkdirat};
use nix::unistd::{Gid, Uid, fchown, syncfs};

use super::Host;
use super::file_error::FileError;
use super::files::Kind;
use super::walk::{Entry, Missing};
use crate::stop::{self, Stopped};
use beneath::Tree;
pub use error::ArchiveError;
pub(crate) use format::for_each_entry;
use limits::Budget;

/// In an extracted directory: what it was extracted from, and what was in it.
const MARKER: &str = ".loitsut";

/// The bytes of an archive.
pub trait Packed: Read + Seek + Send {}

impl<T: Read + Seek + Send> Packed for T {}

/// One entry of an archive, as it is written there.
#[derive(Debug)]
pub(crate) struct Member {
    /// Its name, to be trusted in no way.
    pub(crate) name: String,
    /// What it is.
    pub(crate) kind: MemberKind,
    /// Permission bits.
    mode: u32,
    /// When it was last changed, in seconds since 1970.
    modified: i64,
    /// Bytes of content.
    pub(crate) size: u64,
}

/// What an entry is; what is none of these is refused by the readers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum MemberKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, with its target.
    Symlink(String),
    /// Another name of an earlier entry.
    HardLink(String),
}

/// What is called with each entry and its content.
pub(crate) type Visit<'v> = dyn FnMut(&Member, &mut dyn Read) -> Result<(), ArchiveError> + 'v;

/// How an archive is to be extracted.
#[derive(Clone, Debug)]
pub struct Extraction {
    /// The directory that it becomes.
    pub into: PathBuf,
    /// What tells it from every other extraction: a line.
    pub label: String,
    /// How many leading parts of each name are left out; entries that have no more are left out with them.
    pub strip: usize,
    /// Owner of everything.
    pub uid: u32,
    /// Group of everything.
    pub gid: u32,
    /// Whether it must outlive a power cut.
    pub durable: bool,
}

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
            Some(text) => match manifest::difference(&self.rooted(into), label, &text) {
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

const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

fn unpack(
    mut packed: Box<dyn Packed>,
    directory: OwnedFd,
    wanted: &Extraction,
    stop: &AtomicBool,
) -> Result<(), ArchiveError> {
    let fail = |errno| FileError::errno("finish", &wanted.into, errno);
    let budget = Budget::of(&mut packed, stop)?;
    let mut tree = Tree::new(directory, wanted, budget);
    for_each_entry(packed, &mut |member, content| tree.take(member, content))?;
    let directory = tree.finish()?;
    fchown(&directory, Some(Uid::from_raw(wanted.uid)), Some(Gid::from_raw(wanted.gid))).map_err(fail)?;
    fchmod(&directory, Mode::from_bits_truncate(0o755)).map_err(fail)?;
    if wanted.durable {
        // One wait for all files instead of one for each.
        syncfs(&directory).map_err(fail)?;
    }
    Ok(())
}
