//! The world: what happens when, and whether a promise is broken.

use std::collections::BTreeMap;
use std::time::Duration;

use loitsut_profile::wire;

use super::Setup;
use super::agent;
use super::cloud::{Cloud, EXACT, LATE, Machine, Purpose, Trouble, error};
use super::driver::Driver;
use super::random::Random;
use super::user::User;
use crate::fleet::{Action, Answer, Event, RequestState};
use crate::model::{InstanceState, LaunchId, Time};
use crate::provider::ErrorKind;

/// Until then things go wrong.
pub(super) const TROUBLED: Time = Time(4 * 3_600_000);
/// By then everything must have ended.
const END: Time = Time(24 * 3_600_000);

/// How long a stopped instance may be left: longer than any trouble takes.
const LEFT: Duration = Duration::from_secs(2 * 3600);

/// What happens at some time.
enum Happening {
    /// A call arrives at the cloud.
    Call {
        driver: usize,
        call: Call,
    },
    /// An answer, or the lack of one, arrives at a driver.
    Tell {
        driver: usize,
        life: u64,
        event: Event,
    },
    /// The last wish to be woken takes the place of those before.
    Wake {
        driver: usize,
        wake: u64,
    },
    Restart {
        driver: usize,
    },
    Turn {
        user: usize,
    },
    Agent {
        machine: usize,
    },
    Report {
        machine: usize,
        report: wire::Report,
    },
    Enter {
        machine: usize,
        state: InstanceState,
    },
    /// Somebody looks whether an instance that was stopped is still there.
    Look {
        machine: usize,
    },
}

#[derive(Clone)]
enum Call {
    Start(Box<Purpose>, Reply),
    Stop { launch: LaunchId, instance: Option<String>, provider: String, reply: Reply },
    List { provider: String, reply: Reply },
}

/// Where an answer goes, if any comes.
#[derive(Clone, Copy)]
struct Reply {
    life: u64,
    lost: bool,
}

pub struct World {
    setup: Setup,
    seed: u64,
    pub(super) now: Time,
    random: Random,
    queue: BTreeMap<(Time, u64), Happening>,
    count: u64,
    pub(super) cloud: Cloud,
    pub(super) drivers: Vec<Driver>,
    pub(super) users: Vec<User>,
    /// How many requests were ever seen ready.
    pub served: u32,
    pub history: Option<Vec<String>>,
}

/// Nothing, or which promise was broken.
pub(super) type Checked = Result<(), String>;

impl World {
    pub fn new(setup: Setup, seed: u64, with_history: bool) -> Self {
        let mut random = Random::new(seed);
        let drivers = vec![Driver::new("ci"), Driver::new("ci-2")];
        let users = (0..8).map(|number| User::new(usize::from(number >= 5), number, &mut random)).collect::<Vec<_>>();
        let mut world = Self {
            setup,
            seed,
            now: Time(0),
            random,
            queue: BTreeMap::new(),
            count: 0,
            cloud: Cloud::default(),
            drivers,
            users,
            served: 0,
            history: with_history.then(Vec::new),
        };
        world.prepare();
        world
    }

    fn prepare(&mut self) {
        for driver in 0..self.drivers.len() {
            self.later(Duration::ZERO, Happening::Restart { driver });
        }
        for user in 0..self.users.len() {
            let at = self.random.seconds(0, 1200);
            self.later(at, Happening::Turn { user });
        }
        for (what, at) in
            [("outage", LATE), ("outage", EXACT), ("capacity", "small"), ("capacity", "large"), ("throttle", LATE)]
        {
            let from = Time(0).plus(self.random.seconds(0, 10_000));
            let to = from.plus(self.random.seconds(0, 3600));
            self.cloud.troubles.push(Trouble { from, to, what, at });
        }
        let left_over = format!("ci-{:024x}", 7);
        for (launch, ours) in [("i-want-to-live", false), ("ci-3-0123456789ab0123456789ab", false), (&left_over, true)]
        {
            for provider in [LATE, EXACT] {
                let id = format!("i-{launch}-{provider}");
                let mut machine = Machine::new(self.now, id, launch.to_owned(), provider, None);
                machine.left_over = ours;
                machine.enter(self.now, InstanceState::Running);
                self.cloud.machines.push(machine);
            }
        }
    }

