//! Locks: one agent at a time, and who holds those of others.

use std::fmt;
use std::fs::File;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, Flock, FlockArg, OFlag, fcntl, openat};
use nix::libc;
use nix::sys::stat::Mode;

use super::Host;
use super::file_error::FileError;
use super::walk::Missing;

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
        let entry = self.entry(path, Missing::Create)?;
        // Never replaced: two agents must mean the same file.
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(&entry.directory, entry.name.as_os_str(), flags, Mode::from_bits_truncate(0o600))
            .map_err(|errno| FileError::new("open", path, errno.desc()))?;
        Ok(Flock::lock(File::from(file), FlockArg::LockExclusiveNonblock).ok().map(|file| Lock { _file: file }))
    }
}

/// A process that holds a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its id and program, if it is of this container.
    process: Option<(i32, String)>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.process {
            Some((pid, program)) => write!(f, "{program} (pid {pid})"),
            None => f.write_str("a process that cannot be seen from here"),
        }
    }
}

impl Host {
    /// Who holds a lock file, as fcntl(2) locks it and package managers do; `None` if nobody, or there is no such file.
    ///
    /// # Errors
    /// It cannot be asked.
    pub fn lock_holder(&self, path: &Path) -> Result<Option<Holder>, FileError> {
        // Only looked at, so links may be followed.
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = match nix::fcntl::open(&self.rooted(path), flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(None),
            Err(errno) => return Err(FileError::errno("open", path, errno)),
        };
        let mut asked = whole_file(libc::F_WRLCK);
        fcntl(&file, FcntlArg::F_GETLK(&mut asked))
            .map_err(|errno| FileError::errno("ask for the lock of", path, errno))?;
        if i32::from(asked.l_type) == libc::F_UNLCK {
            return Ok(None);
        }
        let process = (asked.l_pid > 0).then_some(asked.l_pid);
        Ok(Some(Holder { process: process.map(|pid| Ok((pid, self.program_of(pid)?))).transpose()? }))
    }

    /// The process whose id is in a file, if it is still there.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn pid_file_holder(&self, path: &Path) -> Result<Option<Holder>, FileError> {
        let pid = self.read_text(path)?.and_then(|text| text.trim().parse::<i32>().ok());
        let Some(pid) = pid.filter(|pid| *pid > 0) else { return Ok(None) };
        let is_there = self.stat(&Path::new("/proc").join(pid.to_string()))?.is_some();
        Ok(if is_there { Some(Holder { process: Some((pid, self.program_of(pid)?)) }) } else { None })
    }

    /// What /proc calls a process.
    fn program_of(&self, pid: i32) -> Result<String, FileError> {
        let name = self.read_text(&Path::new("/proc").join(pid.to_string()).join("comm"))?;
        Ok(name.map_or_else(|| "a process".into(), |name| name.trim().to_owned()))
    }
}

fn whole_file(kind: i32) -> libc::flock {
    libc::flock { l_type: kind as i16, l_whence: libc::SEEK_SET as i16, l_start: 0, l_len: 0, l_pid: 0 }
}
