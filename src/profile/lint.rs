//! Profiles and layers checked without a machine.

use std::collections::BTreeSet;

use crate::conflict::{self, Wish};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::facts::{Binding, Facts};
use crate::graph;
use crate::library::Library;
use crate::names::LayerName;
use crate::param::{Origin, Overrides, ParamType, ParamValue};
use crate::render::{Renderer, is_about};
use crate::resolve::{self, find_profile, one_worker};
use crate::resource::Resource;
use crate::scope::{self, Scope};
use crate::source::Place;
use crate::values::{self, Params, Reach};
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
    let made_up = fill_in(&mut params);
    let (facts, binding) = (Facts::sample(), Binding::sample());
    let context = scope::context(&facts, Some(&binding), &params);
    let engine = match resolve::engine() {
        Ok(engine) => engine,
        Err(error) => return found.push(error),
    };
    let reach = Reach::of(layers);
    let mut resources = Vec::new();
    for (index, layer) in layers.iter().enumerate() {
        let scope = Scope { params: &params, reach: &reach, layer: index, binding: Some(&binding) };
        let renderer = Renderer { engine: &engine, library, context: &context, scope };
        for entry in layer.resources.iter().chain(&layer.worker) {
            match check_entry(entry, &renderer, &facts, &made_up) {
                Ok(checked) => resources.extend(checked.map(|(resource, secret)| (resource, secret, entry))),
                Err(errors) => found.extend(errors.0),
            }
            if found.len() >= Diagnostics::ENOUGH {
                return;
            }
        }
    }
    one_worker(layers, found);
    let all = resources.iter().map(|(resource, secret, entry)| {
        let when = entry.when.as_ref().map(|(when, _)| when.as_str());
        Wish { resource, when, place: &entry.place, secret: *secret }
    });
    found.extend(conflict::between(all));
}

/// The resource, if it is one and not the worker, and whether there is a secret in it.
fn check_entry(
    entry: &Entry<'_>,
    renderer: &Renderer<'_>,
    facts: &Facts,
    made_up: &BTreeSet<String>,
) -> Result<Option<(Resource, bool)>, Diagnostics> {
    let asks = renderer.asks(entry)?;
    // A made-up value is no reason to call what is made of it wrong.
    let excused = |error: &Diagnostic| {
        asks.params(made_up).any(|asked| is_about(error, asked.place.span.clone(), entry, &asked.key))
    };
    let checked = renderer.holds(entry, &asks).and_then(|holds| {
        if entry.is_worker {
            return renderer.worker(entry, &asks).map(|_| None);
        }
        // A list of packages may be missing only where `when` keeps the resource from this family.
        let family = holds.then_some(facts.os.family.as_str());
        renderer.resource(entry, &asks, family).map(|resource| Some((resource, asks.secret().next().is_some())))
    });
    match checked {
        Err(error) if excused(&error) => Ok(None),
        other => Ok(other?),
    }
}

/// Gives every parameter without a value one of its own; the names of those.
fn fill_in(params: &mut Params) -> BTreeSet<String> {
    let mut made_up = BTreeSet::new();
    for (name, param) in params.iter_mut().filter(|(_, param)| param.value.is_none()) {
        let first = param.declaration.choices.as_ref().and_then(|choices| choices.first().cloned());
        let sample = format!("sample-{name}");
        let value = first.unwrap_or_else(|| match param.declaration.kind() {
            ParamType::String => ParamValue::String(sample),
            ParamType::Integer => ParamValue::Integer(1 + made_up.len() as i64),
            ParamType::Boolean => ParamValue::Boolean(true),
            ParamType::List => ParamValue::List(vec![sample]),
        });
        param.value = Some((value, Origin::File(param.place.clone())));
        made_up.insert(name.clone());
    }
    made_up
}
