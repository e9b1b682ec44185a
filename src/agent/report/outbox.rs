//! Events that wait to be sent to the driver: bounded, numbered, kept until they have arrived.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use loitsut_profile::wire::{self, Now, What};
use tokio::sync::Notify;

use crate::host::clock;
use crate::lease::millis;

/// More than a boot of the largest profile has.
const MOST: usize = 2_000;

/// How many are sent at once, and how much that may be in bytes.
const BATCH: usize = 200;
const BATCH_BYTES: usize = wire::LARGEST_REPORT / 2;

/// No text of an event is longer, in bytes.
const LONGEST_TEXT: usize = 8 * 1024;

/// Filled by the boot, emptied by whoever speaks to the driver, in another thread.
#[derive(Default)]
pub struct Outbox {
    inner: Mutex<Inner>,
    filled: Notify,
    emptied: Notify,
    hurried: Notify,
}

#[derive(Default)]
struct Inner {
    waiting: VecDeque<Waiting>,
    last: u64,
    dropped: u64,
    now: Now,
    closed: bool,
}

struct Waiting {
    seq: u64,
    at: Duration,
    bytes: usize,
    what: What,
}

/// What is sent at once.
pub struct Batch {
    /// The events.
    pub events: Vec<wire::Event>,
    /// Where the launch stands.
    pub now: Now,
    /// How many were thrown away so far.
    pub dropped: u64,
}

impl Batch {
    /// The number of its last event.
    pub fn last(&self) -> u64 {
        self.events.last().map_or(0, |event| event.seq)
    }
}

impl Outbox {
    /// Puts an event in; never waits.
    pub fn push(&self, what: What) {
        let what = shortened(what);
        let bytes = serde_json::to_string(&what).map_or(0, |text| text.len());
        let mut inner = self.lock();
        inner.now.take_in(&what);
        if inner.closed {
            return;
        }
        inner.last += 1;
        let seq = inner.last;
        inner.waiting.push_back(Waiting { seq, at: clock::since_boot(), bytes, what });
        if inner.waiting.len() > MOST {
            inner.make_room();
        }
        drop(inner);
        self.filled.notify_one();
    }

    /// Changes where the launch stands, without an event.
    pub fn update(&self, change: impl FnOnce(&mut Now)) {
        change(&mut self.lock().now);
    }

    /// Where the launch stands.
    pub fn now(&self) -> Now {
        self.lock().now.clone()
    }

    /// The next events to send; none of them is gone before it has [arrived](Outbox::arrived).
    pub fn batch(&self) -> Batch {
        let (inner, now) = (self.lock(), clock::since_boot());
        let mut room = BATCH_BYTES;
        let fits = inner.waiting.iter().take(BATCH).take_while(|event| {
            let fits = event.bytes <= room || room == BATCH_BYTES;
            room = room.saturating_sub(event.bytes);
            fits
        });
        let event = |event: &Waiting| wire::Event {
            seq: event.seq,
            ago: millis(now.saturating_sub(event.at)),
            what: event.what.clone(),
        };
        Batch { events: fits.map(event).collect(), now: inner.now.clone(), dropped: inner.dropped }
    }

    /// Events up to this number have arrived.
    pub fn arrived(&self, last: u64) {
        let mut inner = self.lock();
        inner.waiting.retain(|event| event.seq > last);
        drop(inner);
        self.emptied.notify_waiters();
    }

    /// The driver will not have these: without them, the next ones may get through.
    pub fn refused(&self, batch: &Batch) {
        self.lock().dropped += batch.events.len() as u64;
        self.arrived(batch.last());
    }

