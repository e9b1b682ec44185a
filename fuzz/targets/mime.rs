//! The parts of a MIME message: their headers, boundaries and transfer encodings.
#![no_main]

use libfuzzer_sys::fuzz_target;
use loitsut_profile::userdata::{Decoded, decode};

fuzz_target!(|body: &[u8]| {
    let message = [b"Content-Type: multipart/mixed; boundary=B\n\n".as_slice(), body].concat();
    match decode(&message) {
        Ok(Decoded::Ours(text)) => drop(text.document()),
        Ok(Decoded::NotOurs(_)) => {}
        Err(error) => assert!(!error.to_string().contains('\u{1b}'), "an escape sequence: {error:?}"),
    }
});
