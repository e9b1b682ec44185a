//! Resources checked and applied, in order; each after its drift, and never without.

mod apt;
mod attributes;
mod command;
mod directory;
mod dpkg;
mod file;
mod packages;
mod service;
mod symlink;
mod user;
mod venv;

use std::fmt::Display;

use anyhow::{Result, bail};
use loitsut_profile::order::Step;
use loitsut_profile::resource::Resource;

use crate::host::cache::Downloads;
use crate::host::{Host, plain};
use crate::report::{Difference, Event, Outcome, Reporter, StepFailure, StepName};
use crate::unit::ActiveUnits;

/// What resources need to be checked and applied.
pub struct Context<'a> {
    /// The machine.
    pub host: &'a Host,
    /// Downloads of this run.
    downloads: Downloads,
    /// Speed may be bought with durability: the machine is thrown away after use.
    pub disposable: bool,
    /// What dpkg says is installed.
    packages: dpkg::Cache,
    /// What systemd says is active.
    units: ActiveUnits,
    /// The package lists were brought up to date in this run.
    lists: apt::Lists,
}

impl<'a> Context<'a> {
    /// For one run.
    pub fn new(host: &'a Host, disposable: bool) -> Self {
        Self {
            host,
            disposable,
            downloads: Downloads::default(),
            packages: dpkg::Cache::default(),
            units: ActiveUnits::default(),
            lists: apt::Lists::default(),
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

    /// Looks, and never touches.
    async fn check(&self, context: &Context<'_>) -> Result<Option<Self::Drift>>;

    /// Removes exactly this drift.
    async fn apply(&self, context: &Context<'_>, drift: Self::Drift) -> Result<()>;
}

/// Looks at every step and touches nothing.
///
/// # Errors
/// A check that fails, with the step it belongs to.
pub async fn plan(steps: &[Step], context: &Context<'_>, reporter: &mut Reporter<'_>) -> Result<(), StepFailure> {
    for step in steps {
        let name = StepName::of(step, context.host);
        reporter.emit(Event::StepStarted(&name));
        match look(&step.resource, context).await {
            Ok(difference) => reporter.emit(Event::StepDone(&name, Outcome::planned(difference))),
            Err(error) => return Err(StepFailure { step: name, error }),
        }
    }
    Ok(())
}

/// Applies every step in order.
///
/// # Errors
/// The first step that fails.
pub async fn apply(steps: &[Step], context: &Context<'_>, reporter: &mut Reporter<'_>) -> Result<(), StepFailure> {
    for step in steps {
        let name = StepName::of(step, context.host);
        reporter.emit(Event::StepStarted(&name));
        match make(&step.resource, context).await {
            Ok(difference) => reporter.emit(Event::StepDone(&name, Outcome::applied(difference))),
            Err(error) => return Err(StepFailure { step: name, error }),
        }
    }
    Ok(())
}

/// Calls a function of [`Converge`]'s users with whatever type a resource is of.
macro_rules! with_each_type {
    ($resource:expr, $inner:ident => $call:expr) => {
        match $resource {
            Resource::Packages($inner) => $call,
            Resource::File($inner) => $call,
            Resource::Directory($inner) => $call,
            Resource::Symlink($inner) => $call,
            Resource::User($inner) => $call,
            Resource::Venv($inner) => $call,
            Resource::Command($inner) => $call,
            Resource::Service($inner) => $call,
        }
    };
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
