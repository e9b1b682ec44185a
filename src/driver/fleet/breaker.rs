//! The breaker: a profile that keeps failing on an image is not launched for every request anew.

use std::collections::BTreeMap;

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

    /// The failure that a launch would end in, by all that is known.
    pub fn refuses(&self, key: &(String, String), now: Time) -> Option<Failure> {
        let breaker = self.0.get(key).filter(|breaker| breaker.failures >= ENOUGH && now < breaker.until)?;
        let mut failure = breaker.first.clone();
        let minutes = breaker.until.since(now).as_secs().div_ceil(60);
        failure.message = format!(
            "{}; {} launches of this profile on this image have failed like that: it is tried again in {minutes} min, or as soon as the profile or the image is another",
            failure.message, breaker.failures
        );
        Some(failure)
    }

    /// A launch is made: if the profile had failed often enough, it is the one that tries it, and nobody else until then.
    pub fn tried(&mut self, key: &(String, String), until: Time) {
        if let Some(breaker) = self.0.get_mut(key).filter(|breaker| breaker.failures >= ENOUGH) {
            breaker.until = until;
        }
    }
}
