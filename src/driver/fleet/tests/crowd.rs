//! A thousand requests at once, against a cloud that counts calls as AWS does.

use std::collections::BTreeMap;
use std::time::Duration;

use super::bench::{error, instance, minutes, new, policy};
use crate::fleet::{Action, Event, Fleet, RequestState};
use crate::model::{InstanceState, LaunchId, Time};
use crate::provider::ErrorKind;

const CROWD: u64 = 1000;

/// The published bucket of RunInstances: 5 calls, and 2 more each second.
struct Bucket {
    tokens: f64,
    then: Time,
}

impl Bucket {
    fn take(&mut self, now: Time) -> bool {
        self.tokens = (self.tokens + 2.0 * now.since(self.then).as_secs_f64()).min(5.0);
        self.then = now;
        let enough = self.tokens >= 1.0;
        self.tokens -= if enough { 1.0 } else { 0.0 };
        enough
    }
}

#[test]
fn a_thousand_requests_are_started_as_fast_as_the_cloud_takes_them() {
    let mut policy = policy();
    policy.pools.values_mut().for_each(|pool| pool.max = 2000);
    let start = Time(1_000_000_000);
    let (mut fleet, mut bucket) = (Fleet::new(policy, 1, start), Bucket { tokens: 5.0, then: start });
    let mut queue = BTreeMap::<(Time, u64), Event>::new();
    let mut count = 0;
    let mut later = |queue: &mut BTreeMap<_, _>, at: Time, event| {
        count += 1;
        queue.insert((at, count), event);
    };
    for number in 0..CROWD {
        later(&mut queue, start, Event::RequestMade(Box::new(new(&format!("r{number}"), &format!("w{number}")))));
    }
    let mut made = Vec::<LaunchId>::new();
    let mut wake = None;
    while let Some(((now, _), event)) = queue.pop_first() {
        if matches!(event, Event::Tick) && wake != Some(now) {
            continue; // a later wish has taken its place
        }
        for action in fleet.handle(now, event) {
            let answered = now.plus(Duration::from_millis(700));
            match action {
                Action::Start { launch, .. } => {
                    let result = if bucket.take(now) {
                        made.push(launch.clone());
                        Ok(instance(&launch, InstanceState::Pending))
                    } else {
                        Err(error(ErrorKind::Throttled(Duration::from_secs(1))))
                    };
                    later(&mut queue, answered, Event::Started { launch, result });
                }
                Action::Wake { at } if wake != Some(at) => {
                    wake = Some(at);
                    later(&mut queue, at, Event::Tick);
                }
                Action::List { provider } => {
                    let result = Ok(made.iter().map(|launch| instance(launch, InstanceState::Running)).collect());
                    later(&mut queue, answered, Event::Listed { provider, result });
                }
                _ => {}
            }
        }
        if made.len() as u64 == CROWD && fleet.requests().all(|it| it.state == RequestState::Booting) {
            let least = Duration::from_secs((CROWD - 5) / 2);
            let took = now.since(start);
            assert!(took < least.mul_f64(1.5), "{took:?}, and the bucket allows {least:?}");
            return;
        }
        assert!(now.since(start) < minutes(60), "{} of {CROWD} after an hour", made.len());
    }
}
