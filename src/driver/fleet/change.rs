//! Transitions: every change of a row goes through here, and is told.

use super::{Action, Fleet, Launch, LaunchState, NewRequest, Outcome, Request, RequestState, Told, What};
use crate::fleet::memory::Calls;
use crate::model::{Failure, FailureClass, LaunchId, RequestId, Time};

/// How many launches of a request may get lost, or never join, before it is given up.
const STRIKES: u32 = 3;

/// What becomes of a request whose launch has failed.
enum Verdict {
    /// Another launch, not before that time.
    Again(Time),
    /// None.
    Over(Outcome),
}

/// What becomes of a launch that has failed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Remains {
    /// Nothing was made.
    Nothing,
    /// There is, or may be, an instance.
    Instance,
    /// There is one that is worth a look, if its request is over.
    Evidence,
}

impl Fleet {
    pub(super) fn request_made(&mut self, new: NewRequest) {
        if self.judge(&new) != super::Judgement::New {
            return;
        }
        self.order += 1;
        let request = Request::new(new, self.order, self.now);
        let id = request.id.clone();
        self.open.insert(self.order, id.clone());
        self.requests.insert(id.clone(), request);
        self.tell_request(&id);
    }

    pub(super) fn request_deleted(&mut self, id: &RequestId) {
        let Some(request) = self.requests.get(id) else { return };
        let launch = request.launch.clone().filter(|launch| self.alive.contains_key(launch));
        match (request.is_ended(), launch) {
            (false, None) => self.end_request(id, Outcome::Done, None),
            (false, Some(launch)) => {
                self.move_request(id, RequestState::Ending);
                self.end_launch(&launch);
            }
            // A held one: its owner has seen enough.
            (true, Some(launch)) => self.end_launch(&launch),
            (true, None) => {}
        }
    }

    /// Gives a request that waits its next launch.
    pub(super) fn add_launch(&mut self, request: &RequestId, provider: String) {
        let random = self.next_random();
        let id = LaunchId::new(&self.policy.driver, self.now, random);
        let now = self.now;
        let Some(request) = self.edit_request(request) else { return };
        request.launch = Some(id.clone());
        request.attempts += 1;
        let launch = Launch {
            id: id.clone(),
            request: request.id.clone(),
            owner: request.owner.clone(),
            name: request.name.clone(),
            pool: request.pool.clone(),
            provider,
            attempt: request.attempts,
            state: LaunchState::Wanted,
            instance: None,
            failure: None,
            runs: std::collections::BTreeMap::new(),
            created: now,
            asked: None,
            heard: None,
            ready: None,
            changed: now,
        };
        self.launches.insert(id.clone(), launch);
        self.alive.insert(id.clone(), Calls::default());
        self.announce(&id);
    }

    /// Moves a launch on, and its request with it.
    pub(super) fn move_launch(&mut self, id: &LaunchId, state: LaunchState) {
        let now = self.now;
        let Some(launch) = self.edit_launch(id) else { return };
        if launch.state == state {
            return;
        }
        launch.state = state;
        launch.changed = now;
        if state == LaunchState::Gone {
            self.alive.remove(id);
        }
        self.announce(id);
    }

    /// Ends a launch whose request does not want it any more.
    pub(super) fn end_launch(&mut self, id: &LaunchId) {
        match self.launches.get(id).map(|launch| launch.state) {
            None | Some(LaunchState::Gone | LaunchState::Ending) => {}
            Some(LaunchState::Wanted) => self.move_launch(id, LaunchState::Gone),
            Some(_) => self.move_launch(id, LaunchState::Ending),
        }
    }

    /// A launch has failed: its request gets another one, or ends, as the class has it.
    pub(super) fn fail(&mut self, id: &LaunchId, failure: Failure, remains: Remains) {
        let Some(launch) = self.edit_launch(id) else { return };
        launch.failure = Some(failure.clone());
        let (request, was_ready) = (launch.request.clone(), launch.ready.is_some());
        let over = match self.requests.get(&request) {
            Some(it) if it.is_wanted() && it.launch.as_ref() == Some(id) => self.conclude(&request, failure, was_ready),
            _ => false,
        };
        let hold = self.requests.get(&request).is_some_and(|request| !request.limits.hold.is_zero());
        match remains {
            Remains::Nothing => self.move_launch(id, LaunchState::Gone),
            Remains::Evidence if over && hold => self.move_launch(id, LaunchState::Held),
            Remains::Evidence | Remains::Instance => self.move_launch(id, LaunchState::Ending),
        }
    }

    /// Says whether the request is over.
    fn conclude(&mut self, id: &RequestId, failure: Failure, was_ready: bool) -> bool {
        match self.verdict(id, failure.class, was_ready) {
            Verdict::Over(outcome) => {
                self.end_request(id, outcome, Some(failure));
                true
            }
            Verdict::Again(not_before) => {
                if let Some(request) = self.edit_request(id) {
                    request.failure = Some(failure);
                    request.not_before = not_before;
                }
                self.move_request(id, RequestState::Waiting);
                false
            }
        }
    }

