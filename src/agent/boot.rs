//! The boot job: from user-data to a worker at work, in the order of the phases.

use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, bail};
use loitsut_profile::order;
use loitsut_profile::sha256::Sha256;
use loitsut_profile::userdata::{self, Document};
use sd_notify::NotifyState;

use crate::agent;
use crate::apply::{self, Context, RebootNeeded};
use crate::closed::{self, Closed};
use crate::config::Config;
use crate::document;
use crate::host::Host;
use crate::host::lock::Lock;
use crate::launch;
use crate::library;
use crate::metadata::Source;
use crate::reboot;
use crate::report::{self, Event, Phase, Reporter, State, StepFailure};
use crate::resolve::Wanted;
use crate::state;
use crate::stop;
use crate::watch;

/// How long an `apply` that somebody has started by hand may keep the boot waiting.
const OTHER_AGENT: Duration = Duration::from_secs(1800);

/// Runs the boot job to its end: until the worker has ended, or the agent is asked to stop. A failure is told in the
/// journal and in the status.
pub async fn boot() -> ExitCode {
    let host = Rc::new(Host::here());
    let mut reporter = Reporter::of_boot(&host);
    reporter.emit(Event::Phase(Phase::Metadata));
    // Before anything is applied: whoever waits for this unit must not wait for a whole profile.
    if let Err(error) = sd_notify::notify(&[NotifyState::Ready]) {
        tracing::warn!("systemd cannot be told that the boot job is running: {error}");
    }
    match story(&host, &mut reporter).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) if stop::is_requested() => {
            reporter.emit(Event::Ended(State::Stopped, None));
            ExitCode::SUCCESS
        }
        Err(error) => {
            let phase = reporter.status.phase().unwrap_or(Phase::Metadata);
            reporter.emit(Event::Ended(State::Failed, Some(report::failure(phase, &error, &host))));
            ExitCode::FAILURE
        }
    }
}

/// metadata -> user-data -> profile -> apply -> launch -> watch
async fn story(host: &Rc<Host>, reporter: &mut Reporter<'_>) -> Result<()> {
    let source = Source::detect(host, Config::read(host)?)?;
    let metadata = stop::unless_requested(source.fetch(host)).await??;

    reporter.emit(Event::Phase(Phase::UserData));
    agent::become_wanted(host, metadata.user_data.as_deref()).await?;
    let document = match document::read(metadata.user_data.as_deref())? {
        document::Read::Ours(document) => document,
        document::Read::NotOurs(why) => {
            tracing::info!("nothing to do: the user-data is {why}");
            reporter.emit(Event::Ended(State::Nothing, None));
            return Ok(());
        }
    };
    refuse_unsupported(&document)?;
    state::adopt(host, &metadata.identity.instance_id)?;

    reporter.emit(Event::Phase(Phase::Profile));
    let library = library::of_document(Rc::clone(host), &document).await?;
    let resolved = Wanted::by_document(&document, &metadata.identity).resolve(host, &library)?;
    let launch_id = document.launch.as_ref().map(|launch| launch.id.as_str());
    reporter.emit(Event::Profile { profile: &resolved.profile, launch: launch_id });

    reporter.emit(Event::Phase(Phase::Apply));
    let lock = only_agent(host).await?;
    let context = Context::new(host, document.disposable);
    if let Err(failure) = apply::apply(&order::steps(&resolved.resources), &context, reporter).await {
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
        watch::watch(host, worker, reporter).await?;
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

fn refuse_unsupported(document: &Document) -> Result<()> {
    let keys = userdata::unsupported(document);
    if keys.is_empty() {
        return Ok(());
    }
    let keys = keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
    bail!(
        "not supported by loitsut {} yet: {keys}\nhelp: leave it out of the user-data; it is refused because ignoring it \
         would be worse",
        env!("CARGO_PKG_VERSION")
    )
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
