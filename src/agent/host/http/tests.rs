//! Tests of everything but the metadata service: redirects, proxies, downloads.
#![allow(clippy::disallowed_methods)]

use std::path::PathBuf;

use loitsut_profile::sha256::Sha256;

use super::fake::{Fake, Reply, answer};
use super::*;

fn limits() -> Limits {
    Limits { until: Instant::now() + Duration::from_secs(5), bytes: 1000 }
}

async fn get(url: &str) -> Result<Vec<u8>, String> {
    let got = Http::web().unwrap().get(url, &[], limits()).await;
    got.map_err(|error| error.to_string())
}

fn redirect(to: &'static str) -> Reply {
    Reply::Answer(302, to, vec![])
}

#[tokio::test]
async fn a_redirect_is_followed() {
    let fake = Fake::start(|head, _| match head.starts_with("GET /a ") {
        true => redirect("location: /b\r\n"),
        false => answer(200, "hello"),
    })
    .await;
    assert_eq!(get(&fake.url("/a")).await.unwrap(), b"hello");
    assert!(!fake.requests()[1].to_lowercase().contains("referer"));
}

#[tokio::test]
async fn a_redirect_loop_ends() {
    let fake = Fake::start(|_, _| redirect("location: /again\r\n")).await;
    let error = get(&fake.url("/a")).await.unwrap_err();
    assert!(error.contains("redirect not followed: more than 5"), "{error}");
    assert_eq!(fake.requests().len(), 6);
}

#[tokio::test]
async fn a_redirect_to_the_metadata_service_is_refused() {
    for location in [
        "location: http://169.254.169.254/latest/user-data\r\n",
        "location: http://[fd00:ec2::254]/latest/user-data\r\n",
        "location: http://[::ffff:a9fe:a9fe]/latest/user-data\r\n",
        "location: http://0xa9fea9fe/latest/user-data\r\n",
    ] {
        let fake = Fake::start(move |_, _| redirect(location)).await;
        let error = get(&fake.url("/a")).await.unwrap_err();
        assert!(error.contains("redirect not followed") && error.contains("link-local"), "{error}");
    }
}

#[test]
fn a_redirect_from_https_to_http_is_refused() {
    let url = |text| Url::parse(text).unwrap();
    let reason = refusal(&[url("https://a/x")], &url("http://a/x?signature=1")).unwrap();
    assert!(reason.contains("is not https") && !reason.contains("signature"), "{reason}");
    assert_eq!(refusal(&[url("http://a/x")], &url("https://a/x")), None);
}

#[tokio::test]
async fn errors_show_no_secrets() {
    let fake = Fake::start(|_, _| answer(410, "")).await;
    let url = fake.url("/x?signature=hunter2#hunter2").replace("://", "://me:hunter2@");
    let error = get(&url).await.unwrap_err();
    assert_eq!(error, format!("GET {}: answered 410 Gone", fake.url("/x?...")));
    let error = get("http://me:hunter2@[/").await.unwrap_err();
    assert!(!error.contains("hunter2"), "{error}");
}

#[tokio::test]
async fn an_unknown_name_is_told_with_its_cause() {
    let error = get("http://nothing.invalid/").await.unwrap_err();
    assert!(
        error.starts_with("GET http://nothing.invalid/: could not connect: cannot look up nothing.invalid"),
        "{error}"
    );
}

/// Variables are of the whole process, so the test runs itself again in one of its own.
#[tokio::test]
async fn a_proxy_in_the_environment_is_used() {
    if std::env::var_os("http_proxy").is_some_and(|proxy| proxy != *"") && std::env::var_os("LOITSUT_AGAIN").is_some() {
        assert_eq!(get("http://behind.invalid/x").await.unwrap(), b"by proxy");
        return;
    }
    let fake = Fake::start(|_, _| answer(200, "by proxy")).await;
    let test = "host::http::tests::a_proxy_in_the_environment_is_used";
    let mut again = tokio::process::Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", test]).envs([("http_proxy", &*fake.url("")), ("HTTP_PROXY", &*fake.url(""))]);
    again.envs([("LOITSUT_AGAIN", "1"), ("no_proxy", ""), ("NO_PROXY", "")]);
    let output = again.output().await.unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
    assert!(fake.requests()[0].starts_with("GET http://behind.invalid/x "));
}

