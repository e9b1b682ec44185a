//! One stream of reports, and where it goes: the journal, the status file, the console, the driver, a terminal.

mod console;
mod driver;
mod outbox;
mod print;
mod progress;
mod status;

use std::sync::Arc;
use std::time::Instant;

use loitsut_profile::order::Step;
use loitsut_profile::wire::What;
pub use loitsut_profile::wire::{Class, Failure, Phase, State, WorkerState};
use sd_notify::NotifyState;

pub use driver::{Head, Sender};
pub use outbox::Outbox;
pub use print::{Printer, Style, say};
pub use progress::erase;
pub use status::{Span, Status, WorkerReport};

use console::Console;

use crate::host::Host;
use crate::host::cache::Transfer;
use crate::host::process::ProcessError;

/// Something that happened.
pub enum Event<'a> {
    /// The next phase of a boot begins.
    Phase(Phase),
    /// It is known what this machine is to become.
    Profile {
        /// Name of the profile.
        profile: &'a str,
        /// Id of the launch, if the user-data has one.
        launch: Option<&'a str>,
    },
    /// A step is looked at.
    StepStarted(&'a StepName),
    /// A step is done.
    StepDone(&'a StepName, Outcome),
    /// The downloads of this run have come further: all of them so far, in the order in which they were begun. At most
    /// five times a second, while a step is applied.
    Downloads(&'a [Transfer]),
    /// The worker is in another state.
    Worker(WorkerReport),
    /// The boot is being ended from outside; why.
    Ending(&'a str),
    /// The end of the boot, good or bad.
    Ended(State, Option<Failure>),
}

/// The drift of one step, for people.
#[derive(Debug)]
pub struct Difference {
    /// In a line.
    pub line: String,
    /// A unified diff, where contents differ.
    pub diff: Option<String>,
}

/// How a step ended.
#[derive(Debug)]
pub enum Outcome {
    /// There was no drift.
    Unchanged,
    /// There is drift, and nothing was touched.
    Differs(Difference),
    /// There was drift, and it is gone.
    Changed(Difference),
}

impl Outcome {
    /// Of a look.
    pub fn planned(difference: Option<Difference>) -> Self {
        difference.map_or(Self::Unchanged, Self::Differs)
    }

    /// Of an application.
    pub fn applied(difference: Option<Difference>) -> Self {
        difference.map_or(Self::Unchanged, Self::Changed)
    }

    /// In one word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Differs(_) => "differs",
            Self::Changed(_) => "changed",
        }
    }

    /// What differed, if something did.
    pub fn difference(&self) -> Option<&Difference> {
        match self {
            Self::Unchanged => None,
            Self::Differs(difference) | Self::Changed(difference) => Some(difference),
        }
    }
}

/// A step as reports name it; without secrets.
#[derive(Clone, Debug)]
pub struct StepName {
    /// Title of the resource.
    pub resource: String,
    /// The layers that want it, each once.
    pub layer: String,
    /// Where that is written.
    pub place: String,
}

impl StepName {
    /// Of this step.
    pub fn of(step: &Step, host: &Host) -> Self {
        Self {
            resource: host.masked(&step.resource.title()),
            layer: listed(step.planned.iter().map(|planned| planned.layer.to_string())),
            place: listed(step.planned.iter().map(|planned| planned.place.to_string())),
        }
    }
}

/// A step that failed.
#[derive(Debug, thiserror::Error)]
#[error("{} of the layer `{}` ({}): {error:#}", .step.resource, .step.layer, .step.place)]
pub struct StepFailure {
    /// Which.
    pub step: StepName,
    /// Why.
    pub error: anyhow::Error,
}

/// A worker that failed.
#[derive(Debug, thiserror::Error)]
#[error("{what}\n{}", last_words(.output))]
pub struct WorkerFailure {
    /// What happened.
    pub what: String,
    /// Its exit status, if it ended by itself.
    pub exit_code: Option<i32>,
    /// The last lines it printed, at most 50, masked.
    pub output: Vec<String>,
}

fn last_words(output: &[String]) -> String {
    match output.is_empty() {
        true => "it printed nothing".into(),
        false => output.iter().map(|line| format!("    | {line}")).collect::<Vec<_>>().join("\n"),
    }
}

fn listed(texts: impl Iterator<Item = String>) -> String {
    let mut list: Vec<String> = texts.collect();
    list.dedup();
    list.join(", ")
}

/// What a failure was: of a phase, or of a step of it.
pub fn failure(class: Class, error: &anyhow::Error, host: &Host) -> Failure {
    let step = error.downcast_ref::<StepFailure>();
    let cause = step.map_or(error, |failed| &failed.error);
    let (exit_code, output) = match (cause.downcast_ref::<ProcessError>(), cause.downcast_ref::<WorkerFailure>()) {
        (Some(ProcessError::Failed { status, tail, .. }), _) => (status.code(), tail.clone()),
        (Some(ProcessError::TimedOut { tail, .. }), _) => (None, tail.clone()),
        (_, Some(worker)) => (worker.exit_code, worker.output.clone()),
        _ => (None, Vec::new()),
    };
    Failure {
        class,
        message: host.masked(&format!("{error:#}")),
        layer: step.map(|failed| failed.step.layer.clone()),
        resource: step.map(|failed| failed.step.resource.clone()),
        place: step.map(|failed| failed.step.place.clone()),
        exit_code,
        output,
    }
}

/// Where reports go.
pub struct Reporter<'a> {
    host: &'a Host,
    /// Everything so far, in one value.
    pub status: Status,
    started: Instant,
    /// Whether the status file is kept; only the boot does that.
    file: bool,
    printer: Option<Printer>,
    console: Option<Console>,
    outbox: Option<Arc<Outbox>>,
}

