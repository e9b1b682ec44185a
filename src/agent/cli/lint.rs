//! `loitsut lint`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;

use anyhow::{Context as _, Result, bail};
use loitsut_profile::diagnostic::{Diagnostic, Diagnostics};
use loitsut_profile::library::Library;
use loitsut_profile::lint;
use loitsut_profile::names::LayerName;
use loitsut_profile::source::Place;
use serde_json::{Value, json};

use super::exit;
use crate::host::Host;
use crate::host::files::Kind;
use crate::library;
use crate::logging;
use crate::report::say;

/// Checks every path; errors go to standard error, a summary to standard output; as JSON both to the latter.
pub(super) fn lint(paths: &[PathBuf], json: bool) -> Result<ExitCode> {
    let host = Rc::new(Host::here());
    let mut found: Vec<Diagnostic> = Vec::new();
    let mut checked = 0;
    for path in paths {
        let target = Target::of(&host, path)?;
        let library = library::in_folder(Rc::clone(&host), &target.root)?;
        let (count, errors) = target.check(&library);
        checked += count;
        // A layer is checked with every profile that has it: each error is said once.
        for error in errors {
            if found.len() < Diagnostics::ENOUGH && !found.iter().any(|known| is_the_same(known, &error)) {
                found.push(error);
            }
        }
    }
    if json {
        let errors: Vec<_> = found.iter().map(as_json).collect();
        say(&serde_json::to_string_pretty(&json!({ "checked": checked, "errors": errors }))?);
        return Ok(if found.is_empty() { ExitCode::SUCCESS } else { exit::FAILURE });
    }
    match Diagnostics::none_in(found) {
        Ok(()) => {
            say(&format!("{checked} file{} checked, no errors", if checked == 1 { "" } else { "s" }));
            Ok(ExitCode::SUCCESS)
        }
        Err(errors) => {
            eprintln!("{}", errors.render(logging::colours()));
            Ok(exit::FAILURE)
        }
    }
}

fn as_json(error: &Diagnostic) -> Value {
    let place = |place: &Place| json!({ "file": place.file.path, "line": place.line(), "column": place.column() });
    let related = error.related.iter().map(|(at, label)| json!({ "place": place(at), "label": label }));
    json!({
        "message": error.message,
        "label": error.label,
        "place": error.place.as_ref().map(place),
        "related": related.collect::<Vec<_>>(),
        "help": error.help,
    })
}

/// The same words at the same place; or the same cycle, which is found from every layer of it.
fn is_the_same(one: &Diagnostic, other: &Diagnostic) -> bool {
    let (ours, theirs) = (places(one), places(other));
    let same_words = one.message == other.message && one.place == other.place;
    same_words || (ours.len() > 1 && ours.len() == theirs.len() && ours.iter().all(|place| theirs.contains(place)))
}

fn places(diagnostic: &Diagnostic) -> Vec<&Place> {
    diagnostic.place.iter().chain(diagnostic.related.iter().map(|(place, _)| place)).collect()
}

/// What a path means: the folder that all names are relative to, and one file in it or all.
struct Target {
    root: PathBuf,
    only: Option<Only>,
}

enum Only {
    Profile(String),
    Layer(LayerName),
}

impl Target {
    fn of(host: &Host, path: &Path) -> Result<Self> {
        let path = std::path::absolute(path)?;
        let stat = host.stat_through(&path)?.with_context(|| format!("there is no {}", path.display()))?;
        if stat.kind == Kind::Directory {
            return Ok(Self { root: path, only: None });
        }
        let Some(stem) = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".toml"))
        else {
            bail!("{} is not a profile or layer: those are .toml files", path.display());
        };
        let folder = path.parent().unwrap_or(Path::new("/"));
        // A layer lies somewhere below a folder `layers`, which lies beside the profiles.
        let layers = folder.ancestors().find(|above| above.file_name().is_some_and(|name| name == "layers"));
        let (Some(layers), Some(root)) = (layers, layers.and_then(Path::parent)) else {
            return Ok(Self { root: folder.to_owned(), only: Some(Only::Profile(stem.to_owned())) });
        };
        let below = folder.strip_prefix(layers)?.join(stem);
        let name = below.to_str().context("the name of the layer is not UTF-8")?.parse()?;
        Ok(Self { root: root.to_owned(), only: Some(Only::Layer(name)) })
    }

    /// How many files were checked, and what is wrong with them.
    fn check(&self, library: &Library) -> (usize, Vec<Diagnostic>) {
        match &self.only {
            Some(Only::Profile(name)) => (1, lint::profile(library, name)),
            Some(Only::Layer(name)) => (1, lint::layer(library, name)),
            None => check_all(library),
        }
    }
}

fn check_all(library: &Library) -> (usize, Vec<Diagnostic>) {
    let profiles: Vec<_> = library.profiles().collect();
    let layers: Vec<LayerName> = library.layers().filter_map(|name| name.parse().ok()).collect();
    let of_profiles = profiles.iter().flat_map(|name| lint::profile(library, name));
    let of_layers = layers.iter().flat_map(|name| lint::layer(library, name));
    (profiles.len() + layers.len(), of_profiles.chain(of_layers).collect())
}
