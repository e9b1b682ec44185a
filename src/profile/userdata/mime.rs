//! MIME messages, which cloud-init reads too: our part is taken out, all others are left to it.
//!
//! Headers and transfer encodings are mailparse's. The parts are split here, because mailparse takes a message that was
//! cut off for a whole one, and makes a tree of all parts before anybody can count them.

use mailparse::{MailHeader, MailHeaderMap as _, ParsedContentType};

use super::UserDataError;

/// The type of our part.
const OURS: &str = "text/x-loitsut";

/// cloud-init's own examples nest once.
const MOST_NESTED: usize = 8;

const MOST_PARTS: usize = 1000;

const MOST_HEADER_BYTES: usize = 64 << 10;

/// Whether the text is a MIME message that can have a part of ours; one whose headers cannot be read may have one.
pub(super) fn is_message(text: &[u8]) -> bool {
    match Entity::open(text) {
        Ok(Entity { content_type: ParsedContentType { mimetype, .. }, .. }) => {
            mimetype == OURS || mimetype.starts_with("multipart/")
        }
        Err(_) => begins_like_a_message(text) && names_us(text),
    }
}

/// A message that is ours says so in its headers, however long they are.
fn names_us(text: &[u8]) -> bool {
    text.windows(OURS.len()).any(|window| window.eq_ignore_ascii_case(OURS.as_bytes()))
}

/// Whether a text, of which only the beginning is known, begins with a header that MIME messages begin with.
pub(super) fn begins_like_a_message(head: &[u8]) -> bool {
    let starts = ["content-", "mime-version:", "from "];
    starts.iter().any(|start| head.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start.as_bytes())))
}

/// The content of our part, its transfer encoding undone; `None` if there is no such part.
pub(super) fn our_part(message: &[u8]) -> Result<Option<Vec<u8>>, UserDataError> {
    let mut found = Vec::new();
    collect(message, MOST_NESTED, &mut found)?;
    match found.as_slice() {
        [] => Ok(None),
        [part] => decode_transfer(part).map(Some),
        more => Err(broken(format!("{} of its parts are {OURS}: send one", more.len()))),
    }
}

fn collect<'a>(entity: &'a [u8], depth: usize, found: &mut Vec<&'a [u8]>) -> Result<(), UserDataError> {
    let Entity { content_type, body } = Entity::open(entity)?;
    if content_type.mimetype == OURS {
        found.push(entity);
    } else if content_type.mimetype.starts_with("multipart/") {
        let depth = depth.checked_sub(1).ok_or_else(|| broken(format!("nested more than {MOST_NESTED} deep")))?;
        let boundary = content_type.params.get("boundary").filter(|boundary| !boundary.is_empty());
        let boundary = boundary.ok_or_else(|| broken("its multipart header names no boundary"))?;
        for part in split(body, boundary)? {
            collect(part, depth, found)?;
        }
    }
    Ok(())
}

/// A message or a part of one.
struct Entity<'a> {
    content_type: ParsedContentType,
    body: &'a [u8],
}

impl<'a> Entity<'a> {
    fn open(raw: &'a [u8]) -> Result<Self, UserDataError> {
        // Each header takes memory several times its size: none is read before it is known how many there can be.
        let head = &raw[..raw.len().min(MOST_HEADER_BYTES)];
        let (headers, end) = mailparse::parse_headers(head).map_err(|error| broken(format!("unreadable: {error}")))?;
        if end == MOST_HEADER_BYTES {
            return Err(broken(format!("a header in it is longer than {MOST_HEADER_BYTES} bytes")));
        }
        Ok(Self { content_type: content_type(&headers), body: &raw[end..] })
    }
}

fn content_type(headers: &[MailHeader<'_>]) -> ParsedContentType {
    headers
        .get_first_value("Content-Type")
        .map_or_else(ParsedContentType::default, |value| mailparse::parse_content_type(&value))
}

/// The parts between the lines `--boundary`, up to `--boundary--`.
fn split<'a>(body: &'a [u8], boundary: &str) -> Result<Vec<&'a [u8]>, UserDataError> {
    let mut parts = Vec::new();
    let mut part_start = None;
    let mut position = 0;
    for line in body.split_inclusive(|byte| *byte == b'\n') {
        let line_start = position;
        position += line.len();
        let Some(after) = line.strip_prefix(b"--").and_then(|line| line.strip_prefix(boundary.as_bytes())) else {
            continue;
        };
        let last = match after.trim_ascii_end() {
            b"" => false,
            b"--" => true,
            // A longer boundary, that of another multipart.
            _ => continue,
        };
        parts.extend(part_start.map(|start| without_line_end(&body[start..line_start])));
        if last {
            return Ok(parts);
        }
        if parts.len() == MOST_PARTS {
            return Err(broken(format!("it has more than {MOST_PARTS} parts")));
        }
        part_start = Some(position);
    }
    Err(broken("it was cut off: its last boundary is missing; send it again"))
}

/// The line end before a boundary belongs to the boundary.
fn without_line_end(part: &[u8]) -> &[u8] {
    let part = part.strip_suffix(b"\n").unwrap_or(part);
    part.strip_suffix(b"\r").unwrap_or(part)
}

fn decode_transfer(part: &[u8]) -> Result<Vec<u8>, UserDataError> {
    let in_our_part = |error| broken(format!("its {OURS} part cannot be decoded: {error}"));
    mailparse::parse_mail(part).and_then(|part| part.get_body_raw()).map_err(in_our_part)
}

fn broken(problem: impl Into<String>) -> UserDataError {
    UserDataError::Mime(problem.into())
}
