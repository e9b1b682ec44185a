//! The report: what an agent sends.

use serde::{Deserialize, Serialize};

/// Gives an enum of words its one spelling, for JSON, for the journal and for people.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$what:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$what])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// As in the journal and in JSON.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }
    };
}

words! {
    /// The phases of a boot, in order.
    Phase {
        /// The metadata service is asked.
        Metadata = "metadata",
        /// User-data is decoded and checked.
        UserData = "user-data",
        /// Profile and layers are resolved.
        Profile = "profile",
        /// Resources are checked and applied.
        Apply = "apply",
        /// The worker is started, and waited for.
        Launch = "launch",
        /// The worker is at work.
        Watch = "watch",
    }
}

words! {
    /// Where a boot stands.
    State {
        /// On its way.
        InProgress = "in-progress",
        /// Everything is applied and the worker, if there is one, is ready.
        Ready = "ready",
        /// It failed, or the worker did.
        Failed = "failed",
        /// There is no user-data for loitsut.
        Nothing = "nothing",
        /// A resource needs a reboot; the next boot goes on.
        Rebooting = "rebooting",
        /// Ended in good order: the worker is done, or the boot was ended from outside.
        Stopped = "stopped",
    }
}

words! {
    /// States of a worker.
    WorkerState {
        /// Started, not ready yet.
        Starting = "starting",
        /// Ready.
        Ready = "ready",
        /// Between two starts.
        Restarting = "restarting",
        /// Ended by itself, with success, or because it was asked to.
        Exited = "exited",
        /// Ended otherwise.
        Failed = "failed",
    }
}

words! {
    /// What kind of failure it was: the phase that failed, or that the worker was not ready in time.
    Class {
        /// The metadata service gave no answer that is of use.
        Metadata = "metadata",
        /// The user-data is refused.
        UserData = "user-data",
        /// The profile cannot be resolved.
        Profile = "profile",
        /// A resource could not be applied.
        Apply = "apply",
        /// The worker did not get ready.
        Launch = "launch",
        /// The worker failed later.
        Watch = "watch",
        /// The time of `lease.join` was over before the worker was ready.
        Join = "join",
    }
}

words! {
    /// What a cloud tells an instance of its end.
    NoticeKind {
        /// It is taken back at a time that is known.
        Interruption = "interruption",
        /// It may be taken back soon.
        Rebalance = "rebalance",
    }
}

words! {
    /// What became of an order.
    OrderOutcome {
        /// It is being done, or is done.
        Obeyed = "obeyed",
        /// It is not, and nothing of it was.
        Refused = "refused",
    }
}

impl From<Phase> for Class {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Metadata => Self::Metadata,
            Phase::UserData => Self::UserData,
            Phase::Profile => Self::Profile,
            Phase::Apply => Self::Apply,
            Phase::Launch => Self::Launch,
            Phase::Watch => Self::Watch,
        }
    }
}

/// What failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Which kind.
    pub class: Class,
    /// The whole message.
    pub message: String,
    /// The layer, if a resource failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<String>,
    /// The resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// Where it is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// Exit code of the program that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The last lines it printed, at most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub output: Vec<String>,
}

/// One report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The format; [`FORMAT`](super::FORMAT).
    pub loitsut: u32,
    /// Version of the agent.
    pub agent: String,
    /// The kernel's id of this boot of the machine; another one after a reboot.
    pub boot: String,
    /// Counts the starts of the agent in this launch, from 1.
    pub run: u64,
    /// How long ago the launch began, in milliseconds.
    pub age: u64,
    /// Who the instance is.
    pub instance: Instance,
    /// Where it stands, at the time of sending.
    pub now: Now,
    /// How many events of this run were thrown away because too many waited to be sent.
    pub dropped: u64,
    /// What happened, the oldest first.
    pub events: Vec<Event>,
}

/// Who an instance is, by its metadata service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Its id.
    pub id: String,
    /// Its type.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The image that it was started from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Its region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Its availability zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Its first private address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// Where a launch stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now {
    /// The state of the boot.
    pub state: State,
    /// Its phase, or the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// The profile, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// The resource that is looked at or applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The worker, once it is started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerState>,
    /// Why the launch ends, once it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<String>,
    /// What is left of the lease, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseLeft>,
}

impl Default for Now {
    fn default() -> Self {
        Self {
            state: State::InProgress,
            phase: None,
            profile: None,
            step: None,
            worker: None,
            ending: None,
            lease: None,
        }
    }
}

/// What is left of each limit of a lease, in milliseconds; absent where it does not hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseLeft {
    /// Until the worker must be ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join: Option<u64>,
    /// Of being without work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<u64>,
    /// In all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life: Option<u64>,
    /// Of being held after a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<u64>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Counts the events of this run, from 1.
    pub seq: u64,
    /// How long before the report was sent it happened, in milliseconds.
    pub ago: u64,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum What {
    /// The next phase of the boot has begun.
    Phase {
        /// Which.
        phase: Phase,
    },
    /// It is known what the machine is to become.
    Profile {
        /// Name of the profile.
        profile: String,
    },
    /// A step is done.
    Step {
        /// Title of the resource.
        resource: String,
        /// The layers that want it.
        layer: String,
        /// `unchanged` or `changed`.
        outcome: String,
        /// What differed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        drift: Option<String>,
        /// How long it took, in milliseconds.
        took: u64,
    },
    /// The worker is in another state.
    Worker {
        /// Which.
        state: WorkerState,
        /// systemd's word for how it ended: `exit-code`, `oom-kill`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        result: Option<String>,
    },
    /// The boot is in another state.
    State {
        /// Which.
        state: State,
        /// What failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<Failure>,
    },
    /// The cloud has told the instance of its end.
    Notice {
        /// What.
        notice: NoticeKind,
        /// How long it has left, in milliseconds, if that was told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        left: Option<u64>,
    },
    /// The launch is being ended from outside of the boot.
    Ending {
        /// Why.
        why: String,
    },
    /// An order has come.
    Order {
        /// Its name.
        order: String,
        /// Its id, if it has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// What became of it.
        outcome: OrderOutcome,
        /// Why it was refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// An event of a later version.
    #[serde(other)]
    Unknown,
}
