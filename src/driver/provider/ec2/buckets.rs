//! AWS's request buckets, kept on this side: a call waits here for its turn instead of being refused there.
//!
//! <https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html>

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A call that would wait for longer is given back: whoever made it may have something better to do meanwhile.
const LONGEST: Duration = Duration::from_secs(30);

/// A bucket of tokens. Below zero it counts those who wait.
#[derive(Debug)]
struct Bucket {
    size: f64,
    per_second: f64,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn new(size: u32, per_second: u32, now: Instant) -> Self {
        Self { size: size.into(), per_second: per_second.into(), tokens: size.into(), at: now }
    }

    fn refill(&mut self, now: Instant) {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * self.per_second;
        self.tokens = (self.tokens + gained).min(self.size);
        self.at = now;
    }

    /// How long somebody who takes so many tokens now has to wait for them.
    fn wait(&self, count: u32) -> Duration {
        Duration::from_secs_f64(((f64::from(count) - self.tokens) / self.per_second).max(0.0))
    }
}

/// What calls are counted as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// RunInstances.
    Run,
    /// TerminateInstances, with the number of instances.
    Terminate(u32),
    /// Everything that only looks.
    Look,
}

/// The buckets of one region of one account.
#[derive(Debug)]
pub(super) struct Buckets(Mutex<All>);

#[derive(Debug)]
struct All {
    run: Bucket,
    terminate: Bucket,
    terminated: Bucket,
    look: Bucket,
}

impl Buckets {
    /// Full ones. Each instance is started by a call of its own, so its bucket of 1,000 is never the narrower one.
    pub fn new(now: Instant) -> Self {
        Self(Mutex::new(All {
            run: Bucket::new(5, 2, now),
            terminate: Bucket::new(100, 5, now),
            terminated: Bucket::new(1000, 20, now),
            look: Bucket::new(100, 20, now),
        }))
    }

    /// Takes what a call costs, and says how long to wait before it is made; or takes nothing, and says after what
    /// time to ask again.
    pub fn take(&self, kind: Kind, now: Instant) -> Result<Duration, Duration> {
        self.with(kind, |buckets| {
            let wait = buckets.iter_mut().map(|(bucket, count)| {
                bucket.refill(now);
                bucket.wait(*count)
            });
            let wait = wait.max().unwrap_or_default();
            if wait > LONGEST {
                return Err(wait);
            }
            for (bucket, count) in buckets {
                bucket.tokens -= f64::from(*count);
            }
            Ok(wait)
        })
    }

    /// AWS says that there is nothing left: others share its buckets.
    pub fn drain(&self, kind: Kind, now: Instant) {
        self.with(kind, |buckets| {
            for (bucket, _) in buckets {
                bucket.refill(now);
                bucket.tokens = bucket.tokens.min(0.0);
            }
        });
    }

    fn with<T>(&self, kind: Kind, f: impl FnOnce(&mut [(&mut Bucket, u32)]) -> T) -> T {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let All { run, terminate, terminated, look } = &mut *all;
        match kind {
            Kind::Run => f(&mut [(run, 1)]),
            Kind::Terminate(count) => f(&mut [(terminate, 1), (terminated, count)]),
            Kind::Look => f(&mut [(look, 1)]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a bucket at AWS would see them: when each call of many arrives.
    fn arrivals(count: u32) -> Vec<Duration> {
        let start = Instant::now();
        let buckets = Buckets::new(start);
        let mut now = start;
        let mut arrivals = Vec::new();
        while arrivals.len() < count as usize {
            match buckets.take(Kind::Run, now) {
                Ok(wait) => arrivals.push(now + wait - start),
                Err(wait) => now += wait,
            }
        }
        arrivals.sort();
        arrivals
    }

    #[test]
    fn a_thousand_starts_fit_and_lose_no_time() {
        let arrivals = arrivals(1000);
        for (index, at) in arrivals.iter().enumerate() {
            let allowed = 5.0 + 2.0 * at.as_secs_f64();
            assert!((index + 1) as f64 <= allowed + 1e-6, "call {index} at {at:?} would be throttled");
        }
        assert!(arrivals[999] <= Duration::from_secs(500), "{:?}", arrivals[999]);
    }

    #[test]
    fn a_bucket_found_empty_fills_anew() {
        let now = Instant::now();
        let buckets = Buckets::new(now);
        buckets.drain(Kind::Run, now);
        assert_eq!(buckets.take(Kind::Run, now), Ok(Duration::from_millis(500)));
        assert_eq!(buckets.take(Kind::Look, now), Ok(Duration::ZERO));
    }

    #[test]
    fn instances_are_counted_beside_calls() {
        let now = Instant::now();
        let buckets = Buckets::new(now);
        for _ in 0..10 {
            assert_eq!(buckets.take(Kind::Terminate(100), now), Ok(Duration::ZERO));
        }
        assert_eq!(buckets.take(Kind::Terminate(100), now), Ok(Duration::from_secs(5)));
    }
}
