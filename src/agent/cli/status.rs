//! `loitsut status`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;

use super::exit;
use crate::host::Host;
use crate::report::{Failure, State, Status, say};
use crate::stop;

/// How often a boot that goes on is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Tells how the boot goes.
pub(super) async fn status(wait: bool, json: bool) -> Result<ExitCode> {
    let host = Host::here();
    let mut status = Status::read(&host)?;
    while wait && status.as_ref().is_none_or(|status| status.state == State::InProgress) {
        stop::unless_requested(tokio::time::sleep(LOOK)).await?;
        status = Status::read(&host)?;
    }
    match &status {
        Some(status) if json => say(&serde_json::to_string_pretty(status)?),
        None if json => say("null"),
        Some(status) => print(status),
        None => say("not begun: loitsut.service has not run in this boot"),
    }
    Ok(match status.map(|status| status.state) {
        None | Some(State::InProgress) => exit::two(),
        Some(State::Ready | State::Nothing) => ExitCode::SUCCESS,
        Some(State::Failed | State::Stopped) => exit::FAILURE,
    })
}

fn print(status: &Status) {
    say(&format!("state    {}", status.state.as_str()));
    line("phase", status.phase().map(|phase| phase.as_str().to_owned()));
    line("profile", status.profile.clone());
    line("launch", status.launch.clone());
    if let Some(step) = status.steps.iter().rev().find(|step| step.span.duration.is_none()) {
        let word = if status.failure.is_some() { "failed in" } else { "now" };
        say(&format!("{word:8} {} ({})", step.resource, step.layer));
    }
    let (done, changed) = (status.steps.iter().filter(|step| step.outcome.is_some()).count(), status.count("changed"));
    line("steps", (done > 0).then(|| format!("{done} done, {changed} changed")));
    line("worker", status.worker.as_ref().map(|worker| worker.state.as_str().to_owned()));
    if let Some(failure) = &status.failure {
        print_failure(failure);
    }
}

fn line(name: &str, value: Option<String>) {
    if let Some(value) = value {
        say(&format!("{name:8} {value}"));
    }
}

fn print_failure(failure: &Failure) {
    say(&format!("failed   {}: {}", failure.class.as_str(), failure.message));
    say("         journalctl -u loitsut has it all");
}
