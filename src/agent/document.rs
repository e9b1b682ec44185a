//! User-data read: ours, or somebody else's.

use std::path::Path;

use anyhow::Result;
use loitsut_profile::userdata::{self, Decoded, Document};

use crate::agent::{FETCHED, VERSION};
use crate::host::Host;

/// What user-data is.
pub enum Read {
    /// A document.
    Ours(Box<Document>),
    /// Something else; completes "the user-data is …".
    NotOurs(&'static str),
}

/// The bytes of a file with user-data; of standard input if none is named.
///
/// # Errors
/// It cannot be read.
pub fn bytes_of(host: &Host, file: Option<&Path>) -> Result<Vec<u8>> {
    let path = std::path::absolute(file.unwrap_or(Path::new("/dev/stdin")))?;
    // One more than may be, so that the decoder sees that it is too much.
    Ok(host.read_named(&path, userdata::decode::MOST_RECEIVED as u64 + 1)?)
}

/// Decodes, parses and checks user-data, if there is any.
///
/// # Errors
/// It is ours, and cannot be decoded or does not hold.
pub fn read(bytes: Option<&[u8]>) -> Result<Read> {
    let Some(bytes) = bytes else { return Ok(Read::NotOurs("absent")) };
    match userdata::decode(bytes)? {
        Decoded::NotOurs(why) => Ok(Read::NotOurs(why)),
        Decoded::Ours(text) => {
            // Before the rest, which another version may not know.
            if let Some(agent) = text.preamble()?.agent
                && agent.version.as_str() != VERSION
            {
                anyhow::bail!(
                    "the user-data asks for loitsut {}, and this is {VERSION}: `loitsut boot` fetches the other one, which is \
                     then {FETCHED}",
                    agent.version
                );
            }
            Ok(Read::Ours(Box::new(text.document()?)))
        }
    }
}
