//! Where an instance learns who it is and what it is to become: a cloud's metadata service, or files.

mod files;
mod platform;
mod service;

use std::path::PathBuf;

use serde::Deserialize;

use crate::config::Config;
use crate::host::Host;
use crate::host::file_error::FileError;
use crate::host::http::{GaveUp, HttpError};

use platform::Platform;
pub(crate) use service::Service;

/// The most that is taken of user-data or of any other answer.
const LIMIT: u64 = 1024 * 1024;

/// What was learnt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Metadata {
    /// The user-data as it came; `None` if there is none, which is not the same as an empty one.
    pub user_data: Option<Vec<u8>>,
    /// Who this instance is.
    pub identity: Identity,
}

/// Who this instance is, in the words of EC2's identity document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Identity {
    /// Never the same for two instances; not empty once it was fetched.
    #[serde(alias = "instance-id", alias = "instance_id")]
    pub instance_id: String,
    /// Such as `c7a.4xlarge`.
    pub instance_type: Option<String>,
    /// Such as `eu-north-1`.
    pub region: Option<String>,
    /// Such as `eu-north-1b`.
    pub availability_zone: Option<String>,
    /// The image that it was started from.
    pub image_id: Option<String>,
    /// Its first private IPv4 address.
    pub private_ip: Option<String>,
    /// Such as `x86_64`.
    pub architecture: Option<String>,
}

/// Why nothing was learnt. That there is no user-data is not among it.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub(crate) enum MetadataError {
    #[error(
        "this machine does not look like EC2 (its maker is {maker}), so nobody is asked for user-data; say where it is \
         by metadata = \"PATH\" in /etc/loitsut/agent.toml, or by {}=URL in the environment",
        Source::ENDPOINT
    )]
    NotEc2 { maker: String },
    #[error(
        "this machine is OpenStack's, whose metadata service knows no tokens: permit version 1 by metadata_v1 = true in \
         /etc/loitsut/agent.toml"
    )]
    OpenStack,
    #[error("{variable}: {problem}")]
    Variable { variable: &'static str, problem: String },
    #[error("{} is named as the source of metadata, but is not there", path.display())]
    Missing { path: PathBuf },
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{} is longer than {LIMIT} bytes, the most that is taken", path.display())]
    TooLong { path: PathBuf },
    #[error("{place} does not say who this instance is: {problem}")]
    Identity { place: String, problem: String },
    #[error(
        "the metadata service is switched off for this instance: {0}; switch it on by \
         `aws ec2 modify-instance-metadata-options --http-endpoint enabled --instance-id ID`"
    )]
    Off(HttpError),
    #[error(
        "the metadata service gives no token: {0}; if it knows only version 1, \
         permit that by metadata_v1 = true in /etc/loitsut/agent.toml"
    )]
    NoToken(HttpError),
    #[error("the answer of {url} is not a token but {found}: is that a metadata service?")]
    NotToken { url: String, found: String },
    #[error("could not ask the metadata service: {cause}{advice}")]
    Unanswered { cause: Box<GaveUp<HttpError>>, advice: &'static str },
}

/// Where metadata comes from.
#[derive(Debug)]
pub(crate) enum Source {
    /// A cloud's metadata service.
    Service(Service),
    /// A directory of files, or a file that is the user-data.
    Path(PathBuf),
}

impl Source {
    /// The variable that names a metadata service, as the AWS SDKs have it.
    pub(crate) const ENDPOINT: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
    const MODE: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE";
    const EC2_V4: &str = "http://169.254.169.254";
    const EC2_V6: &str = "http://[fd00:ec2::254]";

    /// The source for this machine: the path of its agent.toml, else the service that the environment names, else
    /// EC2's if this is EC2.
    pub(crate) fn detect(host: &Host, config: Config) -> Result<Self, MetadataError> {
        Self::detect_by(host, config, |name| std::env::var_os(name).map(|v| v.to_string_lossy().into_owned()))
    }

    fn detect_by(
        host: &Host,
        config: Config,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, MetadataError> {
        if let Some(path) = config.metadata {
            return Ok(Self::Path(path));
        }
        // The SDKs take an empty value for none.
        let variable = |name| environment(name).filter(|value| !value.is_empty());
        if let Some(url) = variable(Self::ENDPOINT) {
            return Ok(Self::Service(Service::new(vec![endpoint(&url)?], config.metadata_v1)));
        }
        let endpoints = match platform::detect(host, config.metadata_v1)? {
            Platform::Ec2 => by_mode(variable(Self::MODE).as_deref())?,
            Platform::OpenStack => vec![Self::EC2_V4.to_owned()],
        };
        Ok(Self::Service(Service::new(endpoints, config.metadata_v1)))
    }

    /// Learns everything, with one time limit for all of it.
    pub(crate) async fn fetch(&self, host: &Host) -> Result<Metadata, MetadataError> {
        match self {
            Self::Service(service) => service.fetch().await,
            Self::Path(path) => files::fetch(host, path),
        }
    }
}

/// EC2's addresses in the order to try. An instance may have only one of the protocols.
fn by_mode(mode: Option<&str>) -> Result<Vec<String>, MetadataError> {
    let (v4, v6) = (Source::EC2_V4.to_owned(), Source::EC2_V6.to_owned());
    match mode.map(str::to_ascii_lowercase).as_deref() {
        None => Ok(vec![v4, v6]),
        Some("ipv4") => Ok(vec![v4]),
        Some("ipv6") => Ok(vec![v6]),
        Some(other) => Err(MetadataError::Variable {
            variable: Source::MODE,
            problem: format!("\"{}\" is neither IPv4 nor IPv6", other.escape_debug()),
        }),
    }
}

/// A base URL that paths can be appended to.
fn endpoint(url: &str) -> Result<String, MetadataError> {
    let wrong = |problem: String| MetadataError::Variable { variable: Source::ENDPOINT, problem };
    let parsed = reqwest::Url::parse(url).map_err(|error| wrong(format!("not a URL: {error}")))?;
    let is_base = parsed.query().is_none() && parsed.fragment().is_none();
    if parsed.scheme() != "http" || !is_base {
        return Err(wrong("wanted is a URL such as http://169.254.169.254".to_owned()));
    }
    Ok(url.trim_end_matches('/').to_owned())
}

impl Identity {
    /// Reads EC2's identity document, or what stands in for it. `place` is where it comes from.
    fn parse(place: &str, text: &[u8]) -> Result<Self, MetadataError> {
        serde_json::from_slice(text)
            .map_err(|error| MetadataError::Identity { place: place.to_owned(), problem: error.to_string() })
    }
}

#[cfg(test)]
mod tests;
