//! Entries made beneath one directory. Nothing is ever followed: every directory on the way is opened without links, every
//! file is made anew, and symbolic links come last, when nothing is written any more.
#![allow(clippy::disallowed_methods)]

use std::fs::File;
use std::io::{Read, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fchmod, fstat, fstatat, futimens, mkdirat};
use nix::sys::time::{TimeSpec, TimeValLike as _};
use nix::unistd::{Gid, Uid, fchown, fchownat, linkat, symlinkat};

use super::limits::Budget;
use super::manifest::Manifest;
use super::{ArchiveError, DIRECTORY, Extraction, MARKER, Member, MemberKind};

/// Directories in each other: no source tree has so many, and each costs an open.
const DEEPEST: usize = 128;

const CHUNK: usize = 128 * 1024;

/// Seconds since 1970 that a file can be said to be of, 1901 to 2106: the times of an archive can be any number.
const EARLIEST: i64 = i32::MIN as i64;
const LATEST: i64 = u32::MAX as i64;

/// What is made of an archive.
pub(super) struct Tree<'a> {
    root: Rc<OwnedFd>,
    wanted: &'a Extraction,
    budget: Budget<'a>,
    manifest: Manifest,
    made: usize,
    links: Vec<Link>,
    /// The directory of the last entry: the next one is mostly in it too.
    near: Option<(Vec<String>, Rc<OwnedFd>)>,
    chunk: Vec<u8>,
}

/// A symbolic link that is still to be made.
struct Link {
    entry: String,
    path: Vec<String>,
    target: String,
}

/// The parts of a name, those that are left out already gone.
type Parts<'n> = Vec<&'n str>;

impl<'a> Tree<'a> {
    /// In this directory, which is empty.
    pub(super) fn new(directory: OwnedFd, wanted: &'a Extraction, budget: Budget<'a>) -> Self {
        let (root, manifest) = (Rc::new(directory), Manifest::new(&wanted.label));
        Self { root, wanted, budget, manifest, made: 0, links: Vec::new(), near: None, chunk: vec![0; CHUNK] }
    }

    /// Makes an entry, unless it is one of those that are left out.
    pub(super) fn take(&mut self, member: &Member, content: &mut dyn Read) -> Result<(), ArchiveError> {
        let path = self.path(&member.name, &member.name)?;
        self.budget.entry()?;
        let Some((name, parents)) = path.split_last() else { return self.leave_out(member, content) };
        self.made += 1;
        match &member.kind {
            MemberKind::Directory => self.directory_of(member, &path)?,
            MemberKind::File => self.file(member, parents, name, content)?,
            MemberKind::HardLink(target) => self.hard_link(member, parents, name, target)?,
            MemberKind::Symlink(target) => {
                if target.is_empty() || target.contains(char::is_control) {
                    return Err(ArchiveError::entry(&member.name, "is a link to nothing that could be a path"));
                }
                let path = path.iter().map(|part| (*part).to_owned()).collect();
                self.links.push(Link { entry: member.name.clone(), path, target: target.clone() });
            }
        }
        Ok(())
    }

    /// Makes what comes last: the symbolic links, and the marker.
    pub(super) fn finish(mut self) -> Result<Rc<OwnedFd>, ArchiveError> {
        if self.made == 0 {
            return Err(ArchiveError::archive("has nothing in it that `strip` leaves"));
        }
        for Link { entry, path, target } in std::mem::take(&mut self.links) {
            let Some((name, parents)) = path.split_last() else { continue };
            let parents: Parts<'_> = parents.iter().map(String::as_str).collect();
            let directory = self.directory(&entry, &parents)?;
            symlinkat(target.as_str(), &*directory, name.as_str()).map_err(|errno| refused(&entry, errno))?;
            let (uid, gid) = self.owner();
            fchownat(&*directory, name.as_str(), uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW)
                .map_err(|errno| refused(&entry, errno))?;
            self.manifest.symlink(&path.join("/"), &target);
        }
        let manifest = std::mem::replace(&mut self.manifest, Manifest::new("")).into_text();
        let mut marker = self.create(MARKER, &self.root, MARKER)?;
        marker.write_all(manifest.as_bytes()).map_err(|error| unwritten(MARKER, &error))?;
        fchmod(&marker, Mode::from_bits_truncate(0o644)).map_err(|errno| refused(MARKER, errno))?;
        Ok(self.root)
    }

