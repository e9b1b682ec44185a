//! The worker started as its own systemd unit, and waited for until it is ready.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use loitsut_profile::resource::{Ready, WorkerUnit};
use loitsut_profile::sha256::Sha256;

use crate::closed::Closed;
use crate::host::Host;
use crate::host::clock;
use crate::host::files::Attributes;
use crate::host::process::Program;
use crate::journal::{self, Lines};
use crate::report::{Event, Reporter, WorkerFailure, WorkerReport, WorkerState};
use crate::unit::{self, Unit};

/// The shipped unit; the agent adds a drop-in.
pub const WORKER: &str = "loitsut-worker.service";

/// What the drop-in says is of this boot only, and so is its place.
const DROP_IN: &str = "/run/systemd/system/loitsut-worker.service.d/50-launch.conf";

/// Read by systemd, for root only: values may be secret.
const ENVIRONMENT: &str = "/run/loitsut/worker/environment";

/// How often conditions without an event are looked at.
const LOOK: Duration = Duration::from_millis(200);

/// `stop.grace` bounds it, whatever that is, and the lease whatever happens.
const LONGEST_STOP: Duration = Duration::from_secs(24 * 3600);

/// Which run of the worker was seen to be ready.
const READY: &str = "/run/loitsut/worker/ready";

/// What the worker that runs was started for: the digest of a launch's settings.
const STARTED_FOR: &str = "/run/loitsut/worker/started-for";

/// Starts the worker and waits until it is ready. One that runs already, and was started for the same document, is left
/// alone.
///
/// # Errors
/// It cannot be started, ends, or is not ready in time; then it does not run.
pub async fn launch(
    host: &Host,
    worker: &WorkerUnit,
    closed: Option<&Closed>,
    document: Sha256,
    reporter: &mut Reporter<'_>,
) -> Result<()> {
    reporter.emit(Event::Worker(WorkerReport { state: WorkerState::Starting, result: None }));
    let launched = match started(host, worker, closed, document).await {
        Ok(before) => until_ready(host, worker, &before).await,
        Err(error) => Err(error),
    };
    if launched.is_err() {
        // Nobody would watch over one that gets ready after all, and takes builds.
        let stop = Program::new(["systemctl", "stop", WORKER]).timeout(stop_timeout(worker));
        if let Err(error) = host.run_checked(&stop).await {
            tracing::warn!("the worker cannot be stopped: {error}");
        }
    }
    launched?;
    reporter.emit(Event::Worker(WorkerReport { state: WorkerState::Ready, result: None }));
    Ok(())
}

/// Sees to it that the worker runs for this document; what was there before it did.
async fn started(host: &Host, worker: &WorkerUnit, closed: Option<&Closed>, document: Sha256) -> Result<Before> {
    let home = PathBuf::from(host.user(worker.user.as_str())?.home);
    let environment = unit::environment_file(worker);
    let drop_in = unit::drop_in(worker, &home, ENVIRONMENT) + &closed.map(Closed::settings).unwrap_or_default();
    let settings = Sha256::of([document.to_string(), environment.clone(), drop_in.clone()].join("\0").as_bytes());
    let running = Unit::show(host, WORKER).await?;
    let started_for = host.read_text(Path::new(STARTED_FOR))?;
    if running.is_running() && started_for == Some(settings.to_string()) {
        return Ok(Before { start: running.started(), file: None });
    }
    // Noted last: an agent that is killed in between leaves a worker that the next one starts again.
    host.remove(Path::new(STARTED_FOR))?;
    host.write(Path::new(ENVIRONMENT), environment.as_bytes(), Attributes::PRIVATE)?;
    host.write(Path::new(DROP_IN), drop_in.as_bytes(), Attributes::PUBLIC)?;
    host.run_checked(&Program::new(["systemctl", "daemon-reload"])).await?;
    let before = Before::now(host, worker)?;
    // A crash loop of an earlier launch is not held against this one.
    host.run(&Program::new(["systemctl", "reset-failed", WORKER])).await?;
    let start = Program::new(["systemctl", "restart", WORKER]).timeout(stop_timeout(worker));
    let start = host.run_checked(&start).await;
    if let Some(closed) = closed {
        closed.judge(host)?;
    }
    start.with_context(|| advice(worker))?;
    host.write(Path::new(STARTED_FOR), settings.to_string().as_bytes(), Attributes::PRIVATE)?;
    Ok(before)
}

async fn until_ready(host: &Host, worker: &WorkerUnit, before: &Before) -> Result<()> {
    let timeout = worker.ready_timeout.get();
    tokio::select! {
        ready = ready(host, worker, before) => ready,
        ended = ended(host) => {
            let unit = ended?;
            let what = format!("the worker ended before it was ready: {}", unit.how_it_ended());
            Err(failed(host, what, Some(&unit), before.start).await)
        }
        () = tokio::time::sleep(timeout) => {
            let (limit, condition) = (timeout.as_secs(), condition(worker));
            let what = format!("the worker was not ready within {limit} s ({condition})");
            Err(failed(host, what, None, before.start).await)
        }
    }
}

