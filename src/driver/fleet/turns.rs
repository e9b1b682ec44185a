//! Whose turn it is: after each event everything that is due is done, and the next time is found at which something will be.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::change::Remains;
use super::memory::Source;
use super::{Action, Fleet, Launch, LaunchState, Outcome, PoolRules};
use crate::model::{Failure, FailureClass, LaunchId, PoolName, RequestId, Time, WorkerName};

/// Finds the next time at which something is due.
struct Agenda {
    now: Time,
    next: Option<Time>,
}

impl Agenda {
    /// Whether it is time; else that time is remembered.
    fn is_due(&mut self, at: Time) -> bool {
        if at <= self.now {
            return true;
        }
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
        false
    }
}

/// What the launches that are not gone take.
#[derive(Default)]
struct Taken {
    /// Places, of each pool.
    places: BTreeMap<PoolName, u32>,
    /// Workers' names, of each owner.
    names: BTreeMap<(String, WorkerName), LaunchId>,
}

impl Taken {
    fn add(&mut self, launch: &Launch) {
        *self.places.entry(launch.pool.clone()).or_default() += 1;
        self.names.insert((launch.owner.clone(), launch.name.clone()), launch.id.clone());
    }
}

impl Fleet {
    pub(super) fn take_turns(&mut self) {
        let mut agenda = Agenda { now: self.now, next: None };
        self.end_overdue(&mut agenda);
        self.give_launches(&mut agenda);
        self.start_launches(&mut agenda);
        self.stop_launches(&mut agenda);
        self.stop_strays(&mut agenda);
        self.list_providers(&mut agenda);
        self.forget(&mut agenda);
        if let Some(at) = agenda.next {
            self.actions.push(Action::Wake { at });
        }
    }

    /// Ends what took longer than its agent should have let it.
    fn end_overdue(&mut self, agenda: &mut Agenda) {
        let alive = self.alive.keys().filter_map(|id| self.launches.get(id));
        let overdue: Vec<_> =
            alive.filter(|launch| self.deadline(launch).is_some_and(|at| agenda.is_due(at))).collect();
        let overdue: Vec<_> = overdue.iter().map(|it| (it.id.clone(), it.state, it.heard.is_some())).collect();
        for (id, state, heard) in overdue {
            match state {
                LaunchState::Booting => {
                    let words = if heard { "its worker was not ready in time" } else { "its agent never reported" };
                    self.fail(&id, Failure::new(FailureClass::Join, words), Remains::Evidence);
                }
                LaunchState::Held => self.end_launch(&id),
                _ => self.lose(&id, "it lived longer than its lease, so it was ended"),
            }
        }
    }

    /// Until when a launch may be in its state.
    fn deadline(&self, launch: &Launch) -> Option<Time> {
        let (limits, times) = (self.requests.get(&launch.request)?.limits, &self.policy.times);
        let asked = launch.asked.unwrap_or(launch.created);
        match launch.state {
            // Agents that had nobody to report to while the driver was down get a chance to.
            LaunchState::Booting => {
                Some(asked.plus(limits.join.saturating_add(times.margin)).max(self.born.plus(times.silence)))
            }
            LaunchState::Ready => limits.life.map(|life| asked.plus(life.saturating_add(times.margin))),
            LaunchState::Held => Some(launch.changed.plus(limits.hold)),
            _ => None,
        }
    }

    /// Gives launches to the requests that wait, in the order of their arrival.
    fn give_launches(&mut self, agenda: &mut Agenda) {
        let waiting = self.waiting();
        if waiting.is_empty() {
            return;
        }
        let mut taken = Taken::default();
        for launch in self.alive.keys().filter_map(|id| self.launches.get(id)) {
            taken.add(launch);
        }
        for id in waiting {
            if let Some(rules) = self.rules_of(&id)
                && self.has_place(&id, &rules, &taken, agenda)
            {
                self.add_launch(&id, rules.provider);
                let launch = self.requests.get(&id).and_then(|request| self.launches.get(request.launch.as_ref()?));
                launch.into_iter().for_each(|launch| taken.add(launch));
            }
        }
    }

