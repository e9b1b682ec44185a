//! The status of a boot: a value that every event changes, and a file that `loitsut status` reads.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use loitsut_profile::wire::{Class, Failure, Phase, State, WorkerState};
use serde::{Deserialize, Serialize};

use super::Event;
use crate::host::Host;
use crate::host::cache::{Ended, Transfer};
use crate::host::file_error::FileError;
use crate::host::files::Attributes;

/// Where the status of the running boot is.
const STATUS: &str = "/run/loitsut/status.json";

/// One phase or step, and its time in milliseconds since the boot job began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// When it began.
    pub start: u64,
    /// How long it took; absent while it goes on.
    pub duration: Option<u64>,
}

/// A phase, timed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhaseReport {
    /// Which.
    pub phase: Phase,
    /// When.
    #[serde(flatten)]
    pub span: Span,
}

/// A step, timed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// Title of the resource.
    pub resource: String,
    /// The layers that want it.
    pub layer: String,
    /// `unchanged`, `differs`, `changed`, `failed` or `reboots`; absent while it goes on.
    pub outcome: Option<String>,
    /// What differed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift: Option<String>,
    /// A unified diff of what differed, if there is one to show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
    /// When.
    #[serde(flatten)]
    pub span: Span,
}

/// A download, timed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DownloadReport {
    /// Its URL without what may be secret in it.
    pub url: String,
    /// Bytes that are there.
    pub received: u64,
    /// Bytes in all; absent where the server does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// `verified` or `failed`; absent while it goes on.
    pub outcome: Option<Ended>,
    /// When.
    #[serde(flatten)]
    pub span: Span,
}

/// The worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerReport {
    /// Its state.
    pub state: WorkerState,
    /// systemd's word for how it ended: `exit-code`, `oom-kill`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
}

/// Everything that `loitsut status` and `loitsut analyze` tell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the agent.
    pub version: String,
    /// The process that writes it.
    pub pid: u32,
    /// When the boot job began, in seconds since 1970.
    pub started: u64,
    /// Where it stands.
    pub state: State,
    /// The profile, once it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// The launch, if the user-data names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub launch: Option<String>,
    /// Phases so far.
    pub phases: Vec<PhaseReport>,
    /// Steps so far.
    pub steps: Vec<StepReport>,
    /// Downloads so far.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub downloads: Vec<DownloadReport>,
    /// The worker, once it is started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerReport>,
    /// Why the boot was ended from outside, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ending: Option<String>,
    /// What failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

