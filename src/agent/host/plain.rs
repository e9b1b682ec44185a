//! Texts of strangers, shown to people.

/// A text whose escape sequences do nothing to the terminal of whoever reads it.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}
