//! The request to stop (SIGTERM, SIGINT): whoever waits for something waits for this too.

use std::sync::OnceLock;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

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
        std::process::exit(130);
    });
    Ok(())
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
