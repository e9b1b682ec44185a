//! A driver that can be killed at any step, and then knows what it had stored.

use std::collections::{BTreeMap, BTreeSet};

use super::cloud::{EXACT, LATE};
use super::{Fleet, Setup};
use crate::fleet::{Action, Backoff, Changes, Launch, Policy, PoolRules, Request, What};
use crate::model::{DriverName, LaunchId, PoolName, RequestId, Time};

/// How many launches each pool takes.
pub fn max(pool: &str) -> u32 {
    if pool == "small" { 1 } else { 3 }
}

pub struct Driver {
    pub name: String,
    pub fleet: Option<Fleet>,
    /// Counts its starts: what was meant for an earlier one does not arrive.
    pub life: u64,
    /// Counts its wishes to be woken.
    pub wakes: u64,
    requests: BTreeMap<RequestId, Request>,
    launches: BTreeMap<LaunchId, Launch>,
    /// Each event of a report that was told: launch, run, number.
    told: BTreeSet<(LaunchId, u64, u64)>,
}

impl Driver {
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            fleet: None,
            life: 0,
            wakes: 0,
            requests: BTreeMap::new(),
            launches: BTreeMap::new(),
            told: BTreeSet::new(),
        }
    }

    pub fn restart(&mut self, setup: &Setup, seed: u64, now: Time) {
        self.life += 1;
        self.wakes += 1;
        let (requests, launches) = (self.requests.values().cloned(), self.launches.values().cloned());
        let policy = policy(&self.name, setup);
        self.fleet = Some(Fleet::restore(policy, seed ^ self.life, now, requests.collect(), launches.collect()));
    }

    pub fn kill(&mut self) {
        self.fleet = None;
    }

    /// Stores rows and what was told, all or nothing.
    pub fn store(&mut self, changes: Changes, actions: &[Action]) -> Result<(), String> {
        self.requests.extend(changes.requests.into_iter().map(|row| (row.id.clone(), row)));
        self.launches.extend(changes.launches.into_iter().map(|row| (row.id.clone(), row)));
        for id in changes.forgotten {
            self.requests.remove(&id);
            self.launches.retain(|_, launch| launch.request != id);
        }
        for action in actions {
            let Action::Tell(told) = action else { continue };
            let (What::Report { run, report }, Some(launch)) = (&told.what, &told.launch) else { continue };
            if !self.told.insert((launch.clone(), *run, report.seq)) {
                return Err(format!("event {} of run {run} of {launch} was told twice", report.seq));
            }
        }
        Ok(())
    }
}

fn policy(name: &str, setup: &Setup) -> Policy {
    let pool = |pool: &str, provider: &str| {
        let rules = PoolRules { provider: provider.into(), max: max(pool), image: "image".into() };
        (PoolName::try_from(pool.to_owned()).unwrap(), rules)
    };
    let pools = [pool("small", EXACT), pool("large", LATE), pool("forbidden", LATE)];
    let mut times = setup.times.clone();
    times.breaker = times.breaker.min(std::time::Duration::from_secs(1200));
    times.capacity = Backoff { most: std::time::Duration::from_secs(300), ..times.capacity };
    Policy {
        driver: DriverName::try_from(name.to_owned()).unwrap(),
        pools: pools.into(),
        exact: [EXACT.to_owned()].into(),
        times,
        starts_at_once: 4,
    }
}
