//! Archives of every kind, extracted beside something that they must not touch. The first byte tells whether the rest is one
//! as it stands (0), or a tar whose checksums are to be mended first, since chance would hardly ever get past them.
#![no_main]
#![allow(dead_code)]

#[path = "host.rs"]
mod host;
mod stop {
    /// Nobody asks for it here.
    #[derive(Debug, thiserror::Error)]
    #[error("stopped")]
    pub struct Stopped;
}

use std::fs::{self, File, Metadata};
use std::io::Cursor;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;
use std::sync::atomic::AtomicBool;

use host::archive::{Extraction, MARKER, difference, unpack};
use libfuzzer_sys::fuzz_target;
use nix::unistd::{getgid, getuid};

const LABEL: &str = "an archive";
const BLOCK: usize = 512;
const SUM: std::ops::Range<usize> = 148..156;
const SIZE: std::ops::Range<usize> = 124..135;

fuzz_target!(|input: &[u8]| {
    let Some((mend, archive)) = input.split_first() else { return };
    let archive = if *mend == 0 { archive.to_vec() } else { mended(archive.to_vec()) };
    let Ok(around) = tempfile::tempdir() else { return };
    let (outside, into) = (around.path().join("outside"), around.path().join("into"));
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("mine"), "untouched").unwrap();
    symlink("mine", outside.join("link")).unwrap();
    fs::create_dir(&into).unwrap();
    let before = seen(&outside);

    let (uid, gid) = (getuid().as_raw(), getgid().as_raw());
    let wanted = Extraction { into: into.clone(), label: LABEL.into(), strip: 0, uid, gid, durable: false };
    let directory = File::open(&into).unwrap().into();
    let done = unpack(Box::new(Cursor::new(archive)), directory, &wanted, &AtomicBool::new(false));

    assert_eq!(seen(&outside), before, "what stands beside it was touched");
    assert_eq!(fs::read_dir(around.path()).unwrap().count(), 2, "something was made beside it");
    check_tree(&into, uid);
    match done {
        Ok(()) => {
            let marker = fs::read_to_string(into.join(MARKER)).unwrap();
            assert_eq!(difference(&into, LABEL, &marker), None, "it would be extracted anew each time");
        }
        Err(error) => assert!(!error.to_string().contains('\u{1b}'), "an escape sequence: {error:?}"),
    }
});

/// A tar with an end, in which every header has its right checksum.
fn mended(mut tar: Vec<u8>) -> Vec<u8> {
    let mut at = 0;
    while let Some(header) = tar.get_mut(at..at + BLOCK).filter(|header| header.iter().any(|byte| *byte != 0)) {
        header[SUM].fill(b' ');
        let sum = header.iter().map(|byte| u32::from(*byte)).sum::<u32>();
        header[SUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let size = std::str::from_utf8(&header[SIZE]).ok().and_then(|text| usize::from_str_radix(text, 8).ok());
        at = at.saturating_add(BLOCK).saturating_add(size.unwrap_or(0).next_multiple_of(BLOCK));
    }
    tar.resize(tar.len().next_multiple_of(BLOCK) + 2 * BLOCK, 0);
    tar
}

/// All that tells whether somebody was there.
fn seen(outside: &Path) -> Vec<(String, u64, u32, u64, i64, String)> {
    let mut entries: Vec<_> = fs::read_dir(outside).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.push(outside.to_owned());
    entries.sort();
    let described = |path: &Path, stat: &Metadata| {
        let content = if stat.is_file() { fs::read_to_string(path).unwrap() } else { String::new() };
        (path.display().to_string(), stat.nlink(), stat.mode(), stat.size(), stat.ctime_nsec(), content)
    };
    entries.iter().map(|path| described(path, &fs::symlink_metadata(path).unwrap())).collect()
}

/// That there are only files, directories and links in it, all of this owner, and none that gives anybody rights.
fn check_tree(directory: &Path, uid: u32) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let stat = fs::symlink_metadata(&path).unwrap();
        assert!(stat.is_file() || stat.is_dir() || stat.is_symlink(), "{path:?} is of a kind that no archive makes");
        assert!(stat.is_symlink() || stat.mode() & 0o7022 == 0, "{path:?} has the mode {:o}", stat.mode());
        assert_eq!(stat.uid(), uid);
        if stat.is_dir() {
            check_tree(&path, uid);
        }
    }
}
