//! A transaction of apt-get, and what is left of one that was killed.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::command::{ANSWERS, TRANSACTION, apt_get, run, unattended};
use super::{failure, lists};
use crate::apply::Context;
use crate::host::file_error::FileError;
use crate::host::files::Attributes;
use crate::host::process::{ProcessError, Program};

/// There from the beginning of a transaction until it has succeeded.
const UNDER_WAY: &str = "/var/lib/loitsut/package-transaction";

/// The index of manual pages takes longer than most packages, and nobody reads any on a machine that is thrown away.
const NO_MAN_INDEX: &str = "\
Name: man-db/auto-update
Template: man-db/auto-update
Value: false
Owners: man-db
Flags: seen
";

/// Whether there is something to finish that no wanted package tells of: dpkg's journal is not empty, triggers wait, or
/// a transaction of ours has failed or was killed. What others have left unfinished is theirs.
///
/// # Errors
/// Its files cannot be read.
pub fn left_work(context: &Context<'_>) -> Result<bool> {
    let journal = context.host.list(Path::new("/var/lib/dpkg/updates"))?;
    let status = context.packages.status.status(context.host)?;
    let ours = || Ok::<_, FileError>(status.interrupted && context.host.stat(Path::new(UNDER_WAY))?.is_some());
    Ok(!journal.is_empty() || status.triggers || ours()?)
}

/// Finishes what a dpkg that was killed left half done.
///
/// # Errors
/// dpkg cannot finish it.
pub async fn repair(context: &Context<'_>) -> Result<()> {
    tracing::warn!("dpkg was interrupted: finishing what it had begun");
    let words = ["dpkg", "--configure", "--pending", "--force-confdef", "--force-confold"];
    // Fails where a package was unpacked before what it depends on; what is left, apt-get tells.
    if let Err(error) = run(context, &unattended(Program::new(words).timeout(TRANSACTION))).await? {
        tracing::debug!("{error}");
    }
    let status = context.packages.status.status(context.host)?;
    let half: Vec<&str> = status.to_reinstall.iter().map(String::as_str).collect();
    if !half.is_empty() {
        lists::freshen(context).await?;
    }
    // Of itself --fix-broken fetches what is half installed, and leaves it at that.
    let words = [&["--fix-broken", "--reinstall", "install"], &half[..]].concat();
    perform(context, &words).await.context("dpkg was interrupted, and what it left cannot be finished")
}

/// Runs a transaction; where the mirror no longer has what the lists promise, updates them and tries once more.
///
/// # Errors
/// apt-get fails.
pub async fn perform(context: &Context<'_>, words: &[&str]) -> Result<()> {
    if context.disposable {
        context.host.write(Path::new(ANSWERS), NO_MAN_INDEX.as_bytes(), Attributes::PUBLIC)?;
    }
    context.host.write(Path::new(UNDER_WAY), b"", Attributes::PUBLIC)?;
    let program = apt_get(context, words);
    let done = match run(context, &program).await? {
        Err(ProcessError::Failed { tail, .. }) if is_superseded(&tail) => {
            tracing::warn!("the mirror has changed since the lists were read: updating them and trying again");
            lists::update(context).await?;
            run(context, &program).await?.map_err(failure::told)
        }
        done => done.map_err(failure::told),
    };
    done?;
    forget(context)
}

/// Notes that nothing of ours is left to finish.
///
/// # Errors
/// The note of a transaction cannot be removed.
pub fn forget(context: &Context<'_>) -> Result<()> {
    Ok(context.host.remove(Path::new(UNDER_WAY))?)
}

fn is_superseded(tail: &[String]) -> bool {
    let signs = ["404  Not Found", "Hash Sum mismatch", "File has unexpected size"];
    tail.iter().any(|line| signs.iter().any(|sign| line.contains(sign)))
}
