//! tar: POSIX, GNU and the old one. The library reads headers; what they mean together is decided here, strictly, because
//! where two readers of an archive can disagree about it, somebody makes use of that.

use std::io::{self, Read};

use tar::{EntryType, Header, PaxExtensions};

use super::{ArchiveError, Member, MemberKind, Visit};

const BLOCK: usize = 512;

/// Names and links of any length, and what else pax has to say of a file.
const LARGEST_EXTENSION: u64 = 1024 * 1024;

/// All extensions of an archive with their headers: a kilobyte for each of the most entries that are taken.
const MOST_EXTENSIONS: u64 = 1024 * 1024 * 1024;

/// Padding behind the end, which tapes wanted in large blocks.
const MOST_PADDING: u64 = 64 * 1024 * 1024;

/// Whether this is how a tar begins.
pub(super) fn begins(head: &[u8]) -> bool {
    <&[u8; BLOCK]>::try_from(head)
        .is_ok_and(|block| is_zero(block) || has_right_checksum(Header::from_byte_slice(block)))
}

/// Calls `visit` for each entry.
pub(super) fn read(source: &mut dyn Read, visit: &mut Visit<'_>) -> Result<(), ArchiveError> {
    let (mut said, mut extensions) = (Said::default(), 0);
    loop {
        let mut block = [0; BLOCK];
        source.read_exact(&mut block).map_err(|error| ArchiveError::unreadable(&error))?;
        if is_zero(&block) {
            return said.end(source);
        }
        let header = Header::from_byte_slice(&block);
        if !has_right_checksum(header) {
            return Err(ArchiveError::archive("is no tar inside, or is broken: a header has a wrong checksum"));
        }
        let size = header.entry_size().map_err(|error| ArchiveError::unreadable(&error))?;
        // Of 64 bits, and not below zero, which GNU's form can say.
        if i64::try_from(size).is_err() {
            return Err(ArchiveError::archive("is broken: a header has an impossible size"));
        }
        match header.entry_type() {
            EntryType::XGlobalHeader => Said::global(&extension(source, size, &mut extensions)?)?,
            EntryType::XHeader => said.pax(&extension(source, size, &mut extensions)?)?,
            EntryType::GNULongName => said.name = Some(text(&extension(source, size, &mut extensions)?)?),
            EntryType::GNULongLink => said.link = Some(text(&extension(source, size, &mut extensions)?)?),
            _ => {
                let member = std::mem::take(&mut said).member(header, size)?;
                let mut content = (&mut *source).take(size);
                visit(&member, &mut content)?;
                finish(&mut content, &member)?;
                skip(source, size)?;
            }
        }
    }
}

fn is_zero(block: &[u8]) -> bool {
    block.iter().all(|byte| *byte == 0)
}

/// The sum of all bytes, those of the sum itself taken for spaces.
fn has_right_checksum(header: &Header) -> bool {
    let bytes = header.as_bytes();
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    header.cksum().is_ok_and(|said| said == sum(&bytes[..148]) + 8 * 32 + sum(&bytes[156..]))
}

/// What the visitor has left.
fn finish(content: &mut io::Take<impl Read>, member: &Member) -> Result<(), ArchiveError> {
    io::copy(content, &mut io::sink()).map_err(|error| ArchiveError::unreadable(&error))?;
    match content.limit() {
        0 => Ok(()),
        missing => Err(ArchiveError::entry(&member.name, format!("is cut off: {missing} bytes of it are missing"))),
    }
}

/// The padding behind `size` bytes.
fn skip(source: &mut dyn Read, size: u64) -> Result<(), ArchiveError> {
    let padding = size.next_multiple_of(BLOCK as u64) - size;
    let mut rest = [0; BLOCK];
    let rest = rest.get_mut(..usize::try_from(padding).unwrap_or(0)).unwrap_or_default();
    source.read_exact(rest).map_err(|error| ArchiveError::unreadable(&error))
}

fn extension(source: &mut dyn Read, size: u64, in_all: &mut u64) -> Result<Vec<u8>, ArchiveError> {
    if size > LARGEST_EXTENSION {
        return Err(ArchiveError::archive(format!("has a name or extension of {size} bytes: that is an attack")));
    }
    *in_all += BLOCK as u64 + size;
    if *in_all > MOST_EXTENSIONS {
        return Err(ArchiveError::archive("has a gigabyte of names and extensions: is it a bomb?"));
    }
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    source.read_exact(&mut bytes).map_err(|error| ArchiveError::unreadable(&error))?;
    skip(source, size)?;
    Ok(bytes)
}

/// A name as GNU tar extends it, with a NUL at its end.
fn text(bytes: &[u8]) -> Result<String, ArchiveError> {
    let text = bytes.strip_suffix(&[0]).unwrap_or(bytes);
    utf8(text)
}

fn utf8(bytes: &[u8]) -> Result<String, ArchiveError> {
    let bad = |_| ArchiveError::entry(&String::from_utf8_lossy(bytes), "has a name or target that is not UTF-8");
    std::str::from_utf8(bytes).map(str::to_owned).map_err(bad)
}

/// What extensions have said of the next entry.
#[derive(Default)]
struct Said {
    name: Option<String>,
    link: Option<String>,
    size: Option<u64>,
    modified: Option<i64>,
}

