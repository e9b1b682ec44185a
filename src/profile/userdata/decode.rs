//! From what was received to the plain text of a document. The rules stand in the [module's documentation](super).

use std::io::Read;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use flate2::read::MultiGzDecoder;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use super::{Text, UserDataError, mime};

/// The most bytes of user-data that are looked at. EC2 allows 16 KiB; other clouds and files more.
pub const MOST_RECEIVED: usize = 1 << 20;

/// The most bytes that user-data may have after any step of decoding.
pub const MOST_DECODED: usize = 8 << 20;

/// How often user-data, or our part of it, may be wrapped: base64 of gzip, twice.
pub const MOST_LAYERS: usize = 4;

/// How much of base64 is decoded to see what it is; enough for a few spaces before the brace.
const HEAD: usize = 256;

const GZIP: &[u8] = &[0x1f, 0x8b];
/// With the only compression method there is; surer where two bytes could be chance.
const GZIP_DEFLATE: &[u8] = &[0x1f, 0x8b, 0x08];

/// What user-data turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// Somebody else's, and what it is instead, as in "a shell script".
    NotOurs(&'static str),
    /// A text that claims to be a document of ours.
    Ours(Text),
}

/// Finds the text of a document in `received`, through every accepted encoding.
///
/// # Errors
/// Something cannot be decoded, or goes past a limit.
pub fn decode(received: &[u8]) -> Result<Decoded, UserDataError> {
    if received.len() > MOST_RECEIVED {
        return Err(UserDataError::TooLarge(received.len()));
    }
    let plain = unwrap_layers(received.to_vec())?;
    if let Some(other) = other_kind(&plain) {
        return Ok(Decoded::NotOurs(other));
    }
    if mime::is_message(&plain) {
        return Ok(match mime::our_part(&plain)? {
            Some(part) => Decoded::Ours(Text::new(utf8(unwrap_layers(part)?)?)),
            None => Decoded::NotOurs("a MIME message without a text/x-loitsut part"),
        });
    }
    let text = utf8(plain)?;
    Ok(match claim(&text) {
        Claim::Ours => Decoded::Ours(Text::new(text)),
        Claim::OtherObject => Decoded::NotOurs("a JSON object without the key `loitsut`"),
        Claim::OtherText => Decoded::NotOurs("text that is neither a JSON object nor a MIME message"),
    })
}

fn unwrap_layers(mut data: Vec<u8>) -> Result<Vec<u8>, UserDataError> {
    for _ in 0..=MOST_LAYERS {
        trim_start(&mut data);
        match unwrap_layer(&data)? {
            Some(inner) => data = inner,
            None => return Ok(data),
        }
    }
    Err(UserDataError::TooDeep)
}

/// Drops what editors and shells put before a text: a byte order mark and white space.
fn trim_start(data: &mut Vec<u8>) {
    data.drain(..data.len() - trimmed(data).len());
}

fn trimmed(data: &[u8]) -> &[u8] {
    let data = data.trim_ascii_start();
    data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data).trim_ascii_start()
}

fn unwrap_layer(data: &[u8]) -> Result<Option<Vec<u8>>, UserDataError> {
    if data.starts_with(GZIP) { gunzip(data).map(Some) } else { from_base64(data) }
}

