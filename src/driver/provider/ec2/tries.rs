//! Which failures of a call are tried again, how often and after what time.

use std::time::Duration;

use tokio::time::Instant;

use super::error::Cause;

/// No further try begins so long after the first: whoever made the call has its own list of what to try again.
const TOTAL: Duration = Duration::from_secs(60);

/// Connections that are refused or lost, answers that say nothing. RunInstances bears a token, so that it may be
/// asked again, and ending twice is ending once.
const LOST: Pauses = Pauses { tries: 3, first: Duration::from_millis(500) };

/// Each longer than the refill of the slowest bucket.
const THROTTLED: Pauses = Pauses { tries: 5, first: Duration::from_secs(1) };

struct Pauses {
    tries: u32,
    first: Duration,
}

/// What to do after a failure.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Wait, and try again.
    Pause(Duration),
    /// Try again, by the corrected clock.
    AtOnce,
    /// Try again, with other credentials.
    OtherKey,
    /// Nothing more can be done here.
    GiveUp,
}

/// The tries of one call.
#[derive(Debug)]
pub(super) struct Tries {
    until: Instant,
    failed: u32,
    heard: bool,
    clock_corrected: bool,
    key_renewed: bool,
}

impl Tries {
    pub fn new(now: Instant) -> Self {
        Self { until: now + TOTAL, failed: 0, heard: false, clock_corrected: false, key_renewed: false }
    }

    /// Whether one of them may have been heard and obeyed without an answer.
    pub fn was_heard(&self) -> bool {
        self.heard
    }

    /// What to do now. `clock`: AWS's clock is found to be another than was thought.
    pub fn next(&mut self, cause: &Cause, clock: bool, now: Instant) -> Next {
        self.heard |= matches!(cause, Cause::Lost(_));
        match cause {
            Cause::Credentials(_) | Cause::Busy(_) => Next::GiveUp,
            Cause::Connect(_) | Cause::Lost(_) => self.pause(&LOST, now),
            Cause::Answered(refusal) if refusal.is_throttling() => self.pause(&THROTTLED, now),
            Cause::Answered(refusal) if refusal.is_about_the_signature() => self.sign_anew(clock),
            Cause::Answered(_) => Next::GiveUp,
        }
    }

    /// Once with another clock, once with other credentials.
    fn sign_anew(&mut self, clock: bool) -> Next {
        if clock && !self.clock_corrected {
            self.clock_corrected = true;
            return Next::AtOnce;
        }
        if self.key_renewed {
            return Next::GiveUp;
        }
        self.key_renewed = true;
        Next::OtherKey
    }

    fn pause(&mut self, pauses: &Pauses, now: Instant) -> Next {
        self.failed += 1;
        // From half of it to all of it: those who failed together do not come again together.
        let pause = (pauses.first * 2_u32.pow(self.failed - 1)).mul_f64(0.5 + fastrand::f64() / 2.0);
        if self.failed >= pauses.tries || now + pause > self.until { Next::GiveUp } else { Next::Pause(pause) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::ec2::error::Refusal;

    #[test]
    fn each_remedy_for_a_signature_is_used_once() {
        let now = Instant::now();
        let mut tries = Tries::new(now);
        let cause = Cause::Answered(Refusal::new("AuthFailure", ""));
        let next: Vec<_> = (0..3).map(|_| tries.next(&cause, true, now)).collect();
        assert_eq!(next, [Next::AtOnce, Next::OtherKey, Next::GiveUp]);
        assert!(!tries.was_heard());
    }

    #[test]
    fn pauses_grow_and_end() {
        let now = Instant::now();
        let mut tries = Tries::new(now);
        let cause = Cause::Answered(Refusal::new("RequestLimitExceeded", ""));
        for round in 0..4 {
            let Next::Pause(pause) = tries.next(&cause, false, now) else { panic!("round {round}") };
            assert!(pause <= Duration::from_secs(1 << round) && pause * 2 >= Duration::from_secs(1 << round));
        }
        assert_eq!(tries.next(&cause, false, now), Next::GiveUp);
        assert_eq!(Tries::new(now - TOTAL).next(&cause, false, now), Next::GiveUp);
    }
}
