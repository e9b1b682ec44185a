//! The rules, each by itself.

use loitsut_profile::wire::{self, Class, State};

use super::bench::{Bench, instance, minutes, new, policy, report};
use crate::fleet::{Action, Answer, Event, Judgement, LaunchState, Outcome, RequestState};
use crate::model::{FailureClass, InstanceState, LaunchId, RequestId};
use crate::provider::ErrorKind;

#[test]
fn a_request_goes_its_way() {
    let mut bench = Bench::new();
    bench.ask("r");
    assert_eq!(bench.state("r"), RequestState::Starting);
    assert_eq!(bench.starts().len(), 1);
    bench.started("r");
    assert_eq!(bench.state("r"), RequestState::Booting);
    bench.report("r", State::Ready, None);
    assert_eq!(bench.state("r"), RequestState::Ready);
    bench.delete("r");
    assert_eq!(bench.state("r"), RequestState::Ending);
    assert_eq!(bench.stops().len(), 1);
    bench.stopped("r");
    let launch = bench.launch("r").id.clone();
    bench.list(vec![instance(&launch, InstanceState::Stopping)]);
    assert_eq!(bench.state("r"), RequestState::Ending, "it is shown yet");
    bench.list(vec![instance(&launch, InstanceState::Ended)]);
    assert_eq!((bench.state("r"), bench.request("r").outcome), (RequestState::Ended, Some(Outcome::Done)));
    assert!(!format!("{:?}", bench.request("r").body.0).contains("hunter2"), "its secrets are not kept");
}

#[test]
fn what_changed_is_taken_once() {
    let mut bench = Bench::new();
    bench.ask("r");
    let changes = bench.fleet.take_changes();
    assert_eq!((changes.requests.len(), changes.launches.len()), (1, 1));
    assert_eq!(changes.launches[0].state, LaunchState::Starting, "stored before the start is asked for");
    assert_eq!(bench.fleet.take_changes(), Default::default());
}

#[test]
fn a_request_that_comes_again_is_no_second_one() {
    let mut bench = Bench::new();
    assert_eq!(bench.fleet.judge(&new("r", "worker-r")), Judgement::New);
    bench.ask("r");
    bench.ask("r");
    assert_eq!(bench.fleet.judge(&new("r", "worker-r")), Judgement::Known);
    assert_eq!((bench.fleet.requests().count(), bench.fleet.launches().count()), (1, 1));
    let mut other = new("r", "worker-r");
    other.digest = "another content".into();
    assert!(matches!(bench.fleet.judge(&other), Judgement::Conflict { request, .. } if request.as_str() == "r"));
    assert!(
        matches!(bench.fleet.judge(&new("s", "worker-r")), Judgement::Conflict { request, .. } if request.as_str() == "r")
    );
    other = new("s", "worker-s");
    other.pool = "elsewhere".to_owned().try_into().unwrap();
    assert_eq!(bench.fleet.judge(&other), Judgement::NoPool);
}

#[test]
fn a_name_is_used_again_once_its_instance_is_gone() {
    let mut bench = Bench::new();
    bench.ready("r");
    bench.delete("r");
    let next = new("s", "worker-r");
    assert_eq!(bench.fleet.judge(&next), Judgement::New);
    bench.tell(Event::RequestMade(Box::new(next)));
    assert_eq!(bench.state("s"), RequestState::Waiting);
    bench.gone("r");
    assert_eq!(bench.state("s"), RequestState::Starting);
}

#[test]
fn requests_over_max_wait_in_the_order_of_their_arrival() {
    let mut bench = Bench::new();
    for id in ["z", "y", "x", "a"] {
        bench.ask(id);
    }
    assert_eq!(["z", "y", "x", "a"].map(|id| bench.state(id) == RequestState::Waiting), [false, false, true, true]);
    bench.not_started("y", ErrorKind::Refused);
    assert_eq!([bench.state("x"), bench.state("a")], [RequestState::Starting, RequestState::Waiting]);
}

#[test]
fn a_pool_without_capacity_is_tried_by_one_with_longer_and_longer_waits() {
    let mut bench = Bench::new();
    bench.ask("r");
    bench.ask("s");
    bench.not_started("r", ErrorKind::Capacity);
    bench.not_started("s", ErrorKind::Capacity);
    assert_eq!(bench.request("r").failure.as_ref().unwrap().class, FailureClass::Capacity);
    assert!(bench.starts().is_empty());
    bench.wait(std::time::Duration::from_secs(29));
    assert!(bench.starts().is_empty());
    bench.wait(std::time::Duration::from_secs(1));
    assert_eq!(bench.starts(), [&bench.launch("r").id], "one, and the first");
    bench.not_started("r", ErrorKind::Capacity);
    bench.wait(std::time::Duration::from_secs(59));
    assert!(bench.starts().is_empty(), "twice as long");
    bench.wait(std::time::Duration::from_secs(1));
    assert_eq!(bench.starts().len(), 1);
    bench.started("r");
    assert_eq!(bench.starts(), [&bench.launch("s").id], "there is room again");
    assert!(bench.request("r").failure.is_none(), "what it waited for is over");
}

