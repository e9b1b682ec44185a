//! The plain text of a document.

use std::fmt;

use super::{Document, Preamble, UserDataError};

/// A text that claims to be a document of ours. Its `Debug` hides it, as there may be secrets in it.
#[derive(Clone, PartialEq, Eq)]
pub struct Text(String);

impl Text {
    pub(super) fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, secrets and all.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The part that every agent understands, however old it is.
    ///
    /// # Errors
    /// It is no JSON object, or `loitsut` or `agent` break a rule.
    pub fn preamble(&self) -> Result<Preamble, UserDataError> {
        Preamble::parse(&self.0)
    }

    /// The whole document.
    ///
    /// # Errors
    /// The document is of a later format, or breaks a rule.
    pub fn document(&self) -> Result<Document, UserDataError> {
        Document::parse(&self.0)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Text({} bytes)", self.0.len())
    }
}