    /// The rules for a request that waits, unless it cannot be launched at all and so has ended.
    fn rules_of(&mut self, id: &RequestId) -> Option<PoolRules> {
        let request = self.requests.get(id)?;
        let rules = self.policy.pools.get(&request.pool).cloned();
        let failure = match &rules {
            Some(rules) => self.breakers.refuses(&(request.profile_digest.clone(), rules.image.clone()), self.now),
            None => {
                let words = format!("pool {} is no longer in the configuration", request.pool);
                Some(Failure::new(FailureClass::Profile, words))
            }
        };
        if failure.is_none() {
            return rules;
        }
        self.end_request(id, Outcome::Failed, failure);
        None
    }

    /// Whether a request can be launched now; what is only held in its way is ended.
    fn has_place(&mut self, id: &RequestId, rules: &PoolRules, taken: &Taken, agenda: &mut Agenda) -> bool {
        let Some(request) = self.requests.get(id).filter(|request| agenda.is_due(request.not_before)) else {
            return false;
        };
        let (pool, digest) = (request.pool.clone(), request.profile_digest.clone());
        if let Some(launch) = taken.names.get(&(request.owner.clone(), request.name.clone())) {
            self.release(launch);
            return false;
        }
        if taken.places.get(&pool).is_some_and(|count| *count >= rules.max) || rules.max == 0 {
            self.release_one_of(&pool);
            return false;
        }
        self.breakers.tried(&(digest, rules.image.clone()), self.now.plus(self.policy.times.breaker));
        true
    }

    /// The requests without a launch.
    fn waiting(&self) -> Vec<RequestId> {
        let waits = |id: &&RequestId| self.requests.get(*id).is_some_and(|it| it.state == super::RequestState::Waiting);
        self.open.values().filter(waits).cloned().collect()
    }

    /// Ends a launch if it is only held for somebody to look at.
    fn release(&mut self, id: &LaunchId) {
        if self.launches.get(id).is_some_and(|launch| launch.state == LaunchState::Held) {
            self.end_launch(id);
        }
    }

    /// Ends the oldest held launch of a pool, unless one is on its way out already.
    fn release_one_of(&mut self, pool: &PoolName) {
        let of_pool = || self.alive.keys().filter_map(|id| self.launches.get(id)).filter(|launch| launch.pool == *pool);
        if of_pool().any(|launch| launch.state == LaunchState::Ending) {
            return;
        }
        let held = of_pool().filter(|launch| launch.state == LaunchState::Held).min_by_key(|launch| launch.changed);
        if let Some(id) = held.map(|launch| launch.id.clone()) {
            self.end_launch(&id);
        }
    }

    /// Asks providers for what is wanted, the oldest request first, and no provider for too much at once.
    fn start_launches(&mut self, agenda: &mut Agenda) {
        for (id, provider) in self.to_start(agenda) {
            self.start(&id, provider);
        }
    }

    fn to_start(&self, agenda: &mut Agenda) -> Vec<(LaunchId, String)> {
        let mut running = BTreeMap::<&str, usize>::new();
        let mut trying = BTreeSet::<&PoolName>::new();
        let under_way = self.alive.iter().filter(|(_, calls)| calls.starting);
        for launch in under_way.filter_map(|(id, _)| self.launches.get(id)) {
            *running.entry(&launch.provider).or_default() += 1;
            trying.insert(&launch.pool);
        }
        let mut chosen = Vec::new();
        for id in self.open.values().filter_map(|id| self.requests.get(id)?.launch.as_ref()) {
            let (Some(launch), Some(calls)) = (self.launches.get(id), self.alive.get(id)) else { continue };
            // One that is starting is asked for again if nobody knows whether it was heard.
            let wanted = launch.state == LaunchState::Wanted || launch.state == LaunchState::Starting && calls.ours;
            let Some(source) = self.sources.get(&launch.provider).filter(|_| wanted && !calls.starting) else {
                continue;
            };
            let full = self.full.get(&launch.pool);
            let due = calls.start.due().max(source.start.due()).max(full.map_or(Time(0), super::Retry::due));
            let count = running.entry(&launch.provider).or_default();
            // A provider or pool that failed is tried by one.
            let most = if source.start.is_failing() { 1 } else { self.policy.starts_at_once };
            if *count >= most || (full.is_some() && trying.contains(&launch.pool)) || !agenda.is_due(due) {
                continue;
            }
            *count += 1;
            trying.insert(&launch.pool);
            chosen.push((id.clone(), launch.provider.clone()));
        }
        chosen
    }

