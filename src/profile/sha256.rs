//! SHA-256 digests: what bundles, downloads and snapshots are named by.

use std::fmt;
use std::str::FromStr;

use sha2::Digest as _;

use crate::text::{Invalid, read_from_text, write_as_text};

/// A SHA-256 digest. Read from 64 hexadecimal digits of either case, written in lower case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Sha256(#[cfg_attr(feature = "schema", schemars(with = "String"))] [u8; 32]);

impl Sha256 {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// The digest as it is, without the hexadecimal.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Sha256 {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl FromStr for Sha256 {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        parse_hex(text).map(Self).ok_or_else(|| {
            Invalid::new(text, "is not a SHA-256: that is 64 hexadecimal digits, as sha256sum prints them")
        })
    }
}

fn parse_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = hex_digit(digits[0])? << 4 | hex_digit(digits[1])?;
    }
    Some(bytes)
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16)?.try_into().ok()
}

read_from_text!(Sha256);
write_as_text!(Sha256);

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn prints_what_sha256sum_prints() {
        assert_eq!(Sha256::of(b"").to_string(), OF_NOTHING);
    }

    #[test]
    fn reads_either_case() {
        assert_eq!(OF_NOTHING.parse(), Ok(Sha256::of(b"")));
        assert_eq!(OF_NOTHING.to_uppercase().parse(), Ok(Sha256::of(b"")));
    }

    #[test]
    fn refuses_everything_else() {
        let one_long = format!("{OF_NOTHING}0");
        let not_hex = OF_NOTHING.replace('e', "g");
        let signed = format!("+{}", &OF_NOTHING[1..]);
        let not_ascii = format!("ä{}", &OF_NOTHING[2..]);
        for text in ["", "abc", &OF_NOTHING[1..], &one_long, &not_hex, &signed, &not_ascii] {
            let error = text.parse::<Sha256>().map_err(|error| error.to_string());
            assert!(error.is_err_and(|e| e.contains("64 hexadecimal digits")), "{text}");
        }
    }
}
