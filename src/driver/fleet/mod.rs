//! The fleet: a pure state machine between those who want workers and those who have machines. No I/O, no clock, no
//! randomness but a seed. docs/fleet.md has every state and transition.

mod launch;
mod policy;
mod request;
mod words;

use std::collections::{BTreeMap, BTreeSet};

pub use launch::{Launch, LaunchState};
pub use policy::{Backoff, Policy, PoolRules, Times};
pub use request::{Body, Limits, NewRequest, Outcome, Request, RequestState};
pub use words::{Action, Answer, Changes, Event, Judgement, Told, What};

use crate::model::{LaunchId, RequestId, Time};

/// All requests and launches, and what is known of the providers.
///
/// The engine's loop: `handle` an event, store `take_changes` and what is told in one transaction, do the actions.
#[derive(Debug)]
pub struct Fleet {
    policy: Policy,
    seed: u64,
    requests: BTreeMap<RequestId, Request>,
    launches: BTreeMap<LaunchId, Launch>,
    changed_requests: BTreeSet<RequestId>,
    changed_launches: BTreeSet<LaunchId>,
    forgotten: Vec<RequestId>,
    owners: BTreeMap<String, Time>,
}

impl Fleet {
    /// A fleet without anything in it. `seed` is what launch ids are made of, beside the time: another one at each start
    /// of the driver.
    pub fn new(policy: Policy, seed: u64) -> Self {
        Self::restore(policy, seed, Vec::new(), Vec::new())
    }

    /// The fleet that was stored. The first [`Event::Tick`] sets it to work.
    pub fn restore(policy: Policy, seed: u64, requests: Vec<Request>, launches: Vec<Launch>) -> Self {
        Self {
            policy,
            seed,
            requests: requests.into_iter().map(|request| (request.id.clone(), request)).collect(),
            launches: launches.into_iter().map(|launch| (launch.id.clone(), launch)).collect(),
            changed_requests: BTreeSet::new(),
            changed_launches: BTreeSet::new(),
            forgotten: Vec::new(),
            owners: BTreeMap::new(),
        }
    }

    /// Takes an event, and says what is to be done.
    pub fn handle(&mut self, now: Time, event: Event) -> Vec<Action> {
        let _ = (now, event, self.seed);
        Vec::new()
    }

    /// What a request is that has come.
    pub fn judge(&self, new: &NewRequest) -> Judgement {
        if !self.policy.pools.contains_key(&new.pool) {
            return Judgement::NoPool;
        }
        match self.requests.get(&new.id) {
            Some(known) if known.digest == new.digest => Judgement::Known,
            Some(known) => Judgement::Conflict {
                request: known.id.clone(),
                message: format!("request {} was made with another content: make another id", known.id),
            },
            None => Judgement::New,
        }
    }

    /// What an agent is to be answered, after its report was handled.
    pub fn answer(&self, now: Time, launch: &LaunchId) -> Answer {
        let Some(launch) = self.launches.get(launch) else { return Answer::Unknown };
        match launch.state {
            LaunchState::Gone => Answer::Over,
            LaunchState::Ending => Answer::Stop { reason: "its request has ended".into() },
            _ => Answer::Go { owner_seen: self.owners.get(&launch.owner).map(|seen| now.since(*seen).as_secs()) },
        }
    }

    /// The rows that have changed since they were last taken.
    pub fn take_changes(&mut self) -> Changes {
        let requests = std::mem::take(&mut self.changed_requests);
        let launches = std::mem::take(&mut self.changed_launches);
        Changes {
            requests: requests.iter().filter_map(|id| self.requests.get(id)).cloned().collect(),
            launches: launches.iter().filter_map(|id| self.launches.get(id)).cloned().collect(),
            forgotten: std::mem::take(&mut self.forgotten),
        }
    }

    /// A request.
    pub fn request(&self, id: &RequestId) -> Option<&Request> {
        self.requests.get(id)
    }

    /// All requests, also those that ended lately.
    pub fn requests(&self) -> impl Iterator<Item = &Request> {
        self.requests.values()
    }

    /// A launch.
    pub fn launch(&self, id: &LaunchId) -> Option<&Launch> {
        self.launches.get(id)
    }

    /// All launches, also those that are gone.
    pub fn launches(&self) -> impl Iterator<Item = &Launch> {
        self.launches.values()
    }
}
