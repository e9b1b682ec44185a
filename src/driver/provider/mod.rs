//! Where instances come from: three verbs, whatever is behind them.

mod any;
pub mod ec2;
pub mod script;
pub mod verb;

use std::time::Duration;

pub use any::{Any, Config, Pool};

use crate::model::{Instance, LaunchId, PoolName};

/// One launch that is to be made.
#[derive(Clone, Debug)]
pub struct Start {
    /// Its id. Asked again with the same one, a provider answers the same instance.
    pub launch: LaunchId,
    /// For people, and the host name.
    pub name: String,
    /// The pool, by which the provider knows what to make.
    pub pool: PoolName,
    /// What the instance is told at its start.
    pub user_data: Vec<u8>,
}

/// One launch that is to be ended.
#[derive(Clone, Debug)]
pub struct Stop {
    /// Its id.
    pub launch: LaunchId,
    /// The instance, where it is known.
    pub instance: Option<String>,
}

/// What a provider could not do; its message names the call and what to do.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct ProviderError {
    /// What follows from it.
    pub kind: ErrorKind,
    /// What happened.
    pub message: String,
}

/// What follows from a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Nothing was made: no type, subnet or price class has room.
    Capacity,
    /// Nothing was done: asked too often. To be asked again after that time.
    Throttled(Duration),
    /// Nothing was done: it cannot be reached.
    Unreachable,
    /// Nothing was done, and never will be: the configuration or a permission is wrong.
    Refused,
    /// It may have been done.
    Unknown,
}

/// The three verbs.
#[allow(async_fn_in_trait)] // one thread: nobody needs these futures to be Send
pub trait Provider {
    /// Makes the instance of a launch; idempotent on the launch's id.
    async fn start(&self, start: &Start) -> Result<Instance, ProviderError>;

    /// Ends one; already gone is fine.
    async fn stop(&self, stop: &Stop) -> Result<(), ProviderError>;

    /// Everything of this driver that exists, in one batched call where there is one.
    async fn list(&self) -> Result<Vec<Instance>, ProviderError>;

    /// What an instance has printed on its serial console, where there is one.
    async fn console(&self, instance: &str) -> Result<String, ProviderError>;
}
