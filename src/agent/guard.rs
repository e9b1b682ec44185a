//! The guard of a launch: sends its reports, obeys the driver's orders, and sees to it that the lease is kept.
//!
//! It has a thread of its own, so that whatever the boot is doing, or is stuck in, holds up neither a report nor the
//! end of the lease. The boot tells it by way of the [`Outbox`] where it stands; the guard ends a boot by
//! [`stop::request`], and powers off whether the boot obeys or not.

mod power;
mod work;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use loitsut_profile::console;
use loitsut_profile::userdata::Document;
use loitsut_profile::userdata::document::Driver;
use loitsut_profile::wire::{Answer, Instance, NoticeKind, Order, OrderOutcome, State, What};
use sd_notify::NotifyState;
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};

use crate::config::Config;
use crate::host::Host;
use crate::host::clock;
use crate::lease::{Lease, millis};
use crate::ledger::Ledger;
use crate::metadata::{Identity, Source};
use crate::notices::{self, Notice};
use crate::report::{Head, Outbox, Sender};
use crate::stop::{self, Reason};

/// How often the lease is looked at.
const TICK: Duration = Duration::from_secs(1);

/// A guard that is not heard of for so long is killed by systemd, with the agent, which is then started again.
const WATCHDOG_MICROSECONDS: u32 = 120_000_000;

/// How often the ledger is kept though nothing has changed but the time.
const KEEP: Duration = Duration::from_secs(60);

/// How long after a failure systemd is told of the end of the lease again.
const ARM_AGAIN: Duration = Duration::from_secs(30);

/// How long a boot may take to end when its lease is over: a program that is asked to ends within 20 s.
const REACTION: Duration = Duration::from_secs(60);

/// How long the last report may take.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// The boot's hold on its guard.
pub struct Guard {
    ended: oneshot::Receiver<()>,
    seen_off: oneshot::Sender<()>,
}

impl Guard {
    /// Starts the guard of the launch that a document tells of; the agent began `began` after the machine.
    ///
    /// # Errors
    /// There is no thread to be had, or what is known of the launch cannot be read.
    pub fn start(document: &Document, identity: &Identity, outbox: Arc<Outbox>, began: Duration) -> Result<Self> {
        let host = Host::here();
        // Without an id of its own a launch is as long as its instance.
        let launch = document.launch.as_ref().map_or(identity.instance_id.as_str(), |launch| launch.id.as_str());
        let ledger = Ledger::open(&host, launch, document.lease.clone(), began)?;
        let head = head(&ledger, instance(identity), launch, began);
        let driver = document.driver.clone().map(|driver| (driver, head));
        Watchman::of(host, ledger, outbox).start(driver)
    }

    /// Starts the guard of the launch that this machine had when it was last told of one, if that has a lease: for a
    /// boot that fails before anybody tells it. Nobody hears of it.
    ///
    /// # Errors
    /// As above.
    pub fn of_last_launch(outbox: Arc<Outbox>, began: Duration) -> Result<Option<Self>> {
        let host = Host::here();
        let known = Ledger::of_this_machine(&host, began)?.filter(|ledger| ledger.terms.is_some());
        known.map(|ledger| Watchman::of(host, ledger, outbox).start(None)).transpose()
    }

    fn parts() -> Result<(Self, tokio::runtime::Runtime, oneshot::Sender<()>, oneshot::Receiver<()>)> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let ((ends, ended), (sees_off, seen_off)) = (oneshot::channel(), oneshot::channel());
        Ok((Self { ended, seen_off: sees_off }, runtime, ends, seen_off))
    }

    /// The boot has ended, and has told how. Returns when the last report is sent and nothing is left to be waited
    /// for; where a lease ends the machine, it does not return before that ends the agent.
    pub async fn see_off(self) {
        let _ = self.seen_off.send(());
        let _ = self.ended.await;
    }
}

fn head(ledger: &Ledger, instance: Instance, launch: &str, began: Duration) -> Head {
    let at_the_beginning = ledger.age().saturating_sub(clock::since_boot().saturating_sub(began));
    Head {
        launch: launch.to_owned(),
        boot: ledger.boot.clone(),
        run: ledger.run,
        age: Box::new(move || at_the_beginning + clock::since_boot().saturating_sub(began)),
        instance,
    }
}

fn instance(identity: &Identity) -> Instance {
    Instance {
        id: identity.instance_id.clone(),
        kind: identity.instance_type.clone(),
        image: identity.image_id.clone(),
        region: identity.region.clone(),
        zone: identity.availability_zone.clone(),
        address: identity.private_ip.clone(),
    }
}

/// What the guard's thread knows.
struct Watchman {
    host: Host,
    ledger: Ledger,
    lease: Option<Lease>,
    outbox: Arc<Outbox>,
    /// The age at which the driver last heard of the owner of the request.
    owner_heard: Option<Duration>,
    /// The driver has ordered a stop.
    stop_ordered: Option<Reason>,
    /// The end that systemd was told of, as an age; an earlier launch may have told it another.
    armed: Option<Option<Duration>>,
    /// Before that, since boot, systemd is not told again.
    arm_after: Duration,
    /// When the ledger was last kept, since boot.
    kept: Duration,
}

