//! What an archive may cost: one of a few kilobytes can fill any disk.

use std::io::SeekFrom;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{ArchiveError, Packed};
use crate::stop::Stopped;

/// More entries than any source tree has.
const MOST_ENTRIES: u64 = 1_000_000;

/// More bytes than any build environment has.
const MOST_BYTES: u64 = 64 * 1024 * 1024 * 1024;

/// What may come out of even the smallest archive.
const ALWAYS: u64 = 64 * 1024 * 1024;

/// How many times its size may come out of an archive beyond that: logs and test data get to about a hundred.
const RATIO: u64 = 200;

/// What is left of what one archive may cost.
pub(super) struct Budget<'a> {
    entries: u64,
    bytes: u64,
    allowed: u64,
    stop: &'a AtomicBool,
}

impl<'a> Budget<'a> {
    /// For this archive.
    pub(super) fn of(packed: &mut dyn Packed, stop: &'a AtomicBool) -> Result<Self, ArchiveError> {
        let size = packed.seek(SeekFrom::End(0)).and_then(|size| packed.rewind().map(|()| size));
        let size = size.map_err(|error| ArchiveError::unreadable(&error))?;
        let allowed = size.saturating_mul(RATIO).saturating_add(ALWAYS).min(MOST_BYTES);
        Ok(Self { entries: 0, bytes: 0, allowed, stop })
    }

    /// Takes one more entry.
    pub(super) fn entry(&mut self) -> Result<(), ArchiveError> {
        self.go_on()?;
        self.entries += 1;
        if self.entries > MOST_ENTRIES {
            return Err(ArchiveError::archive(format!("has more than {MOST_ENTRIES} entries, the most that is taken")));
        }
        Ok(())
    }

    fn go_on(&self) -> Result<(), Stopped> {
        if self.stop.load(Ordering::Relaxed) { Err(Stopped) } else { Ok(()) }
    }

    /// Takes more bytes of the content of an entry.
    pub(super) fn bytes(&mut self, name: &str, more: u64) -> Result<(), ArchiveError> {
        self.go_on()?;
        self.bytes = self.bytes.saturating_add(more);
        if self.bytes > self.allowed {
            let problem = format!(
                "makes it more than {} bytes, the most that is taken from an archive of this size: is it a bomb?",
                self.allowed
            );
            return Err(ArchiveError::entry(name, problem));
        }
        Ok(())
    }
}
