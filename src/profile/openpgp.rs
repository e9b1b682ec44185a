//! OpenPGP public keys (RFC 9580), as far as knowing whose they are takes: packets are walked, fingerprints made, and
//! nothing is verified. Libraries that can more are a hundred times the size.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use crate::text::{Invalid, read_from_text};

/// Larger than any key that signs packages.
pub const LARGEST_KEY: usize = 1024 * 1024;

const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const END: &str = "-----END PGP PUBLIC KEY BLOCK-----";

const PUBLIC_KEY: u8 = 6;
const SECRET_KEY: u8 = 5;

/// What a public key may be made of beside its primary key: signature, trust, user id, subkey, user attribute, marker
/// and padding.
const PARTS: [u8; 7] = [2, 12, 13, 14, 17, 10, 21];

/// The fingerprint of a primary key: 40 hexadecimal digits, or 64 of a key of version 6. Spaces are left out.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Fingerprint(String);

impl FromStr for Fingerprint {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let digits: String = text.chars().filter(|c| *c != ' ').map(|c| c.to_ascii_uppercase()).collect();
        if !matches!(digits.len(), 40 | 64) || !digits.chars().all(|c| c.is_ascii_hexdigit()) {
            return Err(Invalid::new(text, "is not the fingerprint of a key")
                .advise("40 or 64 hexadecimal digits, as `gpg --show-keys FILE` prints; short key ids can be forged"));
        }
        Ok(Self(digits))
    }
}

read_from_text!(Fingerprint);

impl Fingerprint {
    fn of_digest(digest: &[u8]) -> Self {
        Self(digest.iter().map(|byte| format!("{byte:02X}")).collect())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One or several public keys of a file.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKeys {
    packets: Vec<u8>,
    /// The fingerprint of each primary key.
    pub fingerprints: Vec<Fingerprint>,
}

impl PublicKeys {
    /// Reads a file, ASCII-armored or binary.
    ///
    /// # Errors
    /// It is not made of public keys; what it is instead.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > LARGEST_KEY {
            return Err(format!("is larger than {LARGEST_KEY} bytes, and so no key"));
        }
        let packets = match std::str::from_utf8(bytes) {
            Ok(text) => dearmored(text)?,
            Err(_) => bytes.to_vec(),
        };
        let fingerprints = primary_keys(&packets)?.into_iter().map(fingerprint).collect::<Result<_, _>>()?;
        Ok(Self { packets, fingerprints })
    }

    /// That these are exactly the keys wanted: one more could sign in their stead.
    ///
    /// # Errors
    /// One is missing, or one is not wanted.
    pub fn check(&self, wanted: &[Fingerprint]) -> Result<(), String> {
        if let Some(missing) = wanted.iter().find(|wanted| !self.fingerprints.contains(wanted)) {
            let found: Vec<_> = self.fingerprints.iter().map(Fingerprint::to_string).collect();
            return Err(format!("has not the fingerprint {missing}, but {}", found.join(", ")));
        }
        match self.fingerprints.iter().find(|found| !wanted.contains(found)) {
            Some(other) => Err(format!("also has the key {other}, which `fingerprint` does not name")),
            None => Ok(()),
        }
    }

    /// As apt reads them.
    pub fn binary(&self) -> &[u8] {
        &self.packets
    }

    /// As rpm reads them.
    pub fn armored(&self) -> String {
        let base64 = STANDARD.encode(&self.packets);
        let lines = base64.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line) + "\n");
        let crc = STANDARD.encode(&crc24(&self.packets).to_be_bytes()[1..]);
        format!("{BEGIN}\n\n{}={crc}\n{END}\n", lines.collect::<String>())
    }
}

/// The packets of all armored blocks of a text.
fn dearmored(text: &str) -> Result<Vec<u8>, String> {
    let mut packets = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(BEGIN) {
        let (block, after) = after.split_once(END).ok_or("is cut off: its last line is missing")?;
        packets.extend(decoded(block)?);
        rest = after;
    }
    if packets.is_empty() {
        let start: String = text.trim_start().chars().take(60).collect();
        return Err(format!("is not an OpenPGP key: it begins with \"{}\"", start.escape_debug()));
    }
    Ok(packets)
}

/// Headers (`Name: value`), base64, and mostly a checksum: `=` and four digits.
fn decoded(block: &str) -> Result<Vec<u8>, String> {
    let body = block.lines().map(str::trim).filter(|line| !line.contains(':'));
    let (sums, data): (Vec<&str>, Vec<&str>) = body.partition(|line| line.starts_with('='));
    let bytes = STANDARD.decode(data.concat()).map_err(|error| format!("is damaged: {error}"))?;
    let right = |sum: &&str| STANDARD.decode(&sum[1..]).is_ok_and(|sum| sum == crc24(&bytes).to_be_bytes()[1..]);
    if !sums.iter().all(right) {
        return Err("is damaged: its checksum does not fit".into());
    }
    Ok(bytes)
}

/// RFC 9580, section 6.1.1.
fn crc24(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 0x80_0000 == 0 { crc << 1 } else { (crc << 1) ^ 0x186_4CFB };
    bytes.iter().fold(0xB7_04CE, |crc, byte| (0..8).fold(crc ^ u32::from(*byte) << 16, step) & 0xFF_FFFF)
}

