//! The worker watched until it ends.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::host::Host;
use crate::launch::WORKER;
use crate::report::{Event, Reporter, WorkerReport, WorkerState};
use crate::stop;
use crate::unit::{self, Unit};

/// How often the worker is looked at: one look at a link.
const LOOK: Duration = Duration::from_secs(1);

/// Returns when the worker has ended with success, or the agent is asked to stop.
///
/// # Errors
/// The worker has ended otherwise.
pub async fn watch(host: &Host, reporter: &mut Reporter<'_>) -> Result<()> {
    let mut restarting = false;
    while stop::unless_requested(tokio::time::sleep(LOOK)).await.is_ok() {
        if unit::is_active(host, WORKER)? {
            if restarting {
                reporter.emit(Event::Worker(WorkerReport { state: WorkerState::Starting, result: None }));
                restarting = false;
            }
            continue;
        }
        let unit = Unit::show(host, WORKER).await?;
        let report = |state| Event::Worker(WorkerReport { state, result: Some(unit.result().to_owned()) });
        if !unit.has_ended() {
            if !restarting && !unit.is_running() {
                reporter.emit(report(WorkerState::Restarting));
                restarting = true;
            }
            continue;
        }
        if unit.succeeded() {
            reporter.emit(report(WorkerState::Exited));
            return Ok(());
        }
        reporter.emit(report(WorkerState::Failed));
        bail!("the worker has failed: {}; `journalctl -u {WORKER}` has its output", unit.how_it_ended());
    }
    Ok(())
}
