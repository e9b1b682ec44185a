//! Files read, looked at and written. Absent is not failed; what is written is whole or not there at all.
#![allow(clippy::disallowed_methods)]

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use loitsut_profile::sha256::Sha256;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{Mode, fchmod, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, fsync, symlinkat, syncfs, unlinkat};
use sha2::Digest as _;

use super::Host;
use super::file_error::FileError;
use super::walk::{self, Entry, Missing};

/// What kind of thing a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, whether what it points at exists or not.
    Symlink,
    /// A fifo, socket or device, in words.
    Other(&'static str),
}

/// What is at a path; links are not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Which kind of thing.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Size in bytes.
    pub size: u64,
}

/// Permissions and owner of something that is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl Attributes {
    /// Root's own, for nobody else to read.
    pub const PRIVATE: Self = Self { mode: 0o600, uid: 0, gid: 0 };
    /// Root's own, for everybody to read.
    pub const PUBLIC: Self = Self { mode: 0o644, uid: 0, gid: 0 };
}

/// The largest file that is read whole.
pub const LARGEST: u64 = 256 * 1024 * 1024;

impl Host {
    /// The content of a file, links followed; `None` where there is none.
    ///
    /// # Errors
    /// It is there and cannot be read, or is larger than [`LARGEST`].
    pub fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, FileError> {
        match self.open_regular(path).and_then(|file| whole(file, LARGEST)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(FileError::io("read", path, &error)),
        }
    }

    /// At most `limit` bytes of a file that somebody named on the command line; it may be a pipe, and is waited for.
    ///
    /// # Errors
    /// It is not there, cannot be read, or has more.
    pub fn read_named(&self, path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
        let read = File::open(self.rooted(path)).and_then(|file| whole(file, limit));
        read.map_err(|error| FileError::io("read", path, &error))
    }

    /// Opens a file whose end is near: a fifo could keep us waiting for ever, and any user can make one.
    fn open_regular(&self, path: &Path) -> io::Result<File> {
        let open = File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(self.rooted(path));
        let file = open?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        Ok(file)
    }

    /// The content of a text file; bytes that are not UTF-8 are replaced. `None` where there is none.
    ///
    /// # Errors
    /// As [`Host::read`].
    pub fn read_text(&self, path: &Path) -> Result<Option<String>, FileError> {
        Ok(self.read(path)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// What is at a path, links not followed; `None` if nothing.
    ///
    /// # Errors
    /// It cannot be asked.
    pub fn stat(&self, path: &Path) -> Result<Option<Stat>, FileError> {
        self.found(path, std::fs::symlink_metadata(self.rooted(path)))
    }

    /// What is at the end of a path, links followed; `None` if nothing.
    ///
    /// # Errors
    /// It cannot be asked.
    pub fn stat_through(&self, path: &Path) -> Result<Option<Stat>, FileError> {
        self.found(path, std::fs::metadata(self.rooted(path)))
    }

    fn found(&self, path: &Path, result: io::Result<std::fs::Metadata>) -> Result<Option<Stat>, FileError> {
        match result {
            Ok(metadata) => Ok(Some(stat_of(&metadata))),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(FileError::io("look at", path, &error)),
        }
    }

    /// When a file was last changed, in seconds since 1970 and nanoseconds; `None` where there is none.
    ///
    /// # Errors
    /// It cannot be asked.
    pub fn modified(&self, path: &Path) -> Result<Option<(i64, i64)>, FileError> {
        match std::fs::metadata(self.rooted(path)) {
            Ok(metadata) => Ok(Some((metadata.mtime(), metadata.mtime_nsec()))),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(FileError::io("look at", path, &error)),
        }
    }

    /// What a symbolic link says; `None` where there is nothing, or no link.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn link_target(&self, path: &Path) -> Result<Option<PathBuf>, FileError> {
        match std::fs::read_link(self.rooted(path)) {
            Ok(target) => Ok(Some(target)),
            Err(error) if is_absent(&error) || error.kind() == io::ErrorKind::InvalidInput => Ok(None),
            Err(error) => Err(FileError::io("read link", path, &error)),
        }
    }

    /// The names in a directory, sorted; none if it is not there.
    ///
    /// # Errors
    /// It is there and cannot be listed.
    pub fn list(&self, path: &Path) -> Result<Vec<String>, FileError> {
        let fail = |error: &io::Error| FileError::io("list", path, error);
        let entries = match std::fs::read_dir(self.rooted(path)) {
            Ok(entries) => entries,
            Err(error) if is_absent(&error) => return Ok(Vec::new()),
            Err(error) => return Err(fail(&error)),
        };
        let name = |entry: io::Result<std::fs::DirEntry>| entry.map(|e| e.file_name().to_string_lossy().into_owned());
        let mut names = entries.map(name).collect::<Result<Vec<_>, _>>().map_err(|error| fail(&error))?;
        names.sort();
        Ok(names)
    }

    /// The digest of a file of any size; `None` where there is none.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn digest(&self, path: &Path) -> Result<Option<Sha256>, FileError> {
        let mut hasher = sha2::Sha256::new();
        let mut digest = || -> io::Result<()> {
            let mut file = self.open_regular(path)?;
            let mut chunk = vec![0; 64 * 1024];
            loop {
                match file.read(&mut chunk)? {
                    0 => return Ok(()),
                    read => hasher.update(&chunk[..read]),
                }
            }
        };
        match digest() {
            Ok(()) => Ok(Some(Sha256::from(<[u8; 32]>::from(hasher.finalize())))),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(FileError::io("read", path, &error)),
        }
    }

