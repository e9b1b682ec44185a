//! "Did you mean": the nearest known name to a misspelt one.

/// The known name that `name` was most likely meant to be, if one is near enough to be a help.
///
/// Near is at most one edit (a swap of neighbours counts as one) for every three characters; case does not count.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Nobody misspells a name of this length, and the distance takes quadratic time.
    if name.len() > 100 {
        return None;
    }
    let wanted = name.to_lowercase();
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&wanted, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= allowed_edits(&wanted, candidate))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// "did you mean `x`?", if one of the known names is near.
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(name, known).map(|near| format!("did you mean `{near}`?"))
}

fn allowed_edits(name: &str, candidate: &str) -> usize {
    name.chars().count().max(candidate.chars().count()).div_ceil(3)
}

/// The names that serde expected, out of its message "unknown field `x`, expected one of `a`, `b`" (or "expected `a`",
/// or "expected `a` or `b`"; likewise for variants). Serde has them nowhere else.
pub fn expected_names(message: &str) -> Vec<&str> {
    // The unknown name may itself hold anything, the known ones are Rust identifiers: the last "expected" is serde's.
    let Some((_, names)) = message.rsplit_once("`, expected ") else {
        return Vec::new();
    };
    names.split('`').skip(1).step_by(2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[test]
    fn finds_the_name_that_was_meant() {
        let known = ["params", "profile", "bundle", "worker", "os"];
        for (name, meant) in [
            ("profil", Some("profile")),
            ("Profile", Some("profile")),
            ("porfile", Some("profile")),
            ("param", Some("params")),
            ("wroker", Some("worker")),
            ("so", Some("os")),
            ("bindle", Some("bundle")),
            ("colour", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, known), meant, "{name:?}");
        }
        assert_eq!(nearest(&"p".repeat(100_000), known), None);
        assert_eq!(nearest("profile", []), None);
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct One {
        only: bool,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Two {
        first: bool,
        second: bool,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Three {
        a: bool,
        b: bool,
        c: bool,
    }

    #[test]
    fn reads_the_names_out_of_what_serde_says_today() {
        let json = r#"{"`, expected `evil`": 1}"#;
        let one = serde_json::from_str::<One>(json).unwrap_err().to_string();
        let two = serde_json::from_str::<Two>(json).unwrap_err().to_string();
        let three = serde_json::from_str::<Three>(json).unwrap_err().to_string();
        assert_eq!(expected_names(&one), ["only"]);
        assert_eq!(expected_names(&two), ["first", "second"]);
        assert_eq!(expected_names(&three), ["a", "b", "c"]);
        assert!(expected_names("missing field `x`").is_empty());
    }
}
