//! Profiles and layers checked without a machine.

use crate::conflict::{self, Wish};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::facts::{Binding, Facts};
use crate::graph;
use crate::library::Library;
use crate::names::LayerName;
use crate::param::{Origin, Overrides, ParamType, ParamValue};
use crate::render::Renderer;
use crate::resolve::{find_profile, one_worker};
use crate::resource::Resource;
use crate::scope::{self, Scope};
use crate::source::Place;
use crate::template::Engine;
use crate::values::{self, Params};
use crate::written::{Entry, Layer};

/// Everything that is wrong with a profile and the layers it has.
pub fn profile(library: &Library, name: &str) -> Vec<Diagnostic> {
    let profile = match find_profile(library, name) {
        Ok(profile) => profile,
        Err(error) => return vec![error],
    };
    let layers = match graph::order(library, &profile.layers) {
        Ok(layers) => layers,
        Err(found) => return found.0,
    };
    let mut found = Vec::new();
    let mut params = values::declared(&layers, &mut found);
    values::assign(&mut params, &profile, &Overrides::default(), &mut found);
    values::require_values(&params, name, &mut found);
    check(library, &layers, params, &mut found);
    found
}

/// Everything that is wrong with a layer and the layers it requires. A parameter that waits for a profile's value gets
/// one that fits its type.
pub fn layer(library: &Library, name: &LayerName) -> Vec<Diagnostic> {
    let Some(file) = library.layer(name) else {
        return vec![Diagnostic::nowhere(format!("there is no layer `{name}`"))];
    };
    let start = Place { file: file.clone(), span: 0..0 };
    let layers = match graph::order(library, &[(name.clone(), start)]) {
        Ok(layers) => layers,
        Err(found) => return found.0,
    };
    let mut found = Vec::new();
    let params = values::declared(&layers, &mut found);
    check(library, &layers, params, &mut found);
    found
}

fn check(library: &Library, layers: &[Layer<'_>], mut params: Params, found: &mut Vec<Diagnostic>) {
    let unknown: Vec<String> = params.iter().filter(|(_, p)| p.value.is_none()).map(|(name, _)| name.clone()).collect();
    fill_in(&mut params);
    let (facts, binding) = (Facts::sample(), Binding::sample());
    let context = scope::context(&facts, Some(&binding), &params);
    let engine = Engine::new();
    let in_reach = values::in_reach(layers);
    let mut resources = Vec::new();
    for layer in layers {
        let scope = Scope { params: &params, in_reach: &in_reach[&layer.name], binding: Some(&binding) };
        let mut renderer = Renderer { engine: &engine, library, context: &context, scope, family: None };
        let mut report = |entry: &Entry<'_>, errors: Diagnostics| {
            // A made-up value is no reason to call what is made of it wrong.
            let made_up = asks_for(entry, &unknown);
            found.extend(errors.0.into_iter().filter(|error| !made_up || is_about_structure(error)));
        };
        for entry in &layer.resources {
            match check_entry(entry, &mut renderer, &facts) {
                Ok(resource) => resources.push((resource, entry)),
                Err(errors) => report(entry, errors),
            }
        }
        if let Some(entry) = &layer.worker {
            let checked = renderer.phase(entry).and_then(|_| Ok(renderer.worker(entry)?));
            checked.map(drop).unwrap_or_else(|errors| report(entry, errors));
        }
    }
    one_worker(layers, found);
    let all = resources.iter().map(|(resource, entry)| {
        let when = entry.when.as_ref().map(|(when, _)| when.as_str());
        Wish { resource, when, place: &entry.place }
    });
    found.extend(conflict::between(all));
}

fn check_entry<'a>(entry: &Entry<'_>, renderer: &mut Renderer<'a>, facts: &'a Facts) -> Result<Resource, Diagnostics> {
    renderer.phase(entry)?;
    // A list of packages may be missing only where `when` keeps the resource from this family.
    renderer.family = renderer.holds(entry)?.then_some(facts.os.family.as_str());
    Ok(renderer.resource(entry)?)
}

fn fill_in(params: &mut Params) {
    for param in params.values_mut().filter(|param| param.value.is_none()) {
        let first = param.declaration.choices.as_ref().and_then(|choices| choices.first().cloned());
        let value = first.unwrap_or_else(|| match param.declaration.kind() {
            ParamType::String => ParamValue::String("sample".into()),
            ParamType::Integer => ParamValue::Integer(1),
            ParamType::Boolean => ParamValue::Boolean(true),
            ParamType::List => ParamValue::List(vec!["sample".into()]),
        });
        param.value = Some((value, Origin::File(param.place.clone())));
    }
}

fn asks_for(entry: &Entry<'_>, names: &[String]) -> bool {
    let text = entry.place.file.text.as_str();
    names.iter().any(|name| text.contains(&format!("params.{name}")))
}

fn is_about_structure(error: &Diagnostic) -> bool {
    ["unknown key", "missing key", "undefined", "unknown variable", "template"]
        .iter()
        .any(|start| error.message.starts_with(start))
}
