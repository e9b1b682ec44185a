//! A fleet, and what can be done to it.

use std::time::Duration;

use loitsut_profile::wire;

use crate::fleet::{
    Action, Body, Event, Fleet, Launch, LaunchState, Limits, NewRequest, Policy, PoolRules, Request, RequestState,
    Times,
};
use crate::model::{DriverName, Instance, InstanceState, LaunchId, PoolName, RequestId, Time, WorkerName};
use crate::provider::{ErrorKind, ProviderError};

pub fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

pub fn policy() -> Policy {
    let rules = PoolRules { provider: "cloud".into(), max: 2, image: "debian-12".into() };
    Policy {
        driver: DriverName::try_from("ci".to_owned()).unwrap(),
        pools: [(PoolName::try_from("pool".to_owned()).unwrap(), rules)].into(),
        exact: [].into(),
        times: Times::default(),
        starts_at_once: 8,
    }
}

/// A request of its name for a worker of that name.
pub fn new(id: &str, worker: &str) -> NewRequest {
    NewRequest {
        id: RequestId::try_from(id.to_owned()).unwrap(),
        owner: "master".into(),
        name: WorkerName::try_from(worker.to_owned()).unwrap(),
        pool: PoolName::try_from("pool".to_owned()).unwrap(),
        profile: "cpp".into(),
        profile_digest: "digest".into(),
        digest: "content".into(),
        limits: Limits { join: minutes(15), life: Some(minutes(240)), hold: minutes(20) },
        body: Body(serde_json::json!({ "password": "hunter2" })),
    }
}

pub struct Bench {
    pub fleet: Fleet,
    pub now: Time,
    /// What the last event led to.
    pub actions: Vec<Action>,
    /// A list was asked for, and not answered.
    listing: bool,
    run: u64,
}

impl Bench {
    pub fn new() -> Self {
        Self::with(policy())
    }

    pub fn with(policy: Policy) -> Self {
        let now = Time(1_000_000_000);
        let mut bench = Self { fleet: Fleet::new(policy, 1, now), now, actions: Vec::new(), listing: false, run: 0 };
        bench.tell(Event::Tick);
        let listed = Event::Listed { provider: "cloud".into(), result: Ok(Vec::new()) };
        bench.tell(listed);
        bench
    }

    /// The driver is killed and started again.
    pub fn restart(&mut self) {
        let rows = (self.fleet.requests().cloned().collect(), self.fleet.launches().cloned().collect());
        self.fleet = Fleet::restore(policy(), 2, self.now, rows.0, rows.1);
        self.listing = false;
        self.tell(Event::Tick);
    }

    pub fn tell(&mut self, event: Event) {
        self.listing &= !matches!(event, Event::Listed { .. });
        self.actions = self.fleet.handle(self.now, event);
        self.listing |= self.actions.iter().any(|action| matches!(action, Action::List { .. }));
    }

    pub fn wait(&mut self, span: Duration) {
        self.now = self.now.plus(span);
        self.tell(Event::Tick);
    }

    pub fn ask(&mut self, id: &str) {
        self.tell(Event::RequestMade(Box::new(new(id, &format!("worker-{id}")))));
    }

    pub fn delete(&mut self, id: &str) {
        self.tell(Event::RequestDeleted(RequestId::try_from(id.to_owned()).unwrap()));
    }

    pub fn request(&self, id: &str) -> &Request {
        self.fleet.request(&RequestId::try_from(id.to_owned()).unwrap()).unwrap()
    }

    pub fn state(&self, id: &str) -> RequestState {
        self.request(id).state
    }

    /// The launch that a request has, or had last.
    pub fn launch(&self, id: &str) -> &Launch {
        self.fleet.launch(self.request(id).launch.as_ref().unwrap()).unwrap()
    }

    pub fn launch_state(&self, id: &str) -> LaunchState {
        self.launch(id).state
    }

    pub fn started(&mut self, id: &str) {
        let launch = self.launch(id).id.clone();
        let result = Ok(instance(&launch, InstanceState::Pending));
        self.tell(Event::Started { launch, result });
    }

