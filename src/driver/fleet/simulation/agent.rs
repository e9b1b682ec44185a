//! The agents on the instances: they boot, report, lose reports, and end by their lease.

use std::time::Duration;

use loitsut_profile::wire::{self, State};

use super::cloud::{Agent, Machine, Phase};
use super::random::Random;
use super::{HOLD, JOIN, LIFE};
use crate::model::{InstanceState, Time};

/// What an agent does at its turn.
pub struct Turn {
    /// A report that is sent.
    pub report: Option<wire::Report>,
    /// It powers its machine off.
    pub off: bool,
    /// When its next turn is.
    pub next: Duration,
}

pub fn take_turn(machine: &mut Machine, now: Time, random: &mut Random) -> Turn {
    let profile = machine.purpose.as_ref().map_or("good", |purpose| purpose.profile.as_str()).to_owned();
    let booted = now.since(machine.born) > Duration::from_secs(40);
    let (agent, age) = (&mut machine.agent, now.since(machine.born));
    if agent.phase == Phase::Booting && booted && random.chance(30) {
        boot(agent, now, &profile, random);
    }
    if agent.phase == Phase::Ready && random.chance(2) {
        agent.run += 1;
        agent.seq = 0;
        agent.unsent.clear();
        tell(agent, State::Ready, None);
    }
    let late = matches!(agent.phase, Phase::Booting | Phase::Mute) && age > JOIN;
    let held = agent.phase == Phase::Failed && now.since(agent.since) > HOLD;
    let off = !agent.stubborn && (late || held || age > LIFE);
    // Three reports in a row may get lost, not more: longer silence is a broken network, and that is another story.
    let lost = agent.losses < 3 && random.chance(30);
    agent.losses = if lost { agent.losses + 1 } else { 0 };
    let silent = lost || agent.over || agent.phase == Phase::Mute;
    let report = (!silent).then(|| report(agent, &machine.id));
    let next = if lost || agent.phase == Phase::Booting { random.seconds(5, 20) } else { random.seconds(40, 60) };
    Turn { report, off, next }
}

fn boot(agent: &mut Agent, now: Time, profile: &str, random: &mut Random) {
    let luck = random.below(100);
    agent.since = now;
    let (phase, state, class) = match (profile, luck) {
        ("mute", _) | (_, 0..5) => return agent.phase = Phase::Mute,
        (_, 5..10) => (Phase::Failed, State::Failed, Some(wire::Class::Join)),
        ("bad", _) => (Phase::Failed, State::Failed, Some(wire::Class::Apply)),
        ("old", _) => (Phase::Failed, State::Failed, Some(wire::Class::UserData)),
        _ => (Phase::Ready, State::Ready, None),
    };
    agent.phase = phase;
    tell(agent, state, class);
}

fn tell(agent: &mut Agent, state: State, class: Option<wire::Class>) {
    let failure = class.map(|class| wire::Failure {
        class,
        message: "it does not work".into(),
        layer: None,
        resource: None,
        place: None,
        exit_code: None,
        output: Vec::new(),
    });
    agent.seq += 1;
    agent.unsent.push(wire::Event { seq: agent.seq, ago: 0, what: wire::What::State { state, failure } });
}

fn report(agent: &Agent, id: &str) -> wire::Report {
    let state = match agent.phase {
        Phase::Booting | Phase::Mute => State::InProgress,
        Phase::Ready => State::Ready,
        Phase::Failed => State::Failed,
    };
    wire::Report {
        loitsut: 1,
        agent: "1.0.0".into(),
        boot: "boot".into(),
        run: agent.run,
        age: 0,
        instance: wire::Instance { id: id.into(), ..wire::Instance::default() },
        now: wire::Now { state, ..wire::Now::default() },
        dropped: 0,
        events: agent.unsent.clone(),
    }
}

/// Whether what runs there is somebody's build.
pub fn is_busy(machine: &Machine) -> bool {
    machine.agent.phase == Phase::Ready && machine.state() == InstanceState::Running
}
