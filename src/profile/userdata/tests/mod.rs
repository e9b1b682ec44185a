//! Hostile, odd and honest user-data.

mod document;
mod encode;
mod every_encoding;
mod show;
mod whose;

use super::{Decoded, Document, UserDataError, decode};

/// The document of the design, with every key.
const FULL: &str = r#"{ "loitsut": 1,
  "agent":   { "version": "1.4.0", "url": { "x86_64": "https://ci.example.org/agent?sig=hidden1" },
               "sha256": { "x86_64": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" } },
  "launch":  { "id": "0192f-1", "name": "deb-bookworm-3", "pool": "deb-bookworm" },
  "profile": "mariadb-deb",
  "params":  { "branch": "11.4", "key": "hidden2", "jobs": 8, "debug": false, "flags": ["-O2", "ä \" \\ \n"] },
  "bundle":  { "files": { "mariadb-deb.toml": "layers = []\n", "layers/boost.toml": "" } },
  "worker":  { "master": "ci.example.org:9989", "name": "deb-bookworm-3", "password": "hidden3" },
  "driver":  { "url": "https://ci.example.org:7878", "token": "hidden4",
               "ca": "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n" },
  "lease":   { "join": "15m", "idle": "30m", "life": "8h", "on_failure": { "hold": "0s" } },
  "metadata": "closed",
  "disposable": true }
"#;

fn read(received: &[u8]) -> Result<Document, UserDataError> {
    match decode(received)? {
        Decoded::Ours(text) => text.document(),
        Decoded::NotOurs(kind) => panic!("taken for {kind}"),
    }
}

fn refusal(received: &[u8]) -> String {
    match decode(received) {
        Ok(Decoded::NotOurs(kind)) => panic!("not refused, but taken for {kind}"),
        Ok(Decoded::Ours(text)) => text.document().expect_err("accepted").to_string(),
        Err(error) => error.to_string(),
    }
}

/// Each name of a case with its input and the words that its message must have.
fn assert_refused(cases: &[(&str, Vec<u8>, &[&str])]) {
    for (case, received, words) in cases {
        let message = refusal(received);
        for word in *words {
            assert!(message.contains(word), "{case}: no {word:?} in: {message}");
        }
    }
}
