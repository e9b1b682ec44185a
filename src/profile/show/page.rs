//! A resolved profile as a page, in the form of TOML: what stands behind `#` says where it came from.

use std::fmt::{self, Write as _};

use serde_json::Value;

use super::{Shown, ShownEntry, ShownKey, ShownParam, State};
use crate::scope::Phase;

/// Where comments begin, unless what is before them is longer.
const COMMENTS: usize = 48;

/// How long a line may be before a list is broken into one item a line.
const WIDTH: usize = 100;

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# {}, from {}\n", plain(&self.profile), plain(&self.file))?;
        writeln!(f, "layers = [")?;
        for layer in &self.layers {
            noted(f, &format!("    {},", quoted(&layer.name)), &format!("by {}", layer.named_at.join(", ")))?;
        }
        writeln!(f, "]")?;
        if !self.params.is_empty() {
            writeln!(f, "\n[params]")?;
        }
        for param in &self.params {
            noted(f, &format!("{} = {}", param.name, value(&param.value)), &origin(param))?;
        }
        self.resources.iter().try_for_each(|entry| show(f, "[[resource]]", entry))?;
        self.worker.iter().try_for_each(|entry| show(f, "[worker]", entry))
    }
}

fn origin(param: &ShownParam) -> String {
    let secret = if param.secret { ", secret" } else { "" };
    let from = match &param.given_at {
        Some(place) => format!("{}, {place}", param.given_by),
        None => param.given_by.to_owned(),
    };
    format!("{from}{secret}")
}

fn show(f: &mut fmt::Formatter<'_>, header: &str, entry: &ShownEntry) -> fmt::Result {
    let phase = match entry.phase {
        Phase::Provision => "provision",
        Phase::Bind => "bind",
    };
    let state = match entry.state {
        State::Wanted => "",
        State::LeftOut => "; left out here: its `when` does not hold",
        State::NeedsLaunch => "; needs a launch, which only user-data has",
    };
    writeln!(f)?;
    noted(f, header, &format!("{}, {phase}{state}", entry.place))?;
    writeln!(f, "type = {}", quoted(&entry.kind))?;
    if entry.early {
        writeln!(f, "early = true")?;
    }
    entry.keys.iter().try_for_each(|key| show_key(f, key))
}

fn show_key(f: &mut fmt::Formatter<'_>, key: &ShownKey) -> fmt::Result {
    let mut note = format!("line {}", key.line);
    if !key.uses.is_empty() {
        write!(note, ", by {}", key.uses.join(", "))?;
    }
    if key.unrendered {
        note.push_str("; as written");
    }
    noted(f, &format!("{} = {}", bare(&key.key), value(&key.value)), &note)
}

/// A line, or several, with a comment behind the last.
fn noted(f: &mut fmt::Formatter<'_>, text: &str, note: &str) -> fmt::Result {
    let last = text.rsplit('\n').next().unwrap_or(text).chars().count();
    let gap = COMMENTS.saturating_sub(last).max(2);
    writeln!(f, "{text}{:gap$}# {}", "", plain(note))
}

fn value(value: &Value) -> String {
    match value {
        Value::Null => "\"\"".into(),
        Value::String(text) if text.trim_end_matches('\n').contains('\n') => lines(text),
        Value::String(text) => quoted(text),
        Value::Array(items) => list(items),
        Value::Object(entries) => {
            let entries: Vec<_> =
                entries.iter().map(|(key, entry)| format!("{} = {}", bare(key), self::value(entry))).collect();
            if entries.is_empty() { "{}".into() } else { format!("{{ {} }}", entries.join(", ")) }
        }
        other => other.to_string(),
    }
}

fn list(items: &[Value]) -> String {
    let items: Vec<_> = items.iter().map(value).collect();
    let line = format!("[{}]", items.join(", "));
    if line.chars().count() <= WIDTH {
        return line;
    }
    format!("[\n{}]", items.iter().map(|item| format!("    {item},\n")).collect::<String>())
}

/// A basic string of several lines, in which quotes stand as they are, as long as they are not three.
fn lines(text: &str) -> String {
    let stays = |c| c == '\n' || (c == '"' && !text.contains("\"\"") && !text.ends_with('"'));
    let text: String = text.chars().map(|c| if stays(c) { c.to_string() } else { escaped(c) }).collect();
    format!("\"\"\"\n{text}\"\"\"")
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.chars().map(escaped).collect::<String>())
}

/// A character in a basic string. What a terminal would obey is never written as it is.
fn escaped(c: char) -> String {
    match c {
        '"' | '\\' => format!("\\{c}"),
        '\n' => "\\n".into(),
        '\t' => "\\t".into(),
        c if c.is_control() => format!("\\u{:04X}", u32::from(c)),
        c => c.to_string(),
    }
}

fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { escaped(c) } else { c.to_string() }).collect()
}

fn bare(key: &str) -> String {
    let is_bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    if is_bare { key.to_owned() } else { quoted(key) }
}
