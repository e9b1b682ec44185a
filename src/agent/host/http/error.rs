//! What can go wrong with a request, told so that the reader knows which one, why, and whether it is worth a retry.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use loitsut_profile::sha256::Sha256;
use reqwest::{Method, StatusCode, Url};
use rustls::CertificateError;

/// Nobody can say what in such a URL is secret.
const UNREADABLE: &str = "(unreadable URL)";

/// A request that did not end as wanted. The URL is shown without what may be secret in it.
#[derive(Debug, thiserror::Error)]
#[error("{method} {url}: {problem}{hint}")]
pub(crate) struct HttpError {
    /// The request's method.
    pub method: Method,
    /// Its URL without user name, password, query and fragment.
    pub url: String,
    /// What happened.
    pub problem: Problem,
    /// What may be behind it, or nothing.
    hint: &'static str,
}

/// What happened to a request.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub(crate) enum Problem {
    #[error("not a usable URL or header: {0}")]
    Unusable(String),
    #[error("could not connect: {cause}")]
    Connect { cause: String, unreachable: bool },
    #[error("the server's certificate is refused: {0}")]
    Certificate(String),
    #[error("{0}")]
    TimeOut(String),
    #[error("the connection broke: {0}")]
    Broken(String),
    #[error("redirect not followed: {0}")]
    Redirect(String),
    #[error("answered {status}")]
    Status { status: StatusCode, retry_after: Option<Duration> },
    #[error("the answer is longer than {limit} bytes, the most that is taken")]
    TooLong { limit: u64 },
    #[error(transparent)]
    Mismatch(#[from] Box<Mismatch>),
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// A body that is not what was wanted.
#[derive(Debug, thiserror::Error)]
#[error("the SHA-256 is {found}, wanted is {wanted}: got {what}")]
pub(crate) struct Mismatch {
    /// The digest that was wanted.
    pub wanted: Sha256,
    /// The digest of what came.
    pub found: Sha256,
    /// What came, as far as it can be said.
    pub what: String,
}

impl HttpError {
    pub(super) fn new(method: &Method, url: &Url, problem: Problem) -> Self {
        // The query is what a link is signed by.
        let hint = match problem {
            Problem::Status { status: StatusCode::FORBIDDEN, .. } if url.query().is_some() => {
                " (has a signed link expired?)"
            }
            _ => "",
        };
        Self { method: method.clone(), url: masked(url), problem, hint }
    }

    /// A download that failed without an answer to blame.
    pub(super) fn about(url: &str, problem: Problem) -> Self {
        match Url::parse(url) {
            Ok(url) => Self::new(&Method::GET, &url, problem),
            Err(_) => Self { method: Method::GET, url: UNREADABLE.to_owned(), problem, hint: "" },
        }
    }

    /// The status, if the server gave an answer and that is what is wrong.
    pub(crate) fn status(&self) -> Option<u16> {
        match self.problem {
            Problem::Status { status, .. } => Some(status.as_u16()),
            _ => None,
        }
    }

    /// Whether there may be no way to that address, while there may be one to another.
    pub(crate) fn is_unreachable(&self) -> bool {
        matches!(self.problem, Problem::TimeOut(_) | Problem::Connect { unreachable: true, .. })
    }
}

/// The URL as it will be asked for. One that cannot be parsed is not shown: nobody can say what in it is secret.
pub(super) fn parse(method: &Method, url: &str) -> Result<Url, HttpError> {
    Url::parse(url).map_err(|error| HttpError {
        method: method.clone(),
        url: UNREADABLE.to_owned(),
        problem: Problem::Unusable(error.to_string()),
        hint: "",
    })
}

/// The URL without user name, password, query and fragment.
pub(crate) fn masked(url: &Url) -> String {
    let mut shown = url.clone();
    // These fail for URLs that cannot have a user, which then need no masking.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_fragment(None);
    if shown.query().is_some() {
        shown.set_query(Some("..."));
    }
    shown.into()
}

impl From<io::Error> for Problem {
    /// Of a connection that was not made.
    fn from(error: io::Error) -> Self {
        let unreachable = is_unreachable(error.kind());
        Self::Connect { cause: error.to_string(), unreachable }
    }
}

fn is_unreachable(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable)
}

impl Problem {
    pub(super) fn time_out(after: Duration) -> Self {
        Self::TimeOut(format!("no complete answer within {after:.1?}"))
    }
}

impl From<reqwest::Error> for Problem {
    fn from(error: reqwest::Error) -> Self {
        let error = error.without_url();
        let cause = root_causes(&error);
        if let Some(certificate) = find::<rustls::Error>(&error) {
            return Self::from_tls(certificate, cause);
        }
        if error.is_timeout() {
            Self::TimeOut(format!("no answer: {cause}"))
        } else if error.is_redirect() {
            Self::Redirect(cause)
        } else if error.is_connect() || error.is_dns() {
            let kind = find::<io::Error>(&error).map(io::Error::kind);
            Self::Connect { cause, unreachable: kind.is_some_and(is_unreachable) }
        } else if error.is_builder() {
            Self::Unusable(cause)
        } else {
            Self::Broken(cause)
        }
    }
}

impl Problem {
    fn from_tls(error: &rustls::Error, cause: String) -> Self {
        use CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
        match error {
            // A machine without a battery starts in the past until its clock is set: that passes, unlike the others.
            rustls::Error::InvalidCertificate(NotValidYet | NotValidYetContext { .. }) => {
                Self::Connect { cause: format!("{cause}; is this machine's clock right?"), unreachable: false }
            }
            rustls::Error::InvalidCertificate(Expired | ExpiredContext { .. }) => {
                Self::Certificate(format!("{cause}; it is old, or this machine's clock is wrong"))
            }
            rustls::Error::InvalidCertificate(_) | rustls::Error::General(_) => Self::Certificate(cause),
            _ => Self::Connect { cause, unreachable: false },
        }
    }
}

/// The messages of the chain below reqwest's and hyper's own, which only say "error sending request" and the like.
fn root_causes(error: &reqwest::Error) -> String {
    const NOISE: [&str; 4] = ["client error (", "error sending request", "dns error", "error resolving DNS"];
    let noise = |text: &String| NOISE.iter().any(|noise| text.starts_with(noise));
    let mut texts: Vec<String> = Vec::new();
    for cause in chain(error).skip(1) {
        let text = cause.to_string();
        if !noise(&text) && texts.last().is_none_or(|last| !last.contains(&text)) {
            texts.push(text);
        }
    }
    match texts.is_empty() {
        true => error.to_string(),
        false => texts.join(": "),
    }
}

/// An error and its causes, in one line.
pub(super) fn chained(error: &(dyn Error + 'static)) -> String {
    chain(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// The first error of type `E` in the chain.
fn find<E: Error + 'static>(error: &reqwest::Error) -> Option<&E> {
    chain(error).find_map(unwrapped)
}

/// This error, or the one that it wraps: what an `io::Error` was made from is not its `source`.
fn unwrapped<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    error.downcast_ref().or_else(|| unwrapped(error.downcast_ref::<io::Error>()?.get_ref()?))
}