impl Status {
    /// Of a boot that begins now.
    pub fn new() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            started: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            state: State::InProgress,
            profile: None,
            launch: None,
            phases: Vec::new(),
            steps: Vec::new(),
            downloads: Vec::new(),
            worker: None,
            ending: None,
            failure: None,
        }
    }

    /// Takes in what happened, `at` after the start.
    pub fn fold(&mut self, event: &Event<'_>, at: Duration) {
        let now = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        match event {
            Event::Phase(phase) => {
                self.end_phase(now);
                self.phases.push(PhaseReport { phase: *phase, span: Span { start: now, duration: None } });
            }
            Event::Profile { profile, launch } => {
                self.profile = Some((*profile).to_owned());
                self.launch = launch.map(str::to_owned);
            }
            Event::StepStarted(step) => self.steps.push(StepReport {
                resource: step.resource.clone(),
                layer: step.layer.clone(),
                outcome: None,
                drift: None,
                diff: None,
                span: Span { start: now, duration: None },
            }),
            Event::StepDone(_, outcome) => {
                if let Some(step) = self.steps.last_mut() {
                    step.outcome = Some(outcome.word().into());
                    step.drift = outcome.difference().map(|difference| difference.line.clone());
                    step.diff = outcome.difference().and_then(|difference| difference.diff.clone());
                    step.span.duration = Some(now - step.span.start);
                }
            }
            Event::Downloads(transfers) => self.fold_downloads(transfers, now),
            Event::Worker(worker) => self.worker = Some(worker.clone()),
            Event::Ending(why) => self.ending = Some((*why).to_owned()),
            Event::Ended(state, failure) => {
                self.state = *state;
                self.failure.clone_from(failure);
                self.end_phase(now);
                self.end_step(now, if *state == State::Rebooting { "reboots" } else { "failed" });
            }
        }
    }

    /// They come all together each time, in the same order.
    fn fold_downloads(&mut self, transfers: &[Transfer], now: u64) {
        for (index, transfer) in transfers.iter().enumerate() {
            let known = self.downloads.get(index).map(|known| &known.span);
            let mut span = known.cloned().unwrap_or(Span { start: now, duration: None });
            if transfer.ended.is_some() && span.duration.is_none() {
                span.duration = Some(now - span.start);
            }
            let Transfer { url, received, total, ended } = transfer.clone();
            let report = DownloadReport { url, received, total, outcome: ended, span };
            match self.downloads.get_mut(index) {
                Some(known) => *known = report,
                None => self.downloads.push(report),
            }
        }
    }

    /// A step that is still open when all ends is the one that failed, or needs a reboot.
    fn end_step(&mut self, now: u64, outcome: &str) {
        if let Some(step) = self.steps.last_mut().filter(|step| step.span.duration.is_none()) {
            step.outcome = Some(outcome.into());
            step.span.duration = Some(now - step.span.start);
        }
    }

    fn end_phase(&mut self, now: u64) {
        if let Some(last) = self.phases.last_mut().filter(|last| last.span.duration.is_none()) {
            last.span.duration = Some(now - last.span.start);
        }
    }

    /// The failure of a boot that was not ready in time: what it was at.
    pub fn late(&self) -> Failure {
        let step = self.steps.last().filter(|step| step.span.duration.is_none());
        let at = match (step, self.phase()) {
            (Some(step), _) => format!("{} of the layer `{}`", step.resource, step.layer),
            (None, phase) => format!("the phase {}", phase.map_or("metadata", Phase::as_str)),
        };
        Failure {
            class: Class::Join,
            message: format!("the worker was not ready within `lease.join`; the boot was at {at}"),
            layer: step.map(|step| step.layer.clone()),
            resource: step.map(|step| step.resource.clone()),
            place: None,
            exit_code: None,
            output: Vec::new(),
        }
    }

    /// How long the last step took, in milliseconds.
    pub fn last_took(&self) -> u64 {
        self.steps.last().and_then(|step| step.span.duration).unwrap_or_default()
    }

    /// How many steps had this outcome.
    pub fn count(&self, outcome: &str) -> usize {
        self.steps.iter().filter(|step| step.outcome.as_deref() == Some(outcome)).count()
    }

    /// The phase it is in, or ended in.
    pub fn phase(&self) -> Option<Phase> {
        self.phases.last().map(|report| report.phase)
    }

    /// Whether it says that a boot is on its way, and nobody is there who could be at it.
    ///
    /// # Errors
    /// /proc cannot be read.
    pub fn is_abandoned(&self, host: &Host) -> Result<bool, FileError> {
        let name = host.read_text(&Path::new("/proc").join(self.pid.to_string()).join("comm"))?;
        Ok(self.state == State::InProgress && name.is_none_or(|name| name.trim_end() != "loitsut"))
    }

    /// Puts it where [`Status::read`] finds it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, host: &Host) -> Result<(), FileError> {
        let text = serde_json::to_vec_pretty(self).unwrap_or_default();
        host.write(Path::new(STATUS), &text, Attributes::PUBLIC)
    }

    /// The status of this boot; `None` before the boot job has begun.
    ///
    /// # Errors
    /// The file cannot be read, or is of another version.
    pub fn read(host: &Host) -> Result<Option<Self>> {
        let Some(text) = host.read(Path::new(STATUS))? else { return Ok(None) };
        serde_json::from_slice(&text).map(Some).with_context(|| format!("{STATUS} is not a status of this version"))
    }
}
