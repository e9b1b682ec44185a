//! Lines that a machine writes on its serial console, for whoever can read nothing else of it.
//!
//! `LOITSUT|1|<launch>|<kind>|<field>|…`, in printable characters: `\` is written `\\`, `|` is `\p`, and any control
//! character `\u{…}`. A line has at most [`LONGEST`] bytes; a field that had to be cut ends with `…`.

/// How each line begins: a word to search for, and the format.
const START: &str = "LOITSUT|1|";

/// The longest line in bytes. Kernels and clouds cut longer ones where they like.
pub const LONGEST: usize = 900;

const CUT: char = '…';

/// A line, without its end.
pub fn line(launch: &str, kind: &str, fields: &[&str]) -> String {
    let mut line = format!("{START}{}|{}", escaped(launch), escaped(kind));
    for field in fields {
        line.push('|');
        let room = LONGEST.saturating_sub(line.len() + (fields.len() * 2));
        line.push_str(&cut(escaped(field), room));
    }
    line
}

/// Launch, kind and fields of a line; `None` if it is something else. What stands before its start, such as a time
/// stamp, is left out.
pub fn parse(line: &str) -> Option<Vec<String>> {
    let at = line.find(START)?;
    line[at + START.len()..].trim_end().split('|').map(plain).collect()
}

fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, c| {
        match c {
            '\\' => escaped.push_str("\\\\"),
            '|' => escaped.push_str("\\p"),
            c if c.is_control() => escaped.extend(c.escape_unicode()),
            c => escaped.push(c),
        }
        escaped
    })
}

/// At most so many bytes of an escaped text, no escape cut in two.
fn cut(mut text: String, room: usize) -> String {
    if text.len() <= room {
        return text;
    }
    let mut end = 0;
    let mut rest = text.as_str();
    while let Some(length) = unit(rest)
        && end + length + CUT.len_utf8() <= room
    {
        end += length;
        rest = &text[end..];
    }
    text.truncate(end);
    text.push(CUT);
    text
}

/// The length of the first character or escape.
fn unit(text: &str) -> Option<usize> {
    let first = text.chars().next()?;
    match (first, text[first.len_utf8()..].chars().next()) {
        ('\\', Some('u')) => text.find('}').map(|end| end + 1),
        ('\\', Some(second)) => Some(1 + second.len_utf8()),
        _ => Some(first.len_utf8()),
    }
}

fn plain(field: &str) -> Option<String> {
    let (mut text, mut rest) = (String::new(), field);
    while let Some((before, after)) = rest.split_once('\\') {
        text.push_str(before);
        let escape = after.chars().next()?;
        rest = &after[escape.len_utf8()..];
        match escape {
            '\\' => text.push('\\'),
            'p' => text.push('|'),
            'u' => {
                let (code, after) = rest.strip_prefix('{')?.split_once('}')?;
                text.push(char::from_u32(u32::from_str_radix(code, 16).ok()?)?);
                rest = after;
            }
            _ => return None,
        }
    }
    text.push_str(rest);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let fields = ["a|b", "back\\slash\\", "\u{1b}[31m\r\nred", "ä\u{9b}", ""];
        let written = line("l-1", "failed", &fields);
        assert!(!written.chars().any(char::is_control), "{written}");
        let read = parse(&format!("[   12.3] {written}\r\n")).unwrap();
        assert_eq!(read, ["l-1", "failed", "a|b", "back\\slash\\", "\u{1b}[31m\r\nred", "ä\u{9b}", ""]);
    }

    #[test]
    fn a_long_field_is_cut_and_still_read() {
        for text in ["|".repeat(5000), "\u{1}".repeat(5000), "ä".repeat(5000), "\\".repeat(4999)] {
            let written = line("l-1", "output", &[&text, "last"]);
            assert!(written.len() <= LONGEST, "{}", written.len());
            let read = parse(&written).unwrap();
            assert!(read[2].ends_with(CUT) && text.starts_with(read[2].trim_end_matches(CUT)), "{written}");
        }
    }

    #[test]
    fn other_lines_are_none() {
        for text in ["", "login: ", "LOITSUT|2|x", "LOITSUT|1|a\\x"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
