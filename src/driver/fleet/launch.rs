//! A launch: one life of one instance. The second of the two tables.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{Failure, Instance, LaunchId, PoolName, RequestId, Time, WorkerName};

/// Where a launch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LaunchState {
    /// To be started; nothing has been made.
    Wanted,
    /// The provider was asked for it: it may exist.
    Starting,
    /// It exists, and is on its way.
    Booting,
    /// Its worker is at work.
    Ready,
    /// Its boot has failed for good; it is kept for somebody to look at.
    Held,
    /// It is to be gone: stopped until the provider shows it no more.
    Ending,
    /// The provider shows no instance of it.
    Gone,
}

/// A launch: a row of the second table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Launch {
    /// The name by which its provider knows it.
    pub id: LaunchId,
    /// The request that it was given to.
    pub request: RequestId,
    /// The request's owner.
    pub owner: String,
    /// The request's worker.
    pub name: WorkerName,
    /// The pool it takes a place of.
    pub pool: PoolName,
    /// The provider that was asked for it.
    pub provider: String,
    /// Counts the launches of its request, from 1.
    pub attempt: u32,
    /// Where it stands.
    pub state: LaunchState,
    /// Its instance, as the provider told last.
    pub instance: Option<Instance>,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
    /// For each run of its agent the last event that was taken; the newest runs only.
    pub runs: BTreeMap<u64, u64>,
    /// When it was made.
    pub created: Time,
    /// When its provider was last asked to start it.
    pub asked: Option<Time>,
    /// When its agent was last heard of.
    pub heard: Option<Time>,
    /// When its worker was ready.
    pub ready: Option<Time>,
    /// When its state changed last.
    pub changed: Time,
}

impl Launch {
    /// Whether there may be an instance of it, or is to be one: it takes a place of its pool, and its worker's name.
    pub fn is_alive(&self) -> bool {
        self.state != LaunchState::Gone
    }
}