    fn start(&mut self, id: &LaunchId, provider: String) {
        let now = self.now;
        if let Some(calls) = self.alive.get_mut(id) {
            calls.starting = true;
            calls.ours = true;
        }
        if let Some(launch) = self.edit_launch(id) {
            launch.asked = Some(now);
        }
        self.move_launch(id, LaunchState::Starting);
        self.actions.push(Action::Start { launch: id.clone(), provider });
    }

    fn stop_launches(&mut self, agenda: &mut Agenda) {
        for (id, calls) in &mut self.alive {
            let Some(launch) = self.launches.get(id).filter(|it| it.state == LaunchState::Ending) else { continue };
            // A stop that overtakes the start would find nothing.
            if calls.starting || calls.stopping || !agenda.is_due(calls.stop.due()) {
                continue;
            }
            calls.stopping = true;
            let instance = launch.instance.as_ref().map(|instance| instance.id.clone());
            self.actions.push(Action::Stop { launch: id.clone(), instance, provider: launch.provider.clone() });
        }
    }

    fn stop_strays(&mut self, agenda: &mut Agenda) {
        let mut notes = Vec::new();
        for (provider, source) in &mut self.sources {
            for ((launch, instance), stray) in &mut source.strays {
                if stray.stopping || !agenda.is_due(stray.spared.max(stray.stop.due())) {
                    continue;
                }
                stray.stopping = true;
                notes.push((launch.clone(), format!("instance {instance} of {launch} is nobody's, so it is stopped")));
                let (launch, instance) = (launch.clone(), Some(instance.clone()));
                self.actions.push(Action::Stop { launch, instance, provider: provider.clone() });
            }
        }
        for (launch, message) in notes {
            self.note(Some(&launch), message);
        }
    }

    fn list_providers(&mut self, agenda: &mut Agenda) {
        let waits: BTreeMap<String, Duration> =
            self.sources.iter().map(|(name, source)| (name.clone(), self.list_interval(name, source))).collect();
        for (provider, source) in &mut self.sources {
            let wait = waits.get(provider).copied().unwrap_or_default();
            let again = source.list.is_failing().then(|| source.list.due());
            let due = again.or(source.listed.map(|listed| listed.plus(wait))).unwrap_or_default();
            if source.listing.is_some() || !agenda.is_due(due) {
                continue;
            }
            source.listing = Some(agenda.now);
            source.listed = Some(agenda.now);
            self.actions.push(Action::List { provider: provider.clone() });
        }
    }

    fn list_interval(&self, provider: &str, source: &Source) -> Duration {
        let times = &self.policy.times;
        let here = self.alive.iter().filter_map(|(id, calls)| Some((self.launches.get(id)?, calls)));
        let mut here = here.filter(|(launch, _)| launch.provider == provider).peekable();
        if here.peek().is_none() && source.strays.is_empty() {
            return times.stray;
        }
        let urgent = here.any(|(launch, calls)| match launch.state {
            LaunchState::Ending => calls.stopped.is_some(),
            LaunchState::Starting => !calls.ours,
            _ => calls.absent > 0,
        });
        match urgent {
            true if self.policy.exact.contains(provider) => times.list_exact,
            true => times.list_soon,
            false => times.list_idle,
        }
    }

    /// Drops what has been over for long enough.
    fn forget(&mut self, agenda: &mut Agenda) {
        let keep = self.policy.times.keep;
        let mut old = Vec::new();
        for request in self.requests.values().filter(|request| request.is_ended()) {
            let held = request.launch.as_ref().is_some_and(|launch| self.alive.contains_key(launch));
            if agenda.is_due(request.changed.plus(keep)) && !held {
                old.push(request.id.clone());
            }
        }
        if old.is_empty() {
            return;
        }
        for id in &old {
            self.requests.remove(id);
            self.changed_requests.remove(id);
        }
        self.launches.retain(|_, launch| self.requests.contains_key(&launch.request));
        self.changed_launches.retain(|id| self.launches.contains_key(id));
        self.forgotten.extend(old);
    }
}