    /// Puts a file in place, whole or not at all: written beside, synced, renamed, the directory synced. Missing parent
    /// directories are made. What was there is replaced, unless it is a directory.
    ///
    /// # Errors
    /// Any of these steps fails; then nothing has changed.
    pub fn write(&self, path: &Path, mut content: &[u8], attributes: Attributes) -> Result<(), FileError> {
        self.write_from(path, &mut content, attributes)
    }

    /// As [`Host::write`], with the content of another file.
    ///
    /// # Errors
    /// As [`Host::write`], or the other file cannot be read.
    pub fn copy(&self, from: &Path, path: &Path, attributes: Attributes) -> Result<(), FileError> {
        let mut source = File::open(self.rooted(from)).map_err(|error| FileError::io("read", from, &error))?;
        self.write_from(path, &mut source, attributes)
    }

    fn write_from(&self, path: &Path, content: &mut dyn Read, attributes: Attributes) -> Result<(), FileError> {
        let entry = self.entry(path, Missing::Create)?;
        let temporary = temporary_name(&entry.name);
        let put = write_beside(&entry, &temporary, content, attributes)
            .and_then(|()| {
                Ok(renameat(&entry.directory, temporary.as_str(), &entry.directory, entry.name.as_os_str())?)
            })
            .and_then(|()| Ok(fsync(&entry.directory)?));
        put.map_err(|error: io::Error| {
            let _ = unlinkat(&entry.directory, temporary.as_str(), UnlinkatFlags::NoRemoveDir);
            FileError::io("write", path, &error)
        })
    }

    /// Writes a line on the machine's console. One that nobody reads from is not waited for.
    ///
    /// # Errors
    /// There is none, or it takes no more.
    pub fn write_console(&self, line: &str) -> Result<(), FileError> {
        let path = Path::new("/dev/console");
        let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let open = File::options().write(true).custom_flags(flags.bits()).open(self.rooted(path));
        open.and_then(|mut console| console.write_all(format!("\r\n{line}\r\n").as_bytes()))
            .map_err(|error| FileError::io("write to", path, &error))
    }

    /// The name under which something is made until it is whole: in the same directory, and always the same.
    pub fn beside(&self, path: &Path) -> PathBuf {
        path.with_file_name(temporary_name(path.file_name().unwrap_or_default()))
    }

