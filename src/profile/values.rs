//! Parameters put together: every declaration of the layers, and the value each one has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::diagnostic::Diagnostic;
use crate::names::LayerName;
use crate::param::{Declaration, Origin, Overrides, ParamValue};
use crate::source::Place;
use crate::suggest::did_you_mean;
use crate::written::{Layer, ProfileFile};

/// One parameter of a profile.
#[derive(Clone)]
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
                let value = declaration.default.as_ref().map(|default| {
                    let place = Place { file: Arc::clone(&place.file), span: default.span() };
                    (default.get_ref().clone(), Origin::File(place))
                });
                params.insert(name.clone(), Param { declaration: declaration.clone(), place: place.clone(), value });
            }
        }
    }
    params
}

/// Gives the parameters their values: those of the profile, then of the user-data, then of the command line.
pub(crate) fn assign(params: &mut Params, profile: &ProfileFile, overrides: &Overrides, found: &mut Vec<Diagnostic>) {
    for (name, (value, place)) in &profile.params {
        if params.get(name).is_some_and(|param| param.declaration.secret) {
            found.push(
                Diagnostic::at(place.masked(), format!("parameter `{name}` is secret, and has its value here"))
                    .help("pass it in the user-data; in files everybody can read it"),
            );
            continue;
        }
        set(params, name, value.clone(), Origin::File(place.clone()), found);
    }
    for (name, value) in &overrides.user_data {
        set(params, name, value.clone(), Origin::UserData, found);
    }
    for (name, text) in &overrides.command_line {
        let declaration = params.get(name).map(|param| param.declaration.clone()).unwrap_or_default();
        if declaration.secret {
            found.push(
                Diagnostic::nowhere(format!("--param: parameter `{name}` is secret, and arguments are not"))
                    .help("pass it in the user-data"),
            );
            continue;
        }
        let kind = declaration.kind();
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
pub(crate) struct Reach<'l> {
    /// The layers that declare a parameter, by their places in the order.
    declared_by: BTreeMap<&'l str, Vec<usize>>,
    /// For each layer, whether it has each other one.
    has: Vec<Vec<bool>>,
}

impl<'l> Reach<'l> {
    pub(crate) fn of(layers: &'l [Layer<'_>]) -> Self {
        let mut reach = Self { declared_by: BTreeMap::new(), has: Vec::new() };
        let mut places: BTreeMap<&LayerName, usize> = BTreeMap::new();
        for (index, layer) in layers.iter().enumerate() {
            let mut has = vec![false; layers.len()];
            has[index] = true;
            // What is required comes before, so its reach is known already.
            let required: BTreeSet<usize> =
                layer.requires.iter().filter_map(|(name, _)| places.get(name).copied()).collect();
            for other in required {
                has.iter_mut().zip(&reach.has[other]).for_each(|(has, other)| *has |= other);
            }
            reach.has.push(has);
            places.insert(&layer.name, index);
            for name in layer.params.keys() {
                reach.declared_by.entry(name).or_default().push(index);
            }
        }
        reach
    }

    /// Whether the layer at that place in the order may use a parameter.
    pub(crate) fn has(&self, layer: usize, param: &str) -> bool {
        self.declared_by.get(param).is_some_and(|declaring| declaring.iter().any(|other| self.has[layer][*other]))
    }
}
