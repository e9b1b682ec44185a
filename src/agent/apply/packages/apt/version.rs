//! Versions in dpkg's order, deb-version(7). The crates that have it bring a hundred times the code along.

use std::cmp::Ordering;

/// Which of two versions is the later one.
pub fn compare(one: &str, other: &str) -> Ordering {
    let (one, other) = (parts(one), parts(other));
    one.0.cmp(&other.0).then_with(|| part(one.1, other.1)).then_with(|| part(one.2, other.2))
}

/// Epoch, upstream version and revision.
fn parts(version: &str) -> (u64, &str, &str) {
    let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
    (epoch.parse().unwrap_or(0), upstream, revision)
}

/// Turn by turn a stretch of other characters, and a number.
fn part(mut one: &str, mut other: &str) -> Ordering {
    while !one.is_empty() || !other.is_empty() {
        let ((words, rest), (other_words, other_rest)) =
            (split(one, |c| !c.is_ascii_digit()), split(other, |c| !c.is_ascii_digit()));
        let ((number, rest), (other_number, other_rest)) =
            (split(rest, |c| c.is_ascii_digit()), split(other_rest, |c| c.is_ascii_digit()));
        match text(words, other_words).then_with(|| numeric(number, other_number)) {
            Ordering::Equal => (one, other) = (rest, other_rest),
            unequal => return unequal,
        }
    }
    Ordering::Equal
}

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

/// `~` comes before the end, then letters, then all others.
fn text(one: &str, other: &str) -> Ordering {
    let rank = |c: Option<char>| match c {
        Some('~') => -1,
        None => 0,
        Some(c) if c.is_ascii_alphabetic() => c as i64,
        Some(c) => c as i64 + 0x1_0000,
    };
    let (mut one, mut other) = (one.chars(), other.chars());
    loop {
        match (one.next(), other.next()) {
            (None, None) => return Ordering::Equal,
            (left, right) if left == right => {}
            (left, right) => return rank(left).cmp(&rank(right)),
        }
    }
}

/// Of any length.
fn numeric(one: &str, other: &str) -> Ordering {
    let (one, other) = (one.trim_start_matches('0'), other.trim_start_matches('0'));
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_dpkg_compares_them() {
        let ordered = [
            "0~",
            "0",
            "1.0~~",
            "1.0~~a",
            "1.0~rc1-1",
            "1.0~rc2",
            "1.0",
            "1.0-1~bpo1",
            "1.0-1",
            "1.0-1+b1",
            "1.0a",
            "1.0+dfsg",
            "1.0.1",
            "1.2",
            "1.09",
            "1.10",
            "2025.1",
            "20230101",
            "1:0.1",
            "2:0",
        ];
        for pair in ordered.windows(2) {
            assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(compare(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
        }
        for equal in [("1.0", "1.00"), ("0:1", "1"), ("1.0-0", "1.0"), ("1", "01")] {
            assert_eq!(compare(equal.0, equal.1), Ordering::Equal, "{equal:?}");
        }
    }
}
