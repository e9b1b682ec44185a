//! What an extraction has made, a line each, so that a later check can tell whether it is still there: by lstat alone.
#![allow(clippy::disallowed_methods)]

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The text of a marker: a label, then a line for each file, directory and link.
pub(super) struct Manifest(String);

impl Manifest {
    pub(super) fn new(label: &str) -> Self {
        Self(format!("{label}\n"))
    }

    pub(super) fn file(&mut self, path: &str, size: u64, modified: i64) {
        self.line('f', size, modified, path);
    }

    pub(super) fn directory(&mut self, path: &str) {
        self.line('d', 0, 0, path);
    }

    pub(super) fn symlink(&mut self, path: &str, target: &str) {
        self.line('l', target.len() as u64, 0, path);
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }

    fn line(&mut self, kind: char, size: u64, modified: i64, path: &str) {
        self.0.push_str(&format!("{kind} {size} {modified} {path}\n"));
    }
}

/// How the directory differs from what its marker says, or that from what is wanted; nothing if neither.
pub(crate) fn difference(directory: &Path, label: &str, text: &str) -> Option<String> {
    let mut lines = text.lines();
    if lines.next() != Some(label) {
        return Some("is of another archive, or extracted otherwise".into());
    }
    lines.find_map(|line| {
        let mut fields = line.splitn(4, ' ');
        let (kind, size, modified, path) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        match std::fs::symlink_metadata(directory.join(path)) {
            Err(_) => Some(format!("lacks {path}")),
            Ok(found) if described(&found) != format!("{kind} {size} {modified}") => {
                Some(format!("{path} was changed"))
            }
            Ok(_) => None,
        }
    })
}

fn described(found: &Metadata) -> String {
    if found.is_dir() {
        "d 0 0".into()
    } else if found.is_symlink() {
        format!("l {} 0", found.size())
    } else {
        format!("f {} {}", found.size(), found.mtime())
    }
}
