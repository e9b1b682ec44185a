//! The worker started as its own systemd unit, and waited for until it is ready.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use loitsut_profile::resource::{Ready, WorkerUnit};

use crate::host::Host;
use crate::host::files::Attributes;
use crate::host::process::Program;
use crate::journal::{self, Lines};
use crate::report::{Event, Reporter, WorkerReport, WorkerState};
use crate::unit::{self, Unit};

/// The shipped unit; the agent adds a drop-in.
pub const WORKER: &str = "loitsut-worker.service";

/// What the drop-in says is of this boot only, and so is its place.
const DROP_IN: &str = "/run/systemd/system/loitsut-worker.service.d/50-launch.conf";

/// Read by systemd, for root only: values may be secret.
const ENVIRONMENT: &str = "/run/loitsut/worker/environment";

/// How often conditions without an event are looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Starts the worker and waits until it is ready. One that runs already, with the same settings, is left alone.
///
/// # Errors
/// It cannot be started, ends, or is not ready in time.
pub async fn launch(host: &Host, worker: &WorkerUnit, reporter: &mut Reporter<'_>) -> Result<()> {
    let changed = write_settings(host, worker)?;
    let runs = Unit::show(host, WORKER).await?.is_running();
    reporter.emit(Event::Worker(WorkerReport { state: WorkerState::Starting, result: None }));
    // Of a worker that was there before, the line that says ready may be old.
    let since = if runs && !changed { Duration::ZERO } else { journal::now() };
    if changed || !runs {
        host.run_checked(&Program::new(["systemctl", "daemon-reload"])).await?;
        let verb = if runs { "restart" } else { "start" };
        let start = Program::new(["systemctl", verb, WORKER]).timeout(Duration::from_secs(180));
        host.run_checked(&start).await.with_context(|| advice(worker))?;
    }
    let timeout = worker.ready_timeout.get();
    tokio::select! {
        ready = ready(host, worker, since) => ready?,
        ended = ended(host) => {
            bail!("the worker ended before it was ready: {}\n{}", ended?, last_words(host, since).await);
        }
        () = tokio::time::sleep(timeout) => {
            let (limit, condition) = (timeout.as_secs(), condition(worker));
            bail!("the worker was not ready within {limit} s ({condition})\n{}", last_words(host, since).await);
        }
    }
    reporter.emit(Event::Worker(WorkerReport { state: WorkerState::Ready, result: None }));
    Ok(())
}

fn advice(worker: &WorkerUnit) -> String {
    let program = worker.command.first().map_or("", String::as_str);
    format!(
        "the worker cannot be started; is {program} there, and executable for `{}`? `journalctl -u {WORKER}` tells",
        worker.user
    )
}

/// Writes what the unit has of this launch; whether that has changed.
fn write_settings(host: &Host, worker: &WorkerUnit) -> Result<bool> {
    let home = PathBuf::from(host.user(worker.user.as_str())?.home);
    let environment = unit::environment_file(worker);
    let drop_in = unit::drop_in(worker, &home, ENVIRONMENT);
    let mut changed = false;
    for (path, text, attributes) in
        [(ENVIRONMENT, environment, Attributes::PRIVATE), (DROP_IN, drop_in, Attributes::PUBLIC)]
    {
        if host.read_text(Path::new(path))?.as_deref() != Some(&text) {
            host.write(Path::new(path), text.as_bytes(), attributes)?;
            changed = true;
        }
    }
    Ok(changed)
}

/// Waits until the worker is ready, by what it has done since then.
///
/// # Errors
/// That cannot be seen.
pub async fn ready(host: &Host, worker: &WorkerUnit, since: Duration) -> Result<()> {
    match &worker.ready {
        None => Ok(()),
        Some(Ready::Log(text)) => {
            let mut lines = Lines::follow(host, WORKER, since)?;
            while !lines.next().await?.contains(text) {}
            Ok(())
        }
        Some(Ready::File(path)) => loop {
            if host.stat_through(path.as_path())?.is_some() {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        },
        Some(Ready::Port(port)) => loop {
            if host.accepts(*port).await {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        },
    }
}

fn condition(worker: &WorkerUnit) -> String {
    match &worker.ready {
        None => "at once".into(),
        Some(Ready::Log(text)) => format!("waited for a line with {text:?}"),
        Some(Ready::File(path)) => format!("waited for the file {path}"),
        Some(Ready::Port(port)) => format!("waited for 127.0.0.1:{port} to accept connections"),
    }
}

/// Waits until the worker has ended for good; how.
async fn ended(host: &Host) -> Result<String> {
    loop {
        tokio::time::sleep(LOOK).await;
        if unit::is_active(host, WORKER)? {
            continue;
        }
        let unit = Unit::show(host, WORKER).await?;
        if unit.has_ended() {
            return Ok(unit.how_it_ended());
        }
    }
}

/// The last lines that the worker printed.
async fn last_words(host: &Host, since: Duration) -> String {
    match journal::last_lines(host, WORKER, since).await {
        Ok(lines) if lines.is_empty() => "it printed nothing".into(),
        Ok(lines) => lines.iter().map(|line| format!("    | {line}")).collect::<Vec<_>>().join("\n"),
        Err(error) => format!("(its output cannot be read: {error:#})"),
    }
}
