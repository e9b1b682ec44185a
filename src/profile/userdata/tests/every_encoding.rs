//! One document in every encoding, whole and damaged.

use super::encode::{MESSAGE, WHOLE};
use super::{Decoded, FULL, decode, read};

/// Every encoding of the content, in every message, in every encoding of the message.
fn encodings() -> impl Iterator<Item = (String, Vec<u8>)> {
    WHOLE.iter().flat_map(|(inner, encode_content)| {
        MESSAGE.iter().flat_map(move |(message, put_in_message)| {
            let text = put_in_message(&encode_content(FULL.as_bytes()));
            // Without a message in between there is one limit for both.
            let outer = if *message == "alone" { &WHOLE[..1] } else { WHOLE };
            outer.iter().map(move |(outer, encode)| (format!("{inner}, {message}, {outer}"), encode(&text)))
        })
    })
}

#[test]
fn is_the_same_document() {
    let document = read(FULL.as_bytes()).unwrap();
    for (encoding, received) in encodings() {
        assert_eq!(read(&received), Ok(document.clone()), "{encoding}");
    }
    assert_eq!(read(FULL.replace('\n', "\r\n").as_bytes()), Ok(document), "crlf");
}

/// xorshift64: the same damage in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }
}

#[test]
fn cut_off_anywhere_is_never_taken_for_another_document() {
    let document = read(FULL.as_bytes()).unwrap();
    let mut random = Random(0x10175);
    for (encoding, received) in encodings() {
        let cut = random.below(received.len());
        let Ok(Decoded::Ours(text)) = decode(&received[..cut]) else {
            continue;
        };
        // Only white space, padding or an epilogue can be missing then.
        assert_eq!(text.document().unwrap_or(document.clone()), document, "{encoding}, cut at {cut}");
    }
}

#[test]
fn damage_never_panics() {
    let mut random = Random(0xbad5eed);
    for (_, received) in encodings() {
        let mut damaged = received.clone();
        for _ in 0..=random.below(4) {
            let position = random.below(damaged.len());
            match random.below(3) {
                0 => damaged[position] = u8::try_from(random.below(256)).unwrap(),
                1 => drop(damaged.remove(position)),
                _ => damaged.insert(position, b"\n\r-:={}\"\0"[random.below(9)]),
            }
        }
        if let Ok(Decoded::Ours(text)) = decode(&damaged) {
            // Any answer is right, as long as there is one.
            let _ = (text.preamble(), text.document());
        }
    }
}
