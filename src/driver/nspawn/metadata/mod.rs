//! The metadata service of an instance: IMDSv2, as EC2 speaks it.
//!
//! What it knows is a [`Tree`]; who may ask is a matter of [`Tokens`].

mod tokens;
mod tree;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::put;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::notice::given;
use tokens::Tokens;
use tree::look_up;
pub(crate) use tree::{Identity, Tree, tree};

const TOKEN: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token");
const TOKEN_TTL: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
const FORWARDED: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Six hours, EC2's limit.
const LONGEST_TTL: u64 = 21_600;

struct Service {
    tree: Tree,
    notices: Option<PathBuf>,
    tokens: Mutex<Tokens>,
}

impl Service {
    /// What it knows now: notices come later than all else.
    fn tree(&self) -> Tree {
        let notices = self.notices.as_deref().map(given).into_iter().flatten();
        self.tree.clone().into_iter().chain(notices).collect()
    }
}

/// Answers requests on all of these, the notices in that directory among the answers, for as long as it is polled.
pub(crate) async fn serve(listeners: Vec<TcpListener>, tree: Tree, notices: Option<PathBuf>) -> Result<()> {
    let service = Arc::new(Service { tree, notices, tokens: Mutex::default() });
    let router = Router::new().route("/latest/api/token", put(issue)).fallback(answer).with_state(service);
    let mut services = JoinSet::new();
    for listener in listeners {
        services.spawn(axum::serve(listener, router.clone()).into_future());
    }
    // None of them ends by itself: the first that does is a failure of all.
    services.join_next().await.context("it listens nowhere")??.context("the metadata service ended")
}

/// `PUT /latest/api/token`
async fn issue(State(service): State<Arc<Service>>, headers: HeaderMap) -> Response {
    // EC2's own guard: a request that came through a proxy is not the instance's.
    if headers.contains_key(FORWARDED) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let ttl = headers.get(TOKEN_TTL).and_then(|value| value.to_str().ok()?.parse().ok());
    let Some(ttl) = ttl.filter(|ttl| (1..=LONGEST_TTL).contains(ttl)) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let lock = service.tokens.lock();
    match lock.unwrap_or_else(PoisonError::into_inner).issue(Duration::from_secs(ttl)) {
        Ok(token) => ([(TOKEN_TTL, ttl.to_string())], token).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")).into_response(),
    }
}

/// Everything else: a value or a listing, for those who have a token.
async fn answer(State(service): State<Arc<Service>>, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    if method != Method::GET && method != Method::HEAD {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let token = headers.get(TOKEN).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !service.tokens.lock().unwrap_or_else(PoisonError::into_inner).hold(token) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    match look_up(&service.tree(), uri.path()) {
        Some(body) => ([(header::CONTENT_TYPE, "text/plain")], body).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

#[cfg(test)]
mod tests;
