//! apt-get and dpkg, as a machine uses them: never asking, never restarting us, waiting for their locks with a deadline.

use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep};

use crate::apply::Context;
use crate::apply::packages::locks::{self, Lock, wait_until_free};
use crate::host::process::{ProcessError, Program};

/// How long one transaction may take.
pub(super) const TRANSACTION: Duration = Duration::from_secs(3600);

/// What package managers of this family hold while they are at work.
const LOCKS: [Lock; 4] = [
    Lock::Fcntl("/var/lib/dpkg/lock-frontend"),
    Lock::Fcntl("/var/lib/dpkg/lock"),
    Lock::Fcntl("/var/lib/apt/lists/lock"),
    Lock::Fcntl("/var/cache/apt/archives/lock"),
];

/// Where debconf finds answers that go before all others.
pub(super) const ANSWERS: &str = "/run/loitsut/debconf.dat";

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
pub fn unattended(program: Program) -> Program {
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
