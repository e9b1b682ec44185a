//! User-data as it is received: every encoding, then the document.
#![no_main]

use libfuzzer_sys::fuzz_target;
use loitsut_profile::userdata::{Decoded, decode};

fuzz_target!(|received: &[u8]| {
    let Ok(Decoded::Ours(text)) = decode(received) else { return };
    let _ = text.preamble();
    match text.document() {
        Ok(document) => {
            let shown = format!("{} {document:?}", document.to_masked_json(false));
            if let Some(worker) = &document.worker
                && worker.password.reveal().len() > 8
                // What else it has in it may be the same text.
                && text.reveal().matches(worker.password.reveal()).count() == 1
            {
                assert!(!shown.contains(worker.password.reveal()), "the password is shown");
            }
        }
        Err(error) => assert!(!error.to_string().contains('\u{1b}'), "an escape sequence: {error:?}"),
    }
});
