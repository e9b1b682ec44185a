//! HTTP: one client for everything but the metadata service, which has [`Direct`]. Every wait has a deadline, every body a limit.
#![allow(clippy::disallowed_methods)]

mod direct;
mod download;
mod error;
#[cfg(test)]
pub(crate) mod fake;
mod part;
mod retry;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::ops::Deref;
use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::redirect::{Action, Attempt, Policy};
use reqwest::{Client, ClientBuilder, Method, RequestBuilder, Response, Url};
use rustls::ClientConfig;
use tokio::time::{Instant, timeout_at};

pub(crate) use direct::{Dated, Direct};
pub(crate) use download::{Download, Meter};
pub(crate) use error::{HttpError, Problem, masked as shown};
pub(crate) use retry::{GaveUp, Retry, Transient, Tries, Verdict};

use super::dns::{self, Dns};
use super::tls;

/// What the agent calls itself.
const NAME: &str = concat!("loitsut/", env!("CARGO_PKG_VERSION"));

/// Long enough for a name server that is asked twice, and for a SYN that is lost twice.
const CONNECT: Duration = Duration::from_secs(15);

/// A server that sends nothing for so long has stalled; the next try gets another connection.
const STALL: Duration = Duration::from_secs(30);

/// Mirrors and object stores redirect once or twice.
const REDIRECTS: usize = 5;

/// Names and values of a request's headers.
pub(crate) type Headers<'a> = &'a [(&'static str, &'a str)];

/// What one request may cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// When the whole answer must have come.
    pub until: Instant,
    /// How many bytes of body are taken.
    pub bytes: u64,
}

/// A client that cannot be built, such as for a proxy variable that makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up HTTP: {0}")]
pub(crate) struct SetupError(String);

/// An HTTP client.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: Client,
}

impl Http {
    /// For everything but the metadata service: by the proxy that the environment names, with a few redirects, never to
    /// the metadata service.
    pub(crate) fn web() -> Result<Self, SetupError> {
        let client = builder(Dns::system().without_link_local(), tls::client_config())?;
        Self::build(client.redirect(Policy::custom(judge_redirect)))
    }

    /// For the driver: by the proxy that the environment names, without redirects, since the token is for it alone.
    /// With a certificate authority in PEM, no other is trusted.
    pub(crate) fn driver(ca: Option<&str>) -> Result<Self, SetupError> {
        let tls = ca.map_or_else(tls::client_config, tls::client_config_of);
        Self::build(builder(Dns::system(), tls)?.redirect(Policy::none()))
    }

    fn build(client: ClientBuilder) -> Result<Self, SetupError> {
        let client = client.build().map_err(|error| SetupError(Problem::from(error).to_string()))?;
        Ok(Self { client })
    }

    /// The body that `url` answers a GET with; any status that is not a success is an error.
    pub(crate) async fn get(&self, url: &str, headers: Headers<'_>, limits: Limits) -> Result<Vec<u8>, HttpError> {
        self.exchange(Method::GET, url, headers, limits).await
    }

    /// The body that `url` answers this one with; any status that is not a success is an error.
    pub(crate) async fn post(
        &self,
        url: &str,
        headers: Headers<'_>,
        body: Vec<u8>,
        limits: Limits,
    ) -> Result<Vec<u8>, HttpError> {
        let url = error::parse(&Method::POST, url)?;
        let request = with_headers(self.client.post(url.clone()).body(body), headers);
        whole(Target::of(Method::POST, url, limits).ask(request).await?).await
    }

    async fn exchange(
        &self,
        method: Method,
        url: &str,
        headers: Headers<'_>,
        limits: Limits,
    ) -> Result<Vec<u8>, HttpError> {
        whole(self.send(method, url, headers, limits).await?).await
    }

    /// Sends a request; the answer has a status of success and a body that is still to come.
    async fn send(&self, method: Method, url: &str, headers: Headers<'_>, limits: Limits) -> Result<Answer, HttpError> {
        let url = error::parse(&method, url)?;
        let request = with_headers(self.client.request(method.clone(), url.clone()), headers);
        Target::of(method, url, limits).ask(request).await
    }
}