    pub fn not_started(&mut self, id: &str, kind: ErrorKind) {
        let launch = self.launch(id).id.clone();
        self.tell(Event::Started { launch, result: Err(error(kind)) });
    }

    pub fn stopped(&mut self, id: &str) {
        let launch = self.launch(id);
        let (launch, instance) = (launch.id.clone(), launch.instance.as_ref().map(|instance| instance.id.clone()));
        self.tell(Event::Stopped { launch, instance, result: Ok(()) });
    }

    /// The launch of a request that is ending is stopped, and shown as ended.
    pub fn gone(&mut self, id: &str) {
        self.stopped(id);
        let launch = self.launch(id).id.clone();
        // One that was asked for before the stop does not count.
        for _ in 0..1 + usize::from(self.listing) {
            self.list(vec![instance(&launch, InstanceState::Ended)]);
        }
        assert_eq!(self.fleet.launch(&launch).unwrap().state, LaunchState::Gone);
    }

    /// Waits until the provider is asked for its list, and answers it.
    pub fn list(&mut self, instances: Vec<Instance>) {
        let mut steps = 0;
        while !self.listing {
            self.wait(Duration::from_secs(10));
            steps += 1;
            assert!(steps < 60, "no list within ten minutes");
        }
        self.tell(Event::Listed { provider: "cloud".into(), result: Ok(instances) });
    }

    /// The next run of a request's agent reports a state.
    pub fn report(&mut self, id: &str, state: wire::State, class: Option<wire::Class>) {
        self.run += 1;
        let launch = self.launch(id).id.clone();
        let report = Box::new(report(self.run, state, class));
        self.tell(Event::Reported { launch, report });
    }

    pub fn ready(&mut self, id: &str) {
        self.ask(id);
        self.started(id);
        self.report(id, wire::State::Ready, None);
        assert_eq!(self.state(id), RequestState::Ready);
    }

    /// A request whose boot fails.
    pub fn fails(&mut self, id: &str, class: wire::Class) {
        self.ask(id);
        self.started(id);
        self.report(id, wire::State::Failed, Some(class));
    }

    /// The launches that are to be started now.
    pub fn starts(&self) -> Vec<&LaunchId> {
        let actions = self.actions.iter();
        actions.filter_map(|it| if let Action::Start { launch, .. } = it { Some(launch) } else { None }).collect()
    }

    /// The launches that are to be stopped now.
    pub fn stops(&self) -> Vec<&LaunchId> {
        let actions = self.actions.iter();
        actions.filter_map(|it| if let Action::Stop { launch, .. } = it { Some(launch) } else { None }).collect()
    }

    /// How many events of agents were told just now.
    pub fn told(&self) -> usize {
        let is_report = |action: &&Action| matches!(action, Action::Tell(told) if matches!(told.what, crate::fleet::What::Report { .. }));
        self.actions.iter().filter(is_report).count()
    }
}

pub fn error(kind: ErrorKind) -> ProviderError {
    ProviderError { kind, message: "the cloud's words".into() }
}

pub fn report(run: u64, state: wire::State, class: Option<wire::Class>) -> wire::Report {
    let failure = class.map(|class| wire::Failure {
        class,
        message: "E: no package libboost-x".into(),
        layer: Some("deps/boost".into()),
        resource: None,
        place: None,
        exit_code: Some(100),
        output: vec!["Reading package lists...".into()],
    });
    wire::Report {
        loitsut: 1,
        agent: "1.0.0".into(),
        boot: "boot".into(),
        run,
        age: 0,
        instance: wire::Instance { id: "i-1".into(), zone: Some("eu-north-1b".into()), ..Default::default() },
        now: wire::Now { state, ..Default::default() },
        dropped: 0,
        events: vec![wire::Event { seq: 1, ago: 0, what: wire::What::State { state, failure } }],
    }
}

/// An instance as a list shows it; its id is the launch's.
pub fn instance(launch: &LaunchId, state: InstanceState) -> Instance {
    let (id, launch) = (format!("i-{launch}"), launch.clone());
    let none = || None::<String>;
    Instance {
        launch,
        id,
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
