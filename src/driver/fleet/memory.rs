//! What the fleet knows beside its rows, and may forget at a restart: calls on their way, waits, what lists have shown.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Backoff;
use crate::model::{LaunchId, Time};
use crate::provider::{ErrorKind, ProviderError};

/// The calls for one launch.
#[derive(Debug, Default)]
pub struct Calls {
    /// A start is on its way.
    pub starting: bool,
    /// This process has asked for the start, so that it may ask again with the same user-data.
    pub ours: bool,
    /// A start has ended without an answer: an instance may exist, whatever a later one says.
    pub doubt: bool,
    /// When the last start was answered, or the driver restarted after it.
    pub answered: Time,
    /// How many starts in a row have failed, and when the next is due.
    pub start: Retry,
    /// A stop is on its way.
    pub stopping: bool,
    /// When a stop was answered well for the first time.
    pub stopped: Option<Time>,
    /// How many stops there were, and when the next is due.
    pub stop: Retry,
    /// In how many lists in a row it was absent.
    pub absent: u32,
}

/// Attempts that are repeated with back-off.
#[derive(Debug, Default)]
pub struct Retry {
    count: u32,
    due: Time,
}

impl Retry {
    /// When the next may be made.
    pub fn due(&self) -> Time {
        self.due
    }

    /// Whether the last ones failed.
    pub fn is_failing(&self) -> bool {
        self.count > 0
    }

    /// One more, after which there is a wait: not shorter than the provider asked for.
    pub fn again(&mut self, now: Time, backoff: Backoff, error: Option<&ProviderError>) {
        self.count = self.count.saturating_add(1);
        let asked = match error.map(|error| error.kind) {
            Some(ErrorKind::Throttled(after)) => after,
            _ => Duration::ZERO,
        };
        self.due = now.plus(backoff.after(self.count).max(asked));
    }

    /// The last one went well.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

/// What is known of a provider.
#[derive(Debug, Default)]
pub struct Source {
    /// When the list on its way was asked for.
    pub listing: Option<Time>,
    /// When the last list was asked for, whether it came or not.
    pub listed: Option<Time>,
    /// Lists that failed.
    pub list: Retry,
    /// Starts that it could not be reached for, or that it had too many of.
    pub start: Retry,
    /// Instances of ours that no launch wants, by launch and instance.
    pub strays: BTreeMap<(LaunchId, String), Stray>,
}

/// An instance of ours that no launch wants.
#[derive(Debug)]
pub struct Stray {
    /// Not to be stopped before that time.
    pub spared: Time,
    /// A stop is on its way.
    pub stopping: bool,
    /// Stops so far.
    pub stop: Retry,
}
