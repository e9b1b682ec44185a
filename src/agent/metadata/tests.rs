//! Tests of the sources, each with the fault itself: real sockets, real files.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};

use super::*;
use crate::host::http::Retry;
use crate::host::http::fake::{Fake, Reply, answer};

const DOCUMENT: &str =
    r#"{"instanceId": "i-1", "instanceType": "c7a.large", "region": "eu-north-1", "kernelId": null}"#;

/// The real policy with less patience.
fn impatient() -> Retry {
    Retry {
        total: Duration::from_secs(2),
        each: Duration::from_millis(300),
        first_pause: Duration::from_millis(5),
        longest_pause: Duration::from_millis(20),
        statuses: &[401..=401, 429..=429, 500..=599],
    }
}

/// What a decent service answers.
fn decent(head: &str) -> Reply {
    let has_token = head.contains("x-aws-ec2-metadata-token: T==");
    let asks_ttl = head.contains("x-aws-ec2-metadata-token-ttl-seconds: 21600");
    match head.split(" HTTP").next() {
        Some("PUT /latest/api/token") if asks_ttl => answer(200, "T=="),
        Some("GET /latest/user-data") if has_token => answer(200, "hello"),
        Some("GET /latest/dynamic/instance-identity/document") if has_token => answer(200, DOCUMENT),
        Some(_) if has_token => answer(404, ""),
        _ => answer(401, ""),
    }
}

fn service(fake: &Fake) -> Service {
    Service::with_patience(vec![fake.url("")], false, impatient())
}

