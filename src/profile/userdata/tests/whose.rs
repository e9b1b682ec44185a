//! What is ours, what is not, and what is broken.

use super::super::decode::{MOST_DECODED, MOST_RECEIVED};
use super::encode::{CLOUD_CONFIG, base64, gzip, multipart, part};
use super::{Decoded, FULL, UserDataError, assert_refused, decode};

#[test]
fn what_belongs_to_others_is_left_alone() {
    let cases: &[(&str, Vec<u8>, &str)] = &[
        ("nothing", b"".to_vec(), "empty"),
        ("white space", b" \r\n\t\n".to_vec(), "empty"),
        ("byte order mark", b"\xef\xbb\xbf".to_vec(), "empty"),
        ("gzip of nothing", gzip(b""), "empty"),
        ("script", b"#!/bin/sh\necho '{\"loitsut\": 1}'\n".to_vec(), "script"),
        ("script in Latin-1", b"#!/bin/sh\n# \xe4\n".to_vec(), "script"),
        ("script that mails", b"#!/bin/sh\nmail <<.\nContent-Type: multipart/mixed\n\n.\n".to_vec(), "script"),
        ("cloud-config", b"#cloud-config\npackages: [gcc]\n".to_vec(), "cloud-config"),
        ("gzip of cloud-config", gzip(b"#cloud-config\n"), "cloud-config"),
        ("include", b"#include\nhttps://example.org/\n".to_vec(), "comment"),
        ("template", b"## template: jinja\n#cloud-config\n".to_vec(), "comment"),
        ("a word that is base64", b"example".to_vec(), "neither"),
        ("a sentence that begins as base64 of a brace", b"example text, no more".to_vec(), "neither"),
        ("hexadecimal", b"deadbeefdeadbeef".to_vec(), "neither"),
        ("base64 of a script", base64(b"#!/bin/sh\n"), "neither"),
        ("base64 of noise", base64(&[0x80; 300]), "neither"),
        ("array", b"[{\"loitsut\": 1}]".to_vec(), "neither"),
        ("string", b"\"loitsut\"".to_vec(), "neither"),
        ("number", b"1".to_vec(), "neither"),
        ("toml", b"loitsut = 1\nprofile = \"x\"\n".to_vec(), "neither"),
        ("shell function", b"{ echo hello; }\n".to_vec(), "neither"),
        ("NUL bytes", vec![0; 100], "neither"),
        ("object", b"{}".to_vec(), "without the key"),
        ("other object", b"{\"ignition\": {\"version\": \"3.4.0\"}}".to_vec(), "without the key"),
        ("base64 of other object", base64(b"{\"ignition\": {}}"), "without the key"),
        ("our key, but deeper", b"{\"a\": {\"loitsut\": 1}}".to_vec(), "without the key"),
        ("our key as a value", b"{\"a\": \"loitsut\"}".to_vec(), "without the key"),
        ("message without us", multipart(&[CLOUD_CONFIG]), "without a text/x-loitsut part"),
        ("message of nothing", multipart(&[]), "without a text/x-loitsut part"),
        ("message in the middle", b"Hello\n\nContent-Type: text/x-loitsut\n\n{}".to_vec(), "neither"),
        ("other single part", b"Content-Type: text/plain\n\n{\"loitsut\": 1}".to_vec(), "neither"),
        (
            "attached message",
            multipart(&[b"Content-Type: message/rfc822\n\nContent-Type: text/x-loitsut\n\n{}"]),
            "part",
        ),
    ];
    for (case, received, words) in cases {
        match decode(received) {
            Ok(Decoded::NotOurs(kind)) => assert!(kind.contains(words), "{case}: {kind}"),
            other => panic!("{case}: {other:?}"),
        }
    }
}

#[test]
fn what_claims_to_be_ours_is_never_left_alone() {
    for claim in [
        "{\"loitsut\": null}",
        "{\"loitsut\": \"1\"}",
        "{\"loitsut\": []}",
        "{\"\\u006coitsut\": 1}",
        "{\"loitsut\": 1",
        "{\"loitsut\": 1} {}",
        "{\"loitsut\": 1, \"loitsut\": 1}",
        "{'profile': \"x\", \"loitsut\": 1}",
        "{ // comment\n\"loitsut\": 1}",
    ] {
        assert!(matches!(decode(claim.as_bytes()), Ok(Decoded::Ours(_))), "{claim}");
        assert!(matches!(decode(&base64(&gzip(claim.as_bytes()))), Ok(Decoded::Ours(_))), "gzip: {claim}");
    }
}

