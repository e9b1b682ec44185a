//! Unified diffs, for people and for `patch`.

use diffy::DiffOptions;

/// A diff of larger texts helps nobody.
const MOST_BYTES: usize = 256 * 1024;

/// Myers' algorithm takes time by the square of the lines that differ: so many are a quarter of a second.
const MOST_LINES: usize = 10_000;

/// From `found` to `wanted`, as contents of `name`; `None` where they are not text, or too large for anybody to read.
pub(super) fn unified(name: &str, found: &[u8], wanted: &[u8]) -> Option<String> {
    let texts = [std::str::from_utf8(found).ok()?, std::str::from_utf8(wanted).ok()?];
    let too_large = |text: &str| text.len() > MOST_BYTES || text.lines().count() > MOST_LINES;
    if texts.iter().any(|text| too_large(text)) {
        return None;
    }
    let mut options = DiffOptions::new();
    options.set_context_len(2).set_original_filename(name.to_owned()).set_modified_filename(name.to_owned());
    Some(options.create_patch(texts[0], texts[1]).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_patch_reads() {
        let told = unified("/etc/x", b"a\nb\nc\nd\ne\n", b"a\nb\nc\nd\nf").unwrap();
        assert_eq!(told, "--- /etc/x\n+++ /etc/x\n@@ -3,3 +3,3 @@\n c\n d\n-e\n+f\n\\ No newline at end of file\n");
        assert_eq!(unified("/x", b"", b"new\n").unwrap(), "--- /x\n+++ /x\n@@ -0,0 +1 @@\n+new\n");
    }

    #[test]
    fn what_nobody_reads_is_not_shown() {
        assert_eq!(unified("/x", b"\xff", b"text\n"), None);
        assert_eq!(unified("/x", &b"x\n".repeat(MOST_LINES + 1), b""), None);
        assert_eq!(unified("/x", &b"x".repeat(MOST_BYTES + 1), b""), None);
    }
}
