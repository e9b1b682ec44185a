//! Trying again, as data: what for, how often, how long in all.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::ops::RangeInclusive;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::error::{HttpError, Problem};

/// What is tried again, and for how long. Times are of the monotonic clock: at boot the other one may jump.
#[derive(Debug, Clone)]
pub(crate) struct Retry {
    /// All tries and pauses together.
    pub total: Duration,
    /// One try.
    pub each: Duration,
    /// The first pause; each further one is twice as long, and a random part of it up to half is left out, so that
    /// a fleet that boots together does not ask in step.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// Statuses that may pass. What got no answer may always pass.
    pub statuses: &'static [RangeInclusive<u16>],
}

/// What to do after a failure.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It would fail again.
    Final,
    /// It may pass.
    Again {
        /// How long the server wants to be left alone, if it said so.
        after: Option<Duration>,
    },
}

/// An error that knows whether it may pass.
pub(crate) trait Transient: fmt::Display {
    /// Whether trying again makes sense under this policy.
    fn verdict(&self, retry: &Retry) -> Verdict;
}

impl Transient for HttpError {
    fn verdict(&self, retry: &Retry) -> Verdict {
        match self.problem {
            Problem::Connect { .. } | Problem::TimeOut(_) | Problem::Broken(_) => Verdict::Again { after: None },
            Problem::Status { status, retry_after: after } if retry.passes(status.as_u16()) => Verdict::Again { after },
            _ => Verdict::Final,
        }
    }
}

/// The last failure, and what was done before it counted.
#[derive(Debug)]
pub(crate) struct GaveUp<E> {
    /// Why the last try failed.
    pub error: E,
    /// How many tries there were.
    pub tries: u32,
    /// How long they took, with their pauses.
    pub elapsed: Duration,
}

impl<E: fmt::Display> fmt::Display for GaveUp<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.error)?;
        match self.tries {
            1 => Ok(()),
            tries => write!(f, " (given up after {tries} tries in {:.1?})", self.elapsed),
        }
    }
}

impl<E: fmt::Display + fmt::Debug> std::error::Error for GaveUp<E> {}

impl Retry {
    /// Starts the clock.
    pub(crate) fn start(&self) -> Tries<'_> {
        let began = Instant::now();
        Tries { policy: self, began, until: began + self.total }
    }

    fn passes(&self, status: u16) -> bool {
        self.statuses.iter().any(|range| range.contains(&status))
    }

    /// The pause after the given number of failures: half fixed, half random.
    pub(crate) fn pause(&self, failures: u32) -> Duration {
        let doubled = self.first_pause.saturating_mul(1 << (failures - 1).min(16));
        doubled.min(self.longest_pause).mul_f64(0.5 + 0.5 * chance())
    }
}

/// A number from 0 to 1, as random as a pause needs: hash maps are seeded by the kernel, each anew. A generator of its
/// own could fail, for some need /dev.
fn chance() -> f64 {
    let random = RandomState::new().hash_one(());
    f64::from((random >> 32) as u32) / f64::from(u32::MAX)
}

/// A time budget that one or several requests share.
#[derive(Debug)]
pub(crate) struct Tries<'a> {
    policy: &'a Retry,
    began: Instant,
    until: Instant,
}

impl Tries<'_> {
    /// Calls `attempt` with the instant it must end by until it succeeds, fails for good, or the budget is used up.
    /// `waiting_for` says in the log what is being waited for.
    pub(crate) async fn run<T, E: Transient>(
        &self,
        waiting_for: &str,
        mut attempt: impl AsyncFnMut(Instant) -> Result<T, E>,
    ) -> Result<T, GaveUp<E>> {
        let mut log = Log::new(waiting_for);
        let mut tries = 0;
        loop {
            tries += 1;
            let deadline = self.until.min(Instant::now() + self.policy.each);
            let error = match attempt(deadline).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            match self.pause(&error, tries) {
                Some(pause) => {
                    log.failed(&error, self.until.duration_since(Instant::now()));
                    sleep(pause).await;
                }
                None => return Err(self.give_up(error, tries)),
            }
        }
    }

    /// How long to wait before the next try; none if there is to be none. A pause that the server asks for and the
    /// budget does not have is the end at once, for waiting would change nothing.
    fn pause(&self, error: &impl Transient, tries: u32) -> Option<Duration> {
        let Verdict::Again { after } = error.verdict(self.policy) else {
            return None;
        };
        let pause = self.policy.pause(tries).max(after.unwrap_or_default());
        // A last try that is cut short would only tell of its time-out, and hide the cause.
        let worthwhile = (self.policy.each / 4).min(Duration::from_secs(1));
        // A server may ask for longer than any clock can tell.
        let left = self.until.saturating_duration_since(Instant::now());
        (pause.saturating_add(worthwhile) < left).then_some(pause)
    }

    fn give_up<E>(&self, error: E, tries: u32) -> GaveUp<E> {
        GaveUp { error, tries, elapsed: self.began.elapsed() }
    }
}

/// Tells of failures without flooding: a new cause at once, the same one again only from time to time.
struct Log<'a> {
    waiting_for: &'a str,
    told: Option<(String, Instant)>,
}

impl<'a> Log<'a> {
    /// Often enough to see on a console that something still happens.
    const REMIND: Duration = Duration::from_secs(15);

    fn new(waiting_for: &'a str) -> Self {
        Self { waiting_for, told: None }
    }

    fn failed(&mut self, error: &impl fmt::Display, left: Duration) {
        let (cause, waiting_for, left) = (error.to_string(), self.waiting_for, left.as_secs());
        let is_known = matches!(&self.told, Some((told, when)) if *told == cause && when.elapsed() < Self::REMIND);
        if is_known {
            tracing::debug!("waiting for {waiting_for}: {cause}");
            return;
        }
        tracing::warn!("waiting for {waiting_for}, {left} s at most: {cause}");
        self.told = Some((cause, Instant::now()));
    }
}