    fn verdict(&mut self, id: &RequestId, class: FailureClass, was_ready: bool) -> Verdict {
        let (now, backoff) = (self.now, self.policy.times.call);
        let Some(request) = self.edit_request(id) else { return Verdict::Again(now) };
        match class {
            _ if was_ready => Verdict::Over(Outcome::Lost),
            FailureClass::Profile | FailureClass::AgentTooOld => Verdict::Over(Outcome::Failed),
            // Those two are waited for by pool and by provider.
            FailureClass::Capacity | FailureClass::Network => Verdict::Again(now),
            FailureClass::Join | FailureClass::Lost => {
                request.strikes += 1;
                let not_before = now.plus(backoff.after(request.strikes));
                if request.strikes < STRIKES { Verdict::Again(not_before) } else { Verdict::Over(Outcome::Failed) }
            }
        }
    }

    pub(super) fn end_request(&mut self, id: &RequestId, outcome: Outcome, failure: Option<Failure>) {
        let Some(request) = self.edit_request(id) else { return };
        request.outcome = Some(outcome);
        request.failure = failure;
        request.body = super::Body::default();
        let order = request.order;
        self.open.remove(&order);
        self.move_request(id, RequestState::Ended);
    }

    fn move_request(&mut self, id: &RequestId, state: RequestState) {
        let now = self.now;
        let Some(request) = self.edit_request(id) else { return };
        request.state = state;
        request.changed = now;
        self.tell_request(id);
    }

    /// Says why a request is still waiting for its launch's start.
    pub(super) fn explain(&mut self, launch: &LaunchId, failure: Failure) {
        let Some(id) = self.launches.get(launch).map(|launch| launch.request.clone()) else { return };
        let Some(request) = self.edit_request(&id).filter(|request| request.is_wanted()) else { return };
        if request.failure.as_ref() != Some(&failure) {
            request.failure = Some(failure);
            self.tell_request(&id);
        }
    }

    pub(super) fn edit_request(&mut self, id: &RequestId) -> Option<&mut Request> {
        let request = self.requests.get_mut(id)?;
        self.changed_requests.insert(id.clone());
        Some(request)
    }

    pub(super) fn edit_launch(&mut self, id: &LaunchId) -> Option<&mut Launch> {
        let launch = self.launches.get_mut(id)?;
        self.changed_launches.insert(id.clone());
        Some(launch)
    }

    /// Tells a launch's state, and lets its request follow.
    fn announce(&mut self, id: &LaunchId) {
        self.changed_launches.insert(id.clone());
        let Some(launch) = self.launches.get(id) else { return };
        let (request, state) = (launch.request.clone(), launch.state);
        let what = What::Launch { state, instance: launch.instance.clone(), failure: launch.failure.clone() };
        self.tell_launch(id, what);
        let Some(row) = self.requests.get(&request).filter(|row| row.launch.as_ref() == Some(id)) else { return };
        let follows = match (state, row.state) {
            (LaunchState::Gone, RequestState::Ending) => return self.end_request(&request, Outcome::Done, None),
            _ if !row.is_wanted() => return,
            (LaunchState::Wanted | LaunchState::Starting, _) => RequestState::Starting,
            (LaunchState::Booting, _) => RequestState::Booting,
            (LaunchState::Ready, _) => RequestState::Ready,
            _ => return, // it waits for another launch
        };
        if row.state != follows {
            if matches!(follows, RequestState::Booting | RequestState::Ready)
                && let Some(row) = self.edit_request(&request)
            {
                row.failure = None;
            }
            self.move_request(&request, follows);
        }
    }

    fn tell_request(&mut self, id: &RequestId) {
        self.changed_requests.insert(id.clone());
        let Some(request) = self.requests.get(id) else { return };
        let what = What::Request { state: request.state, outcome: request.outcome, failure: request.failure.clone() };
        let (owner, launch) = (request.owner.clone(), request.launch.clone());
        self.tell(Told { at: self.now, owner: Some(owner), request: Some(id.clone()), launch, what });
    }

    pub(super) fn tell_launch(&mut self, id: &LaunchId, what: What) {
        let Some(launch) = self.launches.get(id) else { return };
        let (owner, request) = (Some(launch.owner.clone()), Some(launch.request.clone()));
        self.tell(Told { at: self.now, owner, request, launch: Some(id.clone()), what });
    }

    pub(super) fn note(&mut self, launch: Option<&LaunchId>, message: String) {
        let known = launch.and_then(|id| self.launches.get(id));
        let (owner, request) = (known.map(|it| it.owner.clone()), known.map(|it| it.request.clone()));
        self.tell(Told { at: self.now, owner, request, launch: launch.cloned(), what: What::Note { message } });
    }

    fn tell(&mut self, told: Told) {
        self.actions.push(Action::Tell(Box::new(told)));
    }

    /// The next number of splitmix64.
    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl Failure {
    /// One that is known by its class and words only.
    pub fn new(class: FailureClass, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { class, message, layer: None, resource: None, place: None, exit_code: None, output: Vec::new() }
    }
}
