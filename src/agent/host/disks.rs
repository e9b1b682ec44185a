//! Disks, and what is mounted of them.
#![allow(clippy::disallowed_methods)]

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use nix::sys::statvfs::{Statvfs, statvfs};

use super::Host;
use super::file_error::FileError;

/// Where every file system has its mark, or a partition table its own.
const BEGINNING: u64 = 1024 * 1024;

/// Where programs write; not all of it on one file system.
const WRITTEN: [&str; 4] = ["/", "/var", "/tmp", "/run"];

/// With less than that free, a program that has failed may have failed for that, whatever it says: it has cleared away
/// what it had begun.
const ROOM_BYTES: u64 = 64 * 1024;
const ROOM_FILES: u64 = 16;

/// Something that is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// Where.
    pub path: PathBuf,
    /// What kind of file system.
    pub filesystem: String,
    /// The device, or whatever stands for one.
    pub source: PathBuf,
}

impl Host {
    /// The number of a block device, links followed; `None` where there is none.
    ///
    /// # Errors
    /// It cannot be asked, or is something else.
    pub fn block_device(&self, path: &Path) -> Result<Option<u64>, FileError> {
        match std::fs::metadata(self.rooted(path)) {
            Ok(metadata) if metadata.file_type().is_block_device() => Ok(Some(metadata.rdev())),
            Ok(_) => Err(FileError::new("use", path, "it is not a block device")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(FileError::io("look at", path, &error)),
        }
    }

    /// Whether a disk begins with nothing but zeros.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn begins_with_zeros(&self, path: &Path) -> Result<bool, FileError> {
        let mut bytes = Vec::new();
        let read = File::open(self.rooted(path)).and_then(|file| file.take(BEGINNING).read_to_end(&mut bytes));
        read.map_err(|error| FileError::io("read", path, &error))?;
        Ok(bytes.iter().all(|byte| *byte == 0))
    }

    /// The file systems that programs write to and that have no room left, each told in a line.
    pub fn without_room(&self) -> Vec<String> {
        let mut told = Vec::new();
        let mut seen = Vec::new();
        for path in WRITTEN.map(Path::new) {
            // Whoever asks has a failure to tell already.
            let Ok(room) = statvfs(&self.rooted(path)) else { continue };
            if !seen.contains(&room.filesystem_id()) {
                seen.push(room.filesystem_id());
                told.extend(lacks(&room).map(|what| format!("{} is full, {what}", path.display())));
            }
        }
        told
    }

    /// All that is mounted, what lies above others later.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn mounts(&self) -> Result<Vec<Mounted>, FileError> {
        let text = self.read_text(Path::new("/proc/self/mountinfo"))?.unwrap_or_default();
        Ok(text.lines().filter_map(mounted).collect())
    }
}

/// What is short. A file system that makes inodes as it needs them says that it has none at all.
fn lacks(room: &Statvfs) -> Option<String> {
    let free = room.blocks_available().saturating_mul(room.fragment_size());
    if free < ROOM_BYTES {
        return Some(format!("{free} bytes are free"));
    }
    let files = room.files_available();
    (room.files() > 0 && files < ROOM_FILES).then(|| format!("{files} inodes are free"))
}

/// A line of proc_pid_mountinfo(5): `… root mount-point options tags… - type source options`.
fn mounted(line: &str) -> Option<Mounted> {
    let (place, what) = line.split_once(" - ")?;
    let mut what = what.split(' ');
    Some(Mounted {
        path: unescaped(place.split(' ').nth(4)?).into(),
        filesystem: what.next()?.to_owned(),
        source: unescaped(what.next()?).into(),
    })
}

/// Blanks and backslashes are written as three octal digits.
fn unescaped(text: &str) -> String {
    ["\\040", "\\011", "\\012", "\\134"]
        .iter()
        .zip([" ", "\t", "\n", "\\"])
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_mountinfo_are_read() {
        let line = "36 35 98:0 / /srv/a\\040b rw,noatime shared:1 master:2 - ext4 /dev/nvme1n1 rw,errors=continue";
        let read = mounted(line).unwrap();
        assert_eq!((read.path, read.filesystem), ("/srv/a b".into(), "ext4".into()));
        assert_eq!(read.source, Path::new("/dev/nvme1n1"));
    }
}