const BODY: &str = "a package";

/// A download from a server that answers so, to a file that is given back with what is left of its directory.
async fn download(
    reply: impl Fn(&str, usize) -> Reply + Send + Sync + 'static,
) -> (Result<u64, String>, usize, PathBuf, tempfile::TempDir) {
    let fake = Fake::start(reply).await;
    let directory = tempfile::tempdir().unwrap();
    let to = directory.path().join("x.tmp");
    let got = download_to(&to, &fake.url("/x")).await;
    (got, fake.requests().len(), to, directory)
}

async fn download_to(to: &std::path::Path, url: &str) -> Result<u64, String> {
    let meter = Meter::default();
    let wanted = Download { url, sha256: Sha256::of(BODY.as_bytes()), to, limit: 1000, meter: &meter };
    let retry = Retry {
        total: Duration::from_secs(3),
        each: Duration::from_secs(1),
        first_pause: Duration::from_millis(5),
        longest_pause: Duration::from_millis(20),
        ..Retry::DOWNLOAD
    };
    let got = Http::web().unwrap().download(&wanted, &retry).await;
    got.map_err(|error| error.to_string())
}

#[tokio::test]
async fn what_is_wanted_is_downloaded() {
    let (got, _, to, _directory) = download(|_, _| answer(200, BODY)).await;
    assert_eq!(got, Ok(9));
    assert_eq!(std::fs::read_to_string(to).unwrap(), BODY);
}

#[tokio::test]
async fn faults_that_pass_are_tried_again() {
    fn short() -> Reply {
        Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\na pac".to_vec())
    }
    let faults: [fn() -> Reply; 6] =
        [|| answer(408, ""), || answer(429, ""), || answer(503, ""), || Reply::Hang, || Reply::Raw(vec![]), short];
    for fault in faults {
        let (got, requests, to, _directory) =
            download(move |_, n| if n == 0 { fault() } else { answer(200, BODY) }).await;
        assert_eq!((got, requests), (Ok(9), 2));
        assert_eq!(std::fs::read_to_string(to).unwrap(), BODY);
    }
}

#[tokio::test]
async fn what_does_not_pass_is_not_tried_again() {
    let (got, requests, ..) = download(|_, _| answer(404, "")).await;
    assert!(got.unwrap_err().ends_with("/x: answered 404 Not Found"));
    assert_eq!(requests, 1);
}

#[tokio::test]
async fn an_error_page_is_recognised() {
    let page = b"<!DOCTYPE html>\n<title>Sorry</title>".to_vec();
    let (got, requests, to, _directory) =
        download(move |_, _| Reply::Answer(200, "content-type: text/html\r\n", page.clone())).await;
    let error = got.unwrap_err();
    assert!(error.contains("got text/html, 36 bytes, looks like an HTML page (of a login, or of an error?), starts with \"<!DOCTYPE html>\\n<title>"), "{error}");
    assert_eq!((requests, to.exists()), (1, false));
}

/// The first three bytes of what is wanted, from an object with this ETag, then the end of the connection.
fn broken_off() -> Reply {
    Reply::Raw(b"HTTP/1.1 200 OK\r\netag: \"v1\"\r\ncontent-length: 9\r\n\r\na p".to_vec())
}

#[tokio::test]
async fn what_broke_off_is_continued_behind_what_came() {
    let fake = Fake::start(|head, n| match n {
        0 => broken_off(),
        _ if head.contains("range: bytes=3-\r\n") && head.contains("if-range: \"v1\"\r\n") => {
            Reply::Answer(206, "content-range: bytes 3-8/9\r\n", b"ackage".to_vec())
        }
        _ => answer(400, ""),
    })
    .await;
    let directory = tempfile::tempdir().unwrap();
    let to = directory.path().join("x.part");
    assert_eq!(download_to(&to, &fake.url("/x")).await, Ok(9));
    assert_eq!(std::fs::read_to_string(to).unwrap(), BODY);
    assert_eq!((fake.requests().len(), std::fs::read_dir(directory.path()).unwrap().count()), (2, 1));
}

