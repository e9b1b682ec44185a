//! `loitsut userdata`.

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use loitsut_profile::userdata::{self, Decoded};

use crate::host::Host;
use crate::report::say;

/// The most that is read: the limit of user-data and one more byte, so that too much is seen to be too much.
const LIMIT: u64 = 1024 * 1024 + 1;

/// Prints user-data of any encoding as plain JSON, with secrets masked unless they are asked for.
pub(super) fn decode(file: Option<&Path>, reveal: bool) -> Result<ExitCode> {
    let bytes = match file {
        Some(file) => {
            let path = std::path::absolute(file)?;
            Host::here().read(&path)?.with_context(|| format!("there is no file {}", file.display()))?
        }
        None => {
            let mut bytes = Vec::new();
            std::io::stdin().take(LIMIT).read_to_end(&mut bytes).context("standard input cannot be read")?;
            bytes
        }
    };
    match userdata::decode(&bytes)? {
        Decoded::NotOurs(why) => bail!("the user-data is {why}"),
        Decoded::Ours(text) => {
            let document = text.document()?;
            say(&serde_json::to_string_pretty(&document.to_masked_json(reveal))?);
            Ok(ExitCode::SUCCESS)
        }
    }
}
