//! The boot job: from user-data to a worker at work, in the order of the phases.

use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use loitsut_profile::order;
use loitsut_profile::sha256::Sha256;
use loitsut_profile::userdata::Document;
use sd_notify::NotifyState;

use crate::agent;
use crate::apply::{self, Context, RebootNeeded};
use crate::closed::{self, Closed};
use crate::config::Config;
use crate::document;
use crate::guard::Guard;
use crate::host::Host;
use crate::host::clock;
use crate::host::lock::Lock;
use crate::launch;
use crate::lease::Limit;
use crate::library;
use crate::metadata::{Identity, Source};
use crate::reboot;
use crate::report::{self, Event, Failure, Outbox, Phase, Reporter, State, StepFailure};
use crate::resolve::Wanted;
use crate::state;
use crate::stop::{self, Reason};
use crate::watch;

/// How long an `apply` that somebody has started by hand may keep the boot waiting.
const OTHER_AGENT: Duration = Duration::from_secs(1800);

/// So long before the cloud takes the instance, the worker is killed: its master sees a lost connection, not a silence.
const BEFORE_INTERRUPTION: Duration = Duration::from_secs(10);

/// Runs the boot job to its end: until the worker has ended, or the agent is asked to stop. A failure is told in the
/// journal, in the status, on the console and to the driver; a machine with a lease is powered off then, by the guard.
pub async fn boot() -> ExitCode {
    let (host, outbox) = (Rc::new(Host::here()), Arc::new(Outbox::default()));
    let began = clock::since_boot();
    let mut reporter = Reporter::of_boot(&host, Arc::clone(&outbox));
    reporter.emit(Event::Phase(Phase::Metadata));
    // Before anything is applied: whoever waits for this unit must not wait for a whole profile.
    if let Err(error) = sd_notify::notify(&[NotifyState::Ready]) {
        tracing::warn!("systemd cannot be told that the boot job is running: {error}");
    }
    let mut guard = None;
    let start_guard = |document: &Document, identity: &Identity| {
        guard = Some(Guard::start(document, identity, Arc::clone(&outbox), began)?);
        Ok(())
    };
    let done = story(&host, &mut reporter, start_guard).await;
    let status = end(&host, &mut reporter, done).await;
    if guard.is_none() && reporter.status.state == State::Failed {
        guard = last_guard(outbox, began);
    }
    if let Some(guard) = guard {
        guard.see_off().await;
    }
    status
}

/// Nobody told of a launch, perhaps after a reboot in the middle of one: its lease is not to be outlived.
fn last_guard(outbox: Arc<Outbox>, began: Duration) -> Option<Guard> {
    let guard = Guard::of_last_launch(outbox, began);
    guard.inspect_err(|error| tracing::error!("whether a lease holds is not known: {error:#}")).ok().flatten()
}

/// metadata -> user-data -> profile -> apply -> launch -> watch
async fn story(
    host: &Rc<Host>,
    reporter: &mut Reporter<'_>,
    start_guard: impl FnOnce(&Document, &Identity) -> Result<()>,
) -> Result<()> {
    let source = Source::detect(host, Config::read(host)?)?;
    let metadata = stop::unless_requested(source.fetch(host)).await??;

    reporter.emit(Event::Phase(Phase::UserData));
    stop::unless_requested(agent::become_wanted(host, metadata.user_data.as_deref())).await??;
    let document = match document::read(metadata.user_data.as_deref())? {
        document::Read::Ours(document) => document,
        document::Read::NotOurs(why) => {
            tracing::info!("nothing to do: the user-data is {why}");
            reporter.emit(Event::Ended(State::Nothing, None));
            return Ok(());
        }
    };
    host.hide(&document.secrets());
    state::adopt(host, &metadata.identity.instance_id)?;
    start_guard(&document, &metadata.identity)?;

    reporter.emit(Event::Phase(Phase::Profile));
    let library = library::of_document(Rc::clone(host), &document).await?;
    let resolved = Wanted::by_document(&document, &metadata.identity).resolve(host, &library)?;
    let launch_id = document.launch.as_ref().map(|launch| launch.id.as_str());
    reporter.emit(Event::Profile { profile: &resolved.profile, launch: launch_id });

    reporter.emit(Event::Phase(Phase::Apply));
    let lock = only_agent(host).await?;
    let context = Context::new(host, document.disposable);
    let steps = order::steps(&resolved.resources);
    if let Err(failure) = stop::unless_stuck(apply::apply(&steps, &context, reporter)).await? {
        return reboot_or_fail(host, failure, launch_id.unwrap_or_default(), reporter).await;
    }
    reboot::helped(host, launch_id.unwrap_or_default())?;

    let mut kept_closed = None;
    if let Some(worker) = &resolved.worker {
        reporter.emit(Event::Phase(Phase::Launch));
        let closed = closed::arrange(document.metadata, &source)?;
        let digest = Sha256::of(document.to_masked_json(true).to_string().as_bytes());
        stop::unless_requested(launch::launch(host, worker, closed.as_ref(), digest, reporter)).await??;
        kept_closed = closed.map(Closed::keep);
    }
    drop(lock);
    reporter.emit(Event::Ended(State::Ready, None));

    if let Some(worker) = &resolved.worker {
        reporter.emit(Event::Phase(Phase::Watch));
        stop::unless_requested(watch::watch(host, worker, reporter)).await??;
    } else if document.lease.is_some() || document.driver.is_some() {
        // Somebody may want to use it by other ways; the guard knows for how long.
        reporter.emit(Event::Phase(Phase::Watch));
        stop::requested().await;
    }
    drop(kept_closed);
    Ok(())
}

