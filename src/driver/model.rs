//! The words of the driver: what a master asks for, what comes of it, and where it runs. No I/O, no clock.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970, by the driver's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Time(pub u64);

/// A name that is safe in paths, tags and logs: 1 to 64 letters, digits, `-`, `_` and `.`, the first of them no dot.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text of it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                if is_safe(&text) { Ok(Self(text)) } else { Err(InvalidId(text.chars().take(80).collect())) }
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// A request; made by whoever asks, so that asking again is no second one.
    RequestId
);
id!(
    /// One life of one instance; made by the driver, and the name under which providers know it.
    LaunchId
);
impl LaunchId {
    /// An id that no other launch has: of its driver, of a time, and of what is random.
    pub fn new(driver: &DriverName, now: Time, random: u64) -> Self {
        Self(format!("{driver}-{:012x}{:012x}", now.0 & 0xffff_ffff_ffff, random & 0xffff_ffff_ffff))
    }

    /// Whether that driver made it.
    pub fn is_of(&self, driver: &DriverName) -> bool {
        self.0.rsplit_once('-').is_some_and(|(name, rest)| {
            name == driver.0 && rest.len() == 24 && rest.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    }
}

id!(
    /// A worker's name.
    WorkerName
);
id!(
    /// A pool, as the configuration names it.
    PoolName
);

/// A driver's name. Several drivers may share an account or a machine, so the ids of their launches begin with it: whatever
/// a provider lists, others' instances are never touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriverName(String);

impl TryFrom<String> for DriverName {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        // A launch id has 25 bytes more, and 64 at most.
        if is_safe(&text) && text.len() <= 32 {
            Ok(Self(text))
        } else {
            Err(InvalidName(text.chars().take(80).collect()))
        }
    }
}

impl fmt::Display for DriverName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is no name of a driver.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} cannot be a driver's name: 1 to 32 letters, digits, `-`, `_` and `.`, the first of them no dot")]
pub struct InvalidName(String);

/// What is no id.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no id: 1 to 64 letters, digits, `-`, `_` and `.`, the first of them no dot")]
pub struct InvalidId(String);

fn is_safe(text: &str) -> bool {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(safe) && !text.starts_with('.')
}

/// Why something failed; what follows from it is the policy of its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureClass {
    /// No type, subnet or price class had room: asked again as long as the request lives.
    Capacity,
    /// The provider cannot be reached, or asks for patience.
    Network,
    /// The profile cannot be applied, or the provider refuses the configuration: permanent.
    Profile,
    /// The image's agent cannot read the user-data: permanent.
    AgentTooOld,
    /// The instance never reported, or was not ready in time.
    Join,
    /// The instance has gone without our order.
    Lost,
}

impl FailureClass {
    /// Whether another attempt would end the same way.
    pub const fn is_permanent(self) -> bool {
        matches!(self, Self::Profile | Self::AgentTooOld)
    }
}

/// A failure, as the master's user is to see it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Failure {
    /// Its class.
    pub class: FailureClass,
    /// What happened, and what to do.
    pub message: String,
    /// The layer that it happened in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<String>,
    /// The resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// File and line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// How the program ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The last lines of its output, at most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub output: Vec<String>,
}

/// Where an instance is in its life, as its provider tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstanceState {
    /// Made, not yet running.
    Pending,
    /// Running, as far as the provider knows.
    Running,
    /// On its way down: it still costs, and does no more work.
    Stopping,
    /// Stopped, but not removed: it is to be terminated.
    Stopped,
    /// Gone; providers may still list it for a while.
    Ended,
}

impl InstanceState {
    /// Whether it takes a place in its pool.
    pub const fn is_alive(self) -> bool {
        !matches!(self, Self::Ended)
    }
}

/// What an instance costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Price {
    /// Whenever the cloud has room, and until it wants it back.
    Spot,
    /// Until we end it.
    OnDemand,
}

/// An instance, as its provider tells.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Instance {
    /// The launch that it is of.
    pub launch: LaunchId,
    /// The provider's own id.
    pub id: String,
    /// Where it is in its life.
    pub state: InstanceState,
    /// Why it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The pool it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// `c7a.4xlarge`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The image, by the provider's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The zone in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Its address, as the driver reaches it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// What it costs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
}