    /// Lets everything happen until all is over; else says which promise was broken.
    pub fn run(&mut self) -> Checked {
        while let Some(((at, _), happening)) = self.queue.pop_first() {
            self.now = at;
            if at > END {
                return Err(self.what_is_left());
            }
            self.happen(happening)?;
            if self.is_over() {
                return self.strangers_live();
            }
        }
        Err("nothing happens any more".into())
    }

    fn happen(&mut self, happening: Happening) -> Checked {
        match happening {
            Happening::Call { driver, call } => self.call(driver, call),
            Happening::Tell { driver, life, event } if self.drivers[driver].life == life => self.feed(driver, event),
            Happening::Wake { driver, wake } if self.drivers[driver].wakes == wake => self.feed(driver, Event::Tick),
            Happening::Tell { .. } | Happening::Wake { .. } => Ok(()),
            Happening::Restart { driver } => {
                self.log(|| format!("{driver} starts"));
                let seed = self.seed.wrapping_mul(1000) + driver as u64;
                self.drivers[driver].restart(&self.setup, seed, self.now);
                self.feed(driver, Event::Tick)
            }
            Happening::Turn { user } => self.turn(user),
            Happening::Agent { machine } => {
                self.agent(machine);
                Ok(())
            }
            Happening::Report { machine, report } => self.report(machine, report),
            Happening::Look { machine } if self.cloud.machines[machine].state() == InstanceState::Stopped => {
                Err(format!("{} was stopped by somebody, and left like that", self.cloud.machines[machine].launch))
            }
            Happening::Look { .. } => Ok(()),
            Happening::Enter { machine: index, state } => {
                let machine = &mut self.cloud.machines[index];
                let stopping = machine.state() == InstanceState::Stopping;
                if !(stopping && state != InstanceState::Ended) {
                    machine.enter(self.now, state);
                }
                if state == InstanceState::Stopped {
                    self.later(LEFT, Happening::Look { machine: index });
                }
                self.log(|| format!("machine is {state:?}"));
                Ok(())
            }
        }
    }

    /// Hands a driver an event; it may be killed anywhere on the way.
    fn feed(&mut self, driver: usize, event: Event) -> Checked {
        let Some(fleet) = &mut self.drivers[driver].fleet else { return Ok(()) };
        let words = self.history.is_some().then(|| format!("{driver} is told {event:?}"));
        let actions = fleet.handle(self.now, event);
        let changes = fleet.take_changes();
        if let Some(words) = words {
            self.log(|| words);
        }
        let killed = (self.now < TROUBLED && self.random.below(150) == 0)
            .then(|| usize::try_from(self.random.below(actions.len() as u64 + 2)).unwrap());
        if killed == Some(0) {
            return self.kill(driver);
        }
        if self.setup.stores_first {
            self.drivers[driver].store(changes.clone(), &actions)?;
        }
        for (count, action) in actions.iter().enumerate() {
            if killed == Some(count + 1) {
                return self.kill(driver);
            }
            self.log(|| format!("{driver} does {action:?}"));
            self.act(driver, action);
        }
        if !self.setup.stores_first {
            self.drivers[driver].store(changes, &actions)?;
        }
        if killed.is_some() { self.kill(driver) } else { Ok(()) }
    }

    fn kill(&mut self, driver: usize) -> Checked {
        self.log(|| format!("{driver} is killed"));
        self.drivers[driver].kill();
        let most = if self.random.chance(20) { 3000 } else { 30 };
        let down = self.random.seconds(0, most);
        self.later(down, Happening::Restart { driver });
        Ok(())
    }

    fn act(&mut self, driver: usize, action: &Action) {
        let life = self.drivers[driver].life;
        let lost = self.now < TROUBLED && self.random.chance(10);
        let reply = Reply { life, lost };
        let call = match action {
            Action::Start { launch, .. } => Call::Start(Box::new(self.purpose(driver, launch)), reply),
            Action::Stop { launch, instance, provider } => {
                let (launch, instance) = (launch.clone(), instance.clone());
                Call::Stop { launch, instance, provider: provider.clone(), reply }
            }
            Action::List { provider } => Call::List { provider: provider.clone(), reply },
            Action::Wake { at } => {
                self.drivers[driver].wakes += 1;
                let wake = self.drivers[driver].wakes;
                return self.at(*at, Happening::Wake { driver, wake });
            }
            Action::Tell(_) => return,
        };
        if lost {
            // The driver gives up after 15 s; the call may arrive much later, or never.
            let event = no_answer(&call);
            self.later(Duration::from_secs(15), Happening::Tell { driver, life, event });
            if self.random.chance(30) {
                return;
            }
        }
        let way = if lost { self.random.seconds(0, 55) } else { self.random.seconds(0, 3) };
        self.later(way, Happening::Call { driver, call });
    }