/// A step that needs a reboot ends this boot; the next one goes on from there. Any other failure is one.
async fn reboot_or_fail(host: &Host, failure: StepFailure, launch: &str, reporter: &mut Reporter<'_>) -> Result<()> {
    let Some(RebootNeeded(resource)) = RebootNeeded::of(&failure) else { return Err(failure.into()) };
    reporter.emit(Event::Ended(State::Rebooting, None));
    let rebooted = reboot::reboot(host, resource, launch).await;
    rebooted.map_err(|error| StepFailure { error, ..failure }.into())
}

/// Tells how the boot has ended, and why; the agent's exit status.
async fn end(host: &Host, reporter: &mut Reporter<'_>, done: Result<()>) -> ExitCode {
    let reason = stop::reason();
    if let Some(reason) = reason.as_ref().filter(|reason| **reason != Reason::Signal) {
        reporter.emit(Event::Ending(&reason.to_string()));
    }
    match (reason, done) {
        (None, Ok(())) => return ExitCode::SUCCESS,
        (None, Err(error)) => {
            let phase = reporter.status.phase().unwrap_or(Phase::Metadata);
            return fail(reporter, report::failure(phase.into(), &error, host));
        }
        // Whoever asked for it wants the agent to end, not the worker.
        (Some(Reason::Signal), _) if matches!(reporter.status.state, State::Ready | State::Rebooting) => {
            return ExitCode::SUCCESS;
        }
        (Some(Reason::Signal), _) => {}
        (Some(Reason::Lease(Limit::Join)), _) => {
            let failure = reporter.status.late();
            end_worker(host, reporter, None).await;
            return fail(reporter, failure);
        }
        // The worker says goodbye to its master while the machine goes down.
        (Some(Reason::Lease(_)), _) => {}
        (Some(Reason::Order(_)), _) => end_worker(host, reporter, None).await,
        (Some(Reason::Interruption(at)), _) => {
            end_worker(host, reporter, Some(at.saturating_sub(BEFORE_INTERRUPTION))).await;
        }
    }
    reporter.emit(Event::Ended(State::Stopped, None));
    ExitCode::SUCCESS
}

fn fail(reporter: &mut Reporter<'_>, failure: Failure) -> ExitCode {
    reporter.emit(Event::Ended(State::Failed, Some(failure)));
    ExitCode::FAILURE
}

async fn end_worker(host: &Host, reporter: &mut Reporter<'_>, by: Option<Duration>) {
    match launch::stop(host, by).await {
        Ok(Some(unit)) => watch::has_stopped(&unit, reporter),
        Ok(None) => {}
        Err(error) => tracing::error!("the worker cannot be stopped: {error:#}"),
    }
}

/// Waits until no other agent is at work.
async fn only_agent(host: &Host) -> Result<Lock> {
    let deadline = tokio::time::Instant::now() + OTHER_AGENT;
    let mut told = false;
    loop {
        if let Some(lock) = host.lock()? {
            return Ok(lock);
        }
        if tokio::time::Instant::now() >= deadline {
            bail!(
                "another loitsut has been at work for {} s: `fuser /run/loitsut/lock` names it",
                OTHER_AGENT.as_secs()
            );
        }
        if !told {
            tracing::info!("waiting for another loitsut to finish (at most {} s)", OTHER_AGENT.as_secs());
            told = true;
        }
        stop::unless_requested(tokio::time::sleep(Duration::from_secs(1))).await?;
    }
}
