//! `git`: what HEAD is, read from files; the work done by git as the owner, in place where a checkout is there.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use loitsut_profile::resource::{Git, Revision};
use loitsut_profile::sha256::Sha256;

use super::command::was_cut_short;
use super::{Context, Converge, Drift};
use crate::host::Host;
use crate::host::accounts::User;
use crate::host::files::{Attributes, Kind};
use crate::host::process::{ProcessError, Program};
use crate::stop;

/// What is known of each checkout, a file for each by the digest of its path: `begun`, or what it was taken from.
const RECORDS: &str = "/var/lib/loitsut/git";
const BEGUN: &str = "begun\n";

/// Where a checkout has its repository.
const FILES: &str = ".git";

/// For all that git does at once; what stalls ends before, by `http.lowSpeed…`.
const TIMEOUT: Duration = Duration::from_secs(3600);

/// What git says when trying again may help, and the pauses before each try.
const TRANSIENT: [&str; 10] = [
    "Could not resolve host",
    "Connection refused",
    "Connection reset",
    "Connection timed out",
    "Operation too slow",
    "early EOF",
    "unexpected disconnect",
    "returned error: 429",
    "returned error: 5",
    "Temporary failure",
];
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(4), Duration::from_secs(15)];

/// No program of the repository's or of an admin's templates runs, and nothing but the URL's own repository is fetched.
const SETTINGS: [&str; 8] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "advice.detachedHead=false",
    "gc.auto=0",
    "http.lowSpeedLimit=1000",
    "http.lowSpeedTime=60",
];

/// How a checkout differs.
pub enum GitDrift {
    /// It is not there.
    Missing,
    /// Git came to an end in the middle of changing it.
    HalfMade,
    /// It is of another commit, or of another repository.
    Differs(String),
}

impl fmt::Display for GitDrift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("is missing"),
            Self::HalfMade => f.write_str("is half made"),
            Self::Differs(words) => f.write_str(words),
        }
    }
}

impl Drift for GitDrift {}

impl Converge for Git {
    type Drift = GitDrift;

    async fn check(&self, context: &Context<'_>) -> Result<Option<GitDrift>> {
        let host = context.host;
        let Some(stat) = host.stat(self.path.as_path())? else { return Ok(Some(GitDrift::Missing)) };
        if stat.kind != Kind::Directory {
            bail!("{} is there and not a directory: remove it, or name another path", self.path);
        }
        let files = self.path.as_path().join(FILES);
        if host.stat(&files)?.is_none_or(|stat| stat.kind != Kind::Directory) {
            if host.list(self.path.as_path())?.is_empty() {
                return Ok(Some(GitDrift::Missing));
            }
            bail!("{} has something else than a git checkout in it: remove it, or name another path", self.path);
        }
        check_owner(self, host, stat.uid)?;
        let record = host.read_text(&record(self))?.unwrap_or_default();
        if record == BEGUN {
            return Ok(Some(GitDrift::HalfMade));
        }
        let head = head(host, &files)?.unwrap_or_default();
        Ok(difference(self, &record, &head).map(GitDrift::Differs))
    }

    async fn apply(&self, context: &Context<'_>, drift: GitDrift) -> Result<()> {
        let (host, path) = (context.host, self.path.as_path());
        match drift {
            GitDrift::Missing => clone(self, host).await?,
            GitDrift::HalfMade => check_out(&Checkout::of(self, host, path)?, true).await?,
            GitDrift::Differs(_) => {
                let before = host.read_text(&record(self))?.unwrap_or_default();
                host.write(&record(self), BEGUN.as_bytes(), Attributes::PUBLIC)?;
                let done = check_out(&Checkout::of(self, host, path)?, false).await;
                if done.as_ref().is_err_and(|error| !was_cut_short(error)) {
                    // It said no before it touched anything, because of local changes for example.
                    host.write(&record(self), before.as_bytes(), Attributes::PUBLIC)?;
                }
                done?;
            }
        }
        let head = head(host, &path.join(FILES))?.unwrap_or_default();
        Ok(host.write(&record(self), done(self, &head).as_bytes(), Attributes::PUBLIC)?)
    }
}

fn check_owner(git: &Git, host: &Host, uid: u32) -> Result<()> {
    // A user that does not exist yet owns nothing.
    if host.uid(git.owner.as_str()).ok() == Some(uid) {
        return Ok(());
    }
    bail!(
        "{path} belongs to the user with id {uid}, not to `{owner}`\n\
         help: `chown -R {owner}: {path}` would change that; it would be cloned again if it were not there",
        path = git.path,
        owner = git.owner
    )
}

/// How what is there differs, by its record and the commit that it is at.
fn difference(git: &Git, record: &str, head: &str) -> Option<String> {
    let known = record == done(git, head);
    let exact = matches!(&git.revision, Revision::Commit(id) if id == head) && record.is_empty();
    (!known && !exact).then(|| {
        let at = if head.is_empty() { "no commit" } else { head };
        format!("is at {at}, and not known to be {} of {}", git.revision, git.url)
    })
}

/// The commit that is checked out. The owner of the checkout can make any file of it say anything, or a link to a file
/// that only root may read: what is no commit's id is not repeated to anybody.
fn head(host: &Host, files: &Path) -> Result<Option<String>> {
    let Some(head) = host.read_text(&files.join("HEAD"))? else { return Ok(None) };
    let Some(name) = head.trim_end().strip_prefix("ref: ") else { return Ok(commit_id(&head)) };
    if !name.starts_with("refs/") || name.split('/').any(|part| part == "..") {
        return Ok(None);
    }
    if let Some(id) = host.read_text(&files.join(name))? {
        return Ok(commit_id(&id));
    }
    let packed = host.read_text(&files.join("packed-refs"))?.unwrap_or_default();
    let found = packed.lines().filter_map(|line| line.split_once(' ')).find(|(_, of)| *of == name);
    Ok(found.and_then(|(id, _)| commit_id(id)))
}