#[test]
fn what_is_broken_says_how() {
    let full = FULL.as_bytes();
    let half = |data: Vec<u8>| data[..data.len() / 2].to_vec();
    let with = |mut data: Vec<u8>, position: usize, byte: u8| {
        data[position] = byte;
        data
    };
    let twenty_nested = (0..20).fold(part("", full), |inner, level| {
        let boundary = format!("b{level}x");
        let head = format!("Content-Type: multipart/mixed; boundary={boundary}\n\n--{boundary}\n");
        [head.as_bytes(), &inner, format!("\n--{boundary}--\n").as_bytes()].concat()
    });
    assert_refused(&[
        ("cut gzip", half(gzip(full)), &["gzip", "cut off after", "bytes"]),
        ("gzip header only", vec![0x1f, 0x8b], &["gzip", "cut off"]),
        ("not gzip after all", vec![0x1f, 0x8b, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7], &["gzip", "broken"]),
        ("flipped bit", with(gzip(full), 40, 0xff), &["gzip", "broken"]),
        ("wrong checksum", with(gzip(full), gzip(full).len() - 8, 0), &["gzip", "broken"]),
        ("something behind gzip", [gzip(full), b"tail of something".to_vec()].concat(), &["gzip", "broken"]),
        ("base64 of cut gzip", base64(&half(gzip(full))), &["gzip", "cut off"]),
        ("cut base64 of gzip", half(base64(&gzip(full))), &["gzip", "cut off"]),
        ("one character of base64 too many", [base64(full), b"A".to_vec()].concat(), &["base64", "broken"]),
        ("base64 with a comma", with(base64(full), 500, b','), &["base64", "`,`", "character 501"]),
        ("base64 with a control character", with(base64(full), 500, 7), &["base64", r"`\x07`"]),
        ("two pieces of base64", [base64(b"{\"loitsut\":1,"), base64(b" \"x\":1}")].concat(), &["base64", "`=`"]),
        ("wrapped for ever", (0..6).fold(full.to_vec(), |data, _| base64(&data)), &["more than 4 times"]),
        ("UTF-16", b"\xff\xfe{\0\"\0".to_vec(), &["UTF-16", "UTF-8"]),
        ("big-endian UTF-16", b"\xfe\xff\0{\0\"".to_vec(), &["UTF-16"]),
        ("Latin-1", b"{\"loitsut\": 1, \"profile\": \"\xe4\"}".to_vec(), &["not UTF-8", "byte 27"]),
        ("gzip of noise", gzip(&[0x80; 9]), &["not UTF-8", "byte 0"]),
        ("a program", b"\x7fELF\x02\x01\xff".to_vec(), &["not UTF-8"]),
        ("two of ours", multipart(&[&part("", full), CLOUD_CONFIG, &part("", full)]), &["2 of its parts", "send one"]),
        ("cut message", half(multipart(&[CLOUD_CONFIG, &part("", full)])), &["MIME", "cut off", "boundary"]),
        ("message cut before our part", multipart(&[CLOUD_CONFIG])[..90].to_vec(), &["MIME", "cut off"]),
        ("no boundary", b"Content-Type: multipart/mixed\n\n--x\n\n--x--\n".to_vec(), &["names no boundary"]),
        ("empty boundary", b"Content-Type: multipart/mixed; boundary=\n\n--\n\n----\n".to_vec(), &["no boundary"]),
        ("our part is empty", multipart(&[&part("", b"")]), &["ends in the middle", "line 1, column 1"]),
        ("our part is a script", multipart(&[&part("", b"#!/bin/sh\n")]), &["not JSON", "line 1, column 1"]),
        ("our part is another object", multipart(&[&part("", b"{}")]), &["`loitsut` is missing"]),
        (
            "our part is not base64",
            multipart(&[&part("Content-Transfer-Encoding: base64\n", b"%%%%")]),
            &["text/x-loitsut part cannot be decoded", "ase64"],
        ),
        ("our part is cut gzip", multipart(&[&part("", &base64(&half(gzip(full))))]), &["gzip", "cut off"]),
        ("header with a carriage return", multipart(&[b"\rX: y\n\n"]), &["MIME", "unreadable"]),
        ("nested for ever", twenty_nested, &["MIME", "nested more than 8 deep"]),
        ("nothing but parts", multipart(&[b"\nx".as_slice(); 1001]), &["more than 1000 parts"]),
        (
            "a long header before ours",
            [b"MIME-Version: 1.0\nX-Y: ".as_slice(), &vec![b'y'; 70_000], b"\nContent-Type: text/x-loitsut\n\n{}"]
                .concat(),
            &["MIME", "longer than 65536"],
        ),
        ("nothing but headers", multipart(&[&b"X: y\n".repeat(20_000)]), &["header", "longer than 65536"]),
    ]);
}

#[test]
fn limits_hold_to_the_byte() {
    let padded = |size: usize| [FULL.as_bytes(), &vec![b' '; size - FULL.len()]].concat();
    assert!(matches!(decode(&padded(MOST_RECEIVED)), Ok(Decoded::Ours(_))));
    assert_eq!(decode(&padded(MOST_RECEIVED + 1)), Err(UserDataError::TooLarge(MOST_RECEIVED + 1)));
    assert!(matches!(decode(&gzip(&padded(MOST_DECODED))), Ok(Decoded::Ours(_))));
    assert_eq!(decode(&gzip(&padded(MOST_DECODED + 1))), Err(UserDataError::DecodedTooLarge));
}

#[test]
fn a_bomb_in_a_bomb_stops() {
    let bomb = gzip(&vec![b' '; 64 << 20]);
    for received in [bomb.clone(), gzip(&bomb), base64(&bomb), [&*bomb, &bomb].concat(), multipart(&[&part("", &bomb)])]
    {
        assert_eq!(decode(&received), Err(UserDataError::DecodedTooLarge));
    }
}

#[test]
fn depth_bombs_end_in_an_answer() {
    let deep = |open: &str| format!("{{\"loitsut\": 1, \"profile\": \"x\", \"params\": {}", open.repeat(200_000));
    for text in [deep("["), deep("{\"a\":")] {
        let Ok(Decoded::Ours(text)) = decode(text.as_bytes()) else { panic!("not ours") };
        assert!(text.document().is_err());
        assert!(text.preamble().is_err());
    }
}
