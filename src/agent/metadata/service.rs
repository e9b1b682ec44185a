//! EC2's instance metadata service, version 2: a token first, then everything else with it. Version 1, without tokens, only
//! where the image permits it and the service knows no other.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use loitsut_profile::secret::Secret;
use tokio::time::Instant;

use super::{Identity, LIMIT, Metadata, MetadataError};
use crate::host::http::{Dated, Direct, GaveUp, HttpError, Limits, Problem, Retry, Transient, Tries, Verdict};

const TOKEN: &str = "/latest/api/token";
const USER_DATA: &str = "/latest/user-data";
const IDENTITY: &str = "/latest/dynamic/instance-identity/document";
/// What clouds have that know no identity document.
const INSTANCE_ID: &str = "/latest/meta-data/instance-id";
const INSTANCE_TYPE: &str = "/latest/meta-data/instance-type";
const ZONE: &str = "/latest/meta-data/placement/availability-zone";

/// Six hours, the longest that EC2 grants: a watch over a working day then needs a new token only once or twice.
const TTL: (&str, &str) = ("x-aws-ec2-metadata-token-ttl-seconds", "21600");
const TOKEN_HEADER: &str = "x-aws-ec2-metadata-token";
/// EC2's have 56 characters.
const LONGEST_TOKEN: usize = 1024;

/// At boot the service, the network and the way there may all be late.
const PATIENCE: Retry = Retry {
    total: Duration::from_secs(120),
    each: Duration::from_secs(5),
    first_pause: Duration::from_millis(250),
    longest_pause: Duration::from_secs(3),
    // 401 is seen early in boot, and is what an expired token gets.
    statuses: &[401..=401, 429..=429, 500..=599],
};

/// For what is asked for every few seconds anyway. A token that has expired is got anew.
const LOOK: Retry = Retry {
    total: Duration::from_secs(5),
    each: Duration::from_secs(2),
    first_pause: Duration::from_millis(100),
    longest_pause: Duration::from_secs(1),
    statuses: &[401..=401],
};

/// A metadata service.
#[derive(Debug)]
pub(crate) struct Service {
    http: Direct,
    endpoints: Vec<String>,
    v1_is_permitted: bool,
    retry: Retry,
    session: Mutex<Session>,
}

/// Which endpoint is in use, and how it lets itself be asked.
#[derive(Debug, Default)]
struct Session {
    endpoint: usize,
    access: Option<Access>,
}

/// How a service lets itself be asked.
#[derive(Debug, Clone)]
enum Access {
    Token(Secret),
    /// By anybody: version 1.
    Free,
}

impl Service {
    /// The service at any of these base URLs, the likeliest first.
    pub(crate) fn new(endpoints: Vec<String>, v1_is_permitted: bool) -> Self {
        Self::with_patience(endpoints, v1_is_permitted, PATIENCE)
    }

    /// As [`Service::new`], with another patience.
    pub(crate) fn with_patience(endpoints: Vec<String>, v1_is_permitted: bool, retry: Retry) -> Self {
        Self { http: Direct::new(), endpoints, v1_is_permitted, retry, session: Mutex::default() }
    }

    /// Where it may be asked.
    ///
    /// # Errors
    /// One is named by a host name, which can lead anywhere; in words.
    pub(crate) fn addresses(&self) -> Result<Vec<SocketAddr>, String> {
        let address = |endpoint: &String| {
            let url = reqwest::Url::parse(endpoint).map_err(|error| format!("{endpoint}: {error}"))?;
            let host = url.host_str().unwrap_or_default();
            let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
            let address = address.map_err(|_| format!("it is known by the host name {host}, not by an address"))?;
            Ok((address, url.port_or_known_default().unwrap_or(80)).into())
        };
        self.endpoints.iter().map(address).collect()
    }

    /// User-data and identity; with the token three requests.
    pub(crate) async fn fetch(&self) -> Result<Metadata, MetadataError> {
        let tries = self.retry.start();
        Ok(Metadata { user_data: self.read(&tries, USER_DATA).await?, identity: self.identity(&tries).await? })
    }

    /// One look at `path`, for whoever will ask again; `None` if there is nothing. With the service's time of day.
    pub(crate) async fn look(&self, path: &str) -> Result<Option<Dated>, MetadataError> {
        let tries = LOOK.start();
        let read = tries.run("the metadata service", async |until| self.try_read(path, until).await);
        read.await.map_err(MetadataError::from)
    }

