//! apt-get and dpkg, as a machine uses them: never asking, never restarting us, waiting for their lock with a deadline.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::Context;
use crate::host::Host;
use crate::host::process::{ProcessError, Program};

/// How long apt may wait for a lock that apt-daily or unattended-upgrades holds, in seconds.
const LOCK_TIMEOUT: u32 = 600;

/// How long one transaction may take.
const TRANSACTION: Duration = Duration::from_secs(3600);

/// How often `apt-get update` is tried: mirrors are inconsistent for a moment when they are renewed.
const UPDATE_TRIES: u32 = 3;

/// Whether the package lists were brought up to date in this run.
#[derive(Default)]
pub struct Lists {
    fresh: Cell<bool>,
}

/// What the package lists know of one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// The version that would be installed.
    pub candidate: Option<String>,
    /// All versions that can be had.
    pub versions: Vec<String>,
}

/// A command line of apt-get with everything that keeps it quiet.
pub fn apt_get(context: &Context<'_>, words: &[&str]) -> Program {
    let mut all: Vec<String> = ["apt-get", "--yes", "--quiet"].map(str::to_owned).to_vec();
    let mut option = |text: String| all.extend(["-o".to_owned(), text]);
    option(format!("DPkg::Lock::Timeout={LOCK_TIMEOUT}"));
    option("Dpkg::Use-Pty=0".into());
    option("Acquire::Retries=3".into());
    // A configuration file that was changed here stays; one that was not follows the package.
    option("Dpkg::Options::=--force-confdef".into());
    option("Dpkg::Options::=--force-confold".into());
    // An error in one source is an error: else the old lists are used and the wrong thing is installed.
    option("APT::Update::Error-Mode=any".into());
    if context.disposable {
        option("Dpkg::Options::=--force-unsafe-io".into());
    }
    all.extend(words.iter().map(|word| (*word).to_owned()));
    unattended(Program::new(all).timeout(TRANSACTION))
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

/// Whether dpkg was killed in the middle of something that no package tells of: its journal is not empty, or triggers
/// wait.
///
/// # Errors
/// Its files cannot be read.
pub fn left_work(context: &Context<'_>) -> Result<bool> {
    let journal = context.host.list(Path::new("/var/lib/dpkg/updates"))?;
    Ok(!journal.is_empty() || context.packages.status(context.host)?.triggers)
}

/// Finishes what a dpkg that was killed left half done.
///
/// # Errors
/// dpkg cannot finish it.
pub async fn repair(context: &Context<'_>) -> Result<()> {
    let host = context.host;
    tracing::warn!("dpkg was interrupted: finishing what it had begun");
    let words = ["dpkg", "--configure", "--pending", "--force-confdef", "--force-confold"];
    // Fails where a package was unpacked before what it depends on; what is left, apt-get tells.
    host.run(&unattended(Program::new(words).timeout(TRANSACTION))).await?;
    let status = context.packages.status(host)?;
    let half: Vec<&str> = status.half_installed.iter().map(String::as_str).collect();
    if !half.is_empty() {
        update(context).await?;
    }
    // Of itself --fix-broken fetches what is half installed, and leaves it at that.
    let words = [&["--fix-broken", "--reinstall", "install"], &half[..]].concat();
    transaction(context, &words).await.context("dpkg was interrupted, and what it left cannot be finished")
}

/// Brings the package lists up to date, once in a run.
///
/// # Errors
/// A source cannot be read, also not when tried again.
pub async fn update(context: &Context<'_>) -> Result<()> {
    if context.lists.fresh.get() {
        return Ok(());
    }
    for attempt in 1.. {
        match context.host.run_checked(&apt_get(context, &["update"])).await {
            Ok(_) => break,
            Err(ProcessError::Failed { tail, .. }) if attempt < UPDATE_TRIES => {
                let why = tail.iter().find(|line| line.starts_with("E:") || line.starts_with("Err:"));
                tracing::warn!(attempt, "apt-get update failed, trying again: {}", why.map_or("", String::as_str));
                let pause = Duration::from_secs(5 * u64::from(attempt));
                crate::stop::unless_requested(tokio::time::sleep(pause)).await?;
            }
            Err(error) => return Err(error).context("the package lists cannot be brought up to date"),
        }
    }
    context.lists.fresh.set(true);
    Ok(())
}

/// Runs a transaction; where the mirror no longer has what the lists promise, updates them and tries once more.
///
/// # Errors
/// apt-get fails.
pub async fn transaction(context: &Context<'_>, words: &[&str]) -> Result<()> {
    let program = apt_get(context, words);
    match context.host.run_checked(&program).await {
        Ok(_) => Ok(()),
        Err(ProcessError::Failed { tail, .. }) if is_superseded(&tail) => {
            tracing::warn!("the mirror has changed since the lists were read: updating them and trying again");
            context.lists.fresh.set(false);
            update(context).await?;
            Ok(context.host.run_checked(&program).await.map(drop)?)
        }
        Err(error) => Err(error.into()),
    }
}

fn is_superseded(tail: &[String]) -> bool {
    let signs = ["404  Not Found", "Hash Sum mismatch", "File has unexpected size"];
    tail.iter().any(|line| signs.iter().any(|sign| line.contains(sign)))
}

/// What the lists know of these names; names that they do not know are left out.
///
/// # Errors
/// apt-cache fails.
pub async fn policy(host: &Host, names: &[&str]) -> Result<BTreeMap<String, Policy>> {
    let words = ["apt-cache", "policy"].into_iter().chain(names.iter().copied());
    let finished = host.run_checked(&Program::new(words).keep_output()).await?;
    Ok(parse_policy(&finished.tail))
}

/// Whether some package provides a virtual name.
///
/// # Errors
/// apt-cache fails.
pub async fn is_provided(host: &Host, name: &str) -> Result<bool> {
    let finished = host.run_checked(&Program::new(["apt-cache", "showpkg", name]).keep_output()).await?;
    let mut after = finished.tail.iter().skip_while(|line| !line.starts_with("Reverse Provides:"));
    Ok(after.nth(1).is_some())
}

/// `apt-cache policy`: an unindented `name:`, then `Candidate: version`, then a table whose lines begin with a version
/// (five columns in, or marked `***`).
fn parse_policy(lines: &[String]) -> BTreeMap<String, Policy> {
    let mut known = BTreeMap::new();
    let mut name = String::new();
    for line in lines {
        if let Some(header) = line.strip_suffix(':').filter(|header| !header.starts_with(' ')) {
            name = header.to_owned();
            known.insert(name.clone(), Policy::default());
        }
        let Some(policy) = known.get_mut(&name) else { continue };
        if let Some(candidate) = line.trim().strip_prefix("Candidate: ").filter(|candidate| *candidate != "(none)") {
            policy.candidate = Some(candidate.to_owned());
        }
        let version = line.strip_prefix(" *** ").or_else(|| line.strip_prefix("     ").filter(|l| !l.starts_with(' ')));
        policy.versions.extend(version.and_then(|rest| rest.split(' ').next()).map(str::to_owned));
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_is_read_as_apt_prints_it() {
        let text = "\
gcc:
  Installed: (none)
  Candidate: 4:12.2.0-3
  Version table:
     4:12.2.0-3 500
        500 http://deb.debian.org/debian bookworm/main amd64 Packages
apt:
  Installed: 2.6.1
  Candidate: 2.6.1
  Version table:
 *** 2.6.1 500
        500 http://deb.debian.org/debian bookworm/main amd64 Packages
        100 /var/lib/dpkg/status
awk:
  Installed: (none)
  Candidate: (none)
  Version table:
";
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let known = parse_policy(&lines);
        assert_eq!(known["gcc"].candidate.as_deref(), Some("4:12.2.0-3"));
        assert_eq!(known["gcc"].versions, ["4:12.2.0-3"]);
        assert_eq!(known["apt"].versions, ["2.6.1"]);
        assert_eq!(known["awk"], Policy::default());
    }
}
