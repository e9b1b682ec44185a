//! What providers answer to starts and stops.

use super::change::Remains;
use super::memory::Stray;
use super::{Fleet, LaunchState};
use crate::model::{Failure, FailureClass, Instance, InstanceState, LaunchId, PoolName, Time};
use crate::provider::{ErrorKind, ProviderError};

impl Fleet {
    pub(super) fn started(&mut self, id: &LaunchId, result: Result<Instance, ProviderError>) {
        let now = self.now;
        let Some(calls) = self.alive.get_mut(id) else { return self.started_too_late(id, result) };
        if !std::mem::take(&mut calls.starting) {
            return;
        }
        calls.answered = now;
        match result {
            Ok(instance) => {
                calls.start.reset();
                calls.doubt = false;
                self.took_off(id, instance);
            }
            Err(error) => self.not_started(id, &error),
        }
    }

    /// An answer about a launch that is over: what it made is a stray.
    fn started_too_late(&mut self, id: &LaunchId, result: Result<Instance, ProviderError>) {
        let (Ok(instance), Some(launch)) = (result, self.launches.get(id)) else { return };
        if instance.state.is_alive() {
            let source = self.sources.entry(launch.provider.clone()).or_default();
            source.strays.entry((id.clone(), instance.id)).or_insert_with(|| Stray::new(self.now));
        }
    }

    fn took_off(&mut self, id: &LaunchId, instance: Instance) {
        let state = instance.state;
        let Some(launch) = self.edit_launch(id) else { return };
        let (pool, provider) = (launch.pool.clone(), launch.provider.clone());
        launch.instance = Some(instance);
        let waits = launch.state == LaunchState::Starting;
        self.full.remove(&pool);
        if let Some(source) = self.sources.get_mut(&provider) {
            source.start.reset();
        }
        if waits {
            self.move_launch(id, LaunchState::Booting);
            if matches!(state, InstanceState::Ended | InstanceState::Stopped) {
                self.lose(id, "it ended as soon as it was started");
            }
        }
    }

    fn not_started(&mut self, id: &LaunchId, error: &ProviderError) {
        let (now, backoff) = (self.now, self.policy.times.call);
        let Some(launch) = self.launches.get(id).filter(|launch| launch.state == LaunchState::Starting) else { return };
        let (pool, provider) = (launch.pool.clone(), launch.provider.clone());
        let (Some(calls), source) = (self.alive.get_mut(id), self.sources.entry(provider).or_default()) else { return };
        calls.doubt |= error.kind == ErrorKind::Unknown;
        let doubt = calls.doubt;
        let remains = if doubt { Remains::Instance } else { Remains::Nothing };
        let failure = |class| Failure::new(class, error.message.clone());
        match error.kind {
            ErrorKind::Capacity => {
                source.start.reset();
                self.lacks_capacity(pool);
                self.fail(id, failure(FailureClass::Capacity), remains);
            }
            ErrorKind::Refused => {
                source.start.reset();
                self.fail(id, failure(FailureClass::Profile), remains);
            }
            ErrorKind::Throttled(_) | ErrorKind::Unreachable => {
                // Calls that were on their way together failed for the same cause.
                if now >= source.start.due() {
                    source.start.again(now, backoff, Some(error));
                }
                if !doubt {
                    self.move_launch(id, LaunchState::Wanted);
                }
                self.explain(id, failure(FailureClass::Network));
            }
            ErrorKind::Unknown => {
                calls.start.again(now, backoff, None);
                self.explain(id, failure(FailureClass::Network));
            }
        }
    }

    fn lacks_capacity(&mut self, pool: PoolName) {
        let room = self.full.entry(pool).or_default();
        // As above: they lacked the same room.
        if self.now >= room.due() {
            room.again(self.now, self.policy.times.capacity, None);
        }
    }

    pub(super) fn stopped(&mut self, id: &LaunchId, instance: Option<String>, result: Result<(), ProviderError>) {
        if let Some(instance) = instance
            && self.stray_stopped(id, instance, &result)
        {
            return;
        }
        let (now, times) = (self.now, &self.policy.times);
        let Some(calls) = self.alive.get_mut(id).filter(|calls| calls.stopping) else { return };
        calls.stopping = false;
        match &result {
            Ok(()) => {
                if calls.stopped.is_none() {
                    calls.stop.reset();
                    calls.absent = 0;
                }
                calls.stopped.get_or_insert(now);
                calls.stop.again(now, times.stop, None);
            }
            Err(error) => calls.stop.again(now, times.call, Some(error)),
        }
        if let Err(error) = result {
            self.note(Some(id), format!("{id} cannot be stopped yet, and is tried again: {error}"));
        }
    }

    /// Says whether it was a stray that was stopped.
    fn stray_stopped(&mut self, id: &LaunchId, instance: String, result: &Result<(), ProviderError>) -> bool {
        let key = (id.clone(), instance);
        let (now, times) = (self.now, &self.policy.times);
        let Some(stray) = self.sources.values_mut().find_map(|source| source.strays.get_mut(&key)) else {
            return false;
        };
        if !stray.stopping {
            return false;
        }
        stray.stopping = false;
        match result {
            Ok(()) => stray.stop.again(now, times.stop, None),
            Err(error) => stray.stop.again(now, times.call, Some(error)),
        }
        true
    }

    /// A launch's instance went without our order.
    pub(super) fn lose(&mut self, id: &LaunchId, how: &str) {
        self.fail(id, Failure::new(FailureClass::Lost, format!("the instance is lost: {how}")), Remains::Instance);
    }
}

impl Stray {
    /// One that may be stopped from then on.
    pub fn new(spared: Time) -> Self {
        Self { spared, stopping: false, stop: super::Retry::default() }
    }
}
