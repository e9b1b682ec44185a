//! The lease: how long an instance may live. Pure: it is told the time, as the age of the launch.

use std::time::Duration;

use loitsut_profile::duration::HumanDuration;
use loitsut_profile::userdata::document;
use loitsut_profile::wire::{LeaseLeft, LeaseOrder};
use serde::{Deserialize, Serialize};

/// How long after the driver has heard of it the owner of the request counts as being there.
const OWNER: Duration = Duration::from_secs(120);

/// A limit that is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// The worker was not ready in time.
    Join,
    /// Without work for too long.
    Idle,
    /// Old enough.
    Life,
    /// A failed boot was held long enough.
    Hold,
}

/// Where a launch is in its life; kept over restarts of the agent, and, but for what is of one boot, of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Standing {
    /// The age at which this boot began.
    boot: Duration,
    /// The age at which the boot was ready, or last had work.
    idle_since: Option<Duration>,
    /// The age until which a failed boot is held.
    held_until: Option<Duration>,
    /// The boot has failed.
    failed: bool,
    /// The age at which an order took the place of `idle` and `life`, and what it said.
    renewed: Option<(Duration, LeaseOrder)>,
    /// The id of the last `hold` order.
    hold_order: Option<String>,
}

/// The terms, and where the launch stands.
pub struct Lease {
    terms: document::Lease,
    standing: Standing,
}

impl Lease {
    /// Of a launch that stands there.
    pub fn new(terms: document::Lease, standing: Standing) -> Self {
        Self { terms, standing }
    }

    /// What must not be forgotten.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Everything is applied and the worker is ready: from now on it may be idle.
    pub fn ready(&mut self, age: Duration) {
        self.standing.idle_since.get_or_insert(age);
        self.standing.held_until = None;
        self.standing.failed = false;
    }

    /// The agent is here again, and nobody has watched since: the owner may be there though it was not heard of.
    pub fn resumed(&mut self, age: Duration) {
        let idle = self.idle().unwrap_or_default();
        if let Some(since) = &mut self.standing.idle_since {
            *since = (age + OWNER).saturating_sub(idle).max(*since);
        }
    }

    /// There is work, or the owner of the request was heard of so long ago.
    pub fn wanted(&mut self, age: Duration, owner_seen: Option<Duration>) {
        let is_wanted = owner_seen.is_none_or(|seen| seen < OWNER);
        if let (Some(since), true) = (&mut self.standing.idle_since, is_wanted) {
            *since = age;
        }
    }

    /// The boot has failed: the time for which it is held begins, unless it has begun before.
    pub fn failed(&mut self, age: Duration) {
        let hold = self.terms.on_failure.as_ref().map_or(Duration::ZERO, |terms| terms.hold.get());
        self.standing.failed = true;
        self.standing.idle_since = None;
        self.standing.held_until.get_or_insert(age + hold);
    }

    /// `idle` and `life` are replaced, counted from now. One that came before is not counted anew.
    pub fn renew(&mut self, age: Duration, order: LeaseOrder) {
        let known = self.standing.renewed.as_ref().and_then(|(_, order)| order.id.as_ref());
        if order.id.is_some() && order.id.as_ref() == known {
            return;
        }
        if let Some(since) = &mut self.standing.idle_since {
            *since = age;
        }
        self.standing.renewed = Some((age, order));
    }

    /// A failed boot is held so long from now, also one that fails later.
    pub fn hold(&mut self, age: Duration, duration: Duration, id: Option<String>) {
        if id.is_some() && id == self.standing.hold_order {
            return;
        }
        self.standing.held_until = Some(age + duration);
        self.standing.hold_order = id;
    }

    /// A limit that is reached.
    pub fn over(&self, age: Duration) -> Option<Limit> {
        self.ends().into_iter().find(|(_, end)| end.is_some_and(|end| end <= age)).map(|(limit, _)| limit)
    }

    /// The age at which it ends even if nobody is there to see whether it is idle.
    pub fn latest(&self) -> Option<Duration> {
        let hard = self.ends().into_iter().filter(|(limit, _)| *limit != Limit::Idle);
        hard.filter_map(|(_, end)| end).min()
    }

    /// How much is left of each limit.
    pub fn left(&self, age: Duration) -> LeaseLeft {
        let [life, hold, join, idle] = self.ends().map(|(_, end)| Some(millis(end?.saturating_sub(age))));
        LeaseLeft { join, idle, life, hold }
    }

    /// `idle`, as the last order has it.
    fn idle(&self) -> Option<Duration> {
        let idle = self.standing.renewed.as_ref().map_or(self.terms.idle, |(_, order)| order.idle);
        idle.map(HumanDuration::get)
    }

    /// The age at which each limit is reached, if it holds; `life` before all others.
    fn ends(&self) -> [(Limit, Option<Duration>); 4] {
        let standing = &self.standing;
        let (renewed, life) = match &standing.renewed {
            Some((age, order)) => (*age, order.life),
            None => (Duration::ZERO, self.terms.life),
        };
        let is_coming_up = standing.idle_since.is_none() && !standing.failed;
        let join = self.terms.join.filter(|_| is_coming_up).map(|join| standing.boot + join.get());
        let idle = standing.idle_since.and_then(|since| Some(since + self.idle()?));
        let hold = standing.held_until.filter(|_| standing.failed);
        [
            (Limit::Life, life.map(|life| renewed + life.get())),
            (Limit::Hold, hold),
            (Limit::Join, join),
            (Limit::Idle, idle),
        ]
    }
}

