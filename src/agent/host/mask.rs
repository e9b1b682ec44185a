//! Secrets taken out of what programs print.

mod forms;

use std::borrow::Cow;

use loitsut_profile::secret::{MASK, Secret};

/// Shorter texts are everywhere: masking them would hide nothing and spoil everything.
const SHORTEST: usize = 4;

/// The exact texts that no output may show.
#[derive(Clone, Debug, Default)]
pub struct Mask {
    secrets: Vec<Secret>,
}

impl Mask {
    /// Masks these values too, each line of them, and what programs turn them into: JSON, URLs, base64, quoted words.
    pub fn add(&mut self, secrets: &[Secret]) {
        let forms = secrets.iter().flat_map(|secret| forms::of(secret.reveal()));
        let forms = forms.filter(|form| form.len() >= SHORTEST);
        self.secrets.extend(forms.map(Secret::from));
        // The longest first, so that a secret inside another does not leave a half of it.
        self.secrets.sort_by_key(|secret| std::cmp::Reverse(secret.reveal().len()));
        self.secrets.dedup();
    }

    /// The text without any secret.
    pub fn apply<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.secrets.iter().fold(Cow::Borrowed(text), |text, secret| {
            if text.contains(secret.reveal()) { Cow::Owned(text.replace(secret.reveal(), MASK)) } else { text }
        })
    }

    /// As [`Mask::apply`], of bytes that need not be text.
    pub fn apply_to_bytes(&self, bytes: &mut Vec<u8>) {
        for secret in self.secrets.iter().map(|secret| secret.reveal().as_bytes()) {
            while let Some(at) = bytes.windows(secret.len()).position(|window| window == secret) {
                bytes.splice(at..at + secret.len(), MASK.bytes());
            }
        }
    }

    /// The length in bytes of the longest secret; 0 if there is none.
    pub fn longest(&self) -> usize {
        self.secrets.first().map_or(0, |secret| secret.reveal().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_values_their_lines_and_their_json() {
        let mut mask = Mask::default();
        mask.add(&[Secret::from("pass\"word\nsecond line".to_owned()), Secret::from("ab".to_owned())]);
        assert_eq!(mask.apply("x pass\\\"word\\nsecond line y"), "x *** y");
        assert_eq!(mask.apply("got: second line"), "got: ***");
        assert_eq!(mask.apply("ab"), "ab");
        let mut bytes = b"\xff second line".to_vec();
        mask.apply_to_bytes(&mut bytes);
        assert_eq!(bytes, b"\xff ***");
    }

    #[test]
    fn the_longer_secret_goes_first() {
        let mut mask = Mask::default();
        mask.add(&[Secret::from("abcd".to_owned()), Secret::from("abcdefgh".to_owned())]);
        assert_eq!(mask.apply("abcdefgh"), "***");
    }
}
