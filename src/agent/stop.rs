//! The request to stop (SIGTERM, SIGINT): whoever waits for something waits for this too.

use std::collections::BTreeSet;
use std::sync::{Mutex, OnceLock};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

static GROUPS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());
static STOP: OnceLock<watch::Receiver<bool>> = OnceLock::new();

/// The agent was asked to stop in the middle of something.
#[derive(Debug, thiserror::Error)]
#[error("the agent was asked to stop")]
pub struct Stopped;

/// Listens for signals from now on; before that, and without it, nothing is ever requested.
///
/// # Errors
/// The handlers cannot be installed.
pub fn listen() -> std::io::Result<()> {
    let (sender, receiver) = watch::channel(false);
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let _ = STOP.set(receiver);
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        let _ = sender.send(true);
        // A second request means it: the default would have been to die of the first.
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        for group in GROUPS.lock().iter().flat_map(|groups| groups.iter()) {
            let _ = killpg(Pid::from_raw(*group), Signal::SIGKILL);
        }
        std::process::exit(130);
    });
    Ok(())
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
    match STOP.get().cloned() {
        Some(mut receiver) => {
            let _ = receiver.wait_for(|stop| *stop).await;
        }
        None => std::future::pending().await,
    }
}

/// Whether a stop was requested.
pub fn is_requested() -> bool {
    STOP.get().is_some_and(|receiver| *receiver.borrow())
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
