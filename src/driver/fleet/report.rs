//! What agents report.

use loitsut_profile::wire;

use super::change::Remains;
use super::{Fleet, LaunchState, What};
use crate::model::{Failure, FailureClass, Instance, InstanceState, LaunchId};

/// Of how many starts of an agent it is remembered which events have come. Older ones are taken for known.
const RUNS: usize = 32;

impl Fleet {
    pub(super) fn reported(&mut self, id: &LaunchId, report: wire::Report) {
        let now = self.now;
        let Some(calls) = self.alive.get_mut(id) else { return };
        calls.absent = 0;
        let Some(launch) = self.edit_launch(id) else { return };
        launch.heard = Some(now);
        let latest = launch.runs.keys().next_back().is_none_or(|run| report.run >= *run);
        if let Some(instance) = &mut launch.instance {
            instance.complete(&described(id, &report.instance));
        }
        if matches!(launch.state, LaunchState::Wanted | LaunchState::Starting) {
            self.move_launch(id, LaunchState::Booting);
        }
        let ending = report.now.ending.as_deref();
        for event in report.events {
            self.take_event(id, report.run, event, ending);
        }
        // Events may have been dropped, where they stand cannot; a late report's `now` is old.
        if latest {
            self.take_state(id, report.now.state, None, ending);
        }
    }

    fn take_event(&mut self, id: &LaunchId, run: u64, event: wire::Event, ending: Option<&str>) {
        let Some(launch) = self.edit_launch(id) else { return };
        if launch.runs.len() >= RUNS && launch.runs.keys().next().is_some_and(|oldest| run < *oldest) {
            return;
        }
        let last = launch.runs.entry(run).or_default();
        if event.seq <= *last {
            return;
        }
        *last = event.seq;
        if launch.runs.len() > RUNS {
            launch.runs.pop_first();
        }
        let state = match &event.what {
            wire::What::State { state, failure } => Some((*state, failure.clone())),
            _ => None,
        };
        self.tell_launch(id, What::Report { run, report: event });
        if let Some((state, failure)) = state {
            self.take_state(id, state, failure, ending);
        }
    }

    fn take_state(&mut self, id: &LaunchId, state: wire::State, failure: Option<wire::Failure>, ending: Option<&str>) {
        let Some(launch) = self.launches.get(id) else { return };
        let before = launch.state;
        if !matches!(before, LaunchState::Booting | LaunchState::Ready) {
            return;
        }
        match state {
            wire::State::Ready if before == LaunchState::Booting => self.got_ready(id),
            wire::State::Failed => {
                let failure = digest(failure, before == LaunchState::Ready);
                if before == LaunchState::Booting && failure.class == FailureClass::Profile {
                    self.blame_profile(id, &failure);
                }
                self.fail(id, failure, Remains::Evidence);
            }
            wire::State::Stopped | wire::State::Nothing => {
                self.lose(id, ending.unwrap_or("its agent has ended the launch in good order, and does not say why"));
            }
            _ => {}
        }
    }

    fn got_ready(&mut self, id: &LaunchId) {
        let now = self.now;
        if let Some(launch) = self.edit_launch(id) {
            launch.ready = Some(now);
        }
        if let Some(key) = self.breaker_key(id) {
            self.breakers.succeeded(&key);
        }
        self.move_launch(id, LaunchState::Ready);
    }

    fn blame_profile(&mut self, id: &LaunchId, failure: &Failure) {
        let until = self.now.plus(self.policy.times.breaker);
        if let Some(key) = self.breaker_key(id) {
            self.breakers.failed(key, failure, until);
        }
    }

    fn breaker_key(&self, id: &LaunchId) -> Option<(String, String)> {
        let request = self.requests.get(&self.launches.get(id)?.request)?;
        let pool = self.policy.pools.get(&request.pool)?;
        Some((request.profile_digest.clone(), pool.image.clone()))
    }
}

fn described(launch: &LaunchId, instance: &wire::Instance) -> Instance {
    let wire::Instance { id, kind, image, region, zone, address } = instance.clone();
    Instance {
        launch: launch.clone(),
        id,
        state: InstanceState::Running,
        reason: None,
        pool: None,
        kind,
        image,
        region,
        zone,
        address,
        price: None,
    }
}

/// The driver's class of what failed on an instance.
fn digest(failure: Option<wire::Failure>, was_ready: bool) -> Failure {
    let Some(failure) = failure else {
        let class = if was_ready { FailureClass::Lost } else { FailureClass::Join };
        return Failure::new(class, "the boot has failed, and the report that says why did not arrive");
    };
    let class = match failure.class {
        _ if was_ready => FailureClass::Lost,
        wire::Class::UserData => FailureClass::AgentTooOld,
        wire::Class::Profile | wire::Class::Apply | wire::Class::Launch => FailureClass::Profile,
        wire::Class::Metadata | wire::Class::Watch | wire::Class::Join => FailureClass::Join,
    };
    let wire::Failure { message, layer, resource, place, exit_code, output, .. } = failure;
    Failure { class, message, layer, resource, place, exit_code, output }
}