impl Standing {
    /// After a reboot at this age: what is of one boot begins anew.
    pub fn rebooted(self, age: Duration) -> Self {
        Self { boot: age, idle_since: None, held_until: None, failed: false, ..self }
    }
}

/// Whole milliseconds.
pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn span(seconds: u64) -> Option<HumanDuration> {
        Some(HumanDuration::from_secs(seconds))
    }

    /// join 100 s, idle 200 s, life 1000 s, hold 50 s.
    fn lease() -> Lease {
        let on_failure = Some(document::OnFailure { hold: HumanDuration::from_secs(50) });
        let terms = document::Lease { join: span(100), idle: span(200), life: span(1000), on_failure };
        Lease::new(terms, Standing::default())
    }

    fn order(id: &str, idle: Option<HumanDuration>, life: Option<HumanDuration>) -> LeaseOrder {
        LeaseOrder { id: Some(id.into()), idle, life }
    }

    #[test]
    fn join_runs_until_the_boot_is_ready() {
        let mut lease = lease();
        assert_eq!((lease.over(s(99)), lease.over(s(100))), (None, Some(Limit::Join)));
        lease.ready(s(99));
        assert_eq!(lease.over(s(298)), None);
    }

    #[test]
    fn idle_is_counted_from_the_last_work_or_word_of_the_owner() {
        let mut lease = lease();
        lease.wanted(s(10), None);
        lease.ready(s(20));
        assert_eq!((lease.over(s(219)), lease.over(s(220))), (None, Some(Limit::Idle)));
        lease.wanted(s(200), None);
        assert_eq!((lease.over(s(399)), lease.over(s(400))), (None, Some(Limit::Idle)));
        lease.wanted(s(300), Some(s(119)));
        assert_eq!(lease.over(s(499)), None);
        lease.wanted(s(490), Some(s(120)));
        assert_eq!(lease.over(s(500)), Some(Limit::Idle));
    }

    #[test]
    fn after_a_restart_the_owner_has_time_to_be_heard_of() {
        let mut lease = lease();
        lease.ready(s(20));
        lease.resumed(s(30));
        assert_eq!((lease.over(s(219)), lease.over(s(220))), (None, Some(Limit::Idle)));
        lease.resumed(s(500));
        assert_eq!((lease.over(s(619)), lease.over(s(620))), (None, Some(Limit::Idle)));
    }

    #[test]
    fn life_ends_also_a_machine_at_work_or_held() {
        let mut lease = lease();
        lease.ready(s(20));
        lease.wanted(s(1000), None);
        assert_eq!((lease.over(s(999)), lease.over(s(1000))), (None, Some(Limit::Life)));
        lease.failed(s(990));
        assert_eq!((lease.over(s(999)), lease.over(s(1000))), (None, Some(Limit::Life)));
    }

    #[test]
    fn a_failed_boot_is_held_and_neither_idle_nor_late() {
        let mut lease = lease();
        lease.failed(s(90));
        assert_eq!((lease.over(s(139)), lease.over(s(140))), (None, Some(Limit::Hold)));
        // The agent was started again and failed again: that is no longer time.
        lease.failed(s(130));
        assert_eq!(lease.over(s(140)), Some(Limit::Hold));
        lease.hold(s(139), s(400), Some("a".into()));
        lease.hold(s(500), s(400), Some("a".into()));
        assert_eq!((lease.over(s(538)), lease.over(s(539))), (None, Some(Limit::Hold)));
    }

    #[test]
    fn an_order_replaces_idle_and_life_from_its_receipt_and_once() {
        let mut lease = lease();
        lease.ready(s(20));
        lease.renew(s(100), order("a", None, span(2000)));
        lease.renew(s(900), order("a", None, span(2000)));
        assert_eq!((lease.over(s(2099)), lease.over(s(2100))), (None, Some(Limit::Life)));
        lease.renew(s(2000), order("b", span(10), None));
        assert_eq!((lease.over(s(2009)), lease.over(s(2010))), (None, Some(Limit::Idle)));
        assert_eq!(lease.latest(), None);
    }

    #[test]
    fn a_reboot_starts_join_anew_and_life_goes_on() {
        let mut before = lease();
        before.ready(s(50));
        let after = Lease::new(before.terms.clone(), before.standing().clone().rebooted(s(300)));
        assert_eq!((after.over(s(399)), after.over(s(400))), (None, Some(Limit::Join)));
        assert_eq!(after.over(s(1000)), Some(Limit::Life));
    }

    #[test]
    fn what_is_left_is_told_and_the_latest_end_known() {
        let mut lease = lease();
        assert_eq!(lease.latest(), Some(s(100)));
        lease.ready(s(20));
        assert_eq!(lease.latest(), Some(s(1000)));
        let left = lease.left(s(30));
        assert_eq!((left.join, left.idle, left.life, left.hold), (None, Some(190_000), Some(970_000), None));
    }
}