#[test]
fn a_provider_that_asks_for_patience_gets_it_and_then_the_same_launch() {
    let mut bench = Bench::new();
    bench.ask("r");
    let launch = bench.launch("r").id.clone();
    bench.not_started("r", ErrorKind::Throttled(minutes(3)));
    assert_eq!(bench.request("r").failure.as_ref().unwrap().class, FailureClass::Network);
    bench.wait(minutes(2));
    assert!(bench.starts().is_empty());
    bench.wait(minutes(1));
    assert_eq!(bench.starts(), [&launch]);
}

#[test]
fn after_an_unknown_outcome_the_same_launch_is_started_again() {
    let mut bench = Bench::new();
    bench.ask("r");
    let launch = bench.launch("r").id.clone();
    bench.not_started("r", ErrorKind::Unknown);
    bench.wait(minutes(1));
    assert_eq!(bench.starts(), [&launch]);
    bench.not_started("r", ErrorKind::Capacity);
    assert_eq!(bench.fleet.launch(&launch).unwrap().state, LaunchState::Ending, "the first may have made one");
    assert_eq!((bench.stops(), bench.state("r")), (vec![&launch], RequestState::Waiting));
}

#[test]
fn a_stop_waits_for_the_answer_to_the_start_and_is_repeated() {
    let mut bench = Bench::new();
    bench.ask("r");
    bench.delete("r");
    assert!(bench.stops().is_empty());
    bench.started("r");
    assert_eq!(bench.stops().len(), 1);
    let launch = bench.launch("r").id.clone();
    let lost = Err(super::bench::error(ErrorKind::Unknown));
    bench.tell(Event::Stopped { launch: launch.clone(), instance: Some(format!("i-{launch}")), result: lost });
    bench.wait(std::time::Duration::from_secs(2));
    assert_eq!(bench.stops(), [&launch]);
    bench.stopped("r");
    bench.wait(std::time::Duration::from_secs(59));
    assert!(bench.stops().is_empty());
    bench.wait(std::time::Duration::from_secs(1));
    assert_eq!(bench.stops(), [&launch], "it is not known to be gone");
}

#[test]
fn what_agents_report_has_the_class_that_its_policy_needs() {
    let classes = [
        (Class::Metadata, FailureClass::Join, None),
        (Class::UserData, FailureClass::AgentTooOld, Some(Outcome::Failed)),
        (Class::Profile, FailureClass::Profile, Some(Outcome::Failed)),
        (Class::Apply, FailureClass::Profile, Some(Outcome::Failed)),
        (Class::Launch, FailureClass::Profile, Some(Outcome::Failed)),
        (Class::Watch, FailureClass::Join, None),
        (Class::Join, FailureClass::Join, None),
    ];
    for (reported, class, outcome) in classes {
        let mut bench = Bench::new();
        bench.fails("r", reported);
        let request = bench.request("r");
        let failure = request.failure.as_ref().unwrap();
        assert_eq!((failure.class, request.outcome), (class, outcome), "{reported:?}");
        assert_eq!((failure.layer.as_deref(), failure.exit_code), (Some("deps/boost"), Some(100)));
        assert_eq!(failure.output, ["Reading package lists..."]);
    }
}

#[test]
fn a_worker_that_fails_later_loses_its_request() {
    let mut bench = Bench::new();
    bench.ready("r");
    bench.report("r", State::Failed, Some(Class::Watch));
    assert_eq!(bench.request("r").outcome, Some(Outcome::Lost));
}

#[test]
fn a_launch_that_never_joins_is_tried_three_times() {
    let mut bench = Bench::new();
    bench.ask("r");
    for attempt in 1..=3 {
        assert_eq!(bench.request("r").attempts, attempt);
        bench.started("r");
        bench.wait(minutes(17));
        assert_eq!(bench.request("r").failure.as_ref().unwrap().class, FailureClass::Join);
        if attempt < 3 {
            bench.gone("r");
            bench.wait(minutes(1));
        }
    }
    assert_eq!((bench.state("r"), bench.request("r").outcome), (RequestState::Ended, Some(Outcome::Failed)));
}

