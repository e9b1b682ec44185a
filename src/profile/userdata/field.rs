//! Checked values of a document: parsed once, here, and right ever after.

use std::fmt;
use std::str::FromStr;

use url::{Host, Url};

use crate::secret::MASK;
use crate::text::{Invalid, checked_text, read_from_text, write_as_text};

read_from_text!(MasterAddress, HttpUrl, MetadataAccess);
write_as_text!(MasterAddress, HttpUrl, MetadataAccess);

/// The longest [`Label`].
const LONGEST_LABEL: usize = 128;

checked_text!(
    /// A name or id that can stand in a file name, a unit's name, a host's name or a tag without being quoted: letters,
    /// digits, `.`, `_`, `-` and `+`, the first a letter or digit, at most 128.
    Label,
    |text| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte);
        if text.len() > LONGEST_LABEL {
            return Err(Invalid::new(text, format!("is longer than {LONGEST_LABEL} characters")));
        }
        if !text.bytes().all(allowed) || !text.starts_with(|first: char| first.is_ascii_alphanumeric()) {
            let problem = "is not a name: letters, digits and `._-+`, the first a letter or digit";
            return Err(Invalid::new(text, problem));
        }
        Ok(text.to_owned())
    }
);

impl Label {
    /// A name that is one: for those in the code.
    pub(crate) fn sample(text: &str) -> Self {
        Self(text.to_owned())
    }
}

checked_text!(
    /// The name of a profile, such as `mariadb-deb`; its file is `mariadb-deb.toml` in the folder of the profiles.
    ProfileName,
    |text| {
        if text.ends_with(".toml") {
            return Err(Invalid::new(text, "is a file name: name the profile without `.toml`"));
        }
        // Every part begins with a letter or digit, and so is never `..`, `.` or empty.
        if !text.split('/').all(|part| part.parse::<Label>().is_ok()) {
            let problem = "is not the name of a profile: letters, digits and `._-+`, relative, without `..`";
            return Err(Invalid::new(text, problem));
        }
        Ok(text.to_owned())
    }
);

fn refuse<T>(text: &str, problem: impl fmt::Display) -> Result<T, Invalid> {
    Err(Invalid::new(text, problem))
}

/// Where a worker finds its master: `ci.example.org:9989`, `192.0.2.7:9989` or `[2001:db8::7]:9989`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(from = "String", into = "String"))]
pub struct MasterAddress {
    /// The name or address of the host.
    pub host: Host,
    /// The TCP port.
    pub port: u16,
}

impl FromStr for MasterAddress {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const FORM: &str = "is not `host:port`, such as `ci.example.org:9989`";
        let Some((host, port)) = text.rsplit_once(':') else {
            return refuse(text, format!("{FORM}: the port is missing"));
        };
        if host.contains(':') && !host.starts_with('[') {
            return refuse(text, format!("{FORM}: an IPv6 address stands in brackets, as in `[2001:db8::7]:9989`"));
        }
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|port| digits && *port != 0);
        // RFC 3986 has more of them than any name service: what reads like shell is refused.
        let plain = |c: char| c.is_alphanumeric() || "-._:[]".contains(c);
        match (Host::parse(host), port) {
            _ if !host.chars().all(plain) => refuse(text, format!("{FORM}: no host has such a name")),
            (Err(_), _) => refuse(text, format!("{FORM}: no host has such a name")),
            (_, None) => refuse(text, format!("{FORM}: the port is a number from 1 to 65535")),
            (Ok(host), Some(port)) => Ok(Self { host, port }),
        }
    }
}

impl fmt::Display for MasterAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// An http or https URL without user and password. Its query is shown masked: in a presigned URL it is a secret.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HttpUrl(#[cfg_attr(feature = "schema", schemars(with = "String"))] Url);

impl HttpUrl {
    /// The whole URL, its query too.
    pub fn reveal(&self) -> &Url {
        &self.0
    }
}

impl FromStr for HttpUrl {
    type Err = Invalid;

    /// Never quoted in an error, as there may be a secret in it.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let Ok(url) = Url::parse(text) else {
            return Err(Invalid::hidden("this is not a URL, such as `https://ci.example.org:7878`"));
        };
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Invalid::hidden("this is not an http or https URL"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Invalid::hidden("there is a user or password in the URL: leave them out"));
        }
        Ok(Self(url))
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.0.clone();
        if shown.query().is_some() {
            shown.set_query(Some(MASK));
        }
        shown.fmt(f)
    }
}

impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpUrl({self})")
    }
}

/// Whether the build may reach the metadata service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename_all = "lowercase"))]
pub enum MetadataAccess {
    /// As the image leaves it.
    #[default]
    Open,
    /// Only the agent may.
    Closed,
}

impl FromStr for MetadataAccess {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "open" => Ok(Self::Open),
            "closed" => Ok(Self::Closed),
            _ => refuse(text, "is neither `open` nor `closed`"),
        }
    }
}

impl fmt::Display for MetadataAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Closed => "closed",
        })
    }
}
