//! Profiles that are too large, or made to keep a machine busy: each ends soon, in an answer.
#![allow(clippy::unwrap_used, reason = "clippy sees that helpers of tests are tests only beside the code")]

use std::collections::BTreeMap;

use loitsut_profile::diagnostic::Diagnostics;
use loitsut_profile::facts::{Binding, Facts};
use loitsut_profile::library::Library;
use loitsut_profile::param::Overrides;
use loitsut_profile::resolve::{Request, Resolved, resolve};
use loitsut_profile::{lint, order};

fn library(layer: String) -> Library {
    let files = [("p.toml".to_owned(), "layers = ['a']\n".to_owned()), ("layers/a.toml".to_owned(), layer)];
    Library::of_bundle(&BTreeMap::from(files))
}

fn resolved(layer: String) -> Result<Resolved, Diagnostics> {
    let (library, facts, binding) = (library(layer), Facts::sample(), Binding::sample());
    let overrides = Overrides::default();
    resolve(&Request { library: &library, profile: "p", overrides: &overrides, facts: &facts, binding: Some(&binding) })
}

fn refused(layer: String, part: &str) {
    let message = resolved(layer).unwrap_err().to_string();
    assert!(message.contains(part), "no {part:?} in:\n{message}");
}

#[test]
fn an_expression_without_end_is_refused() {
    let long = "not ".repeat(100_000);
    refused(
        format!("[[resource]]\ntype = 'directory'\npath = '/x'\nwhen = '{long} 1'\n"),
        "an expression is longer than 2048 bytes",
    );
    refused(
        format!("[[resource]]\ntype = 'directory'\npath = '/{{{{ {long} 1 }}}}'\n"),
        "an expression is longer than 2048 bytes",
    );
}

#[test]
fn all_templates_together_are_bounded() {
    let entry =
        |n: usize| format!("[[resource]]\ntype = 'file'\npath = '/f{n}'\ncontent = \"{{{{ 'x' * 1000000 }}}}\"\n");
    refused((0..9).map(entry).collect(), "make more than 8388608 bytes");
}

#[test]
fn resources_and_parameters_are_counted() {
    refused("[[resource]]\ntype = 'command'\nscript = 'true'\n".repeat(10_001), "at most 10000 resources");
    refused((0..10_001).map(|n| format!("[params.p{n}]\ndefault = 1\n")).collect(), "10000 parameters");
}

#[test]
fn the_same_packages_again_and_again_are_one_claim() {
    let list = |prefix: &str| (0..50_000).map(|n| format!("'{prefix}{n}', ")).collect::<String>();
    let resources = format!("[[resource]]\ntype = 'packages'\napt = [{}]\n", list("a")).repeat(2);
    let resolved = resolved(resources).unwrap();
    assert!(order::steps(&resolved.resources)[0].resource.title().contains("and 49997 more"));
    let when = |n: usize| format!("[[resource]]\ntype = 'directory'\npath = '/x'\nwhen = 'cpus > {}'\n", n % 10);
    assert!(lint::profile(&library((0..10_000).map(when).collect()), "p").is_empty());
}

#[test]
fn many_errors_are_counted_and_the_first_ones_shown() {
    let entry = |n: usize| format!("[[resource]]\ntype = 'file'\npath = 'x{n}'\ncontent = ''\n");
    let message = resolved((0..100).map(entry).collect()).unwrap_err().to_string();
    assert!(message.contains("`x49`") && !message.contains("`x50`"), "{message}");
    assert!(message.contains("and 50 more") && message.ends_with("100 errors"), "{message}");
}
