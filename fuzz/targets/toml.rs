//! Profiles and layers: files separated by NUL (the profile, then the layers `a`, `b` and `c`), resolved and linted.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use loitsut_profile::diagnostic::Diagnostics;
use loitsut_profile::facts::{Binding, Facts};
use loitsut_profile::library::Library;
use loitsut_profile::param::{Overrides, ParamValue};
use loitsut_profile::resolve::{Request, resolve};
use loitsut_profile::{lint, order};

const FILES: [&str; 4] = ["p.toml", "layers/a.toml", "layers/b.toml", "layers/c.toml"];

/// Long enough to be no coincidence.
const SECRET: &str = "hunter2-hunter2-hunter2";

fuzz_target!(|text: &str| {
    let files = FILES.iter().zip(text.split('\0')).map(|(path, text)| ((*path).to_owned(), text.to_owned()));
    let library = Library::of_bundle(&files.collect::<BTreeMap<_, _>>());
    let mut shown = Diagnostics(lint::profile(&library, "p")).to_string();
    let (facts, binding) = (Facts::sample(), Binding::sample());
    let user_data = BTreeMap::from([("token".to_owned(), ParamValue::String(SECRET.to_owned()))]);
    let overrides = Overrides { user_data, ..Overrides::default() };
    for binding in [Some(&binding), None] {
        let request = Request { library: &library, profile: "p", overrides: &overrides, facts: &facts, binding };
        shown.push_str(&match resolve(&request) {
            Ok(resolved) => format!("{:?} {:?}", resolved, order::steps(&resolved.resources)),
            Err(errors) => errors.to_string(),
        });
    }
    let is_secret = text.contains("secret");
    assert!(!is_secret || text.contains(SECRET) || !shown.contains(SECRET), "the secret is shown");
    assert!(!shown.contains('\u{1b}'), "an escape sequence is shown");
});
