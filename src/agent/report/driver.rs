//! Reports sent to the driver, and its answers: docs/driver-protocol.md. Nothing of the boot ever waits for it.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use loitsut_profile::userdata::document::Driver;
use loitsut_profile::wire::{self, Answer, Instance, Report};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, sleep};

use super::outbox::{Batch, Outbox};
use crate::host::http::{Http, HttpError, Limits, Problem, Retry};
use crate::lease::millis;

/// How often the driver hears of a launch of which there is nothing new.
const HEARTBEAT: Duration = Duration::from_secs(60);

/// What happens within this time goes by one report.
const GATHER: Duration = Duration::from_millis(250);

/// Connecting may take half of it.
const ONE_TRY: Duration = Duration::from_secs(30);

/// A server that asks for more time than this is asked again all the same: the lease may hang on its answer.
const LONGEST_WISH: Duration = Duration::from_secs(300);

/// Only for its pauses: trying goes on for as long as the agent runs.
const PAUSES: Retry = Retry {
    total: Duration::MAX,
    each: ONE_TRY,
    first_pause: Duration::from_secs(1),
    longest_pause: Duration::from_secs(60),
    statuses: &[],
};

/// Speaks to a driver of one launch.
pub struct Sender {
    http: Http,
    url: String,
    authorization: String,
    head: Head,
    outbox: Arc<Outbox>,
}

/// Who reports.
pub struct Head {
    /// Id of the launch.
    pub launch: String,
    /// The kernel's id of this boot.
    pub boot: String,
    /// Which start of the agent this is.
    pub run: u64,
    /// How old the launch is, whenever it is asked.
    pub age: Box<dyn Fn() -> Duration + Send>,
    /// Who the instance is.
    pub instance: Instance,
}

/// What became of a report.
enum Sent {
    Taken(Answer),
    /// It may be taken later.
    Later {
        error: HttpError,
        after: Option<Duration>,
    },
    /// The events in it never will.
    Refused(HttpError),
    /// The driver wants to hear no more of this launch.
    Over(HttpError),
}

impl Sender {
    /// Speaks to this driver.
    ///
    /// # Errors
    /// Its certificate authority cannot be read, or HTTP cannot be set up.
    pub fn new(driver: &Driver, head: Head, outbox: Arc<Outbox>) -> Result<Self> {
        let url = driver.url.to_string();
        let base = url.trim_end_matches('/');
        Ok(Self {
            http: Http::driver(driver.ca.as_deref()).context("no reports can be sent to the driver")?,
            url: format!("{base}/v1/launches/{}/events", head.launch),
            authorization: format!("Bearer {}", driver.token.reveal()),
            head,
            outbox,
        })
    }

    /// Sends what comes into the outbox, and heartbeats; returns when the driver wants no more.
    pub async fn run(self, answers: UnboundedSender<Answer>) {
        let mut failures = 0;
        let mut told = None;
        while let ControlFlow::Continue(pause) = self.one(&answers, &mut failures, &mut told).await {
            let due = async {
                sleep(pause).await;
                if failures == 0 {
                    let _ = tokio::time::timeout(HEARTBEAT, self.outbox.filled()).await;
                    sleep(GATHER).await;
                }
            };
            tokio::select! {
                () = due => {}
                // The last words are not kept waiting for the end of a pause.
                () = self.outbox.hurried() => {}
            }
        }
    }

    /// Sends a report; how long to wait before the next.
    async fn one(
        &self,
        answers: &UnboundedSender<Answer>,
        failures: &mut u32,
        told: &mut Option<String>,
    ) -> ControlFlow<(), Duration> {
        let batch = self.outbox.batch();
        let sent = self.send(&batch).await;
        if !matches!(sent, Sent::Later { .. }) {
            *failures = 0;
        }
        match sent {
            Sent::Taken(answer) => {
                if told.take().is_some() {
                    tracing::info!("the driver hears us again");
                }
                self.outbox.arrived(batch.last());
                let _ = answers.send(answer);
            }
            Sent::Refused(error) => {
                tracing::warn!("the driver refuses a report, which is thrown away: {error}");
                self.outbox.refused(&batch);
            }
            Sent::Over(error) => {
                tracing::info!("the driver wants to hear no more of this launch: {error}");
                self.outbox.close();
                return ControlFlow::Break(());
            }
            Sent::Later { error, after } => {
                *failures += 1;
                tell(told, &error);
                let wish = after.unwrap_or_default().min(LONGEST_WISH);
                return ControlFlow::Continue(PAUSES.pause(*failures).max(wish));
            }
        }
        ControlFlow::Continue(Duration::ZERO)
    }

    async fn send(&self, batch: &Batch) -> Sent {
        let report = Report {
            loitsut: wire::FORMAT,
            agent: env!("CARGO_PKG_VERSION").into(),
            boot: self.head.boot.clone(),
            run: self.head.run,
            age: millis((self.head.age)()),
            instance: self.head.instance.clone(),
            now: batch.now.clone(),
            dropped: batch.dropped,
            events: batch.events.clone(),
        };
        let body = serde_json::to_vec(&report).unwrap_or_default();
        let limits = Limits { until: Instant::now() + ONE_TRY, bytes: wire::LARGEST_ANSWER };
        let headers = [("authorization", self.authorization.as_str()), ("content-type", "application/json")];
        match self.http.post(&self.url, &headers, body, limits).await {
            Ok(answer) => Sent::Taken(understood(&answer)),
            Err(error) => verdict(error),
        }
    }
}

/// What cannot be understood is no order; the report has arrived all the same.
fn understood(answer: &[u8]) -> Answer {
    if answer.trim_ascii().is_empty() {
        return Answer::default();
    }
    serde_json::from_slice(answer).unwrap_or_else(|error| {
        tracing::warn!("the driver's answer cannot be understood: {error}");
        Answer::default()
    })
}

fn verdict(error: HttpError) -> Sent {
    match error.problem {
        Problem::Status { status, .. } if matches!(status.as_u16(), 400 | 413 | 415 | 422) => Sent::Refused(error),
        Problem::Status { status, .. } if status.as_u16() == 410 => Sent::Over(error),
        Problem::Status { retry_after: after, .. } => Sent::Later { error, after },
        // An answer that is too long came after a success: but there may be an order in it.
        _ => Sent::Later { error, after: None },
    }
}

/// A new cause is told at once, one that stays only once.
fn tell(told: &mut Option<String>, error: &HttpError) {
    let cause = error.to_string();
    if told.as_ref() == Some(&cause) {
        tracing::debug!("the driver is not reached: {cause}");
        return;
    }
    tracing::warn!("the driver is not reached, reports wait: {cause}");
    *told = Some(cause);
}