#[test]
fn an_instance_that_goes_before_it_was_ready_is_replaced() {
    let mut bench = Bench::new();
    bench.ask("r");
    bench.started("r");
    let launch = bench.launch("r").id.clone();
    bench.list(vec![instance(&launch, InstanceState::Ended)]);
    assert_eq!((bench.state("r"), bench.request("r").strikes), (RequestState::Waiting, 1));
    bench.gone("r");
    bench.wait(minutes(1));
    assert_eq!((bench.state("r"), bench.request("r").attempts), (RequestState::Starting, 2));
}

#[test]
fn a_profile_that_keeps_failing_is_not_launched_for_an_hour() {
    let mut bench = Bench::new();
    for id in ["r", "s"] {
        bench.fails(id, Class::Apply);
        bench.delete(id);
        bench.gone(id);
    }
    bench.ask("t");
    let request = bench.request("t");
    assert_eq!((request.outcome, &request.launch), (Some(Outcome::Failed), &None));
    let failure = request.failure.as_ref().unwrap();
    assert_eq!(failure.layer.as_deref(), Some("deps/boost"));
    assert!(failure.message.contains("libboost-x") && failure.message.contains("2 launches"), "{}", failure.message);
    let mut other = new("u", "worker-u");
    other.profile_digest = "changed".into();
    bench.tell(Event::RequestMade(Box::new(other)));
    assert_eq!(bench.state("u"), RequestState::Starting, "another digest is another profile");
    bench.wait(minutes(60));
    bench.ask("v");
    bench.ask("w");
    assert_eq!([bench.state("v"), bench.state("w")], [RequestState::Starting, RequestState::Ended], "one tries it");
    bench.started("v");
    bench.report("v", State::Ready, None);
    bench.not_started("u", ErrorKind::Refused);
    bench.ask("x");
    assert_eq!(bench.state("x"), RequestState::Starting, "it works again");
}

#[test]
fn a_failed_boot_is_held_until_its_name_or_its_place_is_wanted() {
    let mut bench = Bench::new();
    bench.fails("r", Class::Apply);
    assert_eq!(bench.launch_state("r"), LaunchState::Held);
    bench.tell(Event::RequestMade(Box::new(new("s", "worker-r"))));
    assert_eq!(bench.launch_state("r"), LaunchState::Ending);

    let mut bench = Bench::new();
    bench.fails("r", Class::Apply);
    bench.ask("s");
    assert_eq!(bench.launch_state("r"), LaunchState::Held, "there is another place");
    bench.ask("t");
    assert_eq!(bench.launch_state("r"), LaunchState::Ending);

    let mut bench = Bench::new();
    bench.fails("r", Class::Apply);
    bench.wait(minutes(19));
    assert_eq!(bench.launch_state("r"), LaunchState::Held);
    bench.wait(minutes(1));
    assert_eq!(bench.launch_state("r"), LaunchState::Ending);
}

#[test]
fn a_restart_adopts_what_runs() {
    let mut bench = Bench::new();
    bench.ready("r");
    let launch = bench.launch("r").id.clone();
    bench.restart();
    bench.list(vec![instance(&launch, InstanceState::Running)]);
    assert!(bench.starts().is_empty() && bench.stops().is_empty());
    assert_eq!(bench.state("r"), RequestState::Ready);
}

#[test]
fn a_start_that_a_restart_cut_off_is_waited_for_and_then_replaced() {
    let mut bench = Bench::new();
    bench.ask("r");
    let launch = bench.launch("r").id.clone();
    bench.restart();
    assert!(bench.starts().is_empty(), "nobody knows what it was started with");
    bench.list(Vec::new());
    assert_eq!(bench.state("r"), RequestState::Starting, "lists may be late");
    bench.wait(minutes(1));
    bench.list(Vec::new());
    bench.list(Vec::new());
    assert_eq!(bench.stops(), [&launch], "perhaps half of one was made");
    bench.stopped("r");
    bench.list(Vec::new());
    bench.list(Vec::new());
    assert_eq!((bench.request("r").attempts, bench.request("r").strikes), (2, 0));
}

#[test]
fn strays_are_stopped_and_strangers_left_alone() {
    let mut bench = Bench::new();
    let name = policy().driver;
    let ours = LaunchId::new(&name, bench.now, 7);
    let theirs = ["ci-2-0123456789ab0123456789ab", "i-0123456789ab0123456789ab", "ci-short"];
    let mut shown: Vec<_> = theirs
        .iter()
        .map(|id| instance(&LaunchId::try_from((*id).to_owned()).unwrap(), InstanceState::Running))
        .collect();
    shown.push(instance(&ours, InstanceState::Running));
    bench.list(shown.clone());
    assert!(bench.stops().is_empty(), "it is given five minutes");
    bench.wait(minutes(5));
    assert_eq!(bench.stops(), [&ours]);
}

