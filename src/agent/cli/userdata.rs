//! `loitsut userdata`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};
use loitsut_profile::userdata::{self, Decoded};

use crate::document;
use crate::host::Host;
use crate::report::say;

/// Prints user-data of any encoding as plain JSON, with secrets masked unless they are asked for.
pub(super) fn decode(file: Option<&Path>, reveal: bool) -> Result<ExitCode> {
    let bytes = document::bytes_of(&Host::here(), file)?;
    match userdata::decode(&bytes)? {
        Decoded::NotOurs(why) => bail!("the user-data is {why}"),
        Decoded::Ours(text) => {
            let document = text.document()?;
            say(&serde_json::to_string_pretty(&document.to_masked_json(reveal))?);
            Ok(ExitCode::SUCCESS)
        }
    }
}
