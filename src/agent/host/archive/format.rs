//! Which archive it is, by how it begins: names lie.

use std::io::{self, BufReader, Read as _};

use flate2::bufread::MultiGzDecoder;

use super::zstd::Zstd;
use super::{ArchiveError, Packed, Visit, tar, zip};

/// Memory that a decoder may have, in KiB: what `xz -9` needs, twice.
const XZ_MEMORY: u32 = 128 * 1024;

/// How much of an archive tells what it is: the header of a tar.
const HEAD: usize = 512;

const BUFFER: usize = 128 * 1024;

/// Calls `visit` for each entry of an archive of any kind.
///
/// # Errors
/// It is no archive, is broken, or has an entry that is refused.
pub(crate) fn for_each_entry(mut packed: Box<dyn Packed>, visit: &mut Visit<'_>) -> Result<(), ArchiveError> {
    let head = head_of(&mut packed).map_err(|error| ArchiveError::unreadable(&error))?;
    let buffered = |packed| BufReader::with_capacity(BUFFER, packed);
    match &head[..] {
        [] => Err(ArchiveError::archive("is empty")),
        [0x1f, 0x8b, ..] => tar::read(&mut MultiGzDecoder::new(buffered(packed)), visit),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
            tar::read(&mut lzma_rust2::XzReader::new_mem_limit(buffered(packed), true, XZ_MEMORY), visit)
        }
        [b'B', b'Z', b'h', ..] => tar::read(&mut bzip2::bufread::MultiBzDecoder::new(buffered(packed)), visit),
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            tar::read(&mut Zstd::new(buffered(packed)), visit)
        }
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => zip::read(&mut packed, visit),
        head if tar::begins(head) => tar::read(&mut buffered(packed), visit),
        head => Err(ArchiveError::archive(format!(
            "is {}: tar is read, plain or as gz, xz, zst or bz2, and zip",
            named(head).unwrap_or("of no known kind")
        ))),
    }
}

fn head_of(packed: &mut dyn Packed) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    (&mut *packed).take(HEAD as u64).read_to_end(&mut head)?;
    packed.rewind()?;
    Ok(head)
}

/// Kinds that are known and not read.
fn named(head: &[u8]) -> Option<&'static str> {
    const KINDS: [(&[u8], &str); 15] = [
        (b"7z\xbc\xaf\x27\x1c", "7z"),
        (b"Rar!", "RAR"),
        (b"\x04\x22\x4d\x18", "lz4"),
        (b"LZIP", "lzip"),
        (b"\x5d\x00\x00", "lzma without xz"),
        (b"\x1f\x9d", "compress (.Z)"),
        (b"\x1f\xa0", "LZH"),
        (b"\x89LZO", "lzop"),
        (b"0707", "cpio"),
        (b"!<arch>", "ar, as .deb is"),
        (b"\xed\xab\xee\xdb", "RPM"),
        (b"hsqs", "squashfs"),
        (b"xar!", "xar"),
        (b"MSCF", "cab"),
        (b"PK", "a part of a split zip"),
    ];
    let html = String::from_utf8_lossy(head).trim_start().to_lowercase();
    let is_html = html.starts_with("<!doctype html") || html.starts_with("<html");
    let known = KINDS.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, name)| *name);
    known.or(is_html.then_some("an HTML page"))
}
