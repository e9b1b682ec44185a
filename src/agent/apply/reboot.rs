//! `reboot`: asks whether one is needed. Whoever runs the steps decides what becomes of that.

use std::time::Duration;

use anyhow::{Result, bail};
use loitsut_profile::resource::Reboot;

use super::{Context, Converge};
use crate::host::process::{ProcessError, Program};
use crate::launch::WORKER;
use crate::report::StepFailure;
use crate::unit;

/// How long an `onlyif` may take.
const ASK: Duration = Duration::from_secs(300);

/// A step cannot go on before the machine was rebooted.
#[derive(Debug, thiserror::Error)]
#[error("a reboot is needed: `{}` says so", .0.onlyif.join(" "))]
pub struct RebootNeeded(pub Reboot);

impl RebootNeeded {
    /// What a step ended with, if it was this.
    pub fn of(failure: &StepFailure) -> Option<&Self> {
        failure.error.downcast_ref()
    }
}

impl Converge for Reboot {
    type Drift = String;

    async fn check(&self, context: &Context<'_>) -> Result<Option<String>> {
        if unit::is_active(context.host, WORKER)? {
            // An agent that was started again: builds may be running.
            tracing::info!("the worker is at work: whether a reboot is needed is not asked");
            return Ok(None);
        }
        let words = self.onlyif.join(" ");
        match context.host.run(&Program::new(self.onlyif.clone()).timeout(ASK)).await {
            Ok(finished) => Ok(finished.status.success().then(|| format!("`{words}` says that a reboot is needed"))),
            Err(ProcessError::Start { .. }) => Ok(Some(format!("`{words}` cannot be run yet"))),
            Err(error) => Err(error.into()),
        }
    }

    async fn apply(&self, context: &Context<'_>, _drift: String) -> Result<()> {
        match context.host.run(&Program::new(self.onlyif.clone()).timeout(ASK)).await? {
            finished if finished.status.success() => Err(RebootNeeded(self.clone()).into()),
            _ => bail!("`{}` says now this and now that", self.onlyif.join(" ")),
        }
    }
}
