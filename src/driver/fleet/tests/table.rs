//! The table of docs/fleet.md is what the machine does.

use loitsut_profile::wire::{Class, State};

use super::bench::{Bench, instance, minutes};
use crate::fleet::{Event, LaunchState};
use crate::model::InstanceState;
use crate::provider::ErrorKind;

const STATES: [&str; 7] = ["wanted", "starting", "booting", "ready", "held", "ending", "gone"];

/// The request `r` with its launch in a state.
fn in_state(state: &str) -> Bench {
    let mut bench = Bench::new();
    bench.ask("r");
    match state {
        "starting" => {}
        "wanted" => bench.not_started("r", ErrorKind::Throttled(minutes(600))),
        _ => bench.started("r"),
    }
    match state {
        "ready" | "ending" | "gone" => bench.report("r", State::Ready, None),
        "held" => bench.report("r", State::Failed, Some(Class::Apply)),
        _ => {}
    }
    if matches!(state, "ending" | "gone") {
        bench.delete("r");
    }
    if state == "gone" {
        bench.stopped("r");
        shows(&mut bench, InstanceState::Ended);
    }
    assert_eq!(word(bench.launch_state("r")), state);
    bench
}

fn shows(bench: &mut Bench, state: InstanceState) {
    let launch = bench.launch("r").id.clone();
    bench.list(vec![instance(&launch, state)]);
}

fn absent_twice(bench: &mut Bench) {
    // One that counts for nothing, and time enough for lists to show what there is, and for an agent to be silent.
    bench.list(Vec::new());
    bench.wait(minutes(4));
    for _ in 0..2 {
        bench.list(Vec::new());
    }
}

fn happen(bench: &mut Bench, what: &str) {
    match what {
        "start: an instance" => bench.started("r"),
        "start: no capacity" => bench.not_started("r", ErrorKind::Capacity),
        "start: refused" => bench.not_started("r", ErrorKind::Refused),
        "start: asked too often" => bench.not_started("r", ErrorKind::Throttled(minutes(600))),
        "start: unreachable" => bench.not_started("r", ErrorKind::Unreachable),
        "start: no answer" => bench.not_started("r", ErrorKind::Unknown),
        "list: pending, running or stopping" => shows(bench, InstanceState::Running),
        "list: stopped" => shows(bench, InstanceState::Stopped),
        "list: ended" => shows(bench, InstanceState::Ended),
        "list: absent, twice" => absent_twice(bench),
        "stop answered, list: ended" => {
            bench.stopped("r");
            shows(bench, InstanceState::Ended);
        }
        "stop answered, list: absent, twice" => {
            bench.stopped("r");
            absent_twice(bench);
        }
        "report: ready" => bench.report("r", State::Ready, None),
        "report: failed by its profile" => bench.report("r", State::Failed, Some(Class::Apply)),
        "report: failed, not ready in time" => bench.report("r", State::Failed, Some(Class::Join)),
        "report: stopped" => bench.report("r", State::Stopped, None),
        "request deleted" => bench.delete("r"),
        "`join` and 2 min are over" => bench.wait(minutes(17)),
        "`life` and 2 min are over" => bench.wait(minutes(242)),
        "a restart of the driver, list: absent, twice" => {
            bench.restart();
            absent_twice(bench);
        }
        "nothing" => bench.tell(Event::Tick),
        other => panic!("docs/fleet.md has {other:?}, which this test does not know"),
    }
}

fn word(state: LaunchState) -> String {
    serde_json::to_value(state).unwrap().as_str().unwrap().to_owned()
}

#[test]
fn every_event_in_every_state_does_what_the_docs_say() {
    let docs = include_str!("../../../../docs/fleet.md");
    let table =
        docs.lines().skip_while(|line| !line.starts_with("| what happens |")).take_while(|line| line.starts_with('|'));
    let mut rows = table.map(|line| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>());
    assert_eq!(rows.next().unwrap()[1..], STATES);
    let rows: Vec<_> = rows.skip(1).collect();
    assert!(rows.len() >= 20, "{} rows", rows.len());
    for row in rows {
        for (state, expected) in STATES.iter().zip(&row[1..]) {
            let mut bench = in_state(state);
            // The launch that was there: its request may have got another one since.
            let launch = bench.launch("r").id.clone();
            happen(&mut bench, row[0]);
            let got = word(bench.fleet.launch(&launch).unwrap().state);
            let expected = if *expected == "·" { state } else { expected };
            assert_eq!(got, **expected, "{} while {state}", row[0]);
        }
    }
}
