//! HTTP straight to the metadata service: by no proxy, which would ask its own; by no redirect, none can be right; one
//! connection a request. Each socket bears a mark, by which the service can be closed to all but the agent.
//!
//! Not by reqwest, since that lets nobody at its sockets.

use std::time::SystemTime;

use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_LENGTH, DATE, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use reqwest::{Method, Url};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::{Headers, HttpError, Limits, Problem, error, retry_after};
use crate::host::dns::Dns;
use crate::host::socket::{self, Mark};

/// The body of an answer, and the time of day that the service had.
#[derive(Debug)]
pub(crate) struct Dated {
    /// The body.
    pub body: Vec<u8>,
    /// The time, if it was told.
    pub date: Option<SystemTime>,
}

/// A client of the metadata service.
#[derive(Debug, Clone)]
pub(crate) struct Direct {
    dns: Dns,
}

impl Direct {
    /// A client that looks names up as this machine does.
    pub(crate) fn new() -> Self {
        Self { dns: Dns::system() }
    }

    /// The body that `url` answers a GET with; any status that is not a success is an error.
    pub(crate) async fn get(&self, url: &str, headers: Headers<'_>, limits: Limits) -> Result<Dated, HttpError> {
        self.exchange(Method::GET, url, headers, limits).await
    }

    /// The body that `url` answers an empty PUT with; any status that is not a success is an error.
    pub(crate) async fn put(&self, url: &str, headers: Headers<'_>, limits: Limits) -> Result<Vec<u8>, HttpError> {
        // hyper leaves the length of nothing out, and some servers answer 411 then.
        let headers = [&[(CONTENT_LENGTH.as_str(), "0")], headers].concat();
        Ok(self.exchange(Method::PUT, url, &headers, limits).await?.body)
    }

    async fn exchange(
        &self,
        method: Method,
        url: &str,
        headers: Headers<'_>,
        limits: Limits,
    ) -> Result<Dated, HttpError> {
        let url = error::parse(&method, url)?;
        let began = Instant::now();
        let answer = match timeout_at(limits.until, self.talk(&method, &url, headers, limits)).await {
            Ok(answer) => answer,
            Err(_) => Err(Problem::time_out(began.elapsed())),
        };
        answer.map_err(|problem| HttpError::new(&method, &url, problem))
    }

    async fn talk(&self, method: &Method, url: &Url, headers: Headers<'_>, limits: Limits) -> Result<Dated, Problem> {
        let stream = TokioIo::new(self.connect(url).await?);
        let (mut sender, connection) = http1::handshake(stream).await.map_err(broken)?;
        // It is polled beside the exchange, and ends with it.
        let mut tasks = JoinSet::new();
        tasks.spawn(connection);
        let answer = sender.send_request(request(method, url, headers)?).await.map_err(broken)?;
        if !answer.status().is_success() {
            return Err(Problem::Status { status: answer.status(), retry_after: retry_after(answer.headers()) });
        }
        let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
        let limit = limits.bytes;
        match Limited::new(answer.into_body(), usize::try_from(limit).unwrap_or(usize::MAX)).collect().await {
            Ok(body) => Ok(Dated { body: body.to_bytes().to_vec(), date }),
            Err(error) if error.is::<LengthLimitError>() => Err(Problem::TooLong { limit }),
            Err(error) => Err(Problem::Broken(error::chained(&*error))),
        }
    }

    /// To the first of its addresses that can be reached.
    async fn connect(&self, url: &Url) -> Result<TcpStream, Problem> {
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or(80);
        // Brackets are of the URL's syntax, not of the address.
        let addresses = match host.trim_matches(['[', ']']).parse() {
            Ok(address) => vec![address],
            Err(_) => self.dns.look_up(host).await.map_err(|error| connect(error.to_string()))?,
        };
        let mut last = connect(format!("{host} has no address"));
        for address in addresses {
            match socket::connect((address, port).into(), Mark::Agent).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Problem::from(error),
            }
        }
        Err(last)
    }
}

fn request(method: &Method, url: &Url, headers: Headers<'_>) -> Result<hyper::Request<Empty<Bytes>>, Problem> {
    let unusable = |error: hyper::http::Error| Problem::Unusable(error.to_string());
    let authority = match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (host, _) => host.unwrap_or_default().to_owned(),
    };
    let request = hyper::Request::builder().method(method).uri(url.path());
    let request = request.header(HOST, authority).header(USER_AGENT, super::NAME);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(Empty::new()).map_err(unusable)
}

fn connect(cause: String) -> Problem {
    Problem::Connect { cause, unreachable: false }
}

fn broken(error: hyper::Error) -> Problem {
    Problem::Broken(error::chained(&error))
}
