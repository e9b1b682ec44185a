//! A request: somebody wants a worker. The first of the two tables.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Failure, LaunchId, PoolName, RequestId, Time, WorkerName};

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RequestState {
    /// It has no launch: its pool is full, its name is still in use, or the last launch failed and the next is not due.
    Waiting,
    /// Its launch has no instance yet, as far as is known.
    Starting,
    /// An instance is on its way.
    Booting,
    /// Its worker is at work.
    Ready,
    /// Its owner has deleted it; its instance is not gone yet.
    Ending,
    /// Over, as [`Outcome`] says.
    Ended,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Deleted by its owner, and its instance is gone.
    Done,
    /// No worker came of it; `failure` says why.
    Failed,
    /// The worker was ready, and went without being told to; `failure` says how.
    Lost,
}

/// How long an instance may take and live, as its lease says; the driver's own limits, were the agent to fail, lie beyond them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Limits {
    /// From the start to the worker being ready.
    pub join: Duration,
    /// From the start to the end; none: without limit.
    pub life: Option<Duration>,
    /// How long an instance whose boot has failed for good is kept for somebody to look at. It ends early when its name
    /// or its place is wanted.
    pub hold: Duration,
}

/// What was asked for word by word: parameters, secrets, lease. Only whoever renders user-data looks into it.
#[derive(Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Body(pub serde_json::Value);

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Body(***)")
    }
}

/// What a caller asks for, checked and resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRequest {
    /// The caller's.
    pub id: RequestId,
    /// Who asks; one owner's names are its own.
    pub owner: String,
    /// The worker.
    pub name: WorkerName,
    /// Where the instance is to come from.
    pub pool: PoolName,
    /// What it is to become.
    pub profile: String,
    /// The digest of the profile's bundle.
    pub profile_digest: String,
    /// SHA-256 of the body: by it a request that comes again is told from another one with its id.
    pub digest: String,
    /// How long things may take.
    pub limits: Limits,
    /// As it was asked for.
    pub body: Body,
}

/// A request: a row of the first table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Request {
    /// The caller's.
    pub id: RequestId,
    /// Who asked.
    pub owner: String,
    /// The worker.
    pub name: WorkerName,
    /// Where the instance comes from.
    pub pool: PoolName,
    /// What it becomes.
    pub profile: String,
    /// The digest of the profile's bundle.
    pub profile_digest: String,
    /// SHA-256 of what was asked for.
    pub digest: String,
    /// How long things may take.
    pub limits: Limits,
    /// As it was asked for; empty once the request has ended, since it has secrets.
    pub body: Body,
    /// Counts requests in the order of their arrival, which is that of their turns.
    pub order: u64,
    /// Where it stands.
    pub state: RequestState,
    /// How it ended, once it has.
    pub outcome: Option<Outcome>,
    /// Why it failed, or why it is waiting after a failure.
    pub failure: Option<Failure>,
    /// The launch that it has, or had last.
    pub launch: Option<LaunchId>,
    /// How many launches it has had.
    pub attempts: u32,
    /// How many of them never joined or were lost before they were ready.
    pub strikes: u32,
    /// Not to be launched before that time.
    pub not_before: Time,
    /// When it was made.
    pub created: Time,
    /// When its state changed last.
    pub changed: Time,
}

impl Request {
    /// A new one, waiting for its turn.
    pub fn new(new: NewRequest, order: u64, now: Time) -> Self {
        let NewRequest { id, owner, name, pool, profile, profile_digest, digest, limits, body } = new;
        Self {
            id,
            owner,
            name,
            pool,
            profile,
            profile_digest,
            digest,
            limits,
            body,
            order,
            state: RequestState::Waiting,
            outcome: None,
            failure: None,
            launch: None,
            attempts: 0,
            strikes: 0,
            not_before: now,
            created: now,
            changed: now,
        }
    }

    /// Whether it is over.
    pub fn is_ended(&self) -> bool {
        self.state == RequestState::Ended
    }

    /// Whether its owner still wants a worker of it.
    pub fn is_wanted(&self) -> bool {
        !matches!(self.state, RequestState::Ending | RequestState::Ended)
    }
}