    async fn identity(&self, tries: &Tries<'_>) -> Result<Identity, MetadataError> {
        // Whoever knows version 1 only has no such document either.
        let document = if self.is_free() { None } else { self.read(tries, IDENTITY).await? };
        let identity = match document {
            Some(document) => Identity::parse("the identity document", &document)?,
            None => self.identity_in_pieces(tries).await?,
        };
        let id = &identity.instance_id;
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(MetadataError::Identity {
                place: "the metadata service".to_owned(),
                problem: format!("the instance id is \"{}\"", id.escape_debug()),
            });
        }
        Ok(identity)
    }

    async fn identity_in_pieces(&self, tries: &Tries<'_>) -> Result<Identity, MetadataError> {
        let text = async |path| {
            let text = self.read(tries, path).await?;
            Ok::<_, MetadataError>(text.map(|text| String::from_utf8_lossy(&text).trim().to_owned()))
        };
        Ok(Identity {
            instance_id: text(INSTANCE_ID).await?.unwrap_or_default(),
            instance_type: text(INSTANCE_TYPE).await?,
            availability_zone: text(ZONE).await?,
            ..Identity::default()
        })
    }

    /// What is at `path`; `None` if the service says that there is nothing.
    async fn read(&self, tries: &Tries<'_>, path: &str) -> Result<Option<Vec<u8>>, MetadataError> {
        let read = tries.run("the metadata service", async |until| self.try_read(path, until).await);
        Ok(read.await.map_err(MetadataError::from)?.map(|answer| answer.body))
    }

    async fn try_read(&self, path: &str, until: Instant) -> Result<Option<Dated>, Failure> {
        let limits = Limits { until, bytes: LIMIT };
        let access = match self.access() {
            Some(access) => access,
            None => self.gain_access(limits).await?,
        };
        let url = self.url(path);
        let headers: &[_] = match &access {
            Access::Token(token) => &[(TOKEN_HEADER, token.reveal())],
            Access::Free => &[],
        };
        match self.http.get(&url, headers, limits).await {
            Ok(answer) => Ok(Some(answer)),
            Err(error) => match error.status() {
                Some(404) => Ok(None),
                Some(403) => Err(Failure::Final(MetadataError::Off(error))),
                Some(401) => {
                    self.session().access = None;
                    Err(Failure::Request(error))
                }
                _ => Err(Failure::Request(error)),
            },
        }
    }

    async fn gain_access(&self, limits: Limits) -> Result<Access, Failure> {
        let url = self.url(TOKEN);
        let access = match self.http.put(&url, &[TTL], limits).await {
            Ok(answer) => Access::Token(checked(&url, answer)?),
            Err(error) if self.v1_is_permitted && matches!(error.status(), Some(404 | 405)) => {
                tracing::warn!("the metadata service gives no token: it is asked by version 1, as agent.toml permits");
                Access::Free
            }
            Err(error) => return Err(self.no_token(error)),
        };
        self.session().access = Some(access.clone());
        Ok(access)
    }

    /// Sorts out why there is no token. Where there is no way to this endpoint, the next try asks the next one.
    fn no_token(&self, error: HttpError) -> Failure {
        if error.is_unreachable() {
            let mut session = self.session();
            session.endpoint = (session.endpoint + 1) % self.endpoints.len();
        }
        match error.status() {
            Some(403) => Failure::Final(MetadataError::Off(error)),
            Some(404 | 405) => Failure::Final(MetadataError::NoToken(error)),
            _ => Failure::Request(error),
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.endpoints[self.session().endpoint])
    }

    fn access(&self) -> Option<Access> {
        self.session().access.clone()
    }

    fn is_free(&self) -> bool {
        matches!(self.session().access, Some(Access::Free))
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The token in an answer. To go on with an empty one would end in a refusal that says nothing.
fn checked(url: &str, answer: Vec<u8>) -> Result<Secret, Failure> {
    let wrong = |found: String| Failure::Final(MetadataError::NotToken { url: url.to_owned(), found });
    let token = answer.trim_ascii();
    if token.is_empty() {
        return Err(wrong("empty".to_owned()));
    }
    let is_token = token.len() <= LONGEST_TOKEN && token.iter().all(u8::is_ascii_graphic);
    match String::from_utf8(token.to_vec()) {
        Ok(token) if is_token => Ok(Secret::from(token)),
        _ => Err(wrong(format!("{} bytes of something else", answer.len()))),
    }
}

/// How one try fails.
#[derive(Debug)]
enum Failure {
    Request(HttpError),
    Final(MetadataError),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Request(error) => error.fmt(f),
            Self::Final(error) => error.fmt(f),
        }
    }
}

impl Transient for Failure {
    fn verdict(&self, retry: &Retry) -> Verdict {
        match self {
            Self::Request(error) => error.verdict(retry),
            Self::Final(_) => Verdict::Final,
        }
    }
}

impl From<GaveUp<Failure>> for MetadataError {
    fn from(gave_up: GaveUp<Failure>) -> Self {
        match gave_up.error {
            Failure::Final(error) => error,
            Failure::Request(error) => Self::Unanswered {
                advice: advice(&error),
                cause: Box::new(GaveUp { error, tries: gave_up.tries, elapsed: gave_up.elapsed }),
            },
        }
    }
}

fn advice(error: &HttpError) -> &'static str {
    match &error.problem {
        Problem::TimeOut(_) if error.method == reqwest::Method::PUT => {
            "; in a container the token may be lost at the hop limit, which \
             `aws ec2 modify-instance-metadata-options --http-put-response-hop-limit 2 --instance-id ID` raises"
        }
        _ => "",
    }
}
