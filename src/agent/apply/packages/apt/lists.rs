//! The package lists: brought up to date once in a run, and not at all where that was done a short while ago.

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use loitsut_profile::sha256::Sha256;
use serde::{Deserialize, Serialize};

use super::command::{apt_get, run, words_of_failure};
use super::failure;
use crate::apply::Context;
use crate::apply::packages::record::{Record, is_fresh, now};
use crate::host::Host;
use crate::host::file_error::FileError;
use crate::host::process::ProcessError;

/// Where apt keeps them.
pub const FOLDER: &str = "/var/lib/apt/lists";

/// How often `apt-get update` is tried: mirrors are inconsistent for a moment when they are renewed.
const TRIES: u32 = 3;

/// Whether the package lists were brought up to date in this run.
#[derive(Default)]
pub struct Lists {
    updated: Cell<bool>,
}

impl Lists {
    /// What they are made from has changed.
    pub fn forget(&self) {
        self.updated.set(false);
    }

    /// Whether they were brought up to date in this run.
    pub fn are_updated(&self) -> bool {
        self.updated.get()
    }
}

/// When the lists were last brought up to date by us, and from what.
#[derive(Default, Serialize, Deserialize)]
struct Updated {
    /// Seconds since 1970.
    at: u64,
    sources: Option<Sha256>,
}

impl Record for Updated {
    const NAME: &'static str = "package-lists";
}

/// Whether the lists were brought up to date in this run, or by us within the hour and from the same sources.
///
/// # Errors
/// A file of apt's cannot be read.
pub fn are_fresh(context: &Context<'_>) -> Result<bool> {
    if context.packages.lists.are_updated() {
        return Ok(true);
    }
    let record = Updated::read(context.host)?;
    Ok(is_fresh(record.at) && record.sources == Some(sources(context.host)?))
}

/// Brings the lists up to date unless they are fresh.
///
/// # Errors
/// As [`update`].
pub async fn freshen(context: &Context<'_>) -> Result<()> {
    if are_fresh(context)? { Ok(()) } else { update(context).await }
}

/// Brings the lists up to date.
///
/// # Errors
/// A source cannot be read, also not when tried again.
pub async fn update(context: &Context<'_>) -> Result<()> {
    let mut words = vec!["update"];
    if context.disposable {
        // Descriptions in other words: megabytes that nobody here reads.
        words.extend(["-o", "Acquire::Languages=none"]);
    }
    let program = apt_get(context, &words);
    for attempt in 1.. {
        match run(context, &program).await? {
            Ok(()) => break,
            Err(ProcessError::Failed { tail, .. }) if attempt < TRIES => {
                tracing::warn!(attempt, "apt-get update failed, trying again: {}", words_of_failure(&tail));
                let pause = Duration::from_secs(5 * u64::from(attempt));
                crate::stop::unless_requested(tokio::time::sleep(pause)).await?;
            }
            Err(error) => return Err(failure::told(error)).context("the package lists cannot be brought up to date"),
        }
    }
    context.packages.lists.updated.set(true);
    let record = Updated { at: now(), sources: Some(sources(context.host)?) };
    Ok(record.write(context.host)?)
}

/// What the lists are made from: where packages come from, and for which architectures.
fn sources(host: &Host) -> Result<Sha256, FileError> {
    let folder = Path::new("/etc/apt/sources.list.d");
    let files = host.list(folder)?.into_iter().map(|name| folder.join(name));
    let mut all = Vec::new();
    for file in files.chain(["/etc/apt/sources.list".into(), "/var/lib/dpkg/arch".into()]) {
        all.extend(format!("{} {:?}\n", file.display(), host.digest(&file)?).into_bytes());
    }
    Ok(Sha256::of(&all))
}
