//! Every rule of the document, broken.

use super::super::bundle::{Bundle, digest};
use super::encode::{multipart, part};
use super::{Decoded, FULL, UserDataError, assert_refused, decode, read, refusal};
use crate::param::ParamValue;

/// A document with the given keys beside the required ones.
fn with(keys: &str) -> Vec<u8> {
    format!("{{\n  \"loitsut\": 1,\n  \"profile\": \"cpp\",\n  {keys}\n}}").into_bytes()
}

#[test]
fn every_key_is_read() {
    let document = read(FULL.as_bytes()).unwrap();
    assert_eq!(document.profile.as_str(), "mariadb-deb");
    assert_eq!(document.params.0["jobs"], ParamValue::Integer(8));
    assert_eq!(document.params.0["debug"], ParamValue::Boolean(false));
    assert_eq!(document.worker.as_ref().unwrap().password.reveal(), "hidden3");
    assert_eq!(document.worker.as_ref().unwrap().master.port, 9989);
    assert_eq!(document.lease.as_ref().unwrap().life.unwrap().get().as_secs(), 8 * 3600);
    assert!(document.disposable);
}

#[test]
fn only_two_keys_are_required() {
    let document = read(br#"{"loitsut":1,"profile":"cpp"}"#).unwrap();
    assert!(document.bundle.is_none() && document.lease.is_none() && !document.disposable);
}

#[test]
fn keys_are_checked() {
    assert_refused(&[
        ("no profile", b"{\"loitsut\": 1}".to_vec(), &["`profile` is missing", "line 1"]),
        ("misspelt", with(r#""parms": {}"#), &["unknown key `parms`", "did you mean `params`?", "line 4"]),
        ("misspelt, capital", with(r#""Worker": {}"#), &["unknown key `Worker`", "`worker`"]),
        ("unlike any", with(r#""zzz": 1"#), &["unknown key `zzz`", "known here: ", "bundle"]),
        (
            "misspelt, deeper",
            with("\"lease\": {\n    \"on_failure\": {\n      \"hodl\": \"1m\" } }"),
            &["unknown key `lease.on_failure.hodl`", "`hold`", "line 6, column 15"],
        ),
        ("key with a quote", with("\"a`, expected `b\": 1"), &["unknown key `a`, expected `b`"]),
        ("key with escapes", with(r#""\u001b[31m": 1"#), &[r"`\u{1b}[31m`"]),
        ("twice", with(r#""disposable": true, "disposable": true"#), &["`disposable` is given twice", "line 4"]),
        ("twice, deeper", with(r#""lease": {"join": "1m", "join": "2m"}"#), &["`lease.join` is given twice"]),
        ("twice in params", with("\"params\": {\"a\": 1,\n \"a\": 2}"), &["`params.a` is given twice", "line 5"]),
        ("twice in its like", with(r#""params": {"params": 1, "params": 2}"#), &["`params.params` is given twice"]),
        ("misspelt in its like", with(r#""lease": {"lease": "1m"}"#), &["unknown key `lease.lease`", "life"]),
        ("twice by an escape", with(r#""params": {"a": 1, "\u0061": 2}"#), &["`params.a` is given twice"]),
        ("twice in files", with(r#""bundle": {"files": {"a": "", "./a": ""}}"#), &["`bundle.files.a` is given twice"]),
        (
            "profile twice",
            b"{\"loitsut\": 1, \"profile\": \"a\", \"profile\": \"b\"}".to_vec(),
            &["`profile`", "twice"],
        ),
        ("loitsut twice", b"{\"loitsut\": 1, \"loitsut\": 1}".to_vec(), &["`loitsut` is given twice"]),
    ]);
}

#[test]
fn types_are_checked_and_values_not_shown() {
    assert_refused(&[
        ("loitsut as text", b"{\"loitsut\": \"1\"}".to_vec(), &["`loitsut`", "a positive whole number", "a string"]),
        ("loitsut as null", b"{\"loitsut\": null}".to_vec(), &["`loitsut`", "null"]),
        ("loitsut as a fraction", b"{\"loitsut\": 1.0}".to_vec(), &["`loitsut`", "a positive whole number"]),
        ("loitsut below zero", b"{\"loitsut\": -1}".to_vec(), &["`loitsut`", "a positive whole number"]),
        ("loitsut zero", b"{\"loitsut\": 0}".to_vec(), &["`loitsut` is 0"]),
        ("number for text", with(r#""worker": {"name": 7}"#), &["`worker.name`", "a string", "a number"]),
        ("text for truth", with(r#""disposable": "yes""#), &["`disposable`", "a boolean", "a string"]),
        ("list for object", with(r#""params": []"#), &["`params`", "an object", "a list"]),
        ("values in a list", with(r#""worker": ["a:1", "b", "c"]"#), &["`worker`", "an object", "a list"]),
        ("bundle in a list", with(r#""bundle": [null, {}]"#), &["`bundle`", "an object", "a list"]),
        ("a list in all", multipart(&[&part("", b"[1, null]")]), &["line 1", "expected an object, found a list"]),
        ("null for object", with(r#""lease": null"#), &["`lease`", "an object", "null"]),
        ("text for object", with(r#""worker": "x""#), &["`worker`", "an object", "a string"]),
        ("fraction", with(r#""params": {"x": 1.5}"#), &["`params.x`", "a string, an integer"]),
        ("too large", with(r#""params": {"x": 9223372036854775808}"#), &["`params.x`"]),
        ("null", with(r#""params": {"x": null}"#), &["`params.x`"]),
        ("object in params", with(r#""params": {"x": {"y": 1}}"#), &["`params.x`"]),
        ("numbers in a list", with(r#""params": {"x": ["a", 1]}"#), &["`params.x`"]),
        ("file as a list", with(r#""bundle": {"files": {"a.toml": []}}"#), &["`bundle", "a list"]),
        ("duration as a number", with(r#""lease": {"join": 900}"#), &["`lease.join`", "a string", "a number"]),
        (
            "duration without unit",
            with("\"lease\": {\n\"join\": \"15\"\n}"),
            &["`lease.join`", "`15`", "line 5, column 9"],
        ),
        ("duration of other unit", with(r#""lease": {"idle": "2w"}"#), &["`lease.idle`", "`2w`"]),
        ("zero duration", with(r#""lease": {"life": "0s"}"#), &["`lease.life` is zero"]),
        ("syntax", b"{\"loitsut\": 1,\n \"profile\": }".to_vec(), &["not JSON", "line 2"]),
        ("comma at the end", b"{\"loitsut\": 1,}".to_vec(), &["not JSON", "trailing comma"]),
        ("cut off", b"{\"loitsut\": 1, \"profile\": \"cp".to_vec(), &["ends in the middle", "cut off"]),
        ("something behind", b"{\"loitsut\": 1, \"profile\": \"x\"}\n}".to_vec(), &["not JSON", "line 2"]),
    ]);
    for secret in ["\"hunter2\"", "[\"hunter2\"]", "\"\\u0068unter2, expected x\""] {
        for keys in
            [format!("\"worker\": {secret}"), format!("\"params\": {secret}"), format!("\"disposable\": {secret}")]
        {
            let message = refusal(&with(&keys));
            assert!(!message.contains("hunter2"), "{message}");
        }
    }
    let number = refusal(&with(r#""worker": {"master": "a:1", "name": "a", "password": 12345678}"#));
    assert!(number.contains("`worker.password`") && !number.contains("12345678"), "{number}");
}

#[test]
fn values_are_checked() {
    let worker = |master: &str, name: &str| {
        with(&format!(r#""worker": {{"master": "{master}", "name": "{name}", "password": "p"}}"#))
    };
    let launch = |id: &str| with(&format!(r#""launch": {{"id": "{id}", "name": "n", "pool": "p"}}"#));
    let profile = |name: &str| format!(r#"{{"loitsut": 1, "profile": "{name}"}}"#).into_bytes();
    let driver = |url: &str, token: &str| with(&format!(r#""driver": {{"url": "{url}", "token": "{token}"}}"#));
    assert_refused(&[
        ("profile with ..", profile("../etc"), &["`profile`: `../etc`", "without `..`"]),
        ("absolute profile", profile("/etc/x"), &["`profile`", "relative"]),
        ("empty profile", profile(""), &["`profile`"]),
        ("profile with an empty part", profile("a//b"), &["`profile`"]),
        ("file for profile", profile("cpp.toml"), &["`profile`", "without `.toml`"]),
        ("profile with a newline", profile(r"a\nb"), &["`profile`"]),
        ("launch id with a slash", launch("a/b"), &["`launch.id`", "letters"]),
        ("launch id of a dot", launch(".."), &["`launch.id`"]),
        ("empty launch id", launch(""), &["`launch.id`"]),
        ("long launch id", launch(&"a".repeat(129)), &["`launch.id`", "longer than 128"]),
        ("launch without a pool", with(r#""launch": {"id": "a", "name": "b"}"#), &["`launch.pool` is missing"]),
        ("worker name with a space", worker("a:1", "b c"), &["`worker.name`", "letters"]),
        ("worker name as an option", worker("a:1", "-rf"), &["`worker.name`"]),
        ("master without port", worker("ci.example.org", "b"), &["`worker.master`", "port is missing"]),
        ("master without host", worker(":9989", "b"), &["`worker.master`", "host"]),
        ("master with a name for a port", worker("ci:pb", "b"), &["`worker.master`", "1 to 65535"]),
        ("port zero", worker("ci:0", "b"), &["1 to 65535"]),
        ("port with a sign", worker("ci:+80", "b"), &["1 to 65535"]),
        ("port too large", worker("ci:65536", "b"), &["1 to 65535"]),
        ("IPv6 without brackets", worker("2001:db8::7:9989", "b"), &["brackets"]),
        ("broken IPv6", worker("[2001:db8]:9989", "b"), &["no host has such a name"]),
        ("master with a path", worker("a/b:1", "b"), &["no host has such a name"]),
        ("driver by ftp", driver("ftp://a/", "t"), &["`driver.url`", "http"]),
        ("driver by file", driver("file:///etc/passwd", "t"), &["`driver.url`", "http"]),
        ("driver without scheme", driver("ci.example.org", "t"), &["`driver.url`", "not a URL"]),
        ("driver with a password", driver("https://u:p@a/", "t"), &["`driver.url`", "password"]),
        ("no token", driver("https://a/", ""), &["`driver.token`", "empty"]),
        ("token with a newline", driver("https://a/", r"x\r\nY: z"), &["`driver.token`"]),
        (
            "not a certificate",
            with(r#""driver": {"url": "https://a", "token": "t", "ca": "x"}"#),
            &["`driver.ca`", "PEM"],
        ),
        ("half closed", with(r#""metadata": "shut""#), &["`metadata`", "`open`", "`closed`"]),
        ("no version", with(r#""agent": {"version": ""}"#), &["`agent.version`"]),
        (
            "agent without digest",
            with(r#""agent": {"version": "1", "url": {"x86_64": "https://a"}}"#),
            &["agent.sha256"],
        ),
        (
            "bad digest",
            with(r#""agent": {"version": "1", "sha256": {"x86_64": "abc"}}"#),
            &["`agent.sha256.x86_64`", "64"],
        ),
        ("unknown in agent", with(r#""agent": {"version": "1", "uri": {}}"#), &["unknown key `agent.uri`", "`url`"]),
    ]);
    for master in ["ci.example.org:9989", "192.0.2.7:1", "[2001:db8::7]:65535", "ci_1:80"] {
        let read = read(&worker(master, "b")).unwrap();
        assert_eq!(read.worker.unwrap().master.to_string(), master);
    }
}

#[test]
fn bundles_are_checked() {
    let file = |path: &str| with(&format!(r#""bundle": {{"files": {{"{path}": ""}}}}"#));
    let zeros = "0".repeat(64);
    assert_refused(&[
        ("escape", file("../x"), &["`bundle.files", "`..`"]),
        ("escape in the middle", file("layers/../../x"), &["`..`"]),
        ("absolute", file("/etc/passwd"), &["absolute"]),
        ("empty", file(""), &["names no file"]),
        ("a dot", file("."), &["names no file"]),
        ("newline", file(r"a\nb"), &[r"bundle.files.a\nb`: `a\nb`"]),
        ("NUL", file(r"a\u0000"), &["bundle.files"]),
        ("file as directory", with(r#""bundle": {"files": {"a/b/c": "", "a": ""}}"#), &["`a`", "`a/b/c`", "directory"]),
        ("neither", with(r#""bundle": {}"#), &["`bundle`", "exactly one of `files` and `url`"]),
        ("both", with(r#""bundle": {"files": {}, "url": "https://a"}"#), &["exactly one"]),
        ("url without digest", with(r#""bundle": {"url": "https://a"}"#), &["`bundle`", "needs `sha256`"]),
        ("short digest", with(r#""bundle": {"files": {}, "sha256": "00"}"#), &["`bundle.sha256`", "64"]),
        (
            "digest of another bundle",
            with(&format!(r#""bundle": {{"files": {{"a": "b"}}, "sha256": "{zeros}"}}"#)),
            // printf '%s  a\n' "$(printf b | sha256sum | cut -d' ' -f1)" | sha256sum
            &["`bundle`", &zeros, "667b24062d2f2aaa0ea93fe03a5e1dbf8c1a6232108b20bb6018003b9beb9372"],
        ),
    ]);
}

#[test]
fn the_digest_sorts_lines_not_paths() {
    let files = ["a", "b", "c"].map(|path| (path.parse().unwrap(), format!("content of {path}\n"))).into();
    // for f in a b c; do echo "content of $f" > $f; done; sha256sum a b c | LC_ALL=C sort | sha256sum
    assert_eq!(digest(&files).to_string(), "1d69ac57b0d764d7f3ac83ece910555589f96358518f9712a3f725621b1174a1");
    let json = serde_json::json!({"files": {"./c": "content of c\n", "a": "content of a\n", "b": "content of b\n"}});
    assert!(matches!(serde_json::from_value(json), Ok(Bundle::Files { sha256, .. }) if sha256 == digest(&files)));
}

#[test]
fn an_older_agent_reads_the_preamble_of_what_it_does_not_know() {
    let newer = br#"{"loitsut": 2, "agent": {"version": "9.0"}, "profile": {"new": "shape"}, "unheard": [1]}"#;
    let Ok(Decoded::Ours(text)) = decode(newer) else { panic!("not ours") };
    assert_eq!(text.preamble().unwrap().agent.unwrap().version.as_str(), "9.0");
    assert_eq!(text.document(), Err(UserDataError::TooOld(2)));
    let message = UserDataError::TooOld(2).to_string();
    assert!(
        message.contains("format 2") && message.contains("too old") && message.contains("newer agent"),
        "{message}"
    );
}
