//! What is promised, and how it is checked.

use super::LIFE;
use super::agent;
use super::cloud::{Machine, Purpose};
use super::driver;
use super::world::{Checked, TROUBLED, World};
use crate::fleet::Request;
use crate::model::{FailureClass, InstanceState};

impl World {
    /// No double launch, and `max` is respected.
    pub(super) fn alone(&self, machine: usize, new: &Purpose) -> Checked {
        let others = self.cloud.machines[..machine].iter().filter(|machine| machine.state().is_alive());
        let mut count = 1;
        for other in others.filter_map(|machine| machine.purpose.as_ref()).filter(|other| other.driver == new.driver) {
            if other.request == new.request {
                return Err(format!("{} and {} are both of request {}", other.launch, new.launch, new.request));
            }
            if other.worker == new.worker {
                return Err(format!("{} and {} are both {}", other.launch, new.launch, new.worker));
            }
            count += u32::from(other.pool == new.pool);
        }
        let max = driver::max(&new.pool);
        if count > max { Err(format!("pool {} has {count} of {max}", new.pool)) } else { Ok(()) }
    }

    /// No stranger is touched, and no busy instance killed.
    pub(super) fn may_stop(&self, driver: usize, machine: usize) -> Checked {
        let machine = &self.cloud.machines[machine];
        let name = format!("{}-", self.drivers[driver].name);
        let ours = machine.launch.strip_prefix(&name).is_some_and(|rest| rest.len() == 24);
        if !ours {
            return Err(format!("{} was stopped by {name}, whose it is not", machine.launch));
        }
        let Some(purpose) = &machine.purpose else { return Ok(()) };
        let mut wishes = self.users.iter().filter_map(|user| user.current.as_ref());
        let wanted = wishes.any(|wish| wish.new.id.as_str() == purpose.request && !wish.deleted);
        // A start was refused for certain, after one without an answer that arrives only now: another launch has its turn.
        let fleet = self.drivers[driver].fleet.as_ref();
        let failure = fleet.and_then(|fleet| fleet.launch(&purpose.launch)?.failure.as_ref());
        let given_up = failure.is_some_and(|failure| failure.class == FailureClass::Capacity);
        if agent::is_busy(machine) && wanted && !given_up && self.now.since(machine.born) < LIFE {
            return Err(format!("{} was busy and wanted, and was stopped", machine.launch));
        }
        Ok(())
    }

    /// Nobody wants anything, and nothing is left that somebody should not want.
    pub(super) fn is_over(&self) -> bool {
        self.now > TROUBLED
            && self.users.iter().all(|user| user.current.is_none() && user.left == 0)
            && !self.cloud.machines.iter().any(|it| it.state().is_alive() && (it.purpose.is_some() || it.left_over))
            && self.drivers.iter().all(|driver| {
                let fleet = driver.fleet.as_ref();
                fleet.is_some_and(|fleet| {
                    fleet.requests().all(Request::is_ended) && !fleet.launches().any(|it| it.is_alive())
                })
            })
    }

    pub(super) fn strangers_live(&self) -> Checked {
        let dead = |it: &&Machine| it.purpose.is_none() && !it.left_over && it.state() != InstanceState::Running;
        self.cloud.machines.iter().find(dead).map_or(Ok(()), |it| Err(format!("stranger {} was killed", it.launch)))
    }

    pub(super) fn what_is_left(&self) -> String {
        let mut words = vec!["after 20 h without trouble there is still:".to_owned()];
        let left = |it: &&Machine| it.state().is_alive() && (it.purpose.is_some() || it.left_over);
        words.extend(self.cloud.machines.iter().filter(left).map(|it| format!("machine {it:?}")));
        for fleet in self.drivers.iter().filter_map(|driver| driver.fleet.as_ref()) {
            words.extend(fleet.requests().filter(|it| !it.is_ended()).map(|it| format!("{it:?}")));
            words.extend(fleet.launches().filter(|it| it.is_alive()).map(|it| format!("{it:?}")));
        }
        words.join("\n  ")
    }
}
