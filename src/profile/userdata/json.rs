//! JSON into types, with errors that name the key, and never show a value: any value may be a secret.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_path_to_error::Segment;

use super::DocumentError;
use super::shape::Object;
use crate::suggest::{expected_names, nearest};
use crate::text::split_advice;

/// Reads the whole text as one `T`.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Result<T, DocumentError> {
    let mut json = serde_json::Deserializer::from_str(text);
    let Object(value) = serde_path_to_error::deserialize(&mut json).map_err(|error| explain(text, error))?;
    // Whatever stands behind the document has no key.
    json.end().map_err(|error| syntax_error(text, String::new(), &error))?;
    Ok(value)
}

/// An error about the value at `path`, which was read before it was found to be wrong.
pub(super) fn error_at(text: &str, path: &[&str], problem: impl Display) -> DocumentError {
    let keys = path.iter().map(|key| Key::Name((*key).to_owned())).collect();
    locate(text, keys, |path| format!("`{path}` {problem}"), None)
}

fn explain(text: &str, error: serde_path_to_error::Error<serde_json::Error>) -> DocumentError {
    let mut keys: Vec<Key> = error.path().iter().filter_map(Key::from_segment).collect();
    let cause = error.into_inner();
    if !cause.is_data() {
        return syntax_error(text, join(&keys), &cause);
    }
    let message = without_position(&cause);
    // Serde's own words: that is all it tells about the kind of the error. An unknown key is in the path already.
    if message.starts_with("unknown field `") {
        let help = keys.last().and_then(|key| known_names(&key.to_string(), &expected_names(&message)));
        return locate(text, keys, |path| format!("unknown key `{path}`"), help);
    }
    if let Some(name) = quoted_after(&message, "duplicate field ") {
        keys.push(Key::Name(name.to_owned()));
        return locate(text, keys, |path| format!("the key `{path}` is given twice"), None);
    }
    if let Some(name) = quoted_after(&message, "missing field ") {
        // The place is that of the object it is missing from.
        keys.push(Key::Name(name.to_owned()));
        return locate(text, keys, |path| format!("the key `{path}` is missing"), None);
    }
    let (message, advice) = split_advice(&message);
    let problem = without_value(message);
    let advice = advice.map(str::to_owned);
    locate(text, keys, |path| if path.is_empty() { problem.clone() } else { format!("`{path}`: {problem}") }, advice)
}

/// Serde counts bytes, and has 0 where there is nothing at all.
fn column(text: &str, cause: &serde_json::Error) -> usize {
    let line = text.split('\n').nth(cause.line().saturating_sub(1)).unwrap_or_default();
    let before = line.as_bytes().get(..cause.column()).unwrap_or(line.as_bytes());
    String::from_utf8_lossy(before).trim_end_matches(char::REPLACEMENT_CHARACTER).chars().count().max(1)
}

fn syntax_error(text: &str, path: String, cause: &serde_json::Error) -> DocumentError {
    let (problem, help) = if cause.is_eof() {
        ("the JSON ends in the middle".to_owned(), Some("it was cut off: send it again".to_owned()))
    } else {
        (format!("this is not JSON: {}", without_position(cause)), None)
    };
    DocumentError { path, problem, line: cause.line(), column: column(text, cause), help }
}

fn without_position(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    message.strip_suffix(&position).unwrap_or(&message).to_owned()
}

fn quoted_after<'a>(message: &'a str, start: &str) -> Option<&'a str> {
    message.strip_prefix(start)?.strip_prefix('`')?.strip_suffix('`')
}

fn known_names(name: &str, known: &[&str]) -> Option<String> {
    match nearest(name, known.iter().copied()) {
        Some(meant) => Some(format!("did you mean `{meant}`?")),
        None if known.is_empty() => None,
        None => Some(format!("known here: {}", known.join(", "))),
    }
}

/// "invalid type: string "hunter2", expected u32" becomes "expected a positive whole number, found a string".
fn without_value(message: &str) -> String {
    let Some(found) = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: ")) else {
        return printable(message);
    };
    // A value can hold anything, even these words; what is expected is ours.
    let Some((found, expected)) = found.rsplit_once(", expected ") else {
        return "this is not a value that can stand here".to_owned();
    };
    let expected = if expected == "u32" { "a positive whole number" } else { expected };
    format!("expected {expected}, found {}", kind_of_value(found))
}

/// What a check says may quote a name with control characters, which must not reach a terminal.
fn printable(message: &str) -> String {
    message.chars().map(|c| if c.is_control() { c.escape_debug().to_string() } else { c.to_string() }).collect()
}

fn kind_of_value(found: &str) -> &'static str {
    let kinds = [
        ("string", "a string"),
        ("integer", "a number"),
        ("floating point", "a number"),
        ("boolean", "true or false"),
        ("null", "null"),
        ("sequence", "a list"),
        ("map", "an object"),
    ];
    kinds.into_iter().find_map(|(start, kind)| found.starts_with(start).then_some(kind)).unwrap_or("something else")
}

/// A name can be as long as a document.
const LONGEST_SHOWN: usize = 200;

/// One step from the top of the document to a value.
enum Key {
    Name(String),
    Index(usize),
}

impl Key {
    fn from_segment(segment: &Segment) -> Option<Self> {
        match segment {
            Segment::Map { key } => Some(Self::Name(key.clone())),
            Segment::Seq { index } => Some(Self::Index(*index)),
            Segment::Enum { .. } | Segment::Unknown => None,
        }
    }
}

/// Without control characters: it is the document's author who chose the name.
impl Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.escape_debug().fmt(f),
            Self::Index(index) => index.fmt(f),
        }
    }
}

fn join(keys: &[Key]) -> String {
    let path = keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(".");
    match path.char_indices().nth(LONGEST_SHOWN) {
        Some((cut, _)) => format!("{}…", &path[..cut]),
        None => path,
    }
}

/// The error with the place of the value. Serde's own position is that of the reader when the error came up, which may
/// be lines behind the value.
fn locate(text: &str, keys: Vec<Key>, problem: impl Fn(&str) -> String, help: Option<String>) -> DocumentError {
    let before = &text[..offset(text, &keys).unwrap_or(0)];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let path = join(&keys);
    DocumentError {
        problem: problem(&path),
        path,
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        help,
    }
}

/// Where the value of the last key that exists begins.
fn offset(text: &str, keys: &[Key]) -> Option<usize> {
    let mut value: &RawValue = serde_json::from_str(text).ok()?;
    for key in keys {
        let inner = match key {
            Key::Name(name) => {
                serde_json::from_str::<BTreeMap<String, &RawValue>>(value.get()).ok()?.get(name).copied()
            }
            Key::Index(index) => serde_json::from_str::<Vec<&RawValue>>(value.get()).ok()?.get(*index).copied(),
        };
        let Some(inner) = inner else { break };
        value = inner;
    }
    // The value borrows from the text, so that the distance is its place.
    Some(value.get().as_ptr() as usize - text.as_ptr() as usize)
}