impl<'a> Reporter<'a> {
    /// For a boot: the journal, the status file, the console, and the driver's outbox.
    pub fn of_boot(host: &'a Host, outbox: Arc<Outbox>) -> Self {
        let (console, outbox) = (Some(Console::default()), Some(outbox));
        Self { host, status: Status::new(), started: Instant::now(), file: true, printer: None, console, outbox }
    }

    /// For a command that somebody typed.
    pub fn of_command(host: &'a Host, printer: Printer) -> Self {
        let (status, started, printer) = (Status::new(), Instant::now(), Some(printer));
        Self { host, status, started, file: false, printer, console: None, outbox: None }
    }

    /// Takes a failure into the status, without telling anybody.
    pub fn take_in(&mut self, phase: Phase, error: &anyhow::Error) {
        let ended = Event::Ended(State::Failed, Some(failure(phase.into(), error, self.host)));
        self.status.fold(&ended, self.started.elapsed());
    }

    /// Time goes by while a step is at work.
    pub fn tick(&mut self) {
        if let Some(printer) = &mut self.printer {
            printer.tick();
        }
    }

    /// Tells everybody.
    pub fn emit(&mut self, event: Event<'_>) {
        self.status.fold(&event, self.started.elapsed());
        log(&event);
        if let Some(printer) = &mut self.printer {
            printer.print(&event);
        }
        if let Some(console) = &mut self.console {
            console.tell(self.host, &event);
        }
        if let Some(outbox) = &self.outbox {
            self.put(&event, outbox);
        }
        if let (true, Event::Phase(phase)) = (self.file, &event) {
            // For `systemctl status`; where nobody listens, nothing is lost.
            let _ = sd_notify::notify(&[NotifyState::Status(phase.as_str())]);
        }
        // Bytes come too often to be written down each time.
        if self.file
            && !matches!(event, Event::Downloads(_))
            && let Err(error) = self.status.write(self.host)
        {
            tracing::warn!("the status cannot be written: {error}");
        }
    }
}

impl Reporter<'_> {
    /// For the driver.
    fn put(&self, event: &Event<'_>, outbox: &Outbox) {
        let what = match event {
            Event::Phase(phase) => What::Phase { phase: *phase },
            Event::Profile { profile, .. } => What::Profile { profile: (*profile).to_owned() },
            Event::Downloads(_) => return,
            Event::StepStarted(step) => return outbox.update(|now| now.step = Some(step.resource.clone())),
            Event::StepDone(step, outcome) => What::Step {
                resource: step.resource.clone(),
                layer: step.layer.clone(),
                outcome: outcome.word().into(),
                drift: outcome.difference().map(|difference| difference.line.clone()),
                took: self.status.last_took(),
            },
            Event::Worker(worker) => What::Worker { state: worker.state, result: worker.result.clone() },
            Event::Ending(why) => What::Ending { why: (*why).to_owned() },
            Event::Ended(state, failure) => What::State { state: *state, failure: failure.clone() },
        };
        outbox.push(what);
    }
}

/// The journal, by fields that `journalctl LOITSUT_PHASE=apply` and its like can ask for.
fn log(event: &Event<'_>) {
    match event {
        Event::Phase(phase) => tracing::info!(loitsut_phase = phase.as_str(), "{}", phase.as_str()),
        Event::Profile { profile, launch } => {
            tracing::info!(loitsut_profile = profile, loitsut_launch = launch.unwrap_or_default(), "profile {profile}");
        }
        Event::StepStarted(_) | Event::Downloads(_) => {}
        Event::StepDone(step, outcome) => {
            let resource = &step.resource;
            let drift = outcome.difference().map(|difference| format!(": {}", difference.line)).unwrap_or_default();
            tracing::info!(
                loitsut_resource = resource,
                loitsut_layer = step.layer,
                loitsut_outcome = outcome.word(),
                "{} {resource}{drift}",
                outcome.word()
            );
        }
        Event::Worker(worker) => {
            tracing::info!(loitsut_worker = worker.state.as_str(), "worker {}", worker.state.as_str());
        }
        Event::Ending(why) => tracing::warn!(loitsut_ending = why, "{why}"),
        Event::Ended(state, Some(failure)) => tracing::error!(
            loitsut_state = state.as_str(),
            loitsut_class = failure.class.as_str(),
            loitsut_phase = failure.class.as_str(),
            loitsut_layer = failure.layer.as_deref().unwrap_or_default(),
            loitsut_resource = failure.resource.as_deref().unwrap_or_default(),
            loitsut_exit_code = failure.exit_code,
            "{} failed: {}",
            failure.class.as_str(),
            failure.message
        ),
        Event::Ended(state, None) => tracing::info!(loitsut_state = state.as_str(), "{}", state.as_str()),
    }
}
