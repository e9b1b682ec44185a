//! The fleet: a pure state machine between those who want workers and those who have machines. No I/O, no clock, no
//! randomness but a seed. docs/fleet.md has every state and transition.

mod adopt;
mod breaker;
mod calls;
mod change;
mod launch;
mod memory;
mod policy;
mod report;
mod request;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod turns;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use breaker::Breakers;
pub use launch::{Launch, LaunchState};
use memory::{Calls, Retry, Source};
pub use policy::{Backoff, Policy, PoolRules, Times};
pub use request::{Body, Limits, NewRequest, Outcome, Request, RequestState};
pub use words::{Action, Answer, Changes, Event, Judgement, Told, What};

use crate::model::{LaunchId, PoolName, RequestId, Time};

/// All requests and launches, and what is known of the providers.
///
/// The engine's loop: `handle` an event, store `take_changes` and what is told in one transaction, do the actions.
#[derive(Debug)]
pub struct Fleet {
    policy: Policy,
    requests: BTreeMap<RequestId, Request>,
    launches: BTreeMap<LaunchId, Launch>,
    /// The requests that have not ended, in the order of their arrival.
    open: BTreeMap<u64, RequestId>,
    /// The launches that are not gone, with the calls for them.
    alive: BTreeMap<LaunchId, Calls>,
    sources: BTreeMap<String, Source>,
    /// The pools that lacked capacity.
    full: BTreeMap<PoolName, Retry>,
    breakers: Breakers,
    owners: BTreeMap<String, Time>,
    changed_requests: BTreeSet<RequestId>,
    changed_launches: BTreeSet<LaunchId>,
    forgotten: Vec<RequestId>,
    /// When this driver was started.
    born: Time,
    now: Time,
    random: u64,
    order: u64,
    actions: Vec<Action>,
}

impl Fleet {
    /// A fleet without anything in it. `seed` is what launch ids are made of, beside the time: another one at each start
    /// of the driver.
    pub fn new(policy: Policy, seed: u64, now: Time) -> Self {
        Self::restore(policy, seed, now, Vec::new(), Vec::new())
    }

    /// The fleet that was stored. The first [`Event::Tick`] sets it to work.
    pub fn restore(policy: Policy, seed: u64, now: Time, requests: Vec<Request>, launches: Vec<Launch>) -> Self {
        let providers = policy.pools.values().map(|pool| &pool.provider);
        let providers =
            providers.chain(launches.iter().filter(|launch| launch.is_alive()).map(|launch| &launch.provider));
        Self {
            sources: providers.map(|provider| (provider.clone(), Source::default())).collect(),
            open: requests.iter().filter(|it| !it.is_ended()).map(|it| (it.order, it.id.clone())).collect(),
            alive: launches
                .iter()
                .filter(|launch| launch.is_alive())
                .map(|launch| (launch.id.clone(), Calls { answered: now, ..Calls::default() }))
                .collect(),
            order: requests.iter().map(|request| request.order).max().unwrap_or(0),
            requests: requests.into_iter().map(|request| (request.id.clone(), request)).collect(),
            launches: launches.into_iter().map(|launch| (launch.id.clone(), launch)).collect(),
            full: BTreeMap::new(),
            breakers: Breakers::default(),
            owners: BTreeMap::new(),
            changed_requests: BTreeSet::new(),
            changed_launches: BTreeSet::new(),
            forgotten: Vec::new(),
            born: now,
            now,
            random: seed,
            actions: Vec::new(),
            policy,
        }
    }

    /// Takes an event, and says what is to be done. `now` is best counted by a monotonic clock from the wall clock at the
    /// driver's start; one that goes back is taken for standing still.
    pub fn handle(&mut self, now: Time, event: Event) -> Vec<Action> {
        self.now = self.now.max(now);
        match event {
            Event::RequestMade(new) => self.request_made(*new),
            Event::RequestDeleted(id) => self.request_deleted(&id),
            Event::Started { launch, result } => self.started(&launch, result),
            Event::Stopped { launch, instance, result } => self.stopped(&launch, instance, result),
            Event::Listed { provider, result } => self.listed(&provider, result),
            Event::Reported { launch, report } => self.reported(&launch, *report),
            Event::OwnerSeen(owner) => {
                self.owners.insert(owner, self.now);
            }
            Event::Tick => {}
        }
        self.take_turns();
        std::mem::take(&mut self.actions)
    }

    /// What a request is that has come.
    pub fn judge(&self, new: &NewRequest) -> Judgement {
        match self.requests.get(&new.id) {
            Some(known) if known.digest == new.digest && known.owner == new.owner => return Judgement::Known,
            Some(known) => {
                let message = format!("request {} was made with another content: make another id", known.id);
                return Judgement::Conflict { request: known.id.clone(), message };
            }
            None => {}
        }
        if !self.policy.pools.contains_key(&new.pool) {
            return Judgement::NoPool;
        }
        let open = self.open.values().filter_map(|id| self.requests.get(id));
        match open.filter(|it| it.is_wanted()).find(|it| it.owner == new.owner && it.name == new.name) {
            Some(first) => Judgement::Conflict {
                request: first.id.clone(),
                message: format!("{} is the worker of request {}: delete that first", new.name, first.id),
            },
            None => Judgement::New,
        }
    }

    /// What an agent is to be answered, after its report was handled.
    pub fn answer(&self, id: &LaunchId) -> Answer {
        let Some(launch) = self.launches.get(id) else { return Answer::Unknown };
        match launch.state {
            LaunchState::Gone => Answer::Over,
            LaunchState::Ending => Answer::Stop {
                reason: launch.failure.as_ref().map_or("nobody wants it any more".into(), |it| it.message.clone()),
            },
            _ => Answer::Go { owner_seen: self.owners.get(&launch.owner).map(|seen| self.now.since(*seen).as_secs()) },
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
