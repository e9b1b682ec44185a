//! What people get to see.

use super::{Decoded, FULL, decode, read};

#[test]
fn no_secret_is_shown_unless_revealed() {
    let document = read(FULL.as_bytes()).unwrap();
    let Ok(Decoded::Ours(text)) = decode(FULL.as_bytes()) else { panic!("not ours") };
    let masked = document.to_masked_json(false).to_string();
    let shown = format!("{masked}\n{document:?}\n{document:#?}\n{text:?}\n{:?}", decode(FULL.as_bytes()));
    assert!(!shown.contains("hidden"), "{shown}");
    assert!(!masked.contains("11.4") && masked.contains("branch"), "{masked}");
    assert!(masked.contains(r#""password":"***""#), "{masked}");
}

#[test]
fn what_is_revealed_is_the_same_document() {
    let document = read(FULL.as_bytes()).unwrap();
    let revealed = document.to_masked_json(true).to_string();
    assert_eq!(read(revealed.as_bytes()), Ok(document));
    let least = br#"{"loitsut":1,"profile":"cpp"}"#;
    let document = read(least).unwrap();
    assert_eq!(read(document.to_masked_json(true).to_string().as_bytes()), Ok(document));
}
