//! dnf, as a machine uses it: never asking, waiting for its locks with a deadline.

use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep};

use crate::apply::Context;
use crate::apply::packages::locks::{self, Lock, wait_until_free};
use crate::host::process::{Finished, ProcessError, Program};

/// How long one transaction may take.
const TRANSACTION: Duration = Duration::from_secs(3600);

/// What package managers of this family hold while they are at work.
const LOCKS: [Lock; 5] = [
    Lock::Pid("/var/lib/dnf/rpmdb_lock.pid"),
    Lock::Pid("/var/cache/dnf/metadata_lock.pid"),
    Lock::Pid("/var/cache/dnf/download_lock.pid"),
    Lock::Fcntl("/usr/lib/sysimage/rpm/.rpm.lock"),
    Lock::Fcntl("/var/lib/rpm/.rpm.lock"),
];

/// A command line of dnf with everything that keeps it quiet. It fails where another one is at work, for it would wait
/// without an end.
fn dnf(words: &[&str]) -> Program {
    let always = ["dnf", "--assumeyes", "--setopt=exit_on_lock=True", "--setopt=clean_requirements_on_remove=False"];
    Program::new(always.into_iter().chain(words.iter().copied())).timeout(TRANSACTION).keep_output()
}

/// Runs dnf once nobody else has its locks. How it failed is for the caller to judge.
///
/// # Errors
/// The locks are not to be had.
pub async fn run(context: &Context<'_>, words: &[&str]) -> Result<Result<Finished, ProcessError>> {
    let (host, program) = (context.host, dnf(words));
    let until = Instant::now() + locks::LONGEST;
    loop {
        wait_until_free(host, &LOCKS, "the package manager's", until).await?;
        match host.run_checked(&program).await {
            Err(ProcessError::Failed { tail, .. }) if is_locked(&tail) && Instant::now() < until => {
                tracing::debug!("the lock was taken in between");
                crate::stop::unless_requested(sleep(Duration::from_secs(1))).await?;
            }
            done => return Ok(done),
        }
    }
}

fn is_locked(tail: &[String]) -> bool {
    let signs = ["already locked by", "Failed to obtain the transaction lock", "can't create transaction lock"];
    tail.iter().any(|line| signs.iter().any(|sign| line.contains(sign)))
}

/// Runs a transaction; where the repositories no longer have what their metadata promise, or do not know a name, asks
/// them anew and tries once more. The names that nobody knows are given back: then nothing was touched.
///
/// # Errors
/// dnf fails.
pub async fn transaction(context: &Context<'_>, words: &[&str]) -> Result<Vec<String>> {
    let failed = match run(context, words).await? {
        Ok(finished) => return Ok(told_of_scriptlets(&finished)),
        Err(ProcessError::Failed { tail, .. }) if is_outdated(&tail) || !unknown(&tail).is_empty() => {
            tracing::info!("dnf does not find everything: asking the repositories anew");
            run(context, &[&["--refresh"], words].concat()).await?
        }
        Err(error) => Err(error),
    };
    match failed {
        Ok(finished) => Ok(told_of_scriptlets(&finished)),
        Err(ProcessError::Failed { tail, .. }) if !unknown(&tail).is_empty() => Ok(unknown(&tail)),
        Err(error) => Err(shortened(error).into()),
    }
}

/// The names that nobody knows, with nothing touched.
///
/// # Errors
/// dnf cannot tell.
pub async fn unknown_of(context: &Context<'_>, names: &[String]) -> Result<Vec<String>> {
    let words = ["--refresh", "--assumeno", "install"].into_iter().chain(names.iter().map(String::as_str));
    match run(context, &words.collect::<Vec<_>>()).await? {
        // It always fails, for the answer is no.
        Err(ProcessError::Failed { tail, .. }) => Ok(unknown(&tail)),
        done => Ok(done.map(|_| Vec::new())?),
    }
}

fn is_outdated(tail: &[String]) -> bool {
    let signs = ["Status code: 404", "Downloading successful, but checksum doesn't match", "No more mirrors to try"];
    tail.iter().any(|line| signs.iter().any(|sign| line.contains(sign)))
}

/// The arguments that dnf has no package for.
fn unknown(tail: &[String]) -> Vec<String> {
    let argument = |line: &String| {
        let signs = ["No match for argument: ", "No package matched: ", "no package matched: "];
        signs.iter().find_map(|sign| line.split_once(sign)).map(|(_, name)| name.trim().to_owned())
    };
    tail.iter().filter_map(argument).collect()
}

/// rpm takes a script that fails after installing for no failure; somebody should know all the same.
fn told_of_scriptlets(finished: &Finished) -> Vec<String> {
    for line in finished.tail.iter().filter(|line| line.contains("scriptlet failed")) {
        tracing::warn!("a script of a package failed, which rpm leaves at that: {line}");
    }
    Vec::new()
}

/// With its last lines only.
pub fn shortened(error: ProcessError) -> ProcessError {
    match error {
        ProcessError::Failed { command, status, mut tail } => {
            tail.drain(..tail.len().saturating_sub(50));
            ProcessError::Failed { command, status, tail }
        }
        other => other,
    }
}
