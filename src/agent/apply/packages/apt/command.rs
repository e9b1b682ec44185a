//! apt-get and dpkg, as a machine uses them: never asking, never restarting us, waiting for their locks with a deadline.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::{Instant, sleep};

use super::{failure, lists};
use crate::apply::Context;
use crate::apply::packages::locks::{self, Lock, wait_until_free};
use crate::host::file_error::FileError;
use crate::host::files::Attributes;
use crate::host::process::{ProcessError, Program};

/// How long one transaction may take.
const TRANSACTION: Duration = Duration::from_secs(3600);

/// What package managers of this family hold while they are at work.
const LOCKS: [Lock; 4] = [
    Lock::Fcntl("/var/lib/dpkg/lock-frontend"),
    Lock::Fcntl("/var/lib/dpkg/lock"),
    Lock::Fcntl("/var/lib/apt/lists/lock"),
    Lock::Fcntl("/var/cache/apt/archives/lock"),
];

/// There from the beginning of a transaction until it has succeeded.
const UNDER_WAY: &str = "/var/lib/loitsut/package-transaction";

/// Where debconf finds answers that go before all others.
const ANSWERS: &str = "/run/loitsut/debconf.dat";

/// The index of manual pages takes longer than most packages, and nobody reads any on a machine that is thrown away.
const NO_MAN_INDEX: &str = "\
Name: man-db/auto-update
Template: man-db/auto-update
Value: false
Owners: man-db
Flags: seen
";

/// A command line of apt-get with everything that keeps it quiet.
pub fn apt_get(context: &Context<'_>, words: &[&str]) -> Program {
    let mut all: Vec<String> = ["apt-get", "--yes", "--quiet"].map(str::to_owned).to_vec();
    let mut option = |text: &str| all.extend(["-o".to_owned(), text.to_owned()]);
    option("Dpkg::Use-Pty=0");
    option("Acquire::Retries=3");
    // A configuration file that was changed here stays; one that was not follows the package.
    option("Dpkg::Options::=--force-confdef");
    option("Dpkg::Options::=--force-confold");
    // An error in one source is an error: else the old lists are used and the wrong thing is installed.
    option("APT::Update::Error-Mode=any");
    if context.disposable {
        option("Dpkg::Options::=--force-unsafe-io");
    }
    all.extend(words.iter().map(|word| (*word).to_owned()));
    let program = unattended(Program::new(all).timeout(TRANSACTION).keep_output());
    if context.disposable { program.env("DEBCONF_DB_OVERRIDE", format!("File{{{ANSWERS}}}")) } else { program }
}

/// With nobody there to answer, and nothing restarted behind our back.
fn unattended(program: Program) -> Program {
    let answers = [
        ("DEBIAN_FRONTEND", "noninteractive"),
        ("DEBIAN_PRIORITY", "critical"),
        ("APT_LISTCHANGES_FRONTEND", "none"),
        ("APT_LISTBUGS_FRONTEND", "none"),
        ("NEEDRESTART_MODE", "l"),
        ("NEEDRESTART_SUSPEND", "1"),
        ("UCF_FORCE_CONFFOLD", "1"),
    ];
    answers.into_iter().fold(program, |program, (name, value)| program.env(name, value))
}

/// Runs a program that needs the locks, once nobody else has them. How it failed is for the caller to judge.
///
/// # Errors
/// The locks are not to be had.
pub async fn run(context: &Context<'_>, program: &Program) -> Result<Result<(), ProcessError>> {
    let host = context.host;
    let until = Instant::now() + locks::LONGEST;
    loop {
        wait_until_free(host, &LOCKS, "dpkg's", until).await?;
        match host.run_checked(program).await {
            // Somebody was faster, or sits in another container and cannot be seen.
            Err(ProcessError::Failed { tail, .. }) if is_locked(&tail) && Instant::now() < until => {
                tracing::debug!("the lock was taken in between: {}", words_of_failure(&tail));
                crate::stop::unless_requested(sleep(Duration::from_secs(1))).await?;
            }
            done => return Ok(done.map(drop)),
        }
    }
}

fn is_locked(tail: &[String]) -> bool {
    tail.iter()
        .any(|line| line.contains("Could not get lock") || line.contains("Unable to acquire the dpkg frontend lock"))
}

/// The line of apt's that says what went wrong.
pub fn words_of_failure(tail: &[String]) -> &str {
    tail.iter().find(|line| line.starts_with("E:") || line.starts_with("Err:")).map_or("", String::as_str)
}

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
    transaction(context, &words).await.context("dpkg was interrupted, and what it left cannot be finished")
}

/// Runs a transaction; where the mirror no longer has what the lists promise, updates them and tries once more.
///
/// # Errors
/// apt-get fails.
pub async fn transaction(context: &Context<'_>, words: &[&str]) -> Result<()> {
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
    forget_transaction(context)
}

/// Notes that nothing of ours is left to finish.
///
/// # Errors
/// The note of a transaction cannot be removed.
pub fn forget_transaction(context: &Context<'_>) -> Result<()> {
    Ok(context.host.remove(Path::new(UNDER_WAY))?)
}

fn is_superseded(tail: &[String]) -> bool {
    let signs = ["404  Not Found", "Hash Sum mismatch", "File has unexpected size"];
    tail.iter().any(|line| signs.iter().any(|sign| line.contains(sign)))
}
