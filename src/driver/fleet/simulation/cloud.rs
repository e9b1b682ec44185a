//! A cloud that is late, wrong, throttled, eventually consistent and forgetful. What it promises is what clouds do: one
//! instance for one launch, and lists that show within a minute what was made.

use std::time::Duration;

use loitsut_profile::wire;

use super::random::Random;
use crate::model::{Instance, InstanceState, LaunchId, Time};
use crate::provider::{ErrorKind, ProviderError};

/// The one with lists that lag, and the one without.
pub const LATE: &str = "late";
pub const EXACT: &str = "exact";

/// What an instance is made for.
#[derive(Clone, Debug)]
pub struct Purpose {
    pub driver: usize,
    pub launch: LaunchId,
    pub request: String,
    pub worker: String,
    pub pool: String,
    pub provider: String,
    pub profile: String,
}

/// What the agent on an instance is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Booting,
    Ready,
    Failed,
    /// It runs, and reports nothing.
    Mute,
}

#[derive(Debug)]
pub struct Agent {
    pub phase: Phase,
    pub since: Time,
    pub run: u64,
    pub seq: u64,
    /// Events that no answer has come for.
    pub unsent: Vec<wire::Event>,
    /// Reports lost in a row.
    pub losses: u32,
    /// It was told that its launch is over.
    pub over: bool,
    /// It cannot power its machine off.
    pub stubborn: bool,
}

#[derive(Debug)]
pub struct Machine {
    pub id: String,
    pub launch: String,
    pub provider: String,
    /// None: it is a stranger's.
    pub purpose: Option<Purpose>,
    /// Made by a driver of ours that has lost its state.
    pub left_over: bool,
    pub born: Time,
    /// Its states, and when each began.
    pub states: Vec<(Time, InstanceState)>,
    pub agent: Agent,
    /// The last list of each driver did not show it, though it should have.
    omitted: [bool; 2],
}

impl Machine {
    pub fn new(now: Time, id: String, launch: String, provider: &str, purpose: Option<Purpose>) -> Self {
        let agent = Agent {
            phase: Phase::Booting,
            since: now,
            run: 1,
            seq: 0,
            unsent: Vec::new(),
            losses: 0,
            over: false,
            stubborn: false,
        };
        Self {
            id,
            launch,
            provider: provider.into(),
            purpose,
            left_over: false,
            born: now,
            states: vec![(now, InstanceState::Pending)],
            agent,
            omitted: [false; 2],
        }
    }

    pub fn state(&self) -> InstanceState {
        self.states.last().unwrap().1
    }

    pub fn enter(&mut self, now: Time, state: InstanceState) {
        if self.state() != InstanceState::Ended {
            self.states.push((now, state));
        }
    }

    pub fn shown(&self, state: InstanceState) -> Instance {
        let launch = LaunchId::try_from(self.launch.clone()).unwrap();
        let none = || None::<String>;
        Instance {
            launch,
            id: self.id.clone(),
            state,
            reason: none(),
            pool: none(),
            kind: none(),
            image: none(),
            region: none(),
            zone: none(),
            address: none(),
            price: None,
        }
    }
}

/// A time in which something does not work.
#[derive(Debug)]
pub struct Trouble {
    pub from: Time,
    pub to: Time,
    pub what: &'static str,
    /// A provider's name, or a pool's.
    pub at: &'static str,
}

#[derive(Debug, Default)]
pub struct Cloud {
    pub machines: Vec<Machine>,
    pub troubles: Vec<Trouble>,
    /// The RunInstances bucket: how many tokens, and when that was.
    bucket: (f64, Time),
    made: u64,
}

impl Cloud {
    pub fn is_troubled(&self, now: Time, what: &str, at: &str) -> bool {
        self.troubles.iter().any(|it| it.what == what && it.at == at && it.from <= now && now < it.to)
    }

    /// What a start is answered, and whether it made something.
    pub fn start(
        &mut self,
        now: Time,
        purpose: &Purpose,
        random: &mut Random,
    ) -> (Result<Instance, ProviderError>, bool) {
        if self.is_troubled(now, "outage", &purpose.provider) {
            return (Err(error(ErrorKind::Unreachable, "no route")), false);
        }
        if let Some(machine) = self.machines.iter().find(|it| it.launch == purpose.launch.as_str()) {
            return (Ok(machine.shown(machine.state())), false);
        }
        let slow = self.is_troubled(now, "throttle", &purpose.provider) && random.chance(60);
        if slow || purpose.provider == LATE && !self.take_token(now) {
            return (Err(error(ErrorKind::Throttled(Duration::from_secs(1)), "too many requests")), false);
        }
        if purpose.pool == "forbidden" {
            return (Err(error(ErrorKind::Refused, "not authorized")), false);
        }
        let pool = if purpose.pool == "small" { "small" } else { "large" };
        if self.is_troubled(now, "capacity", pool) && random.chance(70) {
            return (Err(error(ErrorKind::Capacity, "no room")), false);
        }
        self.made += 1;
        let launch = purpose.launch.to_string();
        let id = format!("i-{}", self.made);
        let mut machine = Machine::new(now, id, launch, &purpose.provider, Some(purpose.clone()));
        machine.agent.stubborn = random.chance(10);
        let answer = machine.shown(InstanceState::Pending);
        self.machines.push(machine);
        (Ok(answer), true)
    }

    /// EC2's: 5, and 2 more each second.
    fn take_token(&mut self, now: Time) -> bool {
        let (tokens, then) = self.bucket;
        let tokens = (tokens + 2.0 * now.since(then).as_secs_f64()).min(5.0);
        let enough = tokens >= 1.0;
        self.bucket = (if enough { tokens - 1.0 } else { tokens }, now);
        enough
    }

    /// What there is, as it was some time ago, with single instances left out now and then.
    /// No list leaves out what the one before left out.
    pub fn list(
        &mut self,
        now: Time,
        driver: usize,
        provider: &str,
        random: &mut Random,
    ) -> Result<Vec<Instance>, ProviderError> {
        if self.is_troubled(now, "outage", provider) {
            return Err(error(ErrorKind::Unreachable, "no route"));
        }
        let exact = provider == EXACT;
        let lag = if exact { Duration::ZERO } else { random.seconds(0, 30) };
        let then = Time(now.0 - u64::try_from(lag.as_millis()).unwrap().min(now.0));
        let mut shown = Vec::new();
        for machine in self.machines.iter_mut().filter(|machine| machine.provider == provider) {
            let Some((since, state)) = machine.states.iter().rfind(|(since, _)| *since <= then).copied() else {
                continue;
            };
            let forgotten = state == InstanceState::Ended && then.since(since) > Duration::from_secs(600);
            let omitted = &mut machine.omitted[driver];
            *omitted = !exact && !*omitted && random.chance(5);
            if !forgotten && !*omitted {
                shown.push(machine.shown(state));
            }
        }
        Ok(shown)
    }
}

pub fn error(kind: ErrorKind, message: &str) -> ProviderError {
    ProviderError { kind, message: message.into() }
}
