//! The breaker: a profile that keeps failing on an image is not launched for every request anew.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::{Failure, Time};

/// How many launches must fail in a row.
const ENOUGH: u32 = 2;

/// Profiles that fail, by digest and image.
#[derive(Debug, Default)]
pub struct Breakers(BTreeMap<(String, String), Breaker>);

#[derive(Debug)]
struct Breaker {
    failures: u32,
    first: Failure,
    /// When it may be tried again.
    until: Time,
}

impl Breakers {
    /// A launch has failed by its profile.
    pub fn failed(&mut self, key: (String, String), failure: &Failure, until: Time) {
        let breaker = self.0.entry(key).or_insert_with(|| Breaker { failures: 0, first: failure.clone(), until });
        breaker.failures = breaker.failures.saturating_add(1);
        breaker.until = until;
    }

    /// A launch has got ready.
    pub fn succeeded(&mut self, key: &(String, String)) {
        self.0.remove(key);
    }

    /// The failure that a launch would end in, if it would; else it may be made, and if the profile has failed often
    /// enough it is the one that tries it, for that long.
    pub fn refuses(&mut self, key: &(String, String), now: Time, wait: Duration) -> Option<Failure> {
        let breaker = self.0.get_mut(key).filter(|breaker| breaker.failures >= ENOUGH)?;
        if now >= breaker.until {
            breaker.until = now.plus(wait);
            return None;
        }
        let mut failure = breaker.first.clone();
        let minutes = breaker.until.since(now).as_secs().div_ceil(60);
        failure.message = format!(
            "{}; {} launches of this profile on this image have failed like that, so it is tried again in {minutes} min, or once the profile or the image is another",
            failure.message, breaker.failures
        );
        Some(failure)
    }
}
