//! What senders do to a document.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use flate2::Compression;
use flate2::write::GzEncoder;

pub(super) type Encoding = fn(&[u8]) -> Vec<u8>;

/// As a whole, or the content of a part.
pub(super) const WHOLE: &[(&str, Encoding)] = &[
    ("plain", |data| data.to_vec()),
    ("byte order mark", |data| [b"\xef\xbb\xbf", data].concat()),
    ("white space first", |data| [b" \r\n\t\n", data].concat()),
    ("white space and byte order mark", |data| [b"\n\xef\xbb\xbf\n", data].concat()),
    ("gzip", gzip),
    ("gzip in three members", gzip_members),
    ("base64", base64),
    ("base64, lines of 76", |data| wrapped(data, 76, "\n")),
    ("base64, lines of 64 with crlf", |data| wrapped(data, 64, "\r\n")),
    ("base64, lines of 3, indented", |data| wrapped(data, 3, "\n  ")),
    ("url-safe base64 without padding", |data| URL_SAFE_NO_PAD.encode(data).into_bytes()),
    ("base64 of gzip", |data| base64(&gzip(data))),
    ("base64 of much white space first", |data| base64(&[&[b'\n'; 300], data].concat())),
    ("base64 of a byte order mark", |data| base64(&[b"\xef\xbb\xbf", data].concat())),
    ("base64 twice", |data| base64(&wrapped(data, 76, "\n"))),
    ("gzip of base64", |data| gzip(&base64(data))),
    ("base64 of gzip, twice", |data| base64(&gzip(&base64(&gzip(data))))),
];

/// As our part of a message.
pub(super) const MESSAGE: &[(&str, Encoding)] = &[
    ("alone", |data| data.to_vec()),
    ("single part", |data| [b"Content-Type: text/x-loitsut\nMIME-Version: 1.0\n\n", data].concat()),
    ("multipart", |data| multipart(&[CLOUD_CONFIG, &part("", data)])),
    ("multipart, 8bit", |data| multipart(&[&part("Content-Transfer-Encoding: 8bit\n", data), CLOUD_CONFIG])),
    ("multipart, base64", |data| multipart(&[&part("content-transfer-encoding: BASE64\n", &wrapped(data, 76, "\n"))])),
    ("multipart, quoted-printable", |data| {
        multipart(&[&part("Content-Transfer-Encoding: quoted-printable\n", &quoted_printable(data))])
    }),
    ("nested", |data| {
        let inner = String::from_utf8_lossy(&multipart(&[])).into_owned().replace("=====", "=====inner");
        let inner =
            inner.replacen("--", &format!("--=====inner==\n{}\n--", String::from_utf8_lossy(&part("", b"@"))), 1);
        let (before, after) = inner.split_once('@').unwrap();
        multipart(&[CLOUD_CONFIG, &[before.as_bytes(), data, after.as_bytes()].concat()])
    }),
    ("other capitals, folded header, odd file", |data| {
        let head: &[u8] =
            b"From nobody Mon Sep 17 00:00:00 2001\ncontent-type: Multipart/Mixed;\n\tBOUNDARY=b\n\npreamble\n";
        let part: &[u8] = b"--b  \nCONTENT-TYPE: Text/X-Loitsut; charset=utf-8\nX-Odd: \xff\xfe\n\n";
        [head, part, data, b"\n--b--\nepilogue\n"].concat()
    }),
];

/// A part of cloud-init's, in an encoding that is not UTF-8.
pub(super) const CLOUD_CONFIG: &[u8] = b"Content-Type: text/cloud-config\n\n#cloud-config\n# \xe4 {\"loitsut\": 1}\n";

pub(super) fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn gzip_members(data: &[u8]) -> Vec<u8> {
    let (first, second) = data.split_at(data.len() / 2);
    [gzip(first), gzip(b""), gzip(second)].concat()
}

pub(super) fn base64(data: &[u8]) -> Vec<u8> {
    STANDARD.encode(data).into_bytes()
}

fn wrapped(data: &[u8], width: usize, line_end: &str) -> Vec<u8> {
    let lines: Vec<Vec<u8>> = base64(data).chunks(width).map(<[u8]>::to_vec).collect();
    let mut text = lines.join(line_end.as_bytes());
    text.extend_from_slice(line_end.as_bytes());
    text
}

fn quoted_printable(data: &[u8]) -> Vec<u8> {
    data.iter().flat_map(|byte| format!("={byte:02X}=\n").into_bytes()).collect()
}

pub(super) fn part(more_headers: &str, content: &[u8]) -> Vec<u8> {
    [b"Content-Type: text/x-loitsut\n", more_headers.as_bytes(), b"\n", content].concat()
}

/// As Python's email package writes it, which cloud-init's tools use.
pub(super) fn multipart(parts: &[&[u8]]) -> Vec<u8> {
    let mut message = b"Content-Type: multipart/mixed; boundary=\"=======\"\nMIME-Version: 1.0\n\n".to_vec();
    for part in parts {
        message.extend_from_slice(b"--=======\n");
        message.extend_from_slice(part);
        message.push(b'\n');
    }
    message.extend_from_slice(b"--=======--\n");
    message
}
