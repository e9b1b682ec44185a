//! The metadata service of an instance: IMDSv2, as EC2 speaks it.
//!
//! What it knows is a tree of paths below `/latest`; directories are those paths' prefixes, listed as EC2 lists them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::put;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::notice;

const TOKEN: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token");
const TOKEN_TTL: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
const FORWARDED: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Six hours, EC2's limit.
const LONGEST_TTL: u64 = 21_600;

/// More tokens than this at a time is a build that plays; the oldest make room.
const MOST_TOKENS: usize = 1_000;

/// Who an instance is.
pub(crate) struct Identity {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) address: Ipv4Addr,
    pub(crate) image: String,
    /// When the launch began (RFC 3339).
    pub(crate) started: String,
}

/// Everything an instance may ask, by path below `/latest/`.
pub(crate) type Tree = BTreeMap<String, Vec<u8>>;

/// The tree of an instance. There is no path for user-data that is absent.
pub(crate) fn tree(identity: &Identity, user_data: Option<Vec<u8>>) -> Tree {
    let address = identity.address.to_string();
    let meta_data = [
        ("ami-id", identity.image.as_str()),
        ("hostname", &identity.name),
        ("instance-action", "none"),
        ("instance-id", &identity.id),
        ("instance-life-cycle", "on-demand"),
        ("instance-type", TYPE),
        ("local-hostname", &identity.name),
        ("local-ipv4", &address),
        ("placement/availability-zone", ZONE),
        ("placement/region", REGION),
    ];
    let mut tree: Tree =
        meta_data.iter().map(|(path, value)| (format!("meta-data/{path}"), value.as_bytes().to_vec())).collect();
    tree.insert("dynamic/instance-identity/document".to_owned(), document(identity));
    tree.extend(user_data.map(|data| ("user-data".to_owned(), data)));
    tree
}

const TYPE: &str = "nspawn";
const REGION: &str = "local";
const ZONE: &str = "locala";

fn document(identity: &Identity) -> Vec<u8> {
    let document = json!({
        "accountId": "000000000000",
        "architecture": std::env::consts::ARCH,
        "availabilityZone": ZONE,
        "imageId": identity.image,
        "instanceId": identity.id,
        "instanceType": TYPE,
        "pendingTime": identity.started,
        "privateIp": identity.address,
        "region": REGION,
        "version": "2017-09-30",
    });
    format!("{document:#}").into_bytes()
}

struct Service {
    tree: Tree,
    notices: Option<PathBuf>,
    tokens: Mutex<Tokens>,
}

impl Service {
    /// What it knows now: notices come later than all else.
    fn tree(&self) -> Tree {
        let notices = self.notices.as_deref().map(notice::given).unwrap_or_default();
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

/// The value at a path, or the listing of a directory.
fn look_up(tree: &Tree, path: &str) -> Option<Vec<u8>> {
    let path = path.trim_matches('/');
    let (version, path) = path.split_once('/').unwrap_or((path, ""));
    match version {
        "" => return Some(b"latest".to_vec()),
        "latest" => (),
        // Clients such as cloud-init ask for the edition that they were written for.
        dated if dated.len() == 10 && dated.chars().all(|c| c.is_ascii_digit() || c == '-') => (),
        _ => return None,
    }
    tree.get(path).cloned().or_else(|| list(tree, path))
}

/// The names in a directory, one a line; directories among them end with a slash.
fn list(tree: &Tree, directory: &str) -> Option<Vec<u8>> {
    let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
    let below = tree.keys().filter_map(|path| path.strip_prefix(&prefix));
    let names: BTreeSet<&str> = below.map(|rest| rest.split_inclusive('/').next().unwrap_or(rest)).collect();
    // EC2 lists the three top directories without a slash.
    let names: Vec<&str> =
        names.into_iter().map(|n| if prefix.is_empty() { n.trim_end_matches('/') } else { n }).collect();
    (!names.is_empty()).then(|| names.join("\n").into_bytes())
}

/// The tokens that were given out, and when each expires.
#[derive(Default)]
struct Tokens(HashMap<String, Instant>);

impl Tokens {
    fn issue(&mut self, ttl: Duration) -> Result<String> {
        let now = Instant::now();
        self.0.retain(|_, expiry| *expiry > now);
        if self.0.len() >= MOST_TOKENS {
            let first = self.0.iter().min_by_key(|(_, expiry)| **expiry).map(|(token, _)| token.clone());
            first.map(|token| self.0.remove(&token));
        }
        let mut random = [0; 42]; // as long as EC2's
        std::fs::File::open("/dev/urandom")
            .and_then(|mut source| source.read_exact(&mut random))
            .context("/dev/urandom")?;
        let token = URL_SAFE.encode(random);
        self.0.insert(token.clone(), now + ttl);
        Ok(token)
    }

    fn hold(&self, token: &str) -> bool {
        self.0.get(token).is_some_and(|expiry| *expiry > Instant::now())
    }
}

#[cfg(test)]
#[path = "metadata_tests.rs"]
mod tests;
