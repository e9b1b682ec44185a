//! The worker watched until it ends.

use std::time::Duration;

use anyhow::Result;
use loitsut_profile::resource::WorkerUnit;

use crate::host::Host;
use crate::launch::{self, Before, WORKER};
use crate::report::{Event, Reporter, State, WorkerReport, WorkerState};
use crate::unit::{self, Unit};

/// How often the worker is looked at: one look at a link.
const LOOK: Duration = Duration::from_secs(1);

/// ready -> (restarting -> starting -> ready)… -> exited or failed. Returns when the worker has ended with success.
///
/// # Errors
/// It has ended otherwise.
pub async fn watch(host: &Host, worker: &WorkerUnit, reporter: &mut Reporter<'_>) -> Result<()> {
    let mut coming_up = None;
    loop {
        let unit = tokio::select! {
            unit = interrupted(host) => unit?,
            ready = ready_again(host, worker, coming_up.as_ref()) => {
                ready?;
                tell(reporter, WorkerState::Ready, None);
                coming_up = None;
                continue;
            }
        };
        if unit.has_ended() {
            return end(host, &unit, reporter).await;
        }
        tell(reporter, WorkerState::Restarting, Some(&unit));
        coming_up = Some(Before::now(host, worker)?);
        if runs_again(host).await? {
            tell(reporter, WorkerState::Starting, None);
        }
    }
}

/// Waits until the worker has stopped to run, for good or not.
async fn interrupted(host: &Host) -> Result<Unit> {
    loop {
        tokio::time::sleep(LOOK).await;
        if unit::is_active(host, WORKER)? {
            continue;
        }
        let unit = Unit::show(host, WORKER).await?;
        if !unit.is_running() {
            return Ok(unit);
        }
    }
}

/// Waits until systemd has started the worker again, or has given it up; whether it runs.
async fn runs_again(host: &Host) -> Result<bool> {
    loop {
        tokio::time::sleep(LOOK).await;
        if unit::is_active(host, WORKER)? {
            return Ok(true);
        }
        if Unit::show(host, WORKER).await?.has_ended() {
            return Ok(false);
        }
    }
}

/// Waits until a worker that was started again is ready; for ever, if none was.
async fn ready_again(host: &Host, worker: &WorkerUnit, before: Option<&Before>) -> Result<()> {
    match before {
        Some(before) => launch::ready(host, worker, before).await,
        None => std::future::pending().await,
    }
}

/// The worker has ended because it was asked to.
pub fn has_stopped(unit: &Unit, reporter: &mut Reporter<'_>) {
    let state = if unit.succeeded() { WorkerState::Exited } else { WorkerState::Failed };
    tell(reporter, state, Some(unit));
}

async fn end(host: &Host, unit: &Unit, reporter: &mut Reporter<'_>) -> Result<()> {
    if unit.succeeded() {
        tell(reporter, WorkerState::Exited, Some(unit));
        reporter.emit(Event::Ended(State::Stopped, None));
        return Ok(());
    }
    tell(reporter, WorkerState::Failed, Some(unit));
    let what = format!("the worker has failed: {}; `journalctl -u {WORKER}` has its output", unit.how_it_ended());
    Err(launch::failed(host, what, Some(unit), unit.started()).await)
}

fn tell(reporter: &mut Reporter<'_>, state: WorkerState, unit: Option<&Unit>) {
    let result = unit.map(|unit| unit.result().to_owned());
    reporter.emit(Event::Worker(WorkerReport { state, result }));
}