fn commit_id(text: &str) -> Option<String> {
    let id = text.trim_end();
    (matches!(id.len(), 40 | 64) && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| id.to_owned())
}

fn record(git: &Git) -> PathBuf {
    Path::new(RECORDS).join(Sha256::of(git.path.as_str().as_bytes()).to_string())
}

fn done(git: &Git, head: &str) -> String {
    format!("{}\n{}\n{head}\n", git.url, git.revision)
}

/// Under another name until it is whole.
async fn clone(git: &Git, host: &Host) -> Result<()> {
    let fresh = host.beside(git.path.as_path());
    let owner = host.user(git.owner.as_str())?;
    host.remove_tree(&fresh)?;
    host.make_directory(&fresh, Attributes { mode: 0o755, uid: owner.uid, gid: owner.gid })?;
    let checkout = Checkout::of(git, host, &fresh)?;
    checkout.run(&["init", "--quiet", "--template=", "--initial-branch=main"]).await?;
    check_out(&checkout, false).await?;
    Ok(host.put_in_place(&fresh, git.path.as_path())?)
}

/// Brings a repository to the revision. By force, what is there is not looked at: an earlier git was cut short.
async fn check_out(checkout: &Checkout<'_>, force: bool) -> Result<()> {
    let git = checkout.git;
    if force {
        let find = ["find", FILES, "-name", "*.lock", "-type", "f", "-delete"];
        checkout.host.run_checked(&checkout.program(find)).await?;
    }
    checkout.run(&["config", "remote.origin.url", git.url.as_str()]).await?;
    checkout.run(&["config", "remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*"]).await?;
    fetch(checkout).await.with_context(|| format!("{} of {} cannot be fetched", git.revision, git.url))?;
    let commit = match &git.revision {
        Revision::Commit(id) => id.clone(),
        Revision::Tag(name) => format!("refs/tags/{name}^{{commit}}"),
    };
    let mut words = vec!["checkout", "--quiet", "--detach"];
    words.extend(force.then_some("--force"));
    words.push(&commit);
    checkout.run(&words).await.with_context(|| format!("{} of {} cannot be checked out", git.revision, git.url))?;
    // Git leaves the files of a checkout to the kernel; HEAD would say more than is there after a power cut.
    Ok(checkout.host.sync_file_system(&checkout.directory)?)
}

async fn fetch(checkout: &Checkout<'_>) -> Result<()> {
    let git = checkout.git;
    let (wanted, commit) = match &git.revision {
        Revision::Commit(id) => (id.clone(), Some(format!("{id}^{{commit}}"))),
        Revision::Tag(name) => (format!("+refs/tags/{name}:refs/tags/{name}"), None),
    };
    let is_there = async || match &commit {
        Some(commit) => checkout.run(&["cat-file", "-e", commit]).await.is_ok(),
        None => false,
    };
    if is_there().await {
        return Ok(());
    }
    if let Some(depth) = git.depth {
        let depth = format!("--depth={depth}");
        match checkout.retried(&["fetch", "--quiet", "--no-tags", &depth, "origin", &wanted]).await {
            Ok(()) => return Ok(()),
            // Plain web servers and old ones cannot give a part of a history.
            Err(ProcessError::Failed { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    checkout.retried(&["fetch", "--quiet", "--tags", "--force", "origin"]).await?;
    // A commit that no branch and no tag has: of a merge request, for example.
    if commit.is_some() && !is_there().await {
        checkout.retried(&["fetch", "--quiet", "--no-tags", "origin", &wanted]).await?;
    }
    Ok(())
}

/// A directory that git works in, as its owner: what a repository makes git do can harm nobody else.
struct Checkout<'a> {
    git: &'a Git,
    host: &'a Host,
    owner: User,
    directory: PathBuf,
}

impl<'a> Checkout<'a> {
    fn of(git: &'a Git, host: &'a Host, directory: &Path) -> Result<Self> {
        Ok(Self { git, host, owner: host.user(git.owner.as_str())?, directory: directory.to_owned() })
    }

    fn program<'w>(&self, words: impl IntoIterator<Item = &'w str>) -> Program {
        Program::new(words)
            .user(self.owner.clone())
            .directory(&self.directory)
            .timeout(TIMEOUT)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes -o ConnectTimeout=30")
            .env("GIT_ALLOW_PROTOCOL", "file:git:http:https:ssh")
    }

    async fn run(&self, words: &[&str]) -> Result<(), ProcessError> {
        let settings = SETTINGS.iter().flat_map(|setting| ["-c", setting]);
        let all = std::iter::once("git").chain(settings).chain(words.iter().copied());
        self.host.run_checked(&self.program(all)).await.map(|_| ())
    }

    /// Tried again where git says that this may help.
    async fn retried(&self, words: &[&str]) -> Result<(), ProcessError> {
        for pause in PAUSES {
            match self.run(words).await {
                Err(error @ ProcessError::Failed { .. }) if is_transient(&error) => {
                    tracing::warn!("{}: trying again in {} s: {error}", self.git.url, pause.as_secs());
                    stop::unless_requested(tokio::time::sleep(pause)).await.map_err(|_| error)?;
                }
                ended => return ended,
            }
        }
        self.run(words).await
    }
}

fn is_transient(error: &ProcessError) -> bool {
    let said = error.to_string();
    TRANSIENT.iter().any(|words| said.contains(words))
}