impl Said {
    /// What is said of all entries can only be a comment.
    fn global(bytes: &[u8]) -> Result<(), ArchiveError> {
        for (key, _) in records(bytes)? {
            if ["path", "linkpath", "size"].contains(&key) {
                return Err(ArchiveError::archive(format!("has a `{key}` for all of its entries")));
            }
        }
        Ok(())
    }

    fn pax(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        for (key, value) in records(bytes)? {
            match key {
                "path" => self.name = Some(utf8(value)?),
                "linkpath" => self.link = Some(utf8(value)?),
                "size" => self.size = Some(number(key, value)?),
                "mtime" => self.modified = Some(seconds(key, value)?),
                _ if key.starts_with("GNU.sparse") => {
                    return Err(ArchiveError::archive("has a sparse file: pack it without --sparse"));
                }
                // Owners, times of access, extended attributes, ACLs: not what an archive is to decide here.
                _ => {}
            }
        }
        Ok(())
    }

    fn member(self, header: &Header, size: u64) -> Result<Member, ArchiveError> {
        let name = self.name.map_or_else(|| utf8(&header.path_bytes()), Ok)?;
        let link = self.link.map_or_else(|| utf8(&header.link_name_bytes().unwrap_or_default()), Ok)?;
        let fail = |problem: &str| Err(ArchiveError::entry(&name, problem));
        if self.size.is_some_and(|said| said != size) {
            return fail("has two sizes, one of pax and another of tar: pack it with --format=gnu");
        }
        let kind = match header.entry_type() {
            // The old format has no type for directories.
            EntryType::Regular | EntryType::Continuous if name.ends_with('/') => MemberKind::Directory,
            EntryType::Regular | EntryType::Continuous => MemberKind::File,
            EntryType::Directory => MemberKind::Directory,
            EntryType::Symlink => MemberKind::Symlink(link),
            EntryType::Link => MemberKind::HardLink(link),
            EntryType::Char | EntryType::Block => return fail("is a device, which no archive may make"),
            EntryType::Fifo => return fail("is a fifo, which no archive may make"),
            EntryType::GNUSparse => return fail("is a sparse file: pack it without --sparse"),
            other => return fail(&format!("is of the type `{}`, which is not known", other.as_byte().escape_ascii())),
        };
        if kind != MemberKind::File && size != 0 {
            return fail("is no file, and yet has content");
        }
        let modified = header.mtime().ok().and_then(|time| i64::try_from(time).ok());
        let mode = header.mode().map_err(|error| ArchiveError::entry(&name, error.to_string()))?;
        Ok(Member { name, kind, mode, size, modified: self.modified.or(modified).unwrap_or(0) })
    }

    /// Behind the end there is padding only, and the checksum of the compression.
    fn end(self, source: &mut dyn Read) -> Result<(), ArchiveError> {
        let mut rest = source.take(MOST_PADDING);
        let mut chunk = vec![0; 64 * 1024];
        loop {
            match rest.read(&mut chunk).map_err(|error| ArchiveError::unreadable(&error))? {
                0 if rest.limit() == 0 => return Err(ArchiveError::archive("has no end behind its end mark")),
                0 => return Ok(()),
                read if is_zero(&chunk[..read]) => {}
                _ => return Err(ArchiveError::archive("has something behind its end mark: two archives in one?")),
            }
        }
    }
}

fn records<'b>(bytes: &'b [u8]) -> Result<Vec<(&'b str, &'b [u8])>, ArchiveError> {
    let broken = || ArchiveError::archive("has a broken pax extension");
    let record = |record: io::Result<tar::PaxExtension<'b>>| {
        let record = record.map_err(|_| broken())?;
        let key = record.key_bytes();
        Ok((std::str::from_utf8(key).map_err(|_| broken())?, record.value_bytes()))
    };
    PaxExtensions::new(bytes).map(record).collect()
}

fn number(key: &str, value: &[u8]) -> Result<u64, ArchiveError> {
    let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| ArchiveError::archive(format!("has a pax `{key}` that is no number")))
}

/// Whole seconds of a time, which may have a fraction and may be before 1970.
fn seconds(key: &str, value: &[u8]) -> Result<i64, ArchiveError> {
    let whole = value.split(|byte| *byte == b'.').next().unwrap_or_default();
    let number = std::str::from_utf8(whole).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| ArchiveError::archive(format!("has a pax `{key}` that is no time")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same bytes for ever.
    struct Endless(Vec<u8>, usize);

    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let rest = &self.0[self.1..];
            let length = rest.len().min(buffer.len());
            buffer[..length].copy_from_slice(&rest[..length]);
            self.1 = (self.1 + length) % self.0.len();
            Ok(length)
        }
    }

    #[test]
    fn an_endless_row_of_long_names_ends() {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::GNULongName);
        header.set_size(LARGEST_EXTENSION);
        header.set_cksum();
        let mut block = header.as_bytes().to_vec();
        block.resize(BLOCK + LARGEST_EXTENSION as usize, b'n');
        let error = read(&mut Endless(block, 0), &mut |_, _| Ok(())).unwrap_err();
        assert!(error.to_string().contains("a gigabyte of names"), "{error}");
    }
}
