//! What a provider's list shows: launches are adopted, lost, gone, and strays found.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::change::Remains;
use super::memory::Stray;
use super::{Fleet, LaunchState};
use crate::model::{Failure, FailureClass, Instance, InstanceState, LaunchId, Time};
use crate::provider::ProviderError;

impl Fleet {
    pub(super) fn listed(&mut self, provider: &str, result: Result<Vec<Instance>, ProviderError>) {
        let (now, backoff) = (self.now, self.policy.times.call);
        let Some(source) = self.sources.get_mut(provider) else { return };
        let Some(asked) = source.listing.take() else { return };
        let instances = match result {
            Ok(instances) => instances,
            Err(error) => {
                source.list.again(now, backoff, Some(&error));
                // Two lists in a row is what counts, and this one was to be the second.
                for id in self.alive_at(provider) {
                    self.alive.entry(id).and_modify(|calls| calls.absent = 0);
                }
                return self.note(None, format!("provider {provider} cannot be listed, and is asked again: {error}"));
            }
        };
        source.list.reset();
        let mut shown = BTreeMap::<LaunchId, Vec<Instance>>::new();
        for instance in instances.into_iter().filter(|instance| instance.launch.is_of(&self.policy.driver)) {
            shown.entry(instance.launch.clone()).or_default().push(instance);
        }
        for id in self.alive_at(provider) {
            match shown.remove(&id) {
                Some(mut instances) => {
                    let own = self.take_own(&id, &mut instances);
                    if !instances.is_empty() {
                        shown.insert(id.clone(), instances);
                    }
                    self.sighted(&id, own, asked);
                }
                None => self.absent(&id, asked),
            }
        }
        self.keep_strays(provider, shown.into_values().flatten().filter(|it| it.state.is_alive()).collect());
    }

    fn alive_at(&self, provider: &str) -> Vec<LaunchId> {
        let here = |id: &&LaunchId| self.launches.get(*id).is_some_and(|launch| launch.provider == provider);
        self.alive.keys().filter(here).cloned().collect()
    }

    /// Of the instances with a launch's id, the one it is known by; else one that is alive.
    fn take_own(&self, id: &LaunchId, instances: &mut Vec<Instance>) -> Option<Instance> {
        let known = self.launches.get(id).and_then(|launch| launch.instance.as_ref()).map(|instance| &instance.id);
        let same = instances.iter().position(|instance| Some(&instance.id) == known);
        let alive = || instances.iter().position(|instance| instance.state.is_alive());
        let position = same.or_else(alive).unwrap_or(0);
        (position < instances.len()).then(|| instances.swap_remove(position))
    }

    fn sighted(&mut self, id: &LaunchId, instance: Option<Instance>, asked: Time) {
        let (Some(instance), Some(calls)) = (instance, self.alive.get_mut(id)) else { return };
        calls.absent = 0;
        let stopped = !calls.starting && calls.stopped.is_some_and(|stopped| asked >= stopped);
        let (state, reason) = (instance.state, instance.reason.clone());
        let Some(before) = self.launches.get(id).map(|launch| launch.state) else { return };
        self.remember(id, instance);
        if matches!(before, LaunchState::Wanted | LaunchState::Starting) {
            self.move_launch(id, LaunchState::Booting);
        }
        match (before, state) {
            (LaunchState::Ending, InstanceState::Ended) if stopped => self.move_launch(id, LaunchState::Gone),
            (LaunchState::Ending | LaunchState::Gone, _) => {}
            (LaunchState::Held, InstanceState::Ended | InstanceState::Stopped) => self.end_launch(id),
            (_, InstanceState::Ended | InstanceState::Stopped) => {
                self.lose(id, reason.as_deref().unwrap_or("it has ended, and its provider does not say why"));
            }
            _ => {}
        }
    }

    /// Lists need not have all that the answer to a start had, or a report.
    fn remember(&mut self, id: &LaunchId, mut instance: Instance) {
        let Some(launch) = self.launches.get(id) else { return };
        if let Some(known) = launch.instance.as_ref().filter(|known| known.id == instance.id) {
            instance.complete(known);
        }
        if launch.instance.as_ref() != Some(&instance)
            && let Some(launch) = self.edit_launch(id)
        {
            launch.instance = Some(instance);
        }
    }

    fn absent(&mut self, id: &LaunchId, asked: Time) {
        let Some(enough) = self.absences(id, asked) else { return };
        let (Some(launch), Some(calls)) = (self.launches.get(id), self.alive.get_mut(id)) else { return };
        calls.absent += 1;
        if calls.absent < enough {
            return;
        }
        match launch.state {
            LaunchState::Ending => self.move_launch(id, LaunchState::Gone),
            LaunchState::Held => self.end_launch(id),
            LaunchState::Starting => {
                let words = "the driver was restarted while it asked for the instance, and none came of it";
                self.fail(id, Failure::new(FailureClass::Network, words), Remains::Instance);
            }
            _ => self.lose(id, "its provider shows it no more"),
        }
    }

    /// In how many lists a launch must be absent to be believed gone, if this one, asked for at that time, counts.
    fn absences(&self, id: &LaunchId, asked: Time) -> Option<u32> {
        let (launch, calls, times) = (self.launches.get(id)?, self.alive.get(id)?, &self.policy.times);
        // A start without an answer may still be on its way.
        let exact = launch.instance.is_some() && self.policy.exact.contains(&launch.provider);
        let settle = if exact { Duration::ZERO } else { times.settle };
        let settled = asked >= launch.asked?.max(calls.answered).plus(settle);
        let silent = launch.heard.is_none_or(|heard| asked.since(heard) >= times.silence);
        let counts = match launch.state {
            LaunchState::Ending => calls.stopped.is_some_and(|stopped| asked >= stopped),
            // If this process has asked for it, it will again.
            LaunchState::Starting => !calls.ours,
            LaunchState::Booting | LaunchState::Ready | LaunchState::Held => silent,
            LaunchState::Wanted | LaunchState::Gone => false,
        };
        (counts && settled && !calls.starting).then_some(if exact { 1 } else { 2 })
    }

    fn keep_strays(&mut self, provider: &str, found: Vec<Instance>) {
        let (now, grace) = (self.now, self.policy.times.stray);
        let known: BTreeSet<_> =
            found.iter().filter(|it| self.launches.contains_key(&it.launch)).map(|it| it.launch.clone()).collect();
        let Some(source) = self.sources.get_mut(provider) else { return };
        let mut strays = BTreeMap::new();
        for Instance { launch, id, .. } in found {
            let spared = if known.contains(&launch) { now } else { now.plus(grace) };
            let key = (launch, id);
            let stray = source.strays.remove(&key).unwrap_or_else(|| Stray::new(spared));
            strays.insert(key, stray);
        }
        // The answer to a stop must find what it is about.
        strays.extend(std::mem::take(&mut source.strays).into_iter().filter(|(_, stray)| stray.stopping));
        source.strays = strays;
    }
}

impl Instance {
    /// Takes what it does not know from what was known before.
    pub fn complete(&mut self, known: &Self) {
        let fields = [
            (&mut self.pool, &known.pool),
            (&mut self.kind, &known.kind),
            (&mut self.image, &known.image),
            (&mut self.region, &known.region),
            (&mut self.zone, &known.zone),
            (&mut self.address, &known.address),
        ];
        for (field, known) in fields {
            if field.is_none() {
                field.clone_from(known);
            }
        }
        self.price = self.price.or(known.price);
    }
}