    fn purpose(&self, driver: usize, launch: &LaunchId) -> Purpose {
        let fleet = self.drivers[driver].fleet.as_ref().unwrap();
        let row = fleet.launch(launch).unwrap();
        let request = fleet.request(&row.request).unwrap();
        Purpose {
            driver,
            launch: launch.clone(),
            request: row.request.to_string(),
            worker: row.name.to_string(),
            pool: row.pool.to_string(),
            provider: row.provider.clone(),
            profile: request.profile.clone(),
        }
    }

    /// A call arrives at the cloud, and its answer, if there is to be one, sets out.
    fn call(&mut self, driver: usize, call: Call) -> Checked {
        let (event, reply) = match call {
            Call::Start(purpose, reply) => (self.cloud_start(*purpose)?, reply),
            Call::Stop { launch, instance, provider, reply } => {
                (self.cloud_stop(driver, launch, instance, &provider)?, reply)
            }
            // Nothing comes of it, and what it left out, nobody has missed.
            Call::List { reply, .. } if reply.lost => return Ok(()),
            Call::List { provider, reply } => {
                let result = self.cloud.list(self.now, driver, &provider, &mut self.random);
                (Event::Listed { provider, result }, reply)
            }
        };
        if !reply.lost {
            let way = self.random.seconds(0, 4);
            self.later(way, Happening::Tell { driver, life: reply.life, event });
        }
        Ok(())
    }

    fn cloud_start(&mut self, purpose: Purpose) -> Result<Event, String> {
        let (result, made) = self.cloud.start(self.now, &purpose, &mut self.random);
        if made {
            let machine = self.cloud.machines.len() - 1;
            self.log(|| format!("{} is made for {purpose:?}", purpose.launch));
            self.alone(machine, &purpose)?;
            let up = self.random.seconds(5, 20);
            self.later(up, Happening::Enter { machine, state: InstanceState::Running });
            self.later(up + Duration::from_secs(5), Happening::Agent { machine });
            if self.now < TROUBLED && self.random.chance(15) {
                let at = self.random.seconds(10, 2000);
                let state = self.random.pick(&[InstanceState::Stopped, InstanceState::Ended]);
                self.later(at, Happening::Enter { machine, state });
            }
        }
        Ok(Event::Started { launch: purpose.launch, result })
    }

    fn cloud_stop(
        &mut self,
        driver: usize,
        launch: LaunchId,
        instance: Option<String>,
        provider: &str,
    ) -> Result<Event, String> {
        if self.cloud.is_troubled(self.now, "outage", provider) {
            let result = Err(error(ErrorKind::Unreachable, "no route"));
            return Ok(Event::Stopped { launch, instance, result });
        }
        for index in 0..self.cloud.machines.len() {
            let machine = &self.cloud.machines[index];
            let named = instance.as_ref().is_none_or(|instance| *instance == machine.id);
            if machine.launch == launch.as_str() && machine.provider == provider && named {
                self.may_stop(driver, index)?;
                self.go_down(index);
            }
        }
        Ok(Event::Stopped { launch, instance, result: Ok(()) })
    }

    fn go_down(&mut self, machine: usize) {
        if matches!(self.cloud.machines[machine].state(), InstanceState::Stopping | InstanceState::Ended) {
            return;
        }
        self.cloud.machines[machine].enter(self.now, InstanceState::Stopping);
        let down = self.random.seconds(1, 40);
        self.later(down, Happening::Enter { machine, state: InstanceState::Ended });
    }

    fn agent(&mut self, index: usize) {
        let machine = &mut self.cloud.machines[index];
        if machine.state() != InstanceState::Running {
            return;
        }
        let turn = agent::take_turn(machine, self.now, &mut self.random);
        if let Some(report) = turn.report {
            let way = self.random.seconds(0, 3);
            if self.random.chance(10) {
                let again = self.random.seconds(3, 300);
                self.later(again, Happening::Report { machine: index, report: report.clone() });
            }
            self.later(way, Happening::Report { machine: index, report });
        }
        if turn.off {
            self.go_down(index);
        }
        self.later(turn.next, Happening::Agent { machine: index });
    }

