//! The document itself: every key of user-data, as a type.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::bundle::Bundle;
use super::field::{HttpUrl, Label, MasterAddress, MetadataAccess, ProfileName};
use super::json;
use super::shape::{optional_object, unique_map};
use super::{DocumentError, UserDataError};
use crate::duration::HumanDuration;
use crate::param::ParamValue;
use crate::secret::Secret;
use crate::sha256::Sha256;

/// The format of user-data that is written and read here.
pub const FORMAT: u32 = 1;

/// The keys that every agent reads first. Their shape never changes, in no later format: an agent that was baked years
/// ago must be able to see that it is too old, and which one to fetch.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Preamble {
    /// The format of the document.
    #[serde(rename = "loitsut")]
    pub format: u32,
    /// The agent that is to read the rest.
    #[serde(default, deserialize_with = "optional_object")]
    pub agent: Option<Agent>,
}

/// `agent`: the version of loitsut that the document was written for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Agent {
    /// Its version.
    pub version: Label,
    /// Where to fetch it, by architecture.
    #[serde(default, deserialize_with = "unique_map", skip_serializing_if = "BTreeMap::is_empty")]
    pub url: BTreeMap<Label, HttpUrl>,
    /// The digest of the program, by architecture.
    #[serde(default, deserialize_with = "unique_map", skip_serializing_if = "BTreeMap::is_empty")]
    pub sha256: BTreeMap<Label, Sha256>,
}

/// What an instance is told at its start.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "UserData"))]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// The format.
    #[serde(rename = "loitsut")]
    #[cfg_attr(feature = "schema", schemars(extend("const" = FORMAT)))]
    pub format: u32,
    /// The version of loitsut that it was written for.
    #[serde(default, deserialize_with = "optional_object", skip_serializing_if = "Option::is_none")]
    pub agent: Option<Agent>,
    /// The launch that this is.
    #[serde(default, deserialize_with = "optional_object", skip_serializing_if = "Option::is_none")]
    pub launch: Option<Launch>,
    /// What the instance is to become.
    pub profile: ProfileName,
    /// Values for the parameters of the profile.
    #[serde(default, skip_serializing_if = "Params::is_empty")]
    pub params: Params,
    /// The files of the profile; without it they are on the image.
    #[serde(default, deserialize_with = "optional_object", skip_serializing_if = "Option::is_none")]
    pub bundle: Option<Bundle>,
    /// What the worker needs to find its master.
    #[serde(default, deserialize_with = "optional_object", skip_serializing_if = "Option::is_none")]
    pub worker: Option<Worker>,
    /// Who hears of this launch.
    #[serde(default, deserialize_with = "optional_object", skip_serializing_if = "Option::is_none")]
    pub driver: Option<Driver>,
    /// How long the instance may live; for ever without it.
    #[serde(default, deserialize_with = "optional_object", skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// Whether the build may reach the metadata service.
    #[serde(default)]
    pub metadata: MetadataAccess,
    /// The machine is thrown away after use.
    #[serde(default)]
    pub disposable: bool,
}

/// `launch`: one life of one instance.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Launch {
    /// Unlike that of any other launch.
    pub id: Label,
    /// For people.
    pub name: Label,
    /// The pool it belongs to.
    pub pool: Label,
}

/// `params`. Which of them are secret is known only once the profile is resolved: until then, all are.
#[derive(Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params(#[serde(deserialize_with = "unique_map")] pub BTreeMap<String, ParamValue>);

impl Params {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// `worker`: who the build agent is to its master.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Worker {
    /// Where the master listens.
    pub master: MasterAddress,
    /// The name that the master knows it by.
    pub name: Label,
    /// What proves it.
    pub password: Secret,
}

/// `driver`: where reports go.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Driver {
    /// The driver's address.
    pub url: HttpUrl,
    /// What proves that a report is of this launch.
    pub token: Secret,
    /// A certificate authority in PEM to trust, for the driver only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
}

/// `lease`: how long the instance may live.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Lease {
    /// From boot to a worker that is ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join: Option<HumanDuration>,
    /// Without work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<HumanDuration>,
    /// In all, from boot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub life: Option<HumanDuration>,
    /// What holds after a failed boot.
    #[serde(default, deserialize_with = "optional_object", skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
}

/// `lease.on_failure`: what happens after a failed boot.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct OnFailure {
    /// How long the instance stays, so that somebody can look.
    pub hold: HumanDuration,
}

impl Preamble {
    /// Reads it out of a document, whatever other keys there are.
    pub(super) fn parse(text: &str) -> Result<Self, UserDataError> {
        let preamble: Self = json::read(text)?;
        if preamble.format == 0 {
            return Err(json::error_at(text, &["loitsut"], format!("is 0: the first format is {FORMAT}")).into());
        }
        if let Some(agent) = &preamble.agent {
            agent.check(text)?;
        }
        Ok(preamble)
    }
}

impl Document {
    /// Reads and checks the whole.
    pub(super) fn parse(text: &str) -> Result<Self, UserDataError> {
        // The format first: in a later one, an unknown key is no mistake of the writer.
        let Preamble { format, .. } = Preamble::parse(text)?;
        if format > FORMAT {
            return Err(UserDataError::TooOld(format));
        }
        let document: Self = json::read(text)?;
        if let Some(driver) = &document.driver {
            driver.check(text)?;
            if document.launch.is_none() {
                return Err(
                    json::error_at(text, &["driver"], "needs `launch`: reports say which launch they are of").into()
                );
            }
        }
        if let Some(lease) = &document.lease {
            lease.check(text)?;
        }
        Ok(document)
    }
}

impl Document {
    /// What no output may show, whatever the profile is. Parameters may be secret too: that is known once it is
    /// resolved.
    pub fn secrets(&self) -> Vec<Secret> {
        let password = self.worker.iter().map(|worker| worker.password.clone());
        password.chain(self.driver.iter().map(|driver| driver.token.clone())).collect()
    }
}

impl Agent {
    /// A program that cannot be verified is never run.
    fn check(&self, text: &str) -> Result<(), DocumentError> {
        match self.url.keys().find(|arch| !self.sha256.contains_key(*arch)) {
            Some(arch) => {
                Err(json::error_at(text, &["agent", "url", arch.as_str()], "has no counterpart in `agent.sha256`"))
            }
            None => Ok(()),
        }
    }
}

impl Driver {
    fn check(&self, text: &str) -> Result<(), DocumentError> {
        // It is sent in an HTTP header.
        let token = self.token.reveal();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(json::error_at(
                text,
                &["driver", "token"],
                "is empty, or has spaces or special characters in it",
            ));
        }
        match &self.ca {
            Some(pem) if !pem.contains("-----BEGIN CERTIFICATE-----") => {
                Err(json::error_at(text, &["driver", "ca"], "is not a certificate in PEM"))
            }
            _ => Ok(()),
        }
    }
}

impl Lease {
    /// Zero would end the instance at once; only `hold` may be zero.
    fn check(&self, text: &str) -> Result<(), DocumentError> {
        let spans = [("join", self.join), ("idle", self.idle), ("life", self.life)];
        match spans.iter().find(|(_, span)| span.is_some_and(|span| span.get().is_zero())) {
            Some((key, _)) => Err(json::error_at(text, &["lease", key], "is zero; leave the key out for no limit")),
            None => Ok(()),
        }
    }
}
