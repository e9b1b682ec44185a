//! Calls to EC2, and to SSM for names of images: signed, in turn, tried again where that may help.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::buckets::{Buckets, Kind};
use super::config::Config;
use super::credentials::Keys;
use super::error::{CallError, Cause};
use super::send::{self, Answer, Client, Signing};
use super::tries::{Next, Tries};
use crate::provider::{ErrorKind, ProviderError};

/// A clock that differs by more than this is corrected before AWS refuses it, which it does at five minutes.
const SKEW: i64 = 60;

/// A service of AWS's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// Instances and images.
    Ec2,
    /// Parameters.
    Ssm,
}

impl Service {
    /// As in host names and signatures.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ec2 => "ec2",
            Self::Ssm => "ssm",
        }
    }
}

/// One call.
#[derive(Debug)]
pub(super) struct Call {
    /// `RunInstances`.
    pub name: &'static str,
    pub service: Service,
    pub kind: Kind,
    pub body: String,
}

/// The parameters of EC2's Query API.
#[derive(Debug)]
pub(super) struct Query {
    name: &'static str,
    pairs: Vec<(String, String)>,
}

impl Query {
    pub fn new(name: &'static str) -> Self {
        let fixed = [("Action", name), ("Version", "2016-11-15")];
        Self { name, pairs: fixed.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec() }
    }

    /// With one more.
    pub fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.pairs.push((key.into(), value.into()));
        self
    }

    /// With `PREFIX.1`, `PREFIX.2` and so on.
    pub fn with_list<'a>(self, prefix: &str, values: impl IntoIterator<Item = &'a str>) -> Self {
        values.into_iter().enumerate().fold(self, |query, (i, value)| query.with(format!("{prefix}.{}", i + 1), value))
    }

    /// With what is looked for, the n-th.
    pub fn with_filter(self, n: usize, name: &str, value: &str) -> Self {
        self.with(format!("Filter.{n}.Name"), name).with(format!("Filter.{n}.Value.1"), value)
    }

    /// As a call.
    pub fn counted_as(self, kind: Kind) -> Call {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(self.pairs).finish();
        // As AWS's own tools write it; clouds that reckon the signature from what they have parsed expect that.
        let body = body.replace('*', "%2A");
        Call { name: self.name, service: Service::Ec2, kind, body }
    }
}

/// The way to one region of one account.
#[derive(Debug)]
pub(super) struct Api {
    client: Client,
    region: String,
    endpoint: Option<String>,
    keys: Keys,
    buckets: Buckets,
    /// By how many seconds AWS's clock is ahead of this machine's.
    skew: AtomicI64,
}

impl Api {
    pub fn new(config: &Config) -> Result<Self, ProviderError> {
        let client = Client::new().map_err(|message| ProviderError { kind: ErrorKind::Refused, message })?;
        Ok(Self {
            client,
            region: config.region.clone(),
            endpoint: config.endpoint_url.clone(),
            keys: Keys::new(config),
            buckets: Buckets::new(Instant::now()),
            skew: AtomicI64::new(0),
        })
    }

    /// The region.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// What a call to EC2 answers.
    pub async fn ask<T: DeserializeOwned>(&self, call: &Call) -> Result<T, CallError> {
        let body = self.call(call).await?;
        quick_xml::de::from_str(&body).map_err(|error| self.unreadable(call, &error.to_string()))
    }

    /// What a call to a service that speaks JSON answers.
    pub async fn ask_json<T: DeserializeOwned>(&self, call: &Call) -> Result<T, CallError> {
        let body = self.call(call).await?;
        serde_json::from_str(&body).map_err(|error| self.unreadable(call, &error.to_string()))
    }

    async fn call(&self, call: &Call) -> Result<String, CallError> {
        let mut tries = Tries::new(Instant::now());
        let mut bad_key = None;
        let cause = loop {
            let answer = self.try_once(call, bad_key.as_deref()).await;
            let cause = match answer.result {
                Ok(body) => return Ok(body),
                Err(cause) => cause,
            };
            if matches!(&cause, Cause::Answered(refusal) if refusal.is_throttling()) {
                self.buckets.drain(call.kind, Instant::now());
            }
            // Only an answer about a signature is known to be AWS's own: others on the way have clocks too.
            let doubted = matches!(&cause, Cause::Answered(refusal) if refusal.is_about_the_signature());
            let corrected = doubted && self.correct_clock(answer.date);
            match tries.next(&cause, corrected, Instant::now()) {
                Next::Pause(pause) => {
                    warn!("{}; tried again in {:.1} s", self.error(call, false, cause), pause.as_secs_f64());
                    sleep(pause).await;
                }
                Next::AtOnce => {}
                Next::OtherKey => bad_key = answer.key,
                Next::GiveUp => break cause,
            }
        };
        Err(self.error(call, tries.was_heard() && call.kind != Kind::Look, cause))
    }

    async fn try_once(&self, call: &Call, bad_key: Option<&str>) -> Answer {
        match self.buckets.take(call.kind, Instant::now()) {
            Ok(wait) => sleep(wait).await,
            Err(wait) => return Answer::none(Cause::Busy(wait)),
        }
        let credentials = match self.keys.get(self.now(), bad_key).await {
            Ok(credentials) => credentials,
            Err(none) => return Answer::none(Cause::Credentials(none)),
        };
        // Asked again, since the credentials may have taken a while.
        let signing = Signing { credentials, region: &self.region, now: self.now() };
        self.client.send(call, &self.url(call.service), signing).await
    }

    fn url(&self, service: Service) -> String {
        if let Some(endpoint) = &self.endpoint {
            return format!("{}/", endpoint.trim_end_matches('/'));
        }
        let domain = if self.region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        format!("https://{}.{}.{domain}/", service.name(), self.region)
    }

    fn now(&self) -> SystemTime {
        let skew = self.skew.load(Ordering::Relaxed);
        let now = SystemTime::now();
        let step = Duration::from_secs(skew.unsigned_abs());
        if skew < 0 { now - step } else { now + step }
    }

    /// Says whether the clock was off, by what AWS said the time was.
    fn correct_clock(&self, date: Option<SystemTime>) -> bool {
        let Some(skew) = date.map(|date| send::seconds_between(SystemTime::now(), date)) else { return false };
        let before = self.skew.load(Ordering::Relaxed);
        if (skew - before).abs() <= SKEW {
            return false;
        }
        info!("the clock of this machine differs from AWS's by {skew} s: signatures use AWS's");
        self.skew.store(skew, Ordering::Relaxed);
        true
    }

    /// It was answered, with something that does not say what was done.
    pub fn unreadable(&self, call: &Call, words: &str) -> CallError {
        let words = format!("an answer that cannot be read: {words}");
        self.error(call, call.kind != Kind::Look, Cause::Lost(words))
    }

    fn error(&self, call: &Call, doubt: bool, cause: Cause) -> CallError {
        CallError { call: call.name, url: self.url(call.service), doubt, cause }
    }
}