fn with_headers(request: RequestBuilder, headers: Headers<'_>) -> RequestBuilder {
    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
}

async fn whole(mut answer: Answer) -> Result<Vec<u8>, HttpError> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// What both clients have in common.
fn builder(dns: Dns, tls: Result<ClientConfig, rustls::Error>) -> Result<ClientBuilder, SetupError> {
    let tls = tls.map_err(|error| SetupError(error.to_string()))?;
    Ok(Client::builder()
        .user_agent(NAME)
        .tls_backend_preconfigured(tls)
        .dns_resolver(dns)
        .referer(false) // a URL may carry a signature that is nobody else's business
        .connect_timeout(CONNECT)
        .read_timeout(STALL))
}

fn judge_redirect(attempt: Attempt<'_>) -> Action {
    match refusal(attempt.previous(), attempt.url()) {
        Some(reason) => attempt.error(reason),
        None => attempt.follow(),
    }
}

/// Why a redirect is not followed. Names that lead to the metadata service are refused by the resolver.
fn refusal(previous: &[Url], next: &Url) -> Option<String> {
    let shown = error::masked(next);
    let was_https = previous.last().is_some_and(|url| url.scheme() == "https");
    // Brackets are of the URL's syntax, not of the address.
    let host = next.host_str().unwrap_or_default();
    let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    if previous.len() > REDIRECTS {
        Some(format!("more than {REDIRECTS}, the last one to {shown}"))
    } else if was_https && next.scheme() != "https" {
        Some(format!("{shown} is not https, as the address before was"))
    } else if address.is_some_and(dns::is_link_local) {
        Some(format!("{shown} is link-local, where the metadata service is"))
    } else {
        None
    }
}

/// A request that is on its way: what errors must name, and what it may cost.
#[derive(Debug)]
struct Target {
    method: Method,
    url: Url,
    began: Instant,
    limits: Limits,
}

impl Target {
    fn of(method: Method, url: Url, limits: Limits) -> Self {
        Self { method, url, began: Instant::now(), limits }
    }

    /// An answer with a status of success.
    async fn ask(self, request: RequestBuilder) -> Result<Answer, HttpError> {
        let response = self.wait(request.send()).await?;
        self.check(&response)?;
        Ok(Answer { target: self, response, received: 0 })
    }

    async fn wait<T>(&self, step: impl Future<Output = reqwest::Result<T>>) -> Result<T, HttpError> {
        match timeout_at(self.limits.until, step).await {
            Ok(result) => result.map_err(|error| self.error(error.into())),
            Err(_) => Err(self.error(Problem::time_out(self.began.elapsed()))),
        }
    }

    fn check(&self, response: &Response) -> Result<(), HttpError> {
        let status = response.status();
        if !status.is_success() {
            let retry_after = retry_after(response.headers());
            return Err(self.error(Problem::Status { status, retry_after }));
        }
        self.check_length(response.content_length().unwrap_or(0))
    }

    fn check_length(&self, length: u64) -> Result<(), HttpError> {
        let limit = self.limits.bytes;
        if length > limit {
            return Err(self.error(Problem::TooLong { limit }));
        }
        Ok(())
    }

    fn error(&self, problem: Problem) -> HttpError {
        HttpError::new(&self.method, &self.url, problem)
    }
}

/// An answer whose body is still to come.
#[derive(Debug)]
struct Answer {
    target: Target,
    response: Response,
    received: u64,
}

impl Answer {
    /// The next piece of the body, within the limits.
    async fn chunk(&mut self) -> Result<Option<impl Deref<Target = [u8]> + use<>>, HttpError> {
        let chunk = self.target.wait(self.response.chunk()).await?;
        self.received += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        self.target.check_length(self.received)?;
        Ok(chunk)
    }
}

/// Only seconds are understood: a date would be compared with a clock that may be years off at boot.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}
