//! What the configuration and the service decide: pools, and how long things take.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::{DriverName, PoolName, Time};

/// What the fleet must know of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolRules {
    /// Its provider's name.
    pub provider: String,
    /// How many launches may be alive at once.
    pub max: u32,
    /// Its image as the configuration has it: a profile that fails on one image may do well on another.
    pub image: String,
}

/// The rules of a fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whose launches these are.
    pub driver: DriverName,
    /// The pools, by name.
    pub pools: BTreeMap<PoolName, PoolRules>,
    /// The waits.
    pub times: Times,
    /// Providers whose list is never late, such as those that are programs on this machine: what they do not show after a
    /// stop is gone.
    pub exact: BTreeSet<String>,
    /// How many calls of `start` one provider gets at once.
    pub starts_at_once: usize,
}

/// How long the fleet waits for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Times {
    /// Between two lists of an exact provider while somebody waits for what they show: a launch is ending, or it is not
    /// known whether it was started.
    pub list_exact: Duration,
    /// The same for other providers.
    pub list_soon: Duration,
    /// Between two lists otherwise, as long as there are launches.
    pub list_idle: Duration,
    /// How long a provider's list may not show what was started.
    pub settle: Duration,
    /// How long an unknown launch of ours is left alone: perhaps somebody is restoring this driver's state. Also between
    /// two lists of a provider that nothing is known to be at.
    pub stray: Duration,
    /// How long a launch may be silent before being absent from lists counts.
    pub silence: Duration,
    /// What is added to `join` and `life` before the driver ends what the agent should have ended.
    pub margin: Duration,
    /// How long a profile that keeps failing is not tried.
    pub breaker: Duration,
    /// How long what is over is kept.
    pub keep: Duration,
    /// After lack of capacity.
    pub capacity: Backoff,
    /// After calls that failed.
    pub call: Backoff,
    /// Between stops that were answered well, as long as what was stopped still shows.
    pub stop: Backoff,
}

/// Waits that double.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first.
    pub first: Duration,
    /// The longest.
    pub most: Duration,
}

impl Backoff {
    /// The wait after that many failures in a row, the first of which is 1.
    pub fn after(self, failures: u32) -> Duration {
        self.first.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(self.most)
    }
}

impl Default for Times {
    fn default() -> Self {
        const fn minutes(count: u64) -> Duration {
            Duration::from_secs(60 * count)
        }
        Self {
            list_exact: Duration::from_secs(1),
            list_soon: Duration::from_secs(10),
            list_idle: minutes(1),
            settle: minutes(1),
            stray: minutes(5),
            silence: Duration::from_secs(150),
            margin: minutes(2),
            breaker: minutes(60),
            keep: minutes(24 * 60),
            capacity: Backoff { first: Duration::from_secs(30), most: minutes(10) },
            call: Backoff { first: Duration::from_secs(2), most: minutes(2) },
            stop: Backoff { first: minutes(1), most: minutes(10) },
        }
    }
}

impl Time {
    /// That much later.
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long after an earlier time; nothing if that is later, as when the clock was set back.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}