/// How long systemctl may take to end the worker that is there, by its own grace.
fn stop_timeout(worker: &WorkerUnit) -> Duration {
    worker.stop_grace.get() + Duration::from_secs(60)
}

fn advice(worker: &WorkerUnit) -> String {
    let program = worker.command.first().map_or("", String::as_str);
    format!(
        "the worker cannot be started; is {program} there, and executable for `{}`? `journalctl -u {WORKER}` tells",
        worker.user
    )
}

/// What must not be taken for the doing of a worker that was started after it.
pub struct Before {
    /// Earlier lines of the journal are of earlier lives.
    start: Duration,
    /// When the file that says ready was last changed, if an earlier life has left one.
    file: Option<(i64, i64)>,
}

impl Before {
    /// Of a worker that is about to be started.
    ///
    /// # Errors
    /// The file cannot be looked at.
    pub fn now(host: &Host, worker: &WorkerUnit) -> Result<Self> {
        let file = match &worker.ready {
            Some(Ready::File(path)) => host.modified(path.as_path())?,
            _ => None,
        };
        Ok(Self { start: journal::now(), file })
    }
}

/// Waits until the worker is ready, and notes that.
///
/// # Errors
/// That cannot be seen.
pub async fn ready(host: &Host, worker: &WorkerUnit, before: &Before) -> Result<()> {
    let mut again = None;
    loop {
        let invocation = unit::invocation(host, WORKER)?;
        // The line that said it may be gone from the journal by the time that an agent starts again.
        if invocation.is_some() && invocation == host.read_text(Path::new(READY))? {
            return Ok(());
        }
        condition_met(host, worker, again.as_ref().unwrap_or(before)).await?;
        let now = unit::invocation(host, WORKER)?;
        if let Some(now) = now
            && invocation.is_none_or(|before| before == now)
        {
            return Ok(host.write(Path::new(READY), now.as_bytes(), Attributes::PUBLIC)?);
        }
        // Whoever met the condition is gone: it is for the next life to meet it.
        again = Some(Before::now(host, worker)?);
        tokio::time::sleep(LOOK).await;
    }
}

async fn condition_met(host: &Host, worker: &WorkerUnit, before: &Before) -> Result<()> {
    match &worker.ready {
        None => Ok(()),
        Some(Ready::Log(text)) => loop {
            match said(host, text, before).await {
                Ok(()) => return Ok(()),
                // A journal that is restarted is no fault of the worker's.
                Err(error) => tracing::warn!("the worker's output is read again: {error:#}"),
            }
            tokio::time::sleep(LOOK).await;
        },
        Some(Ready::File(path)) => loop {
            let changed = host.modified(path.as_path())?;
            if changed.is_some() && changed != before.file {
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

async fn said(host: &Host, text: &str, before: &Before) -> Result<()> {
    let mut lines = Lines::follow(host, WORKER, before.start)?;
    while !lines.next().await?.contains(text) {}
    Ok(())
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
async fn ended(host: &Host) -> Result<Unit> {
    loop {
        tokio::time::sleep(LOOK).await;
        if unit::is_active(host, WORKER)? {
            continue;
        }
        let unit = Unit::show(host, WORKER).await?;
        if unit.has_ended() {
            return Ok(unit);
        }
    }
}

/// A failure of the worker, with the last lines that it printed.
pub async fn failed(host: &Host, what: String, unit: Option<&Unit>, since: Duration) -> anyhow::Error {
    let output = journal::last_lines(host, WORKER, since).await;
    let output = output.unwrap_or_else(|error| vec![format!("(its output cannot be read: {error:#})")]);
    WorkerFailure { what, exit_code: unit.and_then(Unit::exit_status), output }.into()
}

/// Asks the worker to stop, and waits for that; what is left of it at `end`, a time since boot, is killed. What systemd
/// says of it then, if it was running.
///
/// # Errors
/// systemd does not obey.
pub async fn stop(host: &Host, end: Option<Duration>) -> Result<Option<Unit>> {
    if !unit::is_active(host, WORKER)? {
        // It may be just about to be started.
        host.run_checked(&Program::new(["systemctl", "stop", WORKER]).at_last()).await?;
        return Ok(None);
    }
    tracing::info!("waiting for the worker to stop");
    let stop = Program::new(["systemctl", "stop", WORKER]).timeout(LONGEST_STOP).at_last();
    let left = end.map_or(LONGEST_STOP, |end| end.saturating_sub(clock::since_boot()));
    match tokio::time::timeout(left, host.run_checked(&stop)).await {
        Ok(stopped) => drop(stopped?),
        Err(_) => {
            tracing::warn!("the worker has not stopped in time, and is killed");
            host.run_checked(&Program::new(["systemctl", "kill", "--signal=SIGKILL", WORKER]).at_last()).await?;
            host.run_checked(&Program::new(["systemctl", "stop", WORKER]).at_last()).await?;
        }
    }
    Ok(Some(Unit::show(host, WORKER).await?))
}