    /// Makes a finished file or directory durable and gives it its name, in the same directory.
    ///
    /// # Errors
    /// It cannot be done.
    pub fn put_in_place(&self, from: &Path, to: &Path) -> Result<(), FileError> {
        let (from, entry) = (self.entry(from, Missing::Fail)?, self.entry(to, Missing::Fail)?);
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let renamed = openat(&from.directory, from.name.as_os_str(), flags, Mode::empty())
            .and_then(|held| fsync(&held))
            .and_then(|()| renameat(&from.directory, from.name.as_os_str(), &entry.directory, entry.name.as_os_str()))
            .and_then(|()| fsync(&entry.directory));
        renamed.map_err(|errno| FileError::errno("put in place", to, errno))
    }

    /// Makes durable what programs have written somewhere.
    ///
    /// # Errors
    /// The disk does not take it.
    pub fn sync_file_system(&self, path: &Path) -> Result<(), FileError> {
        let held = self.directory(path, Missing::Fail)?;
        syncfs(&held).map_err(|errno| FileError::errno("write out", path, errno))
    }

    /// Gives a finished file its name; it is for the caller to know that it need not be durable.
    ///
    /// # Errors
    /// It cannot be done.
    pub fn rename(&self, from: &Path, to: &Path) -> Result<(), FileError> {
        std::fs::rename(self.rooted(from), self.rooted(to)).map_err(|error| FileError::io("put in place", to, &error))
    }

    /// Notes that a file was used just now, as its time of change.
    ///
    /// # Errors
    /// It is not there, or cannot be written.
    pub fn touch(&self, path: &Path) -> Result<(), FileError> {
        let file = File::options().write(true).open(self.rooted(path));
        let touched = file.and_then(|file| file.set_modified(std::time::SystemTime::now()));
        touched.map_err(|error| FileError::io("note the use of", path, &error))
    }

    /// Puts a symbolic link in place, atomically.
    ///
    /// # Errors
    /// It cannot be made; then nothing has changed.
    pub fn write_link(&self, path: &Path, target: &str) -> Result<(), FileError> {
        let entry = self.entry(path, Missing::Create)?;
        let temporary = temporary_name(&entry.name);
        let put = symlinkat(target, &entry.directory, temporary.as_str())
            .and_then(|()| renameat(&entry.directory, temporary.as_str(), &entry.directory, entry.name.as_os_str()))
            .and_then(|()| fsync(&entry.directory));
        put.map_err(|errno| {
            let _ = unlinkat(&entry.directory, temporary.as_str(), UnlinkatFlags::NoRemoveDir);
            FileError::errno("make link", path, errno)
        })
    }

