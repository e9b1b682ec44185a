//! The metadata service over real HTTP on loopback.

use std::net::Ipv4Addr;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::nspawn::notice;

/// A service with this user-data, and where it listens. It ends with the test's runtime.
async fn service(user_data: Option<&[u8]>) -> String {
    service_with_notices(user_data, None).await
}

async fn service_with_notices(user_data: Option<&[u8]>, notices: Option<PathBuf>) -> String {
    let identity = Identity {
        id: "i-0123456789abcdef0".into(),
        name: "deb-3".into(),
        address: Ipv4Addr::new(10, 83, 0, 3),
        mac: "02:00:0a:53:00:03".into(),
        image: "bookworm".into(),
        started: "2026-01-01T00:00:00Z".into(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(serve(vec![listener], tree(&identity, user_data.map(<[u8]>::to_vec)), notices));
    address
}

/// One request; the status and the body of the answer.
async fn ask(address: &str, request: &str, headers: &str) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let text = format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
    (status, answer[head + 4..].to_vec())
}

async fn token(address: &str) -> String {
    let (status, token) = ask(address, "PUT /latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds: 60\r\n").await;
    assert_eq!(status, 200);
    format!("X-aws-ec2-metadata-token: {}\r\n", String::from_utf8(token).unwrap())
}

async fn get(address: &str, path: &str) -> (u16, String) {
    let (status, body) = ask(address, &format!("GET {path}"), &token(address).await).await;
    (status, String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn user_data_comes_back_byte_for_byte() {
    let bytes = [0x1f, 0x8b, 0, 0xff, b'\r', b'\n'];
    let address = service(Some(&bytes)).await;
    assert_eq!(ask(&address, "GET /latest/user-data", &token(&address).await).await, (200, bytes.to_vec()));
}

#[tokio::test]
async fn absent_user_data_is_404_and_not_listed() {
    let address = service(None).await;
    assert_eq!(get(&address, "/latest/user-data").await.0, 404);
    assert_eq!(get(&address, "/latest/").await, (200, "dynamic\nmeta-data".into()));
}

#[tokio::test]
async fn nothing_is_told_without_a_token_that_holds() {
    let address = service(Some(b"x")).await;
    for path in ["/latest/user-data", "/latest/meta-data/", "/latest/no/such", "/"] {
        assert_eq!(ask(&address, &format!("GET {path}"), "").await.0, 401, "{path}");
        assert_eq!(ask(&address, &format!("GET {path}"), "X-aws-ec2-metadata-token: AAAA\r\n").await.0, 401, "{path}");
    }
}

#[tokio::test]
async fn a_token_needs_a_ttl_in_bounds_and_no_proxy() {
    let address = service(None).await;
    for ttl in ["", "0", "21601", "-1", "ten"] {
        let header = format!("X-aws-ec2-metadata-token-ttl-seconds: {ttl}\r\n");
        assert_eq!(ask(&address, "PUT /latest/api/token", &header).await.0, 400, "{ttl}");
    }
    assert_eq!(ask(&address, "PUT /latest/api/token", "").await.0, 400);
    let forwarded = "X-aws-ec2-metadata-token-ttl-seconds: 60\r\nX-Forwarded-For: 192.0.2.1\r\n";
    assert_eq!(ask(&address, "PUT /latest/api/token", forwarded).await.0, 403);
}

#[tokio::test]
async fn the_identity_document_is_ec2s() {
    let address = service(None).await;
    let (status, body) = get(&address, "/latest/dynamic/instance-identity/document").await;
    let document: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status, 200);
    assert_eq!(document["instanceId"], "i-0123456789abcdef0");
    assert_eq!(document["privateIp"], "10.83.0.3");
    assert_eq!(document["pendingTime"], "2026-01-01T00:00:00Z");
}

#[tokio::test]
async fn directories_are_listed_as_ec2_does() {
    let address = service(Some(b"x")).await;
    let (_, listing) = get(&address, "/latest/meta-data/").await;
    assert!(
        listing.lines().any(|line| line == "placement/") && listing.lines().any(|line| line == "instance-id"),
        "{listing}"
    );
    assert_eq!(
        get(&address, "/latest/meta-data/placement").await,
        (200, "availability-zone\navailability-zone-id\nregion".into())
    );
    assert_eq!(get(&address, "/2021-03-23/meta-data/instance-id").await, (200, "i-0123456789abcdef0".into()));
    assert_eq!(get(&address, "/").await, (200, "latest".into()));
    for absent in
        ["/latest/meta-data/spot/instance-action", "/latest/meta-data/inst", "/none/meta-data/", "/latest/../user-data"]
    {
        assert_eq!(get(&address, absent).await.0, 404, "{absent}");
    }
}

#[tokio::test]
async fn nothing_can_be_changed() {
    let address = service(Some(b"x")).await;
    let token = token(&address).await;
    assert_eq!(ask(&address, "PUT /latest/user-data", &token).await.0, 405);
    assert_eq!(ask(&address, "GET /latest/api/token", &token).await.0, 405);
}

#[tokio::test]
async fn a_notice_is_told_once_it_is_given() {
    let directory = tempfile::tempdir().unwrap();
    let address = service_with_notices(None, Some(directory.path().to_owned())).await;
    let (spot, rebalance) =
        ("/latest/meta-data/spot/instance-action", "/latest/meta-data/events/recommendations/rebalance");
    assert_eq!((get(&address, spot).await.0, get(&address, rebalance).await.0), (404, 404));

    notice::Notice::Spot.give(directory.path(), Duration::from_secs(120)).unwrap();
    let (status, text) = get(&address, spot).await;
    let told: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &told["action"]), (200, &json!("terminate")));
    let end = humantime::parse_rfc3339(told["time"].as_str().unwrap()).unwrap();
    assert!(end > std::time::SystemTime::now() + Duration::from_secs(60), "{text}");
    assert_eq!(get(&address, rebalance).await.0, 404);

    notice::Notice::Rebalance.give(directory.path(), Duration::ZERO).unwrap();
    assert!(get(&address, rebalance).await.1.contains("noticeTime"));
}