/// The bodies of all primary keys.
fn primary_keys(mut packets: &[u8]) -> Result<Vec<&[u8]>, String> {
    let mut keys = Vec::new();
    while !packets.is_empty() {
        let (tag, body, rest) = packet(packets).ok_or("is damaged, or not an OpenPGP key")?;
        match tag {
            PUBLIC_KEY => keys.push(body),
            SECRET_KEY => return Err("is a secret key: export the public one (`gpg --export`)".into()),
            part if PARTS.contains(&part) && !keys.is_empty() => {}
            other => return Err(format!("is not an OpenPGP public key: it has a packet of type {other}")),
        }
        packets = rest;
    }
    if keys.is_empty() { Err("has no key in it".into()) } else { Ok(keys) }
}

/// Type and body of the first packet, and what follows it (RFC 9580, section 4.2). Lengths that are not known in advance
/// are not for keys.
fn packet(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let number = |bytes: &[u8]| bytes.iter().fold(0, |sum: usize, byte| sum << 8 | usize::from(*byte));
    let (tag, length, header) = match (first & 0xC0, rest.first().copied()?) {
        (0xC0, one @ 0..192) => (first & 0x3F, usize::from(one), 1),
        (0xC0, one @ 192..224) => (first & 0x3F, ((usize::from(one) - 192) << 8) + usize::from(*rest.get(1)?) + 192, 2),
        (0xC0, 255) => (first & 0x3F, number(rest.get(1..5)?), 5),
        (0x80, _) if first & 3 < 3 => {
            let size = 1 << (first & 3);
            (first >> 2 & 0xF, number(rest.get(..size)?), size)
        }
        _ => return None,
    };
    let rest = &rest[header..];
    Some((tag, rest.get(..length)?, &rest[length..]))
}

/// RFC 9580, section 5.5.4.
fn fingerprint(body: &[u8]) -> Result<Fingerprint, String> {
    let length = u32::try_from(body.len()).map_err(|_| "is too long")?.to_be_bytes();
    match body.first() {
        Some(4) => {
            let digest = Sha1::new().chain_update([0x99]).chain_update(&length[2..]).chain_update(body).finalize();
            Ok(Fingerprint::of_digest(&digest))
        }
        Some(6) => {
            let digest = Sha256::new().chain_update([0x9B]).chain_update(length).chain_update(body).finalize();
            Ok(Fingerprint::of_digest(&digest))
        }
        Some(version) => Err(format!("is a key of version {version}: 4 and 6 are understood")),
        None => Err("has an empty key in it".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `gpg --quick-generate-key nobody@example.org ed25519`, with an encryption subkey.
    const KEY: &str = include_str!("tests/key.asc");
    const FINGERPRINT: &str = "F2546B12E628AB5B3625C7C92194281B0860A034";

    /// The key of RFC 9580, appendix A.3, as far as its primary key.
    const VERSION_6: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nxioGY4d/4xsAAAAg+U2nu0jWCmHlZ3BqZYfQMxmZu52JGggkLq2EVD34laM=\n-----END PGP PUBLIC KEY BLOCK-----\n";

    fn keys(text: &str) -> PublicKeys {
        PublicKeys::read(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_fingerprint_is_the_one_that_gpg_prints_and_subkeys_have_none() {
        let found = keys(KEY);
        assert_eq!(found.fingerprints, [FINGERPRINT.parse().unwrap()]);
        assert_eq!(PublicKeys::read(found.binary()).unwrap().fingerprints, found.fingerprints);
        assert_eq!(keys(&found.armored()).binary(), found.binary());
    }

    #[test]
    fn version_6() {
        let found = keys(VERSION_6).fingerprints;
        assert_eq!(found[0].to_string(), "CB186C4F0609A697E4D52DFA6C722B0C1F1E27C18A56708F6525EC27BAD9ACC9");
    }

    #[test]
    fn neither_a_wrong_nor_a_further_key_passes() {
        let (one, two) = (keys(KEY), keys(&format!("{KEY}{VERSION_6}")));
        let wanted = vec![FINGERPRINT.parse().unwrap()];
        assert_eq!(one.check(&wanted), Ok(()));
        assert!(one.check(&["0".repeat(40).parse().unwrap()]).unwrap_err().contains(FINGERPRINT));
        assert!(two.check(&wanted).unwrap_err().starts_with("also has the key CB186C4F"));
        assert_eq!(two.check(&two.fingerprints), Ok(()));
    }

    #[test]
    fn what_is_no_key_is_told_as_what_it_is() {
        let error = |text: &str| PublicKeys::read(text.as_bytes()).err().unwrap();
        assert!(error("<html>please log in</html>").contains("begins with \"<html>please"));
        assert!(error(&KEY.replacen('m', "n", 1)).contains("damaged"));
        assert!(error(KEY.split_once("-----END").unwrap().0).contains("cut off"));
        assert!(error("").contains("not an OpenPGP key"));
        let binary = keys(KEY).packets;
        for length in 1..binary.len() {
            // A cut between two packets leaves a key that is one.
            let _ = PublicKeys::read(&binary[..length]);
        }
        let secret = [&[0xC5, 1, 4][..], &binary].concat();
        assert!(PublicKeys::read(&secret).err().unwrap().contains("secret key"));
    }
}