#[test]
fn an_instance_of_a_launch_that_was_gone_is_stopped_at_once() {
    let mut bench = Bench::new();
    bench.ready("r");
    bench.delete("r");
    let launch = bench.launch("r").id.clone();
    bench.gone("r");
    bench.list(vec![instance(&launch, InstanceState::Running)]);
    assert_eq!(bench.stops(), [&launch]);
}

#[test]
fn an_exact_provider_is_believed_at_once() {
    let mut policy = policy();
    policy.exact.insert("cloud".into());
    let mut bench = Bench::with(policy);
    bench.ready("r");
    bench.delete("r");
    bench.stopped("r");
    bench.list(Vec::new());
    assert_eq!(bench.state("r"), RequestState::Ended);
}

#[test]
fn events_are_taken_at_most_once_and_late_ones_are_true() {
    let mut bench = Bench::new();
    bench.ask("r");
    bench.started("r");
    let launch = bench.launch("r").id.clone();
    let send = |bench: &mut Bench, run, state| {
        bench.tell(Event::Reported { launch: launch.clone(), report: Box::new(report(run, state, None)) });
        bench.told()
    };
    assert_eq!(send(&mut bench, 2, State::InProgress), 1);
    assert_eq!(send(&mut bench, 2, State::InProgress), 0, "again");
    assert_eq!(send(&mut bench, 1, State::InProgress), 1, "of an earlier run, and late");
    let mut heartbeat = report(1, State::Ready, None);
    heartbeat.events.clear();
    bench.tell(Event::Reported { launch: launch.clone(), report: Box::new(heartbeat.clone()) });
    assert_eq!(bench.state("r"), RequestState::Booting, "where a late report stands is old");
    heartbeat.run = 2;
    bench.tell(Event::Reported { launch: launch.clone(), report: Box::new(heartbeat) });
    assert_eq!(bench.state("r"), RequestState::Ready, "the event may have been dropped");
    let zone = bench.launch("r").instance.as_ref().unwrap().zone.as_deref();
    assert_eq!(zone, Some("eu-north-1b"), "what the provider did not tell");
    bench.restart();
    assert_eq!(send(&mut bench, 2, State::InProgress), 0, "also after a restart");
}

#[test]
fn a_crashing_agent_fills_no_row() {
    let mut bench = Bench::new();
    bench.ready("r");
    for _ in 0..100 {
        bench.report("r", wire::State::InProgress, None);
    }
    assert!(bench.launch("r").runs.len() <= 32);
}

#[test]
fn agents_are_answered_by_the_state_of_their_launch() {
    let mut bench = Bench::new();
    bench.ready("r");
    let launch = bench.launch("r").id.clone();
    assert_eq!(bench.fleet.answer(&launch), Answer::Go { owner_seen: None });
    bench.tell(Event::OwnerSeen("master".into()));
    bench.wait(minutes(1));
    assert_eq!(bench.fleet.answer(&launch), Answer::Go { owner_seen: Some(60) });
    bench.delete("r");
    assert!(matches!(bench.fleet.answer(&launch), Answer::Stop { .. }));
    bench.gone("r");
    assert_eq!(bench.fleet.answer(&launch), Answer::Over);
    assert_eq!(bench.fleet.answer(&LaunchId::try_from("other".to_owned()).unwrap()), Answer::Unknown);
}

#[test]
fn a_clock_that_goes_back_stands_still() {
    let mut bench = Bench::new();
    bench.ready("r");
    let changed = bench.request("r").changed;
    bench.now.0 -= 3_600_000;
    bench.delete("r");
    assert!(bench.request("r").changed >= changed);
}

#[test]
fn what_has_ended_is_forgotten_after_a_day() {
    let mut bench = Bench::new();
    bench.ask("r");
    bench.not_started("r", ErrorKind::Refused);
    bench.fleet.take_changes();
    bench.wait(minutes(24 * 60));
    let changes = bench.fleet.take_changes();
    assert_eq!(changes.forgotten, [RequestId::try_from("r".to_owned()).unwrap()]);
    assert_eq!((bench.fleet.requests().count(), bench.fleet.launches().count()), (0, 0));
}

#[test]
fn the_next_time_is_always_asked_for() {
    let mut bench = Bench::new();
    bench.ready("r");
    bench.list(Vec::new());
    let wakes = bench.actions.iter().filter(|action| matches!(action, Action::Wake { at } if *at > bench.now));
    assert_eq!(wakes.count(), 1);
}
