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

use std::io::{Read, Seek};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{Gid, Uid, fchown, syncfs};

use super::file_error::FileError;
use beneath::Tree;
pub use error::ArchiveError;
pub(crate) use format::for_each_entry;
use limits::Budget;
pub(crate) use manifest::difference;

/// In an extracted directory: what it was extracted from, and what was in it.
pub(crate) const MARKER: &str = ".loitsut";

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

pub(crate) const DIRECTORY: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Extracts an archive into this directory, which is empty and nobody else's. What stands in it after an error is to be
/// removed.
///
/// # Errors
/// There is something in the archive that is refused, or the disk does not take it, or `stop` was set.
pub(crate) fn unpack(
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
