//! What the fleet is told, and what it says: events, actions, and the rows that changed.

use serde::{Deserialize, Serialize};

use loitsut_profile::wire;

use super::{Launch, LaunchState, NewRequest, Outcome, Request, RequestState};
use crate::model::{Failure, Instance, LaunchId, RequestId, Time};
use crate::provider::ProviderError;

/// Something that has happened.
#[derive(Debug)]
pub enum Event {
    /// A request has come that [`Fleet::judge`](super::Fleet::judge) calls new; others are ignored.
    RequestMade(Box<NewRequest>),
    /// Its owner wants it no more.
    RequestDeleted(RequestId),
    /// A provider has answered [`Action::Start`], or has not within the time it was given ([`ErrorKind::Unknown`](crate::provider::ErrorKind)).
    Started {
        /// The launch.
        launch: LaunchId,
        /// Its instance.
        result: Result<Instance, ProviderError>,
    },
    /// A provider has answered [`Action::Stop`].
    Stopped {
        /// The launch, as in the action.
        launch: LaunchId,
        /// The instance, as in the action.
        instance: Option<String>,
        /// Whether it is being ended.
        result: Result<(), ProviderError>,
    },
    /// A provider has answered [`Action::List`].
    Listed {
        /// Its name.
        provider: String,
        /// What it has.
        result: Result<Vec<Instance>, ProviderError>,
    },
    /// An agent has reported; whoever hands it in has checked the launch's token.
    Reported {
        /// The launch.
        launch: LaunchId,
        /// All of it: events that have come before are skipped here.
        report: Box<wire::Report>,
    },
    /// An owner holds its event stream.
    OwnerSeen(String),
    /// Nothing but time has passed.
    Tick,
}

/// Something to do. All that [`Fleet::take_changes`](super::Fleet::take_changes) has must be stored before any of it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask the provider for an instance; answered by exactly one [`Event::Started`]. It comes again for the same launch
    /// when the outcome was not known, or nothing was done, and must then carry the same user-data. After a restart of
    /// the driver it comes again only if nothing was ever made.
    Start {
        /// The launch; its request says what it is to become.
        launch: LaunchId,
        /// Which provider.
        provider: String,
    },
    /// Ask the provider to end an instance; answered by exactly one [`Event::Stopped`].
    Stop {
        /// The launch; perhaps one that the fleet does not know.
        launch: LaunchId,
        /// The instance, where it is known.
        instance: Option<String>,
        /// Which provider.
        provider: String,
    },
    /// Ask the provider what there is; answered by exactly one [`Event::Listed`].
    List {
        /// Which provider.
        provider: String,
    },
    /// Send a [`Event::Tick`] at that time; it takes the place of an earlier wish.
    Wake {
        /// When.
        at: Time,
    },
    /// Tell those who listen: the log, the event stream, the transcript.
    Tell(Box<Told>),
}

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Told {
    /// When it happened, by the driver's clock.
    pub at: Time,
    /// Whose request it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The request it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
    /// The launch it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launch: Option<LaunchId>,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What has happened, for those who listen.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "told", rename_all = "kebab-case")]
pub enum What {
    /// A request is in another state, or waits for another reason.
    Request {
        /// Which.
        state: RequestState,
        /// How it ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        outcome: Option<Outcome>,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<Failure>,
    },
    /// A launch is in another state.
    Launch {
        /// Which.
        state: LaunchState,
        /// Its instance.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance: Option<Instance>,
        /// Why it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<Failure>,
    },
    /// What a launch's agent tells.
    Report {
        /// Which start of the agent.
        run: u64,
        /// The event, as it was reported.
        report: wire::Event,
    },
    /// Something for whoever looks after the driver.
    Note {
        /// What, and what to do.
        message: String,
    },
}

/// What a request is that comes, before it is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// To be handed in as [`Event::RequestMade`].
    New,
    /// The same has come before.
    Known,
    /// It cannot be taken: its id is another request's, or its name is in use.
    Conflict {
        /// By which request.
        request: RequestId,
        /// In words.
        message: String,
    },
    /// No such pool.
    NoPool,
}

/// What an agent is to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// There is no such launch.
    Unknown,
    /// The launch is over: 410.
    Over,
    /// It goes on.
    Go {
        /// How many seconds ago the owner was heard of.
        owner_seen: Option<u64>,
    },
    /// It is to end: the `stop` order.
    Stop {
        /// For the journal.
        reason: String,
    },
}

/// The rows that are new or other than when they were last taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Requests.
    pub requests: Vec<Request>,
    /// Launches.
    pub launches: Vec<Launch>,
    /// Requests that are too old to be kept; their launches go with them.
    pub forgotten: Vec<RequestId>,
}
