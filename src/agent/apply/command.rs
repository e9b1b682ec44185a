//! `command`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};
use loitsut_profile::resource::{Action, Command};
use loitsut_profile::sha256::Sha256;

use super::{Context, Converge};
use crate::host::Host;
use crate::host::files::{Attributes, Kind};
use crate::host::process::{ProcessError, Program};

/// What is known of commands without a guard, a file for each: `begun` or `done`.
const RECORDS: &str = "/var/lib/loitsut/commands";

/// Scripts while they run; not on a disk, since a script may hold what a template put there.
const SCRIPTS: &str = "/run/loitsut/scripts";

/// How long an `unless` may take.
const GUARD: Duration = Duration::from_secs(300);

impl Converge for Command {
    type Drift = String;

    async fn check(&self, context: &Context<'_>) -> Result<Option<String>> {
        let host = context.host;
        if let Some(path) = &self.creates {
            return Ok(host.stat_through(path.as_path())?.is_none().then(|| format!("has not made {path}")));
        }
        if let Some(unless) = &self.unless {
            return guard(self, host, unless).await;
        }
        match host.read_text(&record(self))?.as_deref() {
            Some("done\n") => Ok(None),
            None => Ok(Some("has not been run".into())),
            Some(_) => bail!(
                "it was begun once and its end is not known: the machine or the agent stopped in the middle\n\
                 help: look whether it did its work; then `echo done >{path}`, or remove that file to run it again. \
                 A guard, `creates` or `unless`, would have told",
                path = record(self).display()
            ),
        }
    }

    async fn apply(&self, context: &Context<'_>, _drift: String) -> Result<()> {
        let host = context.host;
        let guarded = self.creates.is_some() || self.unless.is_some();
        if !guarded {
            host.write(&record(self), b"begun\n", Attributes::PRIVATE)?;
        }
        let ran = run(self, host).await;
        match &ran {
            _ if guarded => {}
            Ok(()) => host.write(&record(self), b"done\n", Attributes::PRIVATE)?,
            Err(error) if was_cut_short(error) => {}
            // It ended, and said that it failed: that much is known, and it may be tried again.
            Err(_) => host.remove(&record(self))?,
        }
        ran
    }
}

/// The drift that an `unless` tells; where it cannot run yet, the command has not been run either.
async fn guard(command: &Command, host: &Host, unless: &[String]) -> Result<Option<String>> {
    if let Some(obstacle) = obstacle(command, host)? {
        return Ok(Some(format!("has not been run: {obstacle}")));
    }
    let guard = surroundings(command, host, Program::new(unless.to_vec()))?.timeout(GUARD);
    match host.run(&guard).await {
        Ok(finished) if finished.status.success() => Ok(None),
        Ok(_) => Ok(Some(format!("`{}` says that it is not done", unless.join(" ")))),
        Err(ProcessError::Start { .. }) => Ok(Some(format!("`{}` cannot be run yet", unless.join(" ")))),
        Err(error) => Err(error.into()),
    }
}

/// Whether we ended it, in the middle of who knows what.
pub(super) fn was_cut_short(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(ProcessError::TimedOut { .. } | ProcessError::Stopped { .. }))
}

async fn run(command: &Command, host: &Host) -> Result<()> {
    if let Some(obstacle) = obstacle(command, host)? {
        bail!("{obstacle}: a resource before this one would make it");
    }
    match &command.action {
        Action::Program(words) => {
            host.run_checked(&surroundings(command, host, Program::new(words.clone()))?).await?;
        }
        Action::Script(text) => {
            let path = Path::new(SCRIPTS).join(digest(command).to_string());
            let (uid, gid) = ids(command, host)?;
            host.write(&path, text.as_bytes(), Attributes { mode: 0o500, uid, gid })?;
            let program = interpreter(text).chain([path.display().to_string()]);
            let ran = host.run_checked(&surroundings(command, host, Program::new(program))?).await;
            let removed = host.remove(&path);
            ran?;
            removed?;
        }
    }
    Ok(())
}

/// What it is to run with, and is not there.
fn obstacle(command: &Command, host: &Host) -> Result<Option<String>> {
    if let Some(name) = &command.user
        && !host.users()?.iter().any(|user| user.name == name.as_str())
    {
        return Ok(Some(format!("there is no user `{name}`")));
    }
    // Else the kernel's "no such file" would be taken for one about the program.
    if let Some(path) = &command.directory
        && host.stat_through(path.as_path())?.is_none_or(|stat| stat.kind != Kind::Directory)
    {
        return Ok(Some(format!("there is no directory {path}")));
    }
    Ok(None)
}

/// The words before the script's own path. /run may be mounted noexec, so that the kernel cannot read the `#!` line.
fn interpreter(script: &str) -> impl Iterator<Item = String> {
    let line = script.lines().next().unwrap_or_default();
    let words = match line.strip_prefix("#!") {
        // As the kernel has it: one interpreter and at most one argument.
        Some(line) => line.trim().splitn(2, char::is_whitespace).map(|word| word.trim().to_owned()).collect(),
        None => vec!["/bin/sh".to_owned(), "-eu".to_owned()],
    };
    words.into_iter()
}

fn surroundings(command: &Command, host: &Host, program: Program) -> Result<Program> {
    let mut program = program.timeout(command.timeout.get());
    for (name, value) in &command.environment {
        program = program.env(name, value.as_str());
    }
    if let Some(user) = &command.user {
        program = program.user(host.user(user.as_str())?);
    }
    if let Some(directory) = &command.directory {
        program = program.directory(directory.as_path());
    }
    Ok(program)
}

fn ids(command: &Command, host: &Host) -> Result<(u32, u32)> {
    match &command.user {
        Some(user) => host.user(user.as_str()).map(|user| (user.uid, user.gid)).map_err(Into::into),
        None => Ok((0, 0)),
    }
}

/// The same command in the same surroundings; another parameter makes it another.
fn digest(command: &Command) -> Sha256 {
    let action = match &command.action {
        Action::Program(words) => ("command", words.clone()),
        Action::Script(text) => ("script", vec![text.clone()]),
    };
    let user = command.user.as_ref().map(ToString::to_string);
    let directory = command.directory.as_ref().map(ToString::to_string);
    let identity = serde_json::json!([action, user, directory, command.environment]);
    Sha256::of(identity.to_string().as_bytes())
}

fn record(command: &Command) -> PathBuf {
    Path::new(RECORDS).join(digest(command).to_string())
}