    fn report(&mut self, index: usize, report: wire::Report) -> Checked {
        let Some(purpose) = self.cloud.machines[index].purpose.clone() else { return Ok(()) };
        let sent = report.events.last().map_or(0, |event| event.seq);
        let run = report.run;
        let event = Event::Reported { launch: purpose.launch.clone(), report: Box::new(report) };
        self.feed(purpose.driver, event)?;
        let Some(fleet) = &self.drivers[purpose.driver].fleet else { return Ok(()) };
        let answer = fleet.answer(&purpose.launch);
        let machine = &mut self.cloud.machines[index];
        if machine.agent.run == run {
            machine.agent.unsent.retain(|event| event.seq > sent);
        }
        match answer {
            Answer::Unknown => Err(format!("{} is not known to its driver", purpose.launch)),
            Answer::Over if machine.state() == InstanceState::Running => {
                Err(format!("{} runs, and its driver takes it for gone", purpose.launch))
            }
            Answer::Over => {
                machine.agent.over = true;
                Ok(())
            }
            Answer::Go { .. } => Ok(()),
            Answer::Stop { .. } => {
                if machine.state() == InstanceState::Running {
                    self.may_stop(purpose.driver, index)?;
                    self.go_down(index);
                }
                Ok(())
            }
        }
    }

    fn turn(&mut self, index: usize) -> Checked {
        let next = self.random.seconds(1, 30);
        let user = &mut self.users[index];
        if user.current.is_none() && user.left == 0 {
            return Ok(());
        }
        if user.current.is_none() {
            user.wish(self.now, &mut self.random);
        }
        self.later(next, Happening::Turn { user: index });
        self.pursue(index)
    }

    fn pursue(&mut self, index: usize) -> Checked {
        let user = &mut self.users[index];
        let (driver, Some(wish)) = (user.driver, &mut user.current) else { return Ok(()) };
        let Some(fleet) = &self.drivers[driver].fleet else { return Ok(()) };
        let id = wish.new.id.clone();
        let state = fleet.request(&id).map(|request| request.state);
        match state {
            None if wish.known => Err(format!("request {id} was promised, and is forgotten")),
            None => {
                let new = Box::new(wish.new.clone());
                self.feed(driver, Event::RequestMade(new))?;
                let known = self.drivers[driver].fleet.as_ref().is_some_and(|fleet| fleet.request(&id).is_some());
                self.users[index].current.as_mut().unwrap().known = known;
                Ok(())
            }
            Some(RequestState::Ended) => {
                user.current = None;
                if self.random.chance(50) { self.feed(driver, Event::RequestDeleted(id)) } else { Ok(()) }
            }
            Some(state) => {
                wish.known = true;
                if state == RequestState::Ready && wish.ready.is_none() {
                    wish.ready = Some(self.now);
                    self.served += 1;
                }
                wish.deleted |= wish.is_over(self.now);
                let delete = wish.deleted && state != RequestState::Ending;
                if delete { self.feed(driver, Event::RequestDeleted(id)) } else { Ok(()) }
            }
        }
    }

    fn later(&mut self, wait: Duration, happening: Happening) {
        self.at(self.now.plus(wait), happening);
    }

    fn at(&mut self, at: Time, happening: Happening) {
        self.count += 1;
        self.queue.insert((at.max(self.now), self.count), happening);
    }

    fn log(&mut self, words: impl FnOnce() -> String) {
        let now = self.now.0;
        if let Some(history) = &mut self.history {
            history.push(format!("{:>6}.{:03} s  {}", now / 1000, now % 1000, words()));
        }
    }
}

fn no_answer(call: &Call) -> Event {
    let unknown = || error(ErrorKind::Unknown, "no answer within 15 s");
    match call {
        Call::Start(purpose, _) => Event::Started { launch: purpose.launch.clone(), result: Err(unknown()) },
        Call::Stop { launch, instance, .. } => {
            Event::Stopped { launch: launch.clone(), instance: instance.clone(), result: Err(unknown()) }
        }
        Call::List { provider, .. } => Event::Listed { provider: provider.clone(), result: Err(unknown()) },
    }
}