/// What is to become of the machine when its guard has done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    PowerOff,
    StayUp,
}

impl Watchman {
    fn of(host: Host, mut ledger: Ledger, outbox: Arc<Outbox>) -> Self {
        let (age, standing) = (ledger.age(), ledger.standing.clone());
        if let Err(error) = ledger.keep(&host, &standing) {
            tracing::warn!("a restart of the agent or a reboot will begin the lease anew: {error:#}");
        }
        let mut lease = ledger.terms.clone().map(|terms| Lease::new(terms, standing));
        lease.iter_mut().for_each(|lease| lease.resumed(age));
        let kept = clock::since_boot();
        let (owner_heard, stop_ordered, armed, arm_after) = (None, None, None, Duration::ZERO);
        Self { host, ledger, lease, outbox, owner_heard, stop_ordered, armed, arm_after, kept }
    }

    fn start(mut self, driver: Option<(Driver, Head)>) -> Result<Guard> {
        let (guard, runtime, ended, seen_off) = Guard::parts()?;
        std::thread::Builder::new()
            .name("guard".into())
            .spawn(move || {
                LocalSet::new().block_on(&runtime, self.watch(driver, seen_off));
                let _ = ended.send(());
            })
            .context("no thread for the guard of the lease")?;
        Ok(guard)
    }

    async fn watch(&mut self, driver: Option<(Driver, Head)>, mut seen_off: oneshot::Receiver<()>) {
        let _ = sd_notify::notify(&[NotifyState::WatchdogUsec(WATCHDOG_MICROSECONDS)]);
        let (answers_to, mut answers) = mpsc::unbounded_channel();
        let (notices_to, mut notices) = mpsc::unbounded_channel();
        self.speak(driver, answers_to);
        let mut notices_to = Some(notices_to);
        let mut is_seen_off = false;
        let mut over_since = None;
        let end = loop {
            let _ = sd_notify::notify(&[NotifyState::Watchdog]);
            let now = self.outbox.now();
            if now.state == State::Ready
                && let Some(to) = notices_to.take()
            {
                self.listen_to_the_cloud(to);
            }
            self.follow(now.state).await;
            if let Some(end) = self.end(now.state, is_seen_off, &mut over_since) {
                break end;
            }
            tokio::select! {
                Some(answer) = answers.recv() => self.obey(answer),
                Some(notice) = notices.recv() => self.heed(&notice),
                _ = &mut seen_off, if !is_seen_off => is_seen_off = true,
                () = sleep(TICK) => {}
            }
        };
        self.leave(end).await;
    }

    /// Reports are sent by a task of their own.
    fn speak(&self, driver: Option<(Driver, Head)>, answers: mpsc::UnboundedSender<Answer>) {
        match driver.map(|(driver, head)| Sender::new(&driver, head, Arc::clone(&self.outbox))) {
            Some(Ok(sender)) => {
                tokio::task::spawn_local(sender.run(answers));
            }
            Some(Err(error)) => {
                tracing::error!("{error:#}");
                self.outbox.close();
            }
            None => self.outbox.close(),
        }
    }

    /// Only clouds have notices. In good time: a boot asks its metadata service no more than it must.
    fn listen_to_the_cloud(&self, notices: mpsc::UnboundedSender<Notice>) {
        let source = Config::read(&self.host).map(|config| Source::detect(&self.host, config));
        if let Ok(Ok(Source::Service(service))) = source {
            tokio::task::spawn_local(notices::watch(service, notices));
        }
    }

    /// Takes the state of the boot into the lease.
    async fn follow(&mut self, state: State) {
        let age = self.ledger.age();
        if let Some(lease) = &mut self.lease {
            let has_work = work::is_there(&self.host);
            match state {
                State::Ready => lease.ready(age),
                // A worker of an earlier run of the agent, which this one has not come to: its build is not cut off.
                State::Failed if has_work => {}
                State::Failed => lease.failed(age),
                State::InProgress | State::Rebooting | State::Stopped | State::Nothing => {}
            }
            // Also of a boot in progress: the agent may have come back to a worker that was at work all the time.
            if has_work {
                lease.wanted(age, None);
            } else if let Some(heard) = self.owner_heard {
                lease.wanted(age, Some(age.saturating_sub(heard)));
            }
            let left = lease.left(age);
            self.outbox.update(|now| now.lease = Some(left));
        }
        let latest = self.lease.as_ref().and_then(Lease::latest);
        let (now, is_armed) = (clock::since_boot(), Some(latest) == self.armed);
        if !is_armed && now >= self.arm_after {
            self.keep();
            self.arm_after = now + ARM_AGAIN;
            if power::arm(&self.host, latest.map(|end| end.saturating_sub(age))).await {
                (self.armed, self.arm_after) = (Some(latest), now);
            }
        } else if now.saturating_sub(self.kept) >= KEEP {
            self.keep();
        }
    }

