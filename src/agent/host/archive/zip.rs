//! zip. It says everything twice, in its directory and before each entry; what does not agree is refused.

use std::io::{self, Read, SeekFrom};

use zip::read::ZipFile;
use zip::result::ZipError;
use zip::{CompressionMethod, DateTime, ZipArchive};

use super::{ArchiveError, Member, MemberKind, Packed, Visit};

/// No path is longer.
const LONGEST_TARGET: u64 = 4096;

/// A data descriptor, which stands behind an entry: signature, checksum and two sizes of zip64.
const DESCRIPTOR: u64 = 24;

/// Flags before an entry: its sizes and checksum are told in a descriptor only.
const HAS_DESCRIPTOR: u16 = 1 << 3;

const STORED: u16 = 0;
const DEFLATED: u16 = 8;

/// The kind of file in a Unix mode.
const KIND: u32 = 0o170_000;

/// Calls `visit` for each entry.
pub(super) fn read(packed: &mut Box<dyn Packed>, visit: &mut Visit<'_>) -> Result<(), ArchiveError> {
    check(packed)?;
    let mut archive = ZipArchive::new(packed).map_err(|error| broken(&error))?;
    for index in 0..archive.len() {
        let mut file = archive.by_index(index).map_err(|error| broken(&error))?;
        let member = member(&mut file)?;
        visit(&member, &mut file)?;
    }
    Ok(())
}

fn broken(error: &ZipError) -> ArchiveError {
    match error {
        ZipError::Io(error) => ArchiveError::unreadable(error),
        error => ArchiveError::archive(format!("is broken: {error}")),
    }
}

fn member<R: Read + ?Sized>(file: &mut ZipFile<'_, R>) -> Result<Member, ArchiveError> {
    let name = name_of(file)?;
    let mode = file.unix_mode();
    let kind = match mode.unwrap_or(0) & KIND {
        0o120_000 => MemberKind::Symlink(target(file, &name)?),
        _ if file.is_dir() => MemberKind::Directory,
        0 | 0o100_000 => MemberKind::File,
        _ => return Err(ArchiveError::entry(&name, "is a device, fifo or socket, which no archive may make")),
    };
    let usual = if kind == MemberKind::Directory { 0o755 } else { 0o644 };
    let (size, modified) = (file.size(), file.last_modified().map_or(0, |time| seconds(&time)));
    Ok(Member { name, kind, mode: mode.unwrap_or(usual), size, modified })
}

fn name_of<R: Read + ?Sized>(file: &ZipFile<'_, R>) -> Result<String, ArchiveError> {
    let raw = || String::from_utf8_lossy(file.name_raw()).into_owned();
    let name = file.name().map_err(|error| ArchiveError::entry(&raw(), format!("has an unreadable name: {error}")))?;
    if name.contains('\\') {
        return Err(ArchiveError::entry(&name, "has a backslash in its name: pack it with a program that writes `/`"));
    }
    Ok(name.into_owned())
}

fn target<R: Read + ?Sized>(file: &mut ZipFile<'_, R>, name: &str) -> Result<String, ArchiveError> {
    let mut text = String::new();
    let read = file.take(LONGEST_TARGET).read_to_string(&mut text);
    read.map_err(|error| ArchiveError::entry(name, format!("is a link whose target cannot be read: {error}")))?;
    Ok(text)
}

/// Seconds since 1970 of a time that is in no zone and is taken for UTC.
fn seconds(time: &DateTime) -> i64 {
    // Days by the civil calendar, years counted from March so that leap days come last (Hinnant's algorithm).
    let (year, month, day) = (i64::from(time.year()), i64::from(time.month()), i64::from(time.day()));
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = 365 * year + year / 4 - year / 100 + year / 400 + day_of_year - 719_468;
    let [hour, minute, second] = [time.hour(), time.minute(), time.second()].map(i64::from);
    ((days * 24 + hour) * 60 + minute) * 60 + second
}

/// Where an entry is, from its own header to the end of its data.
struct Span {
    name: String,
    start: u64,
    end: u64,
}

/// That every entry can be read, stands where nothing else does, and is what it says before it.
fn check(packed: &mut Box<dyn Packed>) -> Result<(), ArchiveError> {
    let mut archive = ZipArchive::new(&mut *packed).map_err(|error| broken(&error))?;
    if archive.has_duplicate_names() {
        return Err(ArchiveError::archive("has two entries of one name"));
    }
    if archive.offset() != 0 {
        return Err(ArchiveError::archive("begins with something that is not zip"));
    }
    let (count, directory) = (archive.len(), archive.central_directory_start());
    let mut locals = Vec::new();
    for index in 0..count {
        let file = archive.by_index_raw(index).map_err(|error| broken(&error))?;
        locals.push(Local::of(&file)?);
    }
    drop(archive);
    locals.iter().try_for_each(|local| local.check(packed))?;
    let mut spans: Vec<Span> = locals.into_iter().map(|local| local.span).collect();
    spans.sort_by_key(|span| span.start);
    check_order(&spans, directory)
}