    /// The parts of a path in the archive, or why it cannot be one.
    fn path<'n>(&self, entry: &str, path: &'n str) -> Result<Parts<'n>, ArchiveError> {
        let fail = |problem: &str| Err(ArchiveError::entry(entry, problem));
        if path.is_empty() {
            return fail("has no name, or is a link to none");
        }
        if path.contains(char::is_control) {
            return fail("has a control character in its name");
        }
        if path.starts_with('/') {
            return fail("has an absolute name: pack it by names relative to a directory");
        }
        let parts: Parts<'_> = path.split('/').filter(|part| !["", "."].contains(part)).collect();
        if parts.contains(&"..") {
            return fail("leads out of the archive by `..`");
        }
        if parts.len() > DEEPEST {
            return fail("is too many directories deep");
        }
        let left = parts.get(self.wanted.strip..).unwrap_or_default().to_vec();
        if left == [MARKER] {
            return fail("has the name of the mark that is made here");
        }
        Ok(left)
    }

    fn owner(&self) -> (Option<Uid>, Option<Gid>) {
        (Some(Uid::from_raw(self.wanted.uid)), Some(Gid::from_raw(self.wanted.gid)))
    }

    /// Opens a directory, and makes those on the way that are not there yet.
    fn directory(&mut self, entry: &str, path: &[&str]) -> Result<Rc<OwnedFd>, ArchiveError> {
        if let Some((near, directory)) = &self.near
            && near == path
        {
            return Ok(directory.clone());
        }
        let mut current = self.root.clone();
        for (index, part) in path.iter().enumerate() {
            let open = || openat(&*current, *part, DIRECTORY, Mode::empty());
            let opened = match open() {
                Err(Errno::ENOENT) => {
                    self.manifest.directory(&path[..=index].join("/"));
                    let (uid, gid) = self.owner();
                    mkdirat(&*current, *part, Mode::from_bits_truncate(0o755)).and_then(|()| open()).and_then(|made| {
                        fchown(&made, uid, gid)?;
                        Ok(made)
                    })
                }
                opened => opened,
            };
            current = Rc::new(opened.map_err(|errno| match errno {
                Errno::ENOTDIR | Errno::ELOOP => {
                    ArchiveError::entry(entry, format!("is below `{part}`, which is no directory in this archive"))
                }
                errno => refused(entry, errno),
            })?);
        }
        self.near = Some((path.iter().map(|part| (*part).to_owned()).collect(), current.clone()));
        Ok(current)
    }

    fn directory_of(&mut self, member: &Member, path: &[&str]) -> Result<(), ArchiveError> {
        let directory = self.directory(&member.name, path)?;
        let mode = Mode::from_bits_truncate(member.mode & 0o755 | 0o700);
        fchmod(&*directory, mode).map_err(|errno| refused(&member.name, errno))
    }

    fn file(
        &mut self,
        member: &Member,
        parents: &[&str],
        name: &str,
        content: &mut dyn Read,
    ) -> Result<(), ArchiveError> {
        let directory = self.directory(&member.name, parents)?;
        let mut file = self.create(&member.name, &directory, name)?;
        self.fill(&mut file, member, content)?;
        // Never setuid, and nobody but its owner may write: an archive does not decide that.
        let mode = Mode::from_bits_truncate(member.mode & 0o755 | 0o600);
        let time = TimeSpec::seconds(member.modified.clamp(EARLIEST, LATEST));
        let done = fchmod(&file, mode).and_then(|()| futimens(&file, &time, &time)).and_then(|()| fstat(&file));
        let kept = done.map_err(|errno| refused(&member.name, errno))?;
        // As the file system has it: not every one takes every time.
        self.manifest.file(&[parents, &[name]].concat().join("/"), member.size, kept.st_mtime);
        Ok(())
    }

    /// A file that was not there before.
    fn create(&self, entry: &str, directory: &OwnedFd, name: &str) -> Result<File, ArchiveError> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let made = openat(directory, name, flags, Mode::from_bits_truncate(0o600));
        let file = made.map_err(|errno| refused(entry, errno))?;
        let (uid, gid) = self.owner();
        fchown(file.as_fd(), uid, gid).map_err(|errno| refused(entry, errno))?;
        Ok(File::from(file))
    }

    fn fill(&mut self, file: &mut File, member: &Member, content: &mut dyn Read) -> Result<(), ArchiveError> {
        let mut written = 0;
        loop {
            let read = content.read(&mut self.chunk).map_err(|error| {
                ArchiveError::entry(&member.name, format!("cannot be read: {error}; is the archive cut off or broken?"))
            })?;
            if read == 0 {
                break;
            }
            written += read as u64;
            if written > member.size {
                return Err(ArchiveError::entry(
                    &member.name,
                    format!("is larger than the {} bytes it says", member.size),
                ));
            }
            self.budget.bytes(&member.name, read as u64)?;
            file.write_all(&self.chunk[..read]).map_err(|error| unwritten(&member.name, &error))?;
        }
        if written < member.size {
            let missing = member.size - written;
            return Err(ArchiveError::entry(&member.name, format!("is cut off: {missing} bytes of it are missing")));
        }
        Ok(())
    }

    /// Unpacks what is not kept: it counts, for a bomb costs time also where it leaves nothing.
    fn leave_out(&mut self, member: &Member, content: &mut dyn Read) -> Result<(), ArchiveError> {
        loop {
            match content.read(&mut self.chunk).map_err(|error| ArchiveError::unreadable(&error))? {
                0 => return Ok(()),
                read => self.budget.bytes(&member.name, read as u64)?,
            }
        }
    }

    fn hard_link(&mut self, member: &Member, parents: &[&str], name: &str, target: &str) -> Result<(), ArchiveError> {
        let path = self.path(&member.name, target)?;
        let absent = || {
            ArchiveError::entry(&member.name, format!("is a hard link to `{target}`, which is no file before it here"))
        };
        let (target_name, target_parents) = path.split_last().ok_or_else(absent)?;
        let from = self.directory(&member.name, target_parents)?;
        let stat = fstatat(&*from, *target_name, AtFlags::AT_SYMLINK_NOFOLLOW).map_err(|_| absent())?;
        if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
            return Err(absent());
        }
        let to = self.directory(&member.name, parents)?;
        linkat(&*from, *target_name, &*to, name, AtFlags::empty()).map_err(|errno| refused(&member.name, errno))?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        self.manifest.file(&[parents, &[name]].concat().join("/"), size, stat.st_mtime);
        Ok(())
    }
}

fn refused(entry: &str, errno: Errno) -> ArchiveError {
    let problem = match errno {
        Errno::EEXIST => "is there twice in this archive, or differs from another only in the case of its name".into(),
        Errno::ENAMETOOLONG => "has a name that is too long for a file".into(),
        Errno::ENOSPC => "does not fit on the disk (blocks: `df`, inodes: `df -i`)".into(),
        errno => format!("cannot be made: {}", errno.desc()),
    };
    ArchiveError::entry(entry, problem)
}

fn unwritten(entry: &str, error: &std::io::Error) -> ArchiveError {
    match error.raw_os_error() {
        Some(code) => refused(entry, Errno::from_raw(code)),
        None => ArchiveError::entry(entry, format!("cannot be written: {error}")),
    }
}
