//! Those who ask: a master with a few workers, each wanted again and again.

use std::time::Duration;

use super::random::Random;
use super::{HOLD, JOIN, LIFE};
use crate::fleet::{Body, Limits, NewRequest};
use crate::model::{PoolName, RequestId, Time, WorkerName};

/// One worker's name, and what is wanted of it.
pub struct User {
    pub driver: usize,
    pub name: String,
    /// How many requests are still to come.
    pub left: u32,
    pub current: Option<Wish>,
    made: u32,
}

/// A request, as its owner sees it.
pub struct Wish {
    pub new: NewRequest,
    /// It was answered: it must not be forgotten.
    pub known: bool,
    pub made: Time,
    /// When the worker was first seen to be ready.
    pub ready: Option<Time>,
    /// How long the build takes.
    pub work: Duration,
    /// How long it is waited for; none: until it is there.
    pub patience: Option<Duration>,
    /// It is wanted no more, whether the driver knows or not.
    pub deleted: bool,
}

impl User {
    pub fn new(driver: usize, number: u64, random: &mut Random) -> Self {
        let left = 1 + u32::try_from(random.below(4)).unwrap();
        Self { driver, name: format!("worker-{number}"), left, current: None, made: 0 }
    }

    pub fn wish(&mut self, now: Time, random: &mut Random) {
        self.left -= 1;
        self.made += 1;
        let pool = random.pick(&["small", "small", "large", "large", "large", "large", "large", "forbidden"]);
        let profile = random.pick(&["good", "good", "good", "good", "good", "bad", "old", "mute"]);
        let id = format!("r-{}-{}-{}", self.driver, self.name, self.made);
        let hold = if random.chance(30) { HOLD } else { Duration::ZERO };
        let new = NewRequest {
            id: RequestId::try_from(id).unwrap(),
            owner: "master".into(),
            name: WorkerName::try_from(self.name.clone()).unwrap(),
            pool: PoolName::try_from(pool.to_owned()).unwrap(),
            profile: profile.into(),
            profile_digest: profile.into(),
            digest: String::new(),
            limits: Limits { join: JOIN, life: Some(LIFE), hold },
            body: Body::default(),
        };
        let most = random.pick(&[20, 40, 600]);
        let patience = random.chance(30).then(|| random.seconds(1, most));
        let long = random.chance(10);
        let work = if long { random.seconds(8000, 12_000) } else { random.seconds(10, 3600) };
        self.current = Some(Wish { new, known: false, made: now, ready: None, work, patience, deleted: false });
    }
}

impl Wish {
    /// Whether its owner lets it go now.
    pub fn is_over(&self, now: Time) -> bool {
        self.ready.is_some_and(|ready| now.since(ready) >= self.work)
            || self.patience.is_some_and(|patience| now.since(self.made) >= patience)
    }
}