/// That the entries follow each other up to the directory, without overlapping and without hiding anything.
fn check_order(spans: &[Span], directory: u64) -> Result<(), ArchiveError> {
    let mut end = 0;
    for span in spans {
        if span.start < end {
            return Err(ArchiveError::entry(&span.name, "overlaps another one: that is how bombs are made"));
        }
        if span.start - end > DESCRIPTOR {
            return Err(ArchiveError::entry(&span.name, "stands behind bytes that are of no entry"));
        }
        end = span.end;
    }
    match directory.checked_sub(end) {
        Some(gap) if gap <= DESCRIPTOR => Ok(()),
        Some(_) => Err(ArchiveError::archive("has bytes of no entry before its directory")),
        None => Err(ArchiveError::archive("has entries that reach into its directory")),
    }
}

/// What the directory says of an entry that its own header must say too.
struct Local {
    span: Span,
    raw_name: Vec<u8>,
    /// How it is compressed; none if by something that is not read.
    method: Option<u16>,
    sizes: (u64, u64),
}

impl Local {
    fn of<R: Read + ?Sized>(file: &ZipFile<'_, R>) -> Result<Self, ArchiveError> {
        let name = name_of(file)?;
        if file.encrypted() {
            return Err(ArchiveError::entry(&name, "is encrypted: pack it without a password"));
        }
        let method = match file.compression() {
            CompressionMethod::Stored => Some(STORED),
            CompressionMethod::Deflated => Some(DEFLATED),
            _ => None,
        };
        let sizes = (file.compressed_size(), file.size());
        let data = file.data_start().ok_or_else(|| ArchiveError::entry(&name, "has no data"))?;
        let end = data.checked_add(sizes.0).ok_or_else(|| ArchiveError::entry(&name, "has no end"))?;
        let span = Span { start: file.header_start(), end, name };
        Ok(Self { span, raw_name: file.name_raw().to_vec(), method, sizes })
    }

    fn check(&self, packed: &mut dyn Packed) -> Result<(), ArchiveError> {
        let Header { flags, method, name, sizes } =
            Header::read(packed, self.span.start).map_err(|error| ArchiveError::unreadable(&error))?;
        // Of zip64, whose sizes stand elsewhere, or told behind the data.
        let sizes_follow = flags & HAS_DESCRIPTOR != 0 || [sizes.0, sizes.1].contains(&u32::MAX);
        let same_sizes = (u64::from(sizes.0), u64::from(sizes.1)) == self.sizes;
        let Some(known) = self.method else {
            let problem = format!("is compressed by {}, which is not read: pack it with deflate", named(method));
            return Err(ArchiveError::entry(&self.span.name, problem));
        };
        if name != self.raw_name || method != known || !(sizes_follow || same_sizes) {
            return Err(ArchiveError::entry(&self.span.name, "is something else in the directory of the archive"));
        }
        Ok(())
    }
}

/// Ways to compress that are known and not read, by their numbers in the format.
fn named(method: u16) -> String {
    const METHODS: [(u16, &str); 8] = [
        (1, "shrink"),
        (6, "implode"),
        (9, "deflate64"),
        (12, "bzip2"),
        (14, "LZMA"),
        (93, "zstd"),
        (95, "xz"),
        (98, "PPMd"),
    ];
    let known = METHODS.iter().find(|(number, _)| *number == method);
    known.map_or_else(|| format!("method {method}"), |(_, name)| (*name).to_owned())
}

/// The header before an entry.
struct Header {
    flags: u16,
    method: u16,
    name: Vec<u8>,
    sizes: (u32, u32),
}

impl Header {
    fn read(packed: &mut dyn Packed, at: u64) -> io::Result<Self> {
        let mut fixed = [0; 30];
        packed.seek(SeekFrom::Start(at))?;
        packed.read_exact(&mut fixed)?;
        let short = |at: usize| u16::from_le_bytes([fixed[at], fixed[at + 1]]);
        let long = |at: usize| u32::from(short(at)) | u32::from(short(at + 2)) << 16;
        let mut name = vec![0; usize::from(short(26))];
        packed.read_exact(&mut name)?;
        Ok(Self { flags: short(6), method: short(8), name, sizes: (long(18), long(22)) })
    }
}
