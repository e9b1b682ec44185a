//! Parameters put together: every declaration of the layers, and the value each one has.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnostic::Diagnostic;
use crate::library::did_you_mean;
use crate::names::LayerName;
use crate::param::{Declaration, Origin, Overrides, ParamValue};
use crate::source::Place;
use crate::written::{Layer, ProfileFile};

/// One parameter of a profile.
#[derive(Clone, Debug)]
pub(crate) struct Param {
    pub(crate) declaration: Declaration,
    pub(crate) place: Place,
    /// Its value and who gave it; a secret may have none.
    pub(crate) value: Option<(ParamValue, Origin)>,
}

/// All parameters of a profile by name.
pub(crate) type Params = BTreeMap<String, Param>;

/// Declarations of all layers; two that differ are reported.
pub(crate) fn declared(layers: &[Layer<'_>], found: &mut Vec<Diagnostic>) -> Params {
    let mut params = Params::new();
    for (name, (declaration, place)) in layers.iter().flat_map(|layer| &layer.params) {
        match params.get(name) {
            Some(first) if !first.declaration.is_like(declaration) => found.push(
                Diagnostic::at(place.clone(), format!("parameter `{name}` is declared in two ways"))
                    .related(first.place.clone(), "first declared here")
                    .help("names are global: declare it alike in both layers, or only in one that the other requires"),
            ),
            Some(_) => {}
            None => {
                let value = declaration.default.clone().map(|default| (default, Origin::File(place.clone())));
                params.insert(name.clone(), Param { declaration: declaration.clone(), place: place.clone(), value });
            }
        }
    }
    params
}

/// Gives the parameters their values: those of the profile, then of the user-data, then of the command line.
pub(crate) fn assign(params: &mut Params, profile: &ProfileFile, overrides: &Overrides, found: &mut Vec<Diagnostic>) {
    for (name, (value, place)) in &profile.params {
        set(params, name, value.clone(), Origin::File(place.clone()), found);
    }
    for (name, value) in &overrides.user_data {
        set(params, name, value.clone(), Origin::UserData, found);
    }
    for (name, text) in &overrides.command_line {
        let kind = params.get(name).map(|param| param.declaration.kind()).unwrap_or_default();
        match ParamValue::from_text(text, kind) {
            Ok(value) => set(params, name, value, Origin::CommandLine, found),
            Err(problem) => found.push(Diagnostic::nowhere(format!("--param: parameter `{name}` {problem}"))),
        }
    }
}

fn set(params: &mut Params, name: &str, value: ParamValue, origin: Origin, found: &mut Vec<Diagnostic>) {
    let report = |problem: String| match &origin {
        Origin::File(place) => Diagnostic::at(place.clone(), problem),
        elsewhere => Diagnostic::nowhere(format!("{elsewhere}: {problem}")),
    };
    let Some(param) = params.get_mut(name) else {
        let help = did_you_mean(name, params.keys().map(String::as_str))
            .unwrap_or_else(|| "a layer declares its parameters by `[params.NAME]`".into());
        found.push(report(format!("no layer of this profile has a parameter `{name}`")).help(help));
        return;
    };
    match param.declaration.accept(&value) {
        Ok(()) => param.value = Some((value, origin)),
        Err(problem) => {
            let declared = param.place.clone();
            found.push(report(format!("parameter `{name}` {problem}")).related(declared, "declared here"));
        }
    }
}

/// Reports each parameter that is not secret and has no value.
pub(crate) fn require_values(params: &Params, profile: &str, found: &mut Vec<Diagnostic>) {
    for (name, param) in params.iter().filter(|(_, p)| p.value.is_none() && !p.declaration.secret) {
        found.push(
            Diagnostic::at(param.place.clone(), format!("parameter `{name}` has no value"))
                .help(format!("give it a `default` here, or a value in `[params]` of the profile `{profile}`")),
        );
    }
}

/// The parameters that each layer may use: its own and those of all that it requires, near or far.
pub(crate) fn in_reach<'l>(layers: &'l [Layer<'_>]) -> BTreeMap<&'l LayerName, BTreeSet<String>> {
    let mut reach: BTreeMap<&LayerName, BTreeSet<String>> = BTreeMap::new();
    // What is required comes before, so its reach is known already.
    for layer in layers {
        let required = layer.requires.iter().filter_map(|(name, _)| reach.get(name)).flatten();
        let names = layer.params.keys().chain(required).cloned().collect();
        reach.insert(&layer.name, names);
    }
    reach
}
