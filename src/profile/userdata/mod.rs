//! User-data: decoded, parsed and checked.
//!
//! In steps, since an agent that was baked years ago must not meet keys it does not know:
//!
//! 1. [`decode`] finds the plain text of a document in what was received, or says that it is somebody else's;
//! 2. [`Text::preamble`] reads the keys `loitsut` and `agent` only, and lets all others pass;
//! 3. [`Text::document`] reads and checks the whole.
//!
//! # What is ours
//!
//! What was received is unwrapped first, at most [`MOST_LAYERS`](decode::MOST_LAYERS) times: gzip is known by its magic
//! number, base64 by what its beginning decodes to (gzip, the beginning of a JSON object, a MIME header, or base64 of one
//! of them). Words that merely could be base64 are thus left alone. Once known, it must be whole: a bad character or a
//! missing end is an error, because it was clearly meant to be decoded.
//!
//! The plain text is
//!
//! - **ours**, if it is a JSON object with the key `loitsut` at its top, whatever that key's value is; or text that
//!   begins like a JSON object, is not one, and has `"loitsut"` in it (a document with a syntax error is not somebody
//!   else's); or a MIME message, multipart or not, with exactly one part of the type `text/x-loitsut`, whatever is in it;
//! - **an error**, if it is UTF-16 or not UTF-8, or a MIME message that is cut off, unreadable or has two parts of ours;
//! - **not ours** in every other case: nothing at all, a script or cloud-config (known by the `#` at its start, whatever
//!   follows), an array, an object without the key, a MIME message without our part, any other text.

pub mod bundle;
pub mod decode;
pub mod document;
mod error;
pub mod field;
mod json;
mod mime;
mod shape;
mod show;
#[cfg(test)]
mod tests;
mod text;

pub use decode::{Decoded, decode};
pub use document::{Agent, Document, Driver, Preamble};
pub use error::{DocumentError, UserDataError};
pub use field::MetadataAccess;
pub use text::Text;
