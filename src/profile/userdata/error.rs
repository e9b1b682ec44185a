//! What can be wrong with user-data. No message quotes a value that may be a secret, or a line that may hold one.

use std::fmt;

use super::decode::{MOST_DECODED, MOST_LAYERS, MOST_RECEIVED};
use super::document::FORMAT;

/// User-data that cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserDataError {
    /// More was received than anybody sends.
    #[error(
        "the user-data has {0} bytes, and at most {MOST_RECEIVED} are accepted: send large bundles by `bundle.url`"
    )]
    TooLarge(usize),
    /// It is small, but grows without end.
    #[error("the user-data has more than {MOST_DECODED} bytes when decoded: send large bundles by `bundle.url`")]
    DecodedTooLarge,
    /// It is wrapped again and again.
    #[error("the user-data is encoded more than {MOST_LAYERS} times over: gzip and base64, once each, are enough")]
    TooDeep,
    /// It begins as gzip does, but is not.
    #[error("the user-data is gzip, but broken: {0}; compress and send it again")]
    Gzip(String),
    /// It begins as base64 of something of ours does, but is not.
    #[error("the user-data is base64, but broken: {0}; encode and send it again")]
    Base64(String),
    /// It is text as Windows writes it.
    #[error("the user-data is UTF-16: save it as UTF-8")]
    Utf16,
    /// It is no text.
    #[error("the user-data is not UTF-8 text at byte {0}, and neither gzip nor base64")]
    NotUtf8(usize),
    /// A MIME message that cannot be taken apart.
    #[error("the user-data is a MIME message, but {0}")]
    Mime(String),
    /// The format is of a later time.
    #[error(
        "the user-data is of format {0}, and this agent is too old for it: it knows format {FORMAT}; \
         install a newer agent on the image, or let the user-data ask for one with the key `agent`"
    )]
    TooOld(u32),
    /// The document breaks a rule.
    #[error(transparent)]
    Document(#[from] DocumentError),
}

/// A rule that a document breaks, and where.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub struct DocumentError {
    /// The key it is about, from the top, such as `lease.on_failure.hold`; empty for the document as a whole.
    pub path: String,
    /// What is wrong, in one line, with the key in it.
    pub problem: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What to do about it, if there is something to say.
    pub help: Option<String>,
}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user-data, line {}, column {}: {}", self.line, self.column, self.problem)?;
        self.help.iter().try_for_each(|help| write!(f, "; {help}"))
    }
}
