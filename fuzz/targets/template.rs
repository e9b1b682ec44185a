//! Templates and `when`: the content of a file, and its condition after a NUL.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use loitsut_profile::facts::{Binding, Facts};
use loitsut_profile::library::Library;
use loitsut_profile::param::Overrides;
use loitsut_profile::resolve::{Request, resolve};
use loitsut_profile::resource::{Content, Resource};

/// As resolving has it, for all templates together.
const MOST_RENDERED: usize = 8 << 20;

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let escaped = text.chars().map(|c| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c.is_control() => format!("\\U{:08X}", u32::from(c)),
        c => c.to_string(),
    });
    format!("\"{}\"", escaped.collect::<String>())
}

fuzz_target!(|text: &str| {
    let (content, when) = text.split_once('\0').unwrap_or((text, "true"));
    let layer = format!(
        "[params.list]\ntype = 'list'\ndefault = ['a', 'b']\n[params.text]\ndefault = 'x'\n[[resource]]\ntype = 'file'\n\
         path = '/x'\ncontent = {}\nwhen = {}\n",
        quoted(content),
        quoted(when),
    );
    let files = [("p.toml", "layers = ['a']\n".to_owned()), ("layers/a.toml", layer)];
    let files: BTreeMap<_, _> = files.map(|(path, text)| (path.to_owned(), text)).into();
    let (library, overrides, facts, binding) =
        (Library::of_bundle(&files), Overrides::default(), Facts::sample(), Binding::sample());
    let request =
        Request { library: &library, profile: "p", overrides: &overrides, facts: &facts, binding: Some(&binding) };
    if let Ok(resolved) = resolve(&request)
        && let Some(Resource::File(file)) = resolved.resources.first().map(|planned| &planned.resource)
        && let Content::Bytes(bytes) = &file.content
    {
        assert!(bytes.len() <= MOST_RENDERED + content.len());
    }
});