    /// Nobody will send anything any more.
    pub fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        inner.waiting.clear();
        drop(inner);
        self.emptied.notify_waiters();
    }

    /// Waits until [`Outbox::emptied`] is waited for.
    pub async fn hurried(&self) {
        self.hurried.notified().await;
    }

    /// Waits until there is an event to send.
    pub async fn filled(&self) {
        while self.lock().waiting.is_empty() {
            self.filled.notified().await;
        }
    }

    /// Waits until all that was put in before has arrived, without further pauses.
    pub async fn emptied(&self) {
        let last = self.lock().last;
        self.hurried.notify_one();
        loop {
            let emptied = self.emptied.notified();
            if self.lock().waiting.front().is_none_or(|event| event.seq > last) {
                return;
            }
            emptied.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Steps are many, and the least missed; everything else tells of the state.
    fn make_room(&mut self) {
        let step = self.waiting.iter().position(|event| matches!(event.what, What::Step { .. }));
        self.waiting.remove(step.unwrap_or(0));
        self.dropped += 1;
    }
}

/// What events change in where a launch stands.
trait TakeIn {
    fn take_in(&mut self, what: &What);
}

impl TakeIn for Now {
    fn take_in(&mut self, what: &What) {
        match what {
            What::Phase { phase } => self.phase = Some(*phase),
            What::Profile { profile } => self.profile = Some(profile.clone()),
            What::Step { .. } => self.step = None,
            What::Worker { state, .. } => self.worker = Some(*state),
            What::State { state, .. } => self.state = *state,
            What::Ending { why } => self.ending = Some(why.clone()),
            What::Notice { .. } | What::Order { .. } | What::Unknown => {}
        }
    }
}

/// The texts that programs and profiles make as long as they like, cut.
fn shortened(mut what: What) -> What {
    match &mut what {
        What::Step { drift: Some(drift), .. } => cut(drift, LONGEST_TEXT),
        What::State { failure: Some(failure), .. } => {
            cut(&mut failure.message, 4 * LONGEST_TEXT);
            failure.output.iter_mut().for_each(|line| cut(line, LONGEST_TEXT / 2));
        }
        _ => {}
    }
    what
}

fn cut(text: &mut String, most: usize) {
    if text.len() > most {
        let end = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use loitsut_profile::wire::{Phase, State};

    use super::*;

    fn step(drift: &str) -> What {
        let (resource, layer) = ("file /x".to_owned(), "l".to_owned());
        What::Step { resource, layer, outcome: "changed".into(), drift: Some(drift.into()), took: 1 }
    }

    fn numbers(outbox: &Outbox) -> Vec<u64> {
        outbox.batch().events.iter().map(|event| event.seq).collect()
    }

    #[test]
    fn events_are_numbered_and_kept_until_they_have_arrived() {
        let outbox = Outbox::default();
        outbox.push(What::Phase { phase: Phase::Apply });
        outbox.push(step("a"));
        assert_eq!((numbers(&outbox), numbers(&outbox)), (vec![1, 2], vec![1, 2]));
        outbox.push(step("b"));
        outbox.arrived(2);
        assert_eq!((numbers(&outbox), outbox.now().phase), (vec![3], Some(Phase::Apply)));
    }

    #[test]
    fn a_flood_drops_the_oldest_steps_and_never_the_state() {
        let outbox = Outbox::default();
        outbox.push(What::Phase { phase: Phase::Apply });
        for _ in 0..3 * MOST {
            outbox.push(step("x"));
        }
        outbox.push(What::State { state: State::Failed, failure: None });
        let batch = outbox.batch();
        assert_eq!(batch.dropped, 2 * MOST as u64 + 2);
        assert_eq!(batch.now.state, State::Failed);
        assert_eq!(batch.events[0].what, What::Phase { phase: Phase::Apply });
    }

    #[test]
    fn a_report_is_bounded_whatever_the_events_are() {
        let outbox = Outbox::default();
        for _ in 0..500 {
            outbox.push(step(&"\u{1}ä".repeat(100_000)));
        }
        let batch = outbox.batch();
        assert!(!batch.events.is_empty());
        assert!(serde_json::to_string(&batch.events).unwrap().len() < wire::LARGEST_REPORT);
    }
}
