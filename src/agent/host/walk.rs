//! Directories opened step by step, so that nobody but root can lead a write astray by a symbolic link.
#![allow(clippy::disallowed_methods)]

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat, readlinkat};
use nix::sys::stat::{Mode, SFlag, fstat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::Host;
use super::file_error::FileError;

/// As many links as the kernel follows (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// A directory that is held open, and a name in it.
pub struct Entry {
    /// The directory.
    pub directory: OwnedFd,
    /// The name of the entry, which may or may not exist.
    pub name: OsString,
}

/// What to do about a directory that is not there.
#[derive(Clone, Copy, PartialEq)]
pub enum Missing {
    /// Make it: 0755, root's.
    Create,
    /// It is an error.
    Fail,
}

impl Host {
    /// Opens the directory that holds `path`, and gives the name in it.
    ///
    /// # Errors
    /// A part of the path is no directory, is a link that somebody else planted, or cannot be opened or made.
    pub fn entry(&self, path: &Path, missing: Missing) -> Result<Entry, FileError> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(FileError::new("open the directory of", path, "it names no file"));
        };
        Ok(Entry { directory: self.directory(parent, missing)?, name: name.to_owned() })
    }

    /// Opens a directory.
    ///
    /// # Errors
    /// As [`Host::entry`].
    pub fn directory(&self, path: &Path, missing: Missing) -> Result<OwnedFd, FileError> {
        let fail = |problem: String| FileError::new("open directory", path, problem);
        let root = || open(&self.root, directory_flags(), Mode::empty()).map_err(|errno| fail(errno.desc().into()));
        let mut current = root()?;
        let mut todo: VecDeque<OsString> = parts(path);
        let mut links = 0;
        while let Some(name) = todo.pop_front() {
            match openat(&current, name.as_os_str(), directory_flags(), Mode::empty()) {
                Ok(next) => current = next,
                Err(Errno::ENOENT) if missing == Missing::Create => current = make(&current, &name).map_err(&fail)?,
                Err(Errno::ELOOP | Errno::ENOTDIR) => {
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(fail("too many symbolic links".into()));
                    }
                    let target = trusted_link(&current, &name).map_err(&fail)?;
                    if Path::new(&target).is_absolute() {
                        current = root()?;
                    }
                    for part in parts(Path::new(&target)).into_iter().rev() {
                        todo.push_front(part);
                    }
                }
                Err(errno) => return Err(fail(format!("{}: {}", name.display(), errno.desc()))),
            }
        }
        Ok(current)
    }
}

fn directory_flags() -> OFlag {
    OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC
}

/// Removes what is in a directory under a name, with all below it; no link is followed, and /proc is not needed.
pub(super) fn remove_all(parent: &impl AsFd, name: &OsStr) -> nix::Result<()> {
    let not_a_directory = match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => return Ok(()),
        Err(errno) => errno,
    };
    let mut directory = match Dir::openat(parent, name, directory_flags(), Mode::empty()) {
        Err(Errno::ENOTDIR) => return Err(not_a_directory),
        opened => opened?,
    };
    let names = directory.iter().map(|entry| Ok(OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned()));
    let names: Vec<OsString> = names.collect::<nix::Result<_>>()?;
    names.iter().filter(|name| *name != "." && *name != "..").try_for_each(|name| remove_all(&directory, name))?;
    unlinkat(parent, name, UnlinkatFlags::RemoveDir)
}

fn parts(path: &Path) -> VecDeque<OsString> {
    let part = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    };
    path.components().filter_map(part).collect()
}

fn make(parent: &OwnedFd, name: &OsStr) -> Result<OwnedFd, String> {
    let made = mkdirat(parent, name, Mode::from_bits_truncate(0o755));
    let made = if made == Err(Errno::EEXIST) { Ok(()) } else { made };
    made.and_then(|()| openat(parent, name, directory_flags(), Mode::empty()))
        .map_err(|errno| format!("cannot make {}: {}", name.display(), errno.desc()))
}

/// The target of a link that root made and that nobody else can put in another's place: whoever can rename it could
/// make it point wherever it hurts.
fn trusted_link(parent: &OwnedFd, name: &OsStr) -> Result<OsString, String> {
    let words = |errno: Errno| errno.desc().to_owned();
    // Held, so that what is judged is what is read.
    let link =
        openat(parent, name, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty()).map_err(words)?;
    let (stat, holder) = (fstat(&link).map_err(words)?, fstat(parent).map_err(words)?);
    if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFLNK {
        return Err(format!("{} is not a directory", name.display()));
    }
    let (us, name) = (nix::unistd::geteuid().as_raw(), name.display());
    if stat.st_uid != 0 && stat.st_uid != us {
        return Err(format!(
            "{name} is a symbolic link that the user with id {} made; it is not followed: remove it",
            stat.st_uid
        ));
    }
    let others_write = holder.st_mode & 0o022 != 0 && holder.st_mode & 0o1000 == 0;
    if (holder.st_uid != 0 && holder.st_uid != us) || others_write {
        return Err(format!(
            "{name} is a symbolic link in a directory of others, who can move it; it is not followed: remove it"
        ));
    }
    readlinkat(&link, "").map_err(words)
}
