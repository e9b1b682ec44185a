//! What programs turn a secret into before they print it.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

/// Where `base64` breaks its lines.
const LINE: usize = 76;

/// A shorter piece of an encoding is a word like any other.
const SHORTEST_PIECE: usize = 6;

/// The secret itself, its lines, and all forms of both.
pub(super) fn of(secret: &str) -> Vec<String> {
    let lines = secret.split(['\n', '\r']).map(str::trim);
    [secret].into_iter().chain(lines).filter(|text| !text.is_empty()).flat_map(encoded).collect()
}

fn encoded(text: &str) -> Vec<String> {
    let mut forms = vec![text.to_owned(), in_json(text), in_ascii_json(text), in_html_json(text), in_a_word(text)];
    forms.extend(in_url(text));
    forms.extend(in_base64(text));
    forms
}

fn in_json(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// As Python and others write it.
fn in_ascii_json(text: &str) -> String {
    let mut units = [0; 2];
    let escaped = |c: char| match c {
        ascii if ascii.is_ascii() => ascii.to_string(),
        other => other.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
    };
    in_json(text).chars().map(escaped).collect()
}

/// As `tojson` of templates writes it, so that it may stand in a page: minijinja's documentation names these four.
fn in_html_json(text: &str) -> String {
    let escaped = |c: char| match c {
        '<' | '>' | '&' | '\'' => format!("\\u{:04x}", u32::from(c)),
        other => other.to_string(),
    };
    in_json(text).chars().map(escaped).collect()
}

/// As a shell shows it (`set -x`) between single quotes.
fn in_a_word(text: &str) -> String {
    text.replace('\'', "'\\''")
}

/// Percent-encoded: with and without slashes, with digits of either case, with a plus for a space.
fn in_url(text: &str) -> Vec<String> {
    let encode = |plain: &[u8], upper: bool| -> String {
        let encoded = |byte: u8| match byte {
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || plain.contains(&byte) => {
                char::from(byte).to_string()
            }
            byte if upper => format!("%{byte:02X}"),
            byte => format!("%{byte:02x}"),
        };
        text.bytes().map(encoded).collect()
    };
    let mut forms: Vec<String> =
        [&b""[..], b"/"].into_iter().flat_map(|plain| [encode(plain, true), encode(plain, false)]).collect();
    forms.push(encode(b"", true).replace("%20", "+"));
    forms
}

/// Whole, in lines, and, since it may stand in the midst of something longer, what of it is the same wherever it stands:
/// three bytes are four characters, so there are three such places.
fn in_base64(text: &str) -> Vec<String> {
    let mut forms = Vec::new();
    for engine in [STANDARD, URL_SAFE] {
        let whole = engine.encode(text);
        forms.extend(whole.as_bytes().chunks(LINE).map(|line| String::from_utf8_lossy(line).into_owned()));
        for before in 0..3 {
            let bytes = [vec![0; before], text.as_bytes().to_vec()].concat();
            // Characters that also depend on what stands before or after it are left out.
            let (first, last) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
            forms.extend(engine.encode(bytes).get(first..last).map(str::to_owned));
        }
        forms.push(whole);
    }
    forms.retain(|form| form.len() >= SHORTEST_PIECE);
    forms
}

#[cfg(test)]
mod tests {
    use loitsut_profile::secret::Secret;

    use super::super::Mask;
    use super::*;

    /// What is left of a text once this secret is masked.
    fn left(secret: &str, text: &str) -> String {
        let mut mask = Mask::default();
        mask.add(&[Secret::from(secret.to_owned())]);
        mask.apply(text).into_owned()
    }

    #[test]
    fn base64_is_masked_wherever_the_secret_stands_in_it() {
        let secret = "s3cr3t/+wörd";
        for before in ["", "a", "ab", "abc", "user:"] {
            for engine in [STANDARD, URL_SAFE] {
                let text = engine.encode(format!("{before}{secret} and more"));
                let left = left(secret, &text);
                assert!(left.contains("***") && left.len() <= text.len() - secret.len(), "{before}: {text} {left}");
            }
        }
        assert_eq!(left(secret, &STANDARD.encode(secret)), "***");
    }

    #[test]
    fn a_long_secret_is_masked_in_lines_of_base64() {
        let secret = "0123456789abcdefghijklmnopqrstuvwxyz".repeat(4);
        let whole = STANDARD.encode(&secret);
        let wrapped = whole.as_bytes().chunks(LINE).map(String::from_utf8_lossy).collect::<Vec<_>>().join("\n");
        assert!(left(&secret, &wrapped).chars().all(|c| "*\n".contains(c)));
    }

    #[test]
    fn urls_json_and_shell_words_are_masked() {
        let secret = "p@ss w/ö'rd\"1";
        for text in [
            "p%40ss%20w%2F%C3%B6%27rd%221",
            "p%40ss%20w%2f%c3%b6%27rd%221",
            "p%40ss%20w/%C3%B6%27rd%221",
            "p%40ss+w%2F%C3%B6%27rd%221",
            "p@ss w/ö'rd\\\"1",
            "p@ss w/\\u00f6'rd\\\"1",
            "p@ss w/ö\\u0027rd\\\"1",
            "p@ss w/ö'\\''rd\"1",
        ] {
            assert_eq!(left(secret, text), "***");
        }
    }
}
