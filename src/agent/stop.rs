//! The request to stop, by a signal or by whatever else ends a boot from outside: whoever waits for something waits for
//! this too.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::lease::Limit;

/// How long what is being done may take to stop: programs are given 10 s twice.
const STUCK: Duration = Duration::from_secs(25);

static GROUPS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());
static STOP: LazyLock<watch::Sender<Option<Reason>>> = LazyLock::new(|| watch::Sender::new(None));

/// Why a boot is to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// SIGTERM or SIGINT: whoever sent it wants the agent to end, and nothing else.
    Signal,
    /// A limit of the lease is reached.
    Lease(Limit),
    /// The driver has ordered it, for this reason.
    Order(String),
    /// The cloud takes the instance back, at that time since boot.
    Interruption(Duration),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal => f.write_str("the agent was asked to stop"),
            Self::Lease(Limit::Join) => f.write_str("the lease is over: the worker was not ready within `join`"),
            Self::Lease(Limit::Idle) => f.write_str("the lease is over: there was no work for `idle`"),
            Self::Lease(Limit::Life) => f.write_str("the lease is over: the launch is as old as `life`"),
            Self::Lease(Limit::Hold) => f.write_str("the lease is over: the failed boot was held for `hold`"),
            Self::Order(why) => write!(f, "the driver has ordered a stop: {why}"),
            Self::Interruption(_) => f.write_str("the cloud takes this instance back"),
        }
    }
}

/// The agent was asked to stop in the middle of something.
#[derive(Debug, thiserror::Error)]
#[error("the agent was asked to stop")]
pub struct Stopped;

/// Listens for signals from now on; before that, and without it, nothing is ever requested. Of a second one the agent
/// dies at once, after `last_act`.
///
/// # Errors
/// The handlers cannot be installed.
pub fn listen(last_act: fn()) -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        STOP.send_replace(Some(Reason::Signal));
        // A second request means it: the default would have been to die of the first.
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        for group in GROUPS.lock().iter().flat_map(|groups| groups.iter()) {
            let _ = killpg(Pid::from_raw(*group), Signal::SIGKILL);
        }
        last_act();
        std::process::exit(130);
    });
    Ok(())
}

/// Requests a stop for this reason, unless there is one already.
pub fn request(reason: Reason) {
    STOP.send_if_modified(|stop| {
        let is_first = stop.is_none();
        stop.get_or_insert(reason);
        is_first
    });
}

/// A process group that must not go on when the agent ends at once.
pub fn ends_with_us(group: i32) {
    if let (Ok(mut groups), true) = (GROUPS.lock(), group > 0) {
        groups.insert(group);
    }
}

/// A process group that is no longer ours to end.
pub fn has_ended(group: i32) {
    if let Ok(mut groups) = GROUPS.lock() {
        groups.remove(&group);
    }
}

/// Returns once a stop is requested.
pub async fn requested() {
    let _ = STOP.subscribe().wait_for(Option::is_some).await;
}

/// Why a stop was requested, if it was.
pub fn reason() -> Option<Reason> {
    STOP.borrow().clone()
}

/// What `work` gives, unless a stop is requested before.
///
/// # Errors
/// A stop was requested.
pub async fn unless_requested<T>(work: impl Future<Output = T>) -> Result<T, Stopped> {
    tokio::select! {
        done = work => Ok(done),
        () = requested() => Err(Stopped),
    }
}

/// What `work` gives; given up only some time after a stop was requested, since it stops by itself in good order.
///
/// # Errors
/// A stop was requested, and it has not ended since.
pub async fn unless_stuck<T>(work: impl Future<Output = T>) -> Result<T, Stopped> {
    let long_after = async {
        requested().await;
        tokio::time::sleep(STUCK).await;
    };
    tokio::select! {
        done = work => Ok(done),
        () = long_after => Err(Stopped),
    }
}