    /// Makes a directory, and those above it.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn make_directory(&self, path: &Path, attributes: Attributes) -> Result<(), FileError> {
        let entry = self.entry(path, Missing::Create)?;
        let fail = |errno| FileError::errno("make directory", path, errno);
        let temporary = temporary_name(&entry.name);
        let _ = unlinkat(&entry.directory, temporary.as_str(), UnlinkatFlags::RemoveDir);
        // Under another name until it is what it is to be: a killed agent leaves no directory with a wrong owner.
        let made = mkdirat(&entry.directory, temporary.as_str(), Mode::from_bits_truncate(0o700))
            .and_then(|()| set(&entry, OsStr::new(&temporary), attributes))
            .and_then(|()| renameat(&entry.directory, temporary.as_str(), &entry.directory, entry.name.as_os_str()))
            .and_then(|()| fsync(&entry.directory));
        made.map_err(|errno| {
            let _ = unlinkat(&entry.directory, temporary.as_str(), UnlinkatFlags::RemoveDir);
            fail(errno)
        })
    }

    /// Sets owner and permissions of what is at a path, which is not a link.
    ///
    /// # Errors
    /// It cannot be done.
    pub fn set_attributes(&self, path: &Path, attributes: Attributes) -> Result<(), FileError> {
        let entry = self.entry(path, Missing::Fail)?;
        set(&entry, &entry.name, attributes).map_err(|errno| FileError::errno("set owner and mode of", path, errno))
    }

    /// Removes a file or link; nothing there is fine.
    ///
    /// # Errors
    /// It is there and cannot be removed.
    pub fn remove(&self, path: &Path) -> Result<(), FileError> {
        if self.stat(path)?.is_none() {
            return Ok(());
        }
        let entry = self.entry(path, Missing::Fail)?;
        unlinkat(&entry.directory, entry.name.as_os_str(), UnlinkatFlags::NoRemoveDir)
            .map_err(|errno| FileError::errno("remove", path, errno))
    }

    /// Removes a directory with all that is in it; nothing there is fine.
    ///
    /// # Errors
    /// It is there and cannot be removed whole, or the way there is a link that somebody else planted.
    pub fn remove_tree(&self, path: &Path) -> Result<(), FileError> {
        if self.stat(path)?.is_none() {
            return Ok(());
        }
        let entry = self.entry(path, Missing::Fail)?;
        walk::remove_all(&entry.directory, &entry.name).map_err(|errno| FileError::errno("remove", path, errno))
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn stat_of(metadata: &std::fs::Metadata) -> Stat {
    use std::os::unix::fs::FileTypeExt;
    let file_type = metadata.file_type();
    let kind = if file_type.is_file() {
        Kind::File
    } else if file_type.is_dir() {
        Kind::Directory
    } else if file_type.is_symlink() {
        Kind::Symlink
    } else if file_type.is_fifo() {
        Kind::Other("a fifo")
    } else if file_type.is_socket() {
        Kind::Other("a socket")
    } else {
        Kind::Other("a device")
    };
    Stat { kind, mode: metadata.mode() & 0o7777, uid: metadata.uid(), gid: metadata.gid(), size: metadata.len() }
}

/// The name of what is to take the place of `name`. Always the same one, so that the next agent clears away what a
/// killed one left; only one agent is at work at a time.
fn temporary_name(name: &OsStr) -> String {
    let digest = Sha256::of(name.as_encoded_bytes()).to_string();
    format!(".loitsut-{}", &digest[..16])
}

fn whole(file: File, limit: u64) -> io::Result<Vec<u8>> {
    // In one piece; what has no length to tell, as in /proc, piece by piece.
    let length = file.metadata()?.len().min(limit);
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default() + 1);
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::other(format!("it is larger than {limit} bytes")));
    }
    Ok(bytes)
}

fn write_beside(entry: &Entry, name: &str, content: &mut dyn Read, attributes: Attributes) -> io::Result<()> {
    // A leftover of a killed agent; O_EXCL would stumble over it.
    let _ = unlinkat(&entry.directory, name, UnlinkatFlags::NoRemoveDir);
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut file = File::from(openat(&entry.directory, name, flags, Mode::from_bits_truncate(0o600))?);
    io::copy(content, &mut file)?;
    fchown(file.as_fd(), Some(Uid::from_raw(attributes.uid)), Some(Gid::from_raw(attributes.gid)))?;
    // After the owner, since chown drops setuid bits.
    fchmod(&file, Mode::from_bits_truncate(attributes.mode))?;
    file.sync_all()
}

fn set(entry: &Entry, name: &OsStr, attributes: Attributes) -> nix::Result<()> {
    // Not through a link: whoever swapped the entry for one since the check finds it closed.
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let held = openat(&entry.directory, name, flags, Mode::empty())?;
    fchown(&held, Some(Uid::from_raw(attributes.uid)), Some(Gid::from_raw(attributes.gid)))?;
    // After the owner, since chown drops setuid bits.
    fchmod(&held, Mode::from_bits_truncate(attributes.mode))
}