#[tokio::test]
async fn what_another_agent_left_is_continued() {
    let directory = tempfile::tempdir().unwrap();
    let to = directory.path().join("x.part");
    std::fs::write(&to, "a p").unwrap();
    std::fs::write(to.with_extension("validator"), "\"v1\"").unwrap();
    let fake = Fake::start(|head, _| {
        assert!(head.contains("range: bytes=3-\r\n"), "{head}");
        Reply::Answer(206, "content-range: bytes 3-8/9\r\n", b"ackage".to_vec())
    })
    .await;
    assert_eq!(download_to(&to, &fake.url("/x")).await, Ok(9));
    // The agent ended before it could give the file its name: nobody is asked again.
    std::fs::write(to.with_extension("validator"), "\"v1\"").unwrap();
    assert_eq!(download_to(&to, &fake.url("/x")).await, Ok(9));
    assert_eq!(fake.requests().len(), 1);
}

#[tokio::test]
async fn what_cannot_be_continued_is_begun_anew() {
    let changed_or_no_ranges: fn() -> Reply = || answer(200, BODY);
    let shorter = || Reply::Answer(416, "content-range: bytes */2\r\n", vec![]);
    let of_another = || Reply::Answer(206, "content-range: bytes 3-8/9\r\n", b"ANOTHER".to_vec());
    let from_elsewhere = || Reply::Answer(206, "content-range: bytes 0-8/9\r\n", BODY.into());
    for (second, requests) in [(changed_or_no_ranges, 2), (shorter, 3), (of_another, 3), (from_elsewhere, 3)] {
        let (got, made, to, _directory) = download(move |_, n| match n {
            0 => broken_off(),
            1 => second(),
            _ => answer(200, BODY),
        })
        .await;
        assert_eq!((got, made), (Ok(9), requests));
        assert_eq!(std::fs::read_to_string(to).unwrap(), BODY);
    }
}

#[tokio::test]
async fn a_weak_etag_continues_nothing() {
    let (got, ..) = download(|head, n| match n {
        0 => Reply::Raw(b"HTTP/1.1 200 OK\r\netag: W/\"v1\"\r\ncontent-length: 9\r\n\r\na p".to_vec()),
        _ if head.contains("range:") => answer(400, ""),
        _ => answer(200, BODY),
    })
    .await;
    assert_eq!(got, Ok(9));
}

#[tokio::test]
async fn a_signed_link_may_have_expired() {
    let fake = Fake::start(|_, _| answer(403, "")).await;
    let error = get(&fake.url("/x?X-Amz-Signature=hunter2")).await.unwrap_err();
    assert!(error.ends_with("/x?...: answered 403 Forbidden (has a signed link expired?)"), "{error}");
}

#[tokio::test]
async fn more_than_the_limit_is_refused() {
    let (got, requests, to, _directory) = download(|_, _| answer(200, &".".repeat(1001))).await;
    assert!(got.unwrap_err().contains("longer than 1000 bytes"));
    assert_eq!((requests, to.exists()), (1, false));
}

#[tokio::test]
async fn a_planted_link_is_not_followed() {
    let fake = Fake::start(|_, _| answer(200, BODY)).await;
    let directory = tempfile::tempdir().unwrap();
    let (victim, link) = (directory.path().join("victim"), directory.path().join("link"));
    std::fs::write(&victim, "precious").unwrap();
    std::os::unix::fs::symlink(&victim, &link).unwrap();
    let error = download_to(&link, &fake.url("/x")).await.unwrap_err();
    assert!(error.contains("cannot write") && error.contains("link"), "{error}");
    assert_eq!(std::fs::read_to_string(victim).unwrap(), "precious");
}

#[tokio::test]
async fn a_certificate_of_nobody_is_final() {
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![key.cert.der().clone()],
            rustls::pki_types::PrivatePkcs8KeyDer::from(key.signing_key.serialize_der()).into(),
        )
        .unwrap();
    let server = tokio::spawn(async move {
        let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
        while let Ok((stream, _)) = listener.accept().await {
            let _ = acceptor.accept(stream).await;
        }
    });
    let directory = tempfile::tempdir().unwrap();
    let error = download_to(&directory.path().join("x"), &url).await.unwrap_err();
    assert!(error.contains("certificate is refused") && !error.contains("given up"), "{error}");
    server.abort();
}