fn gunzip(data: &[u8]) -> Result<Vec<u8>, UserDataError> {
    let mut decoder = MultiGzDecoder::new(data);
    let mut plain = Vec::new();
    let mut chunk = [0; 1 << 16];
    loop {
        match decoder.read(&mut chunk) {
            Ok(0) => return Ok(plain),
            // Asked before the bytes are kept, so that a bomb never takes more memory than the limit.
            Ok(read) if plain.len() + read > MOST_DECODED => return Err(UserDataError::DecodedTooLarge),
            Ok(read) => plain.extend_from_slice(&chunk[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Err(UserDataError::Gzip(format!("it was cut off after {} bytes", data.len())));
            }
            Err(error) => return Err(UserDataError::Gzip(error.to_string())),
        }
    }
}

fn from_base64(data: &[u8]) -> Result<Option<Vec<u8>>, UserDataError> {
    if !is_base64_of_interest(&beginning(data)) {
        return Ok(None);
    }
    let all: Vec<u8> = symbols(data).collect();
    let plain = engine(&all).decode(&all).map_err(|error| UserDataError::Base64(explain(&error)))?;
    Ok(Some(plain))
}

/// The first symbols that are of more than white space: whole groups of `\n\n\n` and its like are passed over.
fn beginning(data: &[u8]) -> Vec<u8> {
    let mut head = Vec::new();
    for symbol in symbols(data) {
        head.push(symbol);
        if head.len() == 4 && is_blank(&head) {
            head.clear();
        }
        if head.len() == HEAD {
            break;
        }
    }
    head
}

/// Whether a group of four symbols is base64 of white space.
fn is_blank(group: &[u8]) -> bool {
    engine(group).decode(group).is_ok_and(|plain| plain.len() == 3 && plain.trim_ascii().is_empty())
}

/// Base64 without the line ends and spaces it was wrapped with.
fn symbols(data: &[u8]) -> impl Iterator<Item = u8> {
    data.iter().copied().filter(|byte| !byte.is_ascii_whitespace())
}

/// The engine for the alphabet that is used; padding, and what is left over in the last symbol, does not matter.
fn engine(symbols: &[u8]) -> GeneralPurpose {
    let url_safe = symbols.iter().any(|symbol| matches!(symbol, b'-' | b'_'));
    let config = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(if url_safe { &alphabet::URL_SAFE } else { &alphabet::STANDARD }, config)
}

fn explain(error: &base64::DecodeError) -> String {
    match error {
        base64::DecodeError::InvalidByte(offset, byte) => {
            format!("`{}` is no base64 (character {}, white space not counted)", byte.escape_ascii(), offset + 1)
        }
        base64::DecodeError::InvalidLength(length) => format!("it was cut off after {length} characters"),
        other => other.to_string(),
    }
}

/// Whether the first symbols are base64 of something that we would read on.
fn is_base64_of_interest(head: &[u8]) -> bool {
    let in_alphabet = |byte: &&u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(byte);
    let run = head.iter().take_while(in_alphabet).count();
    let whole_groups = &head[..run / 4 * 4];
    let Ok(plain) = engine(whole_groups).decode(whole_groups) else {
        return false;
    };
    let plain = trimmed(&plain);
    plain.starts_with(GZIP_DEFLATE)
        || begins_like_an_object(plain)
        || mime::begins_like_a_message(plain)
        // Each round is a quarter shorter, so this ends.
        || (!plain.is_empty() && is_base64_of_interest(&symbols(plain).collect::<Vec<_>>()))
}

/// `{` alone would not do: the word "example" is base64 of something that begins with it.
fn begins_like_an_object(plain: &[u8]) -> bool {
    plain.strip_prefix(b"{").is_some_and(|rest| rest.trim_ascii_start().starts_with(b"\""))
}

/// What is known by its first bytes, whatever comes after them.
fn other_kind(plain: &[u8]) -> Option<&'static str> {
    let kinds: [(&[u8], &str); 3] =
        [(b"#!", "a script"), (b"#cloud-config", "a cloud-config"), (b"#", "text that begins with a comment")];
    if plain.is_empty() {
        return Some("empty");
    }
    kinds.into_iter().find_map(|(start, kind)| plain.starts_with(start).then_some(kind))
}

fn utf8(plain: Vec<u8>) -> Result<String, UserDataError> {
    if plain.starts_with(b"\xff\xfe") || plain.starts_with(b"\xfe\xff") {
        return Err(UserDataError::Utf16);
    }
    String::from_utf8(plain).map_err(|error| UserDataError::NotUtf8(error.utf8_error().valid_up_to()))
}

/// Whose a plain text is.
enum Claim {
    Ours,
    OtherObject,
    OtherText,
}

fn claim(text: &str) -> Claim {
    match serde_json::from_str::<Probe>(text) {
        _ if !text.starts_with('{') => Claim::OtherText,
        Ok(Probe { loitsut: true }) => Claim::Ours,
        Ok(Probe { loitsut: false }) => Claim::OtherObject,
        // A syntax error, or the key is there twice: reading the document will say so.
        Err(_) if text.contains("\"loitsut\"") => Claim::Ours,
        Err(_) => Claim::OtherText,
    }
}

/// Whether the key is there, with any value; `null` too.
#[derive(Deserialize)]
struct Probe {
    #[serde(default, deserialize_with = "is_there")]
    loitsut: bool,
}

fn is_there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}
