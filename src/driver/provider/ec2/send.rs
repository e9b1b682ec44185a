//! One try of one call: signed, sent, its answer read within bounds and told apart.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use reqwest::StatusCode;
use reqwest::header::DATE;

use super::answers::{Errors, JsonError};
use super::api::{Call, Service};
use super::error::{Cause, Refusal};

const CONNECT: Duration = Duration::from_secs(10);

/// RunInstances takes some seconds when AWS is busy.
const TRY: Duration = Duration::from_secs(30);

/// 1,000 instances described with all their tags are some 5 MB.
const LONGEST: usize = 32 << 20;

/// By whom, and when.
pub(super) struct Signing<'a> {
    pub credentials: Credentials,
    pub region: &'a str,
    pub now: SystemTime,
}

/// What came of one try.
pub(super) struct Answer {
    pub result: Result<String, Cause>,
    /// AWS's clock.
    pub date: Option<SystemTime>,
    /// The access key it was signed with.
    pub key: Option<String>,
}

impl Answer {
    /// It was not sent.
    pub fn none(cause: Cause) -> Self {
        Self { result: Err(cause), date: None, key: None }
    }
}

/// HTTP to AWS.
#[derive(Debug)]
pub(super) struct Client(reqwest::Client);

impl Client {
    pub fn new() -> Result<Self, String> {
        // Once a process; another part of it may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .user_agent(concat!("loitsut-driver/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .timeout(TRY)
            .redirect(reqwest::redirect::Policy::none())
            .build();
        client.map(Self).map_err(|error| {
            format!("no HTTP client: {} (help: is the package ca-certificates installed?)", chained(&error))
        })
    }

    /// One try.
    pub async fn send(&self, call: &Call, url: &str, signing: Signing<'_>) -> Answer {
        let key = Some(signing.credentials.access_key_id().to_owned());
        let request = match self.signed(call, url, signing) {
            Ok(request) => request,
            Err(words) => return Answer::none(Cause::Connect(words)),
        };
        match request.send().await {
            Ok(response) => {
                let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
                let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
                Answer { result: read(response).await, date, key }
            }
            Err(error) if error.is_connect() => Answer::none(Cause::Connect(chained(&error.without_url()))),
            Err(error) => Answer::none(Cause::Lost(chained(&error.without_url()))),
        }
    }

    fn signed(&self, call: &Call, url: &str, signing: Signing<'_>) -> Result<reqwest::RequestBuilder, String> {
        let headers: &[(&str, &str)] = match call.service {
            Service::Ec2 => &[("content-type", "application/x-www-form-urlencoded; charset=utf-8")],
            Service::Ssm => {
                &[("content-type", "application/x-amz-json-1.1"), ("x-amz-target", "AmazonSSM.GetParameter")]
            }
        };
        let identity = signing.credentials.into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(signing.region)
            .name(call.service.name())
            .time(signing.now)
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| chained(&error))?;
        let body = SignableBody::Bytes(call.body.as_bytes());
        let signable = SignableRequest::new("POST", url, headers.iter().copied(), body).map_err(|e| chained(&e))?;
        let (signature, _) = sign(signable, &parameters.into()).map_err(|error| chained(&error))?.into_parts();
        let mut request = self.0.post(url).body(call.body.clone());
        for (name, value) in headers.iter().copied().chain(signature.headers()) {
            request = request.header(name, value);
        }
        Ok(request)
    }
}

async fn read(mut response: reqwest::Response) -> Result<String, Cause> {
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| Cause::Lost(chained(&error.without_url())))? {
        if body.len() + chunk.len() > LONGEST {
            return Err(Cause::Lost(format!("an answer of more than {} MiB", LONGEST >> 20)));
        }
        body.extend_from_slice(&chunk);
    }
    let body = String::from_utf8_lossy(&body).into_owned();
    if status.is_success() { Ok(body) } else { Err(refused(status, &body)) }
}

/// Some definite refusals come with a 500, throttling with a 503: the code says more than the status.
fn refused(status: StatusCode, body: &str) -> Cause {
    let parsed = xml_error(body).or_else(|| json_error(body));
    let Some(refusal) = parsed else { return unexplained(status, body) };
    let definite = refusal.is_of_the_rung() || refusal.is_throttling();
    if definite || !(status.is_server_error() || refusal.is_internal()) {
        return Cause::Answered(refusal);
    }
    Cause::Lost(format!("{status}: {}: {}", refusal.code, refusal.words))
}

fn xml_error(body: &str) -> Option<Refusal> {
    let error = quick_xml::de::from_str::<Errors>(body).ok()?.errors.error;
    Some(Refusal::new(&error.code, &error.message))
}

fn json_error(body: &str) -> Option<Refusal> {
    let error = serde_json::from_str::<JsonError>(body).ok()?;
    let message = error.message.or(error.other_message).unwrap_or_default();
    Some(Refusal::new(error.kind.rsplit('#').next().unwrap_or_default(), &message))
}

/// Not AWS's words: perhaps those of a proxy on the way.
fn unexplained(status: StatusCode, body: &str) -> Cause {
    let start = Refusal::new("", body).words.chars().take(100).collect::<String>();
    if status == StatusCode::TOO_MANY_REQUESTS {
        return Cause::Answered(Refusal::new("TooManyRequestsException", &start));
    }
    if status.is_client_error() || status.is_redirection() {
        return Cause::Answered(Refusal::new(&status.to_string(), &format!("not an answer of AWS's: {start}")));
    }
    Cause::Lost(format!("{status}: {start}"))
}

/// Seconds from one time to another.
pub(super) fn seconds_between(from: SystemTime, to: SystemTime) -> i64 {
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    match to.duration_since(from) {
        Ok(ahead) => seconds(ahead),
        Err(error) => -seconds(error.duration()),
    }
}

fn chained(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPACITY: &str = "<Response><Errors><Error><Code>InsufficientInstanceCapacity</Code><Message>none</Message></Error></Errors></Response>";

    #[test]
    fn the_code_says_more_than_the_status() {
        let cause = refused(StatusCode::INTERNAL_SERVER_ERROR, CAPACITY);
        assert!(matches!(cause, Cause::Answered(refusal) if refusal.is_capacity()));
        let internal = CAPACITY.replace("InsufficientInstanceCapacity", "InternalError");
        assert!(matches!(refused(StatusCode::INTERNAL_SERVER_ERROR, &internal), Cause::Lost(_)));
        assert!(matches!(refused(StatusCode::BAD_GATEWAY, "<html>"), Cause::Lost(_)));
        assert!(matches!(refused(StatusCode::PROXY_AUTHENTICATION_REQUIRED, ""), Cause::Answered(_)));
    }

    #[test]
    fn json_errors_are_read() {
        let body = r#"{"__type":"com.amazonaws.ssm#ParameterNotFound","message":"no"}"#;
        let cause = refused(StatusCode::BAD_REQUEST, body);
        assert!(matches!(cause, Cause::Answered(refusal) if refusal.code == "ParameterNotFound"));
    }
}