/// Fetches from a service that answers as `reply` says.
async fn fetch(reply: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> (Fake, Result<Metadata, String>) {
    let fake = Fake::start(reply).await;
    let fetched = service(&fake).fetch().await;
    (fake, fetched.map_err(|error| error.to_string()))
}

#[track_caller]
fn assert_fetched(fetched: Result<Metadata, String>) {
    let metadata = fetched.unwrap();
    assert_eq!(metadata.user_data.as_deref(), Some(&b"hello"[..]));
    assert_eq!(metadata.identity.instance_id, "i-1");
    assert_eq!(metadata.identity.region.as_deref(), Some("eu-north-1"));
}

#[track_caller]
fn assert_fails(fetched: Result<Metadata, String>, parts: &[&str]) {
    let error = fetched.unwrap_err();
    for part in parts {
        assert!(error.contains(part), "\"{part}\" is not in: {error}");
    }
}

#[tokio::test]
async fn a_normal_start_is_three_requests() {
    let (fake, fetched) = fetch(|head, _| decent(head)).await;
    assert_fetched(fetched);
    assert_eq!(fake.requests().len(), 3);
    assert!(fake.requests()[0].contains("user-agent: loitsut/"));
    assert!(fake.requests()[0].contains("content-length: 0"), "an empty PUT says so, for some answer 411 otherwise");
}

#[tokio::test]
async fn no_user_data_is_no_failure() {
    let (_, fetched) = fetch(|head, _| match head.starts_with("GET /latest/user-data") {
        true => answer(404, "<html>"),
        false => decent(head),
    })
    .await;
    assert_eq!(fetched.unwrap().user_data, None);
}

#[tokio::test]
async fn empty_user_data_is_not_absent() {
    let (_, fetched) = fetch(|head, _| match head.starts_with("GET /latest/user-data") {
        true => answer(200, ""),
        false => decent(head),
    })
    .await;
    assert_eq!(fetched.unwrap().user_data, Some(vec![]));
}

#[tokio::test]
async fn without_an_identity_document_the_id_is_asked_for() {
    let (_, fetched) = fetch(|head, _| match head.split(" HTTP").next() {
        Some("GET /latest/dynamic/instance-identity/document") => answer(404, ""),
        Some("GET /latest/meta-data/instance-id") => answer(200, "i-cloud\n"),
        _ => decent(head),
    })
    .await;
    assert_eq!(fetched.unwrap().identity.instance_id, "i-cloud");
}

#[tokio::test]
async fn an_identity_of_a_stranger_is_refused() {
    for (document, part) in [("<html>", "expected value"), ("{}", "the instance id is \"\"")] {
        let (_, fetched) = fetch(move |head, _| match head.contains("document") {
            true => answer(200, document),
            false => decent(head),
        })
        .await;
        assert_fails(fetched, &["does not say who this instance is", part]);
    }
}

#[tokio::test]
async fn a_service_that_refuses_at_first_is_waited_for() {
    // Bound but not listening: the port is ours and refuses.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let endpoint = format!("http://{}", socket.local_addr().unwrap());
    let service = Service::with_patience(vec![endpoint], false, impatient());
    let appears = async {
        tokio::time::sleep(Duration::from_millis(100)).await; // the fault
        Fake::listen(socket.listen(8).unwrap(), |head, _| decent(head))
    };
    let (fetched, _fake) = tokio::join!(service.fetch(), appears);
    assert_fetched(fetched.map_err(|error| error.to_string()));
}

#[tokio::test]
async fn a_service_that_always_refuses_is_given_up() {
    let endpoint = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let service = Service::with_patience(vec![endpoint], false, impatient());
    let fetched = service.fetch().await.map_err(|error| error.to_string());
    assert_fails(fetched, &["PUT http://127.0.0.1:", "Connection refused", "given up after", "tries in"]);
}

#[tokio::test]
async fn a_service_that_hangs_once_is_asked_again() {
    let (_, fetched) = fetch(|head, number| if number == 0 { Reply::Hang } else { decent(head) }).await;
    assert_fetched(fetched);
}

#[tokio::test]
async fn a_service_that_hangs_for_ever_is_given_up() {
    let (_, fetched) = fetch(|_, _| Reply::Hang).await;
    assert_fails(fetched, &["/latest/api/token", "no complete answer within", "hop limit"]);
}

#[tokio::test]
async fn statuses_that_pass_are_waited_out() {
    for status in [401, 429, 500, 503] {
        let (_, fetched) =
            fetch(move |head, n| if [0, 2].contains(&n) { answer(status, "") } else { decent(head) }).await;
        assert_fetched(fetched);
    }
}

#[tokio::test]
async fn a_status_that_stays_is_given_up() {
    let (fake, fetched) = fetch(|_, _| answer(503, "")).await;
    assert_fails(fetched, &["answered 503 Service Unavailable", "given up after"]);
    assert!(fake.requests().len() > 3);
}

#[tokio::test]
async fn a_longer_wait_than_there_is_time_for_is_not_begun() {
    let (fake, fetched) = fetch(|_, _| Reply::Answer(503, "retry-after: 3600\r\n", vec![])).await;
    assert_fails(fetched, &["answered 503"]);
    assert_eq!(fake.requests().len(), 1);
}

#[tokio::test]
async fn switched_off_is_final_and_says_how_to_switch_on() {
    let (fake, fetched) = fetch(|_, _| answer(403, "")).await;
    assert_fails(fetched, &["403", "--http-endpoint enabled"]);
    assert_eq!(fake.requests().len(), 1);
}

#[tokio::test]
async fn a_service_without_tokens_is_final() {
    let (fake, fetched) = fetch(|_, _| answer(404, "")).await;
    assert_fails(fetched, &["404", "version 1", "metadata_v1 = true"]);
    assert_eq!(fake.requests().len(), 1);
}

#[tokio::test]
async fn an_answer_that_is_no_token_is_final() {
    for (body, part) in [("", "empty"), ("\n", "empty"), ("<html> </html>", "14 bytes")] {
        let (fake, fetched) = fetch(move |_, _| answer(200, body)).await;
        assert_fails(fetched, &["is not a token", part, "/latest/api/token"]);
        assert_eq!(fake.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_body_that_drips_ends_at_the_deadline() {
    let (_, fetched) = fetch(|head, _| match head.starts_with("PUT") {
        true => decent(head),
        false => Reply::Drip,
    })
    .await;
    assert_fails(fetched, &["/latest/user-data", "no complete answer"]);
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused() {
    let long = || vec![b'.'; LIMIT as usize + 1];
    let said = move || Reply::Answer(200, "", long());
    let unsaid = move || Reply::Raw([b"HTTP/1.0 200 OK\r\n\r\n".to_vec(), long()].concat());
    for reply in [Box::new(said) as Box<dyn Fn() -> Reply + Send + Sync>, Box::new(unsaid)] {
        let (fake, fetched) = fetch(move |head, _| match head.starts_with("PUT") {
            true => decent(head),
            false => reply(),
        })
        .await;
        assert_fails(fetched, &["longer than 1048576 bytes"]);
        assert_eq!(fake.requests().len(), 2, "it would not get shorter");
    }
}

#[tokio::test]
async fn a_short_body_is_asked_for_again() {
    let (_, fetched) = fetch(|head, number| match number {
        1 => Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhel".to_vec()),
        _ => decent(head),
    })
    .await;
    assert_fetched(fetched);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (fake, fetched) = fetch(|head, _| match head.starts_with("PUT") {
        true => decent(head),
        false => Reply::Answer(302, "location: /elsewhere\r\n", vec![]),
    })
    .await;
    assert_fails(fetched, &["/latest/user-data", "answered 302 Found"]);
    assert_eq!(fake.requests().len(), 2);
}

#[tokio::test]
async fn an_expired_token_is_renewed() {
    let expired = AtomicBool::new(false);
    let (fake, fetched) = fetch(move |head, _| {
        let is_identity = head.contains("document");
        match is_identity && !expired.swap(is_identity, Ordering::Relaxed) {
            true => answer(401, ""),
            false => decent(head),
        }
    })
    .await;
    assert_fetched(fetched);
    let tokens = fake.requests().iter().filter(|head| head.starts_with("PUT")).count();
    assert_eq!(tokens, 2);
}

#[tokio::test]
async fn the_second_endpoint_is_asked_when_there_is_no_way_to_the_first() {
    let fake = Fake::start(|head, _| decent(head)).await;
    let silent = Fake::start(|_, _| Reply::Hang).await;
    let endpoints = vec![silent.url(""), fake.url("")];
    let fetched = Service::with_patience(endpoints, false, impatient()).fetch().await;
    assert_fetched(fetched.map_err(|error| error.to_string()));
    assert_eq!((silent.requests().len(), fake.requests().len()), (1, 3));
}

/// Variables are of the whole process, so this runs the test again in one of its own.
#[test]
#[allow(clippy::disallowed_methods)]
fn a_proxy_in_the_environment_is_ignored() {
    let test = "metadata::tests::a_normal_start_is_three_requests";
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", test, "--nocapture"]);
    for variable in ["http_proxy", "HTTP_PROXY", "ALL_PROXY"] {
        again.env(variable, "http://127.0.0.1:1"); // nothing listens there
    }
    let output = again.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}

fn no_environment(_: &str) -> Option<String> {
    None
}

/// A machine without anything.
fn nowhere() -> Host {
    Host::at("/nowhere")
}

/// A root with these files under it.
#[allow(clippy::disallowed_methods)]
fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    root
}

#[test]
fn the_configured_path_goes_before_all() {
    let environment = |_: &str| Some("http://127.0.0.1".to_owned());
    let source =
        Source::detect_by(&nowhere(), Config { metadata: Some("/p".into()), ..Config::default() }, environment);
    assert!(matches!(source.unwrap(), Source::Path(path) if path == Path::new("/p")));
}

#[tokio::test]
async fn an_endpoint_skips_platform_detection_with_or_without_a_slash() {
    let fake = Fake::start(|head, _| decent(head)).await;
    for url in [fake.url(""), fake.url("/")] {
        let environment = |name: &str| (name == Source::ENDPOINT).then(|| url.clone());
        let source = Source::detect_by(&nowhere(), Config::default(), environment).unwrap();
        assert_fetched(source.fetch(&nowhere()).await.map_err(|error| error.to_string()));
    }
}

#[test]
fn a_bad_endpoint_is_named() {
    for (url, part) in [
        ("169.254.169.254", "not a URL"),
        ("ftp://x", "such as"),
        ("https://x", "such as"),
        ("http://x/?y=1", "such as"),
    ] {
        let environment = |name: &str| (name == Source::ENDPOINT).then(|| url.to_owned());
        let error = Source::detect_by(&nowhere(), Config::default(), environment).unwrap_err().to_string();
        assert!(error.contains(Source::ENDPOINT) && error.contains(part), "{error}");
    }
}

const EC2_UUID: &str = "EC2F58AF-2DAD-C57E-88C0-A81CB6084290\n";

fn detect_in(files: &[(&str, &str)], config: Config) -> Result<Source, String> {
    let root = root(files);
    Source::detect_by(&Host::at(root.path()), config, no_environment).map_err(|error| error.to_string())
}

#[test]
fn ec2_is_known_by_its_firmware_or_hypervisor() {
    let (uuid, serial) = ("sys/class/dmi/id/product_uuid", "sys/class/dmi/id/product_serial");
    let lower = EC2_UUID.to_ascii_lowercase();
    for files in [
        &[("sys/class/dmi/id/sys_vendor", "Amazon EC2\n")][..],
        &[("sys/class/dmi/id/board_vendor", "Amazon EC2\n")],
        &[("sys/class/dmi/id/sys_vendor", "Xen\n"), (uuid, EC2_UUID), (serial, &lower)],
        &[("sys/hypervisor/uuid", &lower)],
    ] {
        assert!(matches!(detect_in(files, Config::default()), Ok(Source::Service(_))), "{files:?}");
    }
}

#[test]
fn a_strangers_uuid_that_begins_alike_is_not_ec2() {
    let (uuid, serial) = ("sys/class/dmi/id/product_uuid", "sys/class/dmi/id/product_serial");
    for files in [
        &[(uuid, EC2_UUID)][..],
        &[(uuid, EC2_UUID), (serial, "VMware-42 1d\n")],
        &[("sys/hypervisor/uuid", EC2_UUID), (uuid, "4c4c4544-0042\n"), (serial, "4c4c4544-0042\n")],
        &[("sys/class/dmi/id/sys_vendor", "Not Amazon EC2\n")],
    ] {
        let error = detect_in(files, Config { metadata_v1: true, ..Config::default() }).unwrap_err();
        assert!(error.contains("does not look like EC2"), "{files:?}: {error}");
    }
}

#[test]
fn openstack_needs_a_permit() {
    for (name, text) in [("product_name", "OpenStack Nova\n"), ("chassis_asset_tag", "OpenTelekomCloud\n")] {
        let path = format!("sys/class/dmi/id/{name}");
        let error = detect_in(&[(&path, text)], Config::default()).unwrap_err();
        assert!(error.contains("metadata_v1 = true"), "{error}");
        let permitted = Config { metadata_v1: true, ..Config::default() };
        assert!(matches!(detect_in(&[(&path, text)], permitted), Ok(Source::Service(_))));
    }
}

/// What OpenStack answers: no tokens, no identity document.
fn openstack(head: &str) -> Reply {
    match head.split(" HTTP").next() {
        Some("GET /latest/user-data") => answer(200, "hello"),
        Some("GET /latest/meta-data/instance-id") => answer(200, "i-0000001a"),
        Some("GET /latest/meta-data/instance-type") => answer(200, "m1.small"),
        _ => answer(404, ""),
    }
}

#[tokio::test]
async fn version_1_is_asked_where_it_is_permitted() {
    let fake = Fake::start(|head, _| openstack(head)).await;
    let metadata = Service::with_patience(vec![fake.url("")], true, impatient()).fetch().await.unwrap();
    assert_eq!(metadata.user_data.as_deref(), Some(&b"hello"[..]));
    let identity = metadata.identity;
    assert_eq!((&*identity.instance_id, identity.instance_type.as_deref()), ("i-0000001a", Some("m1.small")));
    assert_eq!(identity.availability_zone, None);
    let tokens = fake.requests().iter().filter(|head| head.starts_with("PUT")).count();
    assert_eq!(tokens, 1, "once it is known that there are none");
}

#[tokio::test]
async fn the_permit_does_not_weaken_a_service_that_knows_version_2() {
    let fake = Fake::start(|head, _| decent(head)).await;
    let fetched = Service::with_patience(vec![fake.url("")], true, impatient()).fetch().await;
    assert_fetched(fetched.map_err(|error| error.to_string()));
    assert!(fake.requests().iter().skip(1).all(|head| head.contains("x-aws-ec2-metadata-token: T==")));
}

#[test]
fn what_is_not_ec2_is_told_what_to_set() {
    for (files, maker) in [(&[("sys/class/dmi/id/sys_vendor", "QEMU\n")][..], "\"QEMU\""), (&[], "not known")] {
        let root = root(files);
        let error =
            Source::detect_by(&Host::at(root.path()), Config::default(), no_environment).unwrap_err().to_string();
        for part in [maker, "agent.toml", Source::ENDPOINT] {
            assert!(error.contains(part), "{error}");
        }
    }
}

#[test]
fn the_mode_chooses_the_protocol() {
    assert_eq!(by_mode(Some("IPv6")).unwrap(), [Source::EC2_V6]);
    assert_eq!(by_mode(Some("IPv4")).unwrap(), [Source::EC2_V4]);
    assert_eq!(by_mode(None).unwrap(), [Source::EC2_V4, Source::EC2_V6]);
    assert!(by_mode(Some("IPv5")).unwrap_err().to_string().contains("ipv5"));
}

#[tokio::test]
async fn a_directory_gives_user_data_and_identity() {
    for (name, document) in
        [("instance-identity.json", DOCUMENT), ("meta-data.json", r#"{"instance-id": "i-1", "region": "eu-north-1"}"#)]
    {
        let root = root(&[("user-data", "hello"), (name, document)]);
        let fetched = Source::Path("/".into()).fetch(&Host::at(root.path())).await;
        assert_fetched(fetched.map_err(|error| error.to_string()));
    }
}

#[test]
fn a_directory_may_lack_everything() {
    let root = root(&[]);
    let metadata = files::fetch(&Host::at(root.path()), Path::new("/")).unwrap();
    assert_eq!((metadata.user_data, &*metadata.identity.instance_id), (None, "local"));
}

#[test]
fn a_file_is_the_user_data_and_the_machine_gives_the_id() {
    let root = root(&[("u", "hello"), ("etc/machine-id", "0123456789abcdef0123456789abcdef\n")]);
    let metadata = files::fetch(&Host::at(root.path()), Path::new("/u")).unwrap();
    assert_eq!(metadata.user_data.as_deref(), Some(&b"hello"[..]));
    let id = metadata.identity.instance_id;
    assert!(id.starts_with("local-") && id.len() == 22 && !id.contains("0123456789"), "{id}");
}

#[tokio::test]
async fn a_path_that_is_not_there_is_a_failure_and_not_an_absence() {
    let error = Source::Path("/u".into()).fetch(&nowhere()).await.unwrap_err().to_string();
    assert!(error.contains("/u is named as the source"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_too_long_is_refused() {
    let root = root(&[("u", &".".repeat(LIMIT as usize + 1))]);
    let error = Source::Path("/u".into()).fetch(&Host::at(root.path())).await.unwrap_err().to_string();
    assert!(error.contains("longer than 1048576 bytes"), "{error}");
}
