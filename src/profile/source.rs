//! Text files, and places in them.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::secret::MASK;

/// One text file, shared by everything that was read from it.
#[derive(Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Path as the user knows it, for messages.
    pub path: String,
    /// The whole text.
    pub text: String,
}

/// A stretch of a file: what a message points at.
#[derive(Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: Arc<SourceFile>,
    /// Byte range in its text.
    pub span: Range<usize>,
}

impl Place {
    /// The line that the place begins on, from 1.
    pub fn line(&self) -> usize {
        self.before().matches('\n').count() + 1
    }

    /// The column that the place begins at, in characters, from 1.
    pub fn column(&self) -> usize {
        let before = self.before();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        before[line_start..].chars().count() + 1
    }

    /// The same place in a copy of the file that does not show what stands there.
    pub fn masked(&self) -> Self {
        let mut text = self.file.text.clone();
        text.replace_range(self.span.clone(), MASK);
        let file = SourceFile { path: self.file.path.clone(), text };
        Self { file: Arc::new(file), span: self.span.start..self.span.start + MASK.len() }
    }

    fn before(&self) -> &str {
        self.file.text.get(..self.span.start).unwrap_or(&self.file.text)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.path, self.line())
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.path, self.line(), self.column())
    }
}