    fn keep(&mut self) {
        self.kept = clock::since_boot();
        let standing = self.lease.as_ref().map_or_else(Default::default, |lease| lease.standing().clone());
        if let Err(error) = self.ledger.keep(&self.host, &standing) {
            tracing::warn!("how old this launch is cannot be kept: {error:#}");
        }
    }

    /// Whether there is nothing more to watch, and what becomes of the machine.
    fn end(&self, state: State, is_seen_off: bool, over_since: &mut Option<Duration>) -> Option<End> {
        if is_seen_off && stop::reason() == Some(Reason::Signal) {
            return Some(End::StayUp);
        }
        let Some(lease) = &self.lease else { return is_seen_off.then_some(End::StayUp) };
        if is_seen_off && state != State::Failed {
            return Some(End::PowerOff);
        }
        if is_seen_off && let Some(reason) = &self.stop_ordered {
            // The boot had failed before it could tell of the order.
            self.tell_of(reason);
            return Some(End::PowerOff);
        }
        let reason = Reason::Lease(lease.over(self.ledger.age())?);
        if is_seen_off {
            self.tell_of(&reason);
            return Some(End::PowerOff);
        }
        stop::request(reason.clone());
        let since = *over_since.get_or_insert_with(clock::since_boot);
        if clock::since_boot().saturating_sub(since) < REACTION {
            return None;
        }
        tracing::error!("the boot does not end though its lease is over");
        self.tell_of(&reason);
        Some(End::PowerOff)
    }

    fn tell_of(&self, reason: &Reason) {
        let why = reason.to_string();
        tracing::warn!(loitsut_ending = why, "{why}");
        if let Err(error) = self.host.write_console(&console::line(&self.ledger.launch, "ending", &[&why])) {
            tracing::debug!("nothing can be told on the console: {error}");
        }
        self.outbox.push(What::Ending { why });
    }

    async fn leave(&mut self, end: End) {
        if timeout(LAST_WORDS, self.outbox.emptied()).await.is_err() {
            tracing::warn!("the last reports have not reached the driver within {} s", LAST_WORDS.as_secs());
        }
        self.keep();
        if end == End::PowerOff {
            power::off(&self.host).await;
            // Until the machine ends us.
            loop {
                let _ = sd_notify::notify(&[NotifyState::Watchdog]);
                if stop::reason() == Some(Reason::Signal) {
                    return;
                }
                sleep(TICK).await;
            }
        }
    }

    fn obey(&mut self, answer: Answer) {
        let age = self.ledger.age();
        if let Some(seconds) = answer.owner_seen {
            self.owner_heard = Some(age.saturating_sub(Duration::from_secs(seconds)));
        }
        let has_orders = !answer.orders.is_empty();
        for (name, value) in answer.orders.into_iter().filter(|(_, value)| !value.is_null()) {
            let id = value.get("id").and_then(|id| id.as_str()).map(str::to_owned);
            let refused = match Order::read(&name, &value) {
                Ok(order) => self.take(order, age),
                Err(refusal) => Some(refusal.to_string()),
            };
            match &refused {
                None => tracing::info!("the driver orders: {name}"),
                Some(why) => tracing::warn!("an order of the driver is refused: {name}: {why}"),
            }
            let outcome = if refused.is_none() { OrderOutcome::Obeyed } else { OrderOutcome::Refused };
            self.outbox.push(What::Order { order: name, id, outcome, why: refused });
        }
        if has_orders {
            self.keep();
        }
    }

    /// Obeys an order; why it cannot be obeyed, if so.
    fn take(&mut self, order: Order, age: Duration) -> Option<String> {
        match (order, &mut self.lease) {
            (Order::Stop(stop), _) => {
                let reason = Reason::Order(self.host.masked(&stop.reason));
                stop::request(reason.clone());
                self.stop_ordered = Some(reason);
            }
            (Order::Lease(order), Some(lease)) => lease.renew(age, order),
            (Order::Hold(order), Some(lease)) => lease.hold(age, order.duration.get(), order.id),
            (_, None) => return Some("this launch has no lease: it is never powered off".into()),
        }
        None
    }

    fn heed(&self, notice: &Notice) {
        let left = notice.left.map(|left| format!(", in {} s", left.as_secs())).unwrap_or_default();
        tracing::warn!(loitsut_notice = notice.kind.as_str(), "the cloud gives notice: {}{left}", notice.kind.as_str());
        self.outbox.push(What::Notice { notice: notice.kind, left: notice.left.map(millis) });
        if let (NoticeKind::Interruption, Some(left)) = (notice.kind, notice.left) {
            stop::request(Reason::Interruption(clock::since_boot() + left));
        }
    }
}
