//! Resources checked and applied, in order; each after its drift, and never without.

mod archive;
mod attributes;
mod command;
mod diff;
mod directory;
mod file;
mod git;
mod group;
mod mount;
mod packages;
mod reboot;
mod repository;
mod service;
mod symlink;
mod user;
mod venv;

use std::fmt::Display;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Result, bail};
use loitsut_profile::order::Step;
use loitsut_profile::resource::{Remote, Resource};
use tokio::time::sleep;

use crate::host::cache::Downloads;
use crate::host::{Host, plain};
use crate::report::{Difference, Event, Outcome, Reporter, StepFailure, StepName};
use crate::unit::ActiveUnits;

pub use reboot::RebootNeeded;

/// How often somebody who watches is told.
const TOLD_EVERY: Duration = Duration::from_millis(200);

/// What resources need to be checked and applied.
pub struct Context<'a> {
    /// The machine.
    pub host: &'a Host,
    /// Downloads of this run.
    downloads: Downloads<'a>,
    /// Speed may be bought with durability: the machine is thrown away after use.
    pub disposable: bool,
    /// What package managers have told.
    packages: packages::Known,
    /// What systemd says is active.
    units: ActiveUnits,
}

impl<'a> Context<'a> {
    /// For one run.
    pub fn new(host: &'a Host, disposable: bool) -> Self {
        Self {
            host,
            disposable,
            downloads: Downloads::new(host),
            packages: packages::Known::default(),
            units: ActiveUnits::default(),
        }
    }
}

/// What differs from the wanted state, in a line.
trait Drift: Display {
    /// The difference between contents, if there is one to show: a unified diff.
    fn diff(&self) -> Option<String> {
        None
    }
}

impl Drift for String {}

/// A type of resource. What [`Converge::check`] finds is all that [`Converge::apply`] gets: applying without having
/// looked cannot be written.
trait Converge {
    type Drift: Drift;

    /// What [`Converge::apply`] would download as things are now. It is fetched ahead, while earlier steps are applied;
    /// types that download nothing leave it out.
    async fn downloads(&self, _context: &Context<'_>) -> Result<Vec<Remote>> {
        Ok(Vec::new())
    }

    /// Looks, and never touches.
    async fn check(&self, context: &Context<'_>) -> Result<Option<Self::Drift>>;

    /// Removes exactly this drift.
    async fn apply(&self, context: &Context<'_>, drift: Self::Drift) -> Result<()>;
}

/// Calls a function of [`Converge`]'s users with whatever type a resource is of.
macro_rules! with_each_type {
    ($resource:expr, $inner:ident => $call:expr) => {
        match $resource {
            Resource::Packages($inner) => $call,
            Resource::Repository($inner) => $call,
            Resource::File($inner) => $call,
            Resource::Directory($inner) => $call,
            Resource::Symlink($inner) => $call,
            Resource::Archive($inner) => $call,
            Resource::Group($inner) => $call,
            Resource::User($inner) => $call,
            Resource::Git($inner) => $call,
            Resource::Venv($inner) => $call,
            Resource::Command($inner) => $call,
            Resource::Service($inner) => $call,
            Resource::Mount($inner) => $call,
            Resource::Reboot($inner) => $call,
        }
    };
}

/// Looks at every step and touches nothing.
///
/// # Errors
/// A check that fails, with the step it belongs to.
pub async fn plan(steps: &[Step], context: &Context<'_>, reporter: &mut Reporter<'_>) -> Result<(), StepFailure> {
    for step in steps {
        let name = StepName::of(step, context.host);
        reporter.emit(Event::StepStarted(&name));
        match watched(look(&step.resource, context), context, reporter).await {
            Ok(difference) => reporter.emit(Event::StepDone(&name, Outcome::planned(difference))),
            Err(error) => return Err(StepFailure { step: name, error }),
        }
    }
    Ok(())
}

/// Applies every step in order, and meanwhile fetches for those to come.
///
/// # Errors
/// The first step that fails.
pub async fn apply(steps: &[Step], context: &Context<'_>, reporter: &mut Reporter<'_>) -> Result<(), StepFailure> {
    fetch_ahead(steps, context).await;
    for step in steps {
        let name = StepName::of(step, context.host);
        reporter.emit(Event::StepStarted(&name));
        match watched(make(&step.resource, context), context, reporter).await {
            Ok(difference) => reporter.emit(Event::StepDone(&name, Outcome::applied(difference))),
            Err(error) => return Err(StepFailure { step: name, error: with_room(error, context.host) }),
        }
    }
    Ok(())
}

/// The same error, and that the disk is full: not every program says so, or knows.
fn with_room(error: anyhow::Error, host: &Host) -> anyhow::Error {
    let full = host.without_room();
    let is_told = full.is_empty() || format!("{error:#}").contains("No space left");
    if is_told { error } else { error.context(format!("No space left on device: {}", full.join("; "))) }
}

/// Starts the downloads of all steps that have drift. What cannot be said yet, such as where a later step makes the
/// parent directory, is fetched when its turn comes.
async fn fetch_ahead(steps: &[Step], context: &Context<'_>) {
    for step in steps {
        match with_each_type!(&step.resource, inner => inner.downloads(context).await) {
            Ok(remotes) => remotes.iter().for_each(|remote| context.downloads.start(remote)),
            Err(error) => tracing::debug!("{}: nothing fetched ahead: {error:#}", step.resource.title()),
        }
    }
}

/// Tells that time goes by while a step is looked at or made, and how the downloads go.
async fn watched<T>(step: impl Future<Output = T>, context: &Context<'_>, reporter: &mut Reporter<'_>) -> T {
    let mut step = pin!(step);
    let done = loop {
        tokio::select! {
            done = &mut step => break done,
            () = sleep(TOLD_EVERY) => {
                tell_downloads(context, reporter);
                reporter.tick();
            }
        }
    };
    tell_downloads(context, reporter);
    done
}

fn tell_downloads(context: &Context<'_>, reporter: &mut Reporter<'_>) {
    if let Some(transfers) = context.downloads.news() {
        reporter.emit(Event::Downloads(&transfers));
    }
}

async fn look(resource: &Resource, context: &Context<'_>) -> Result<Option<Difference>> {
    with_each_type!(resource, inner => {
        Ok(inner.check(context).await?.map(|drift| difference(&drift, context.host)))
    })
}

async fn make(resource: &Resource, context: &Context<'_>) -> Result<Option<Difference>> {
    with_each_type!(resource, inner => converge(inner, context).await)
}

async fn converge<R: Converge>(resource: &R, context: &Context<'_>) -> Result<Option<Difference>> {
    let Some(drift) = resource.check(context).await? else { return Ok(None) };
    let found = difference(&drift, context.host);
    resource.apply(context, drift).await?;
    if let Some(left) = resource.check(context).await? {
        bail!("applied, and yet not as wanted: {left}");
    }
    Ok(Some(found))
}

fn difference<D: Drift>(drift: &D, host: &Host) -> Difference {
    // What is found on a machine may hold escape sequences, and is shown on terminals.
    let diff = drift.diff().map(|diff| diff.lines().map(|line| plain(line) + "\n").collect());
    Difference { line: plain(&host.masked(&drift.to_string())), diff }
}
