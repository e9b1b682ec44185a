//! `loitsut status`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::exit;
use crate::host::Host;
use crate::report::{Failure, State, Status, say};
use crate::stop;

/// How often a boot that goes on is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// How long a boot may take to begin, or to be begun again by systemd, until waiting for it makes no sense.
const NOBODY_THERE: Duration = Duration::from_secs(60);

/// Tells how the boot goes.
pub(super) async fn status(wait: bool, json: bool) -> Result<ExitCode> {
    let host = Host::here();
    let status = if wait { ended(&host).await? } else { Status::read(&host)? };
    let abandoned = match &status {
        Some(status) => status.is_abandoned(&host)?,
        None => false,
    };
    match &status {
        Some(status) if json => say(&serde_json::to_string_pretty(status)?),
        None if json => say("null"),
        Some(status) => print(status),
        None => say(
            "not begun: loitsut.service has not run in this boot; `systemctl is-enabled loitsut` tells whether it will",
        ),
    }
    if abandoned && !json {
        say("agent    gone in the middle of it: `systemctl status loitsut` tells whether it is started again");
    }
    Ok(match status.map(|status| status.state) {
        Some(State::InProgress) if abandoned && wait => exit::FAILURE,
        None | Some(State::InProgress | State::Rebooting) => exit::two(),
        Some(State::Ready | State::Nothing) => ExitCode::SUCCESS,
        Some(State::Failed | State::Stopped) => exit::FAILURE,
    })
}

/// The status once the boot has ended, or once nobody has been at it for a while.
async fn ended(host: &Host) -> Result<Option<Status>> {
    let mut seen = Instant::now();
    loop {
        let status = Status::read(host)?;
        match &status {
            // Whoever waits is ended by it.
            Some(status) if status.state == State::Rebooting => seen = Instant::now(),
            Some(status) if status.state != State::InProgress => return Ok(Some(status.clone())),
            Some(status) if !status.is_abandoned(host)? => seen = Instant::now(),
            _ if seen.elapsed() > NOBODY_THERE => return Ok(status),
            _ => {}
        }
        stop::unless_requested(tokio::time::sleep(LOOK)).await?;
    }
}

fn print(status: &Status) {
    say(&format!("state    {}", status.state.as_str()));
    line("phase", status.phase().map(|phase| phase.as_str().to_owned()));
    line("profile", status.profile.clone());
    line("launch", status.launch.clone());
    let now = status.steps.iter().rev().find(|step| step.span.duration.is_none());
    line("now", now.map(|step| format!("{} ({})", step.resource, step.layer)));
    let (changed, done) = (status.count("changed"), status.count("changed") + status.count("unchanged"));
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
