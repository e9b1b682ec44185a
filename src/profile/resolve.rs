//! A profile resolved: its layers in order, its parameters with values, its resources typed and rendered.

use crate::conflict::{self, Wish};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::facts::{Binding, Facts};
use crate::graph;
use crate::library::Library;
use crate::names::LayerName;
use crate::param::Overrides;
use crate::render::Renderer;
use crate::resource::{Resource, WorkerUnit};
use crate::scope::{self, Phase, Scope};
use crate::secret::Secret;
use crate::source::Place;
use crate::suggest::did_you_mean;
use crate::template::Engine;
use crate::values::{self, Params, Reach};
use crate::written::{Entry, Layer, ProfileFile};

/// What to resolve.
pub struct Request<'a> {
    /// The files.
    pub library: &'a Library,
    /// Name of the profile: `cpp` for `cpp.toml`.
    pub profile: &'a str,
    /// Values that override those in the files.
    pub overrides: &'a Overrides,
    /// The machine.
    pub facts: &'a Facts,
    /// The launch; without one, the resources of the `bind` phase and the worker are left out.
    pub binding: Option<&'a Binding>,
}

/// A profile, ready to be applied.
#[derive(Debug)]
pub struct Resolved {
    /// Its name.
    pub profile: String,
    /// Its resources, as written; [`crate::order::steps`] puts them in the order of applying.
    pub resources: Vec<Planned>,
    /// Resources of the `bind` phase that there is no launch for.
    pub left_out: Vec<LeftOut>,
    /// The build agent, if a layer has one and there is a launch.
    pub worker: Option<WorkerUnit>,
    /// Every value that no output may show.
    pub secrets: Vec<Secret>,
}

/// One resource of a resolved profile.
#[derive(Clone, Debug)]
pub struct Planned {
    /// What is wanted.
    pub resource: Resource,
    /// The layer that wants it.
    pub layer: LayerName,
    /// Where it is written.
    pub place: Place,
    /// When it can be applied.
    pub phase: Phase,
    /// Before the package transaction.
    pub early: bool,
    /// There is a secret in it.
    pub secret: bool,
}

/// A resource that waits for a launch.
#[derive(Clone, Debug)]
pub struct LeftOut {
    /// Its type.
    pub kind: String,
    /// The layer that wants it.
    pub layer: LayerName,
    /// Where it is written.
    pub place: Place,
}

/// Resolves a profile.
///
/// # Errors
/// Everything that is wrong with the profile, its layers and the values given to it.
pub fn resolve(request: &Request<'_>) -> Result<Resolved, Diagnostics> {
    let profile = find_profile(request.library, request.profile)?;
    let layers = graph::order(request.library, &profile.layers)?;
    let params = parameters(request, &profile, &layers)?;
    let mut resolved = Resolved {
        profile: request.profile.to_owned(),
        resources: Vec::new(),
        left_out: Vec::new(),
        worker: None,
        secrets: secrets(request.binding, &params),
    };
    let mut found = Vec::new();
    let context = scope::context(request.facts, request.binding, &params);
    let engine = engine()?;
    let reach = Reach::of(&layers);
    for (index, layer) in layers.iter().enumerate() {
        let scope = Scope { params: &params, reach: &reach, layer: index, binding: request.binding };
        let renderer = Renderer { engine: &engine, library: request.library, context: &context, scope };
        resolve_layer(layer, request, &renderer, &mut resolved, &mut found);
    }
    one_worker(&layers, &mut found);
    Diagnostics::none_in(found)?;
    let all = resolved.resources.iter().map(|planned| {
        let Planned { resource, place, secret, .. } = planned;
        Wish { resource, when: None, place, secret: *secret }
    });
    Diagnostics::none_in(conflict::between(all))?;
    Ok(resolved)
}

pub(crate) fn engine() -> Result<Engine, Diagnostic> {
    Engine::new().map_err(|error| Diagnostic::nowhere(format!("templates: {}", error.problem)))
}

pub(crate) fn find_profile(library: &Library, name: &str) -> Result<ProfileFile, Diagnostic> {
    let file = library.profile(name).ok_or_else(|| {
        let help = did_you_mean(name, library.profiles()).unwrap_or_else(|| {
            format!("a profile `{name}` would be the file `{name}.toml` beside the folder `layers`")
        });
        Diagnostic::nowhere(format!("there is no profile `{name}`")).help(help)
    })?;
    ProfileFile::parse(file)
}

pub(crate) fn parameters(
    request: &Request<'_>,
    profile: &ProfileFile,
    layers: &[Layer<'_>],
) -> Result<Params, Diagnostics> {
    let mut found = Vec::new();
    let mut params = values::declared(layers, &mut found);
    values::assign(&mut params, profile, request.overrides, &mut found);
    values::require_values(&params, request.profile, &mut found);
    Diagnostics::none_in(found)?;
    Ok(params)
}

fn secrets(binding: Option<&Binding>, params: &Params) -> Vec<Secret> {
    let password = binding.and_then(|binding| binding.worker.as_ref()).map(|worker| worker.password.clone());
    let secret_params = params.values().filter(|param| param.declaration.secret);
    let texts = secret_params.filter_map(|param| param.value.as_ref()).flat_map(|(value, _)| value.texts());
    let texts = texts.filter(|text| !text.is_empty());
    password.into_iter().chain(texts.map(Secret::from)).collect()
}

fn resolve_layer(
    layer: &Layer<'_>,
    request: &Request<'_>,
    renderer: &Renderer<'_>,
    resolved: &mut Resolved,
    found: &mut Vec<Diagnostic>,
) {
    for entry in &layer.resources {
        if found.len() >= Diagnostics::ENOUGH {
            return;
        }
        match resolve_entry(layer, entry, request, renderer) {
            Ok(Some(Outcome::Planned(planned))) => resolved.resources.push(*planned),
            Ok(Some(Outcome::LeftOut(left_out))) => resolved.left_out.push(left_out),
            Ok(None) => {}
            Err(errors) => found.extend(errors.0),
        }
    }
    let Some(entry) = &layer.worker else { return };
    let worker = renderer.asks(entry).and_then(|asks| {
        // A worker belongs to a launch, whatever its own values are.
        if request.binding.is_none() || !renderer.holds(entry, &asks)? {
            return Ok(None);
        }
        Ok(Some(renderer.worker(entry, &asks)?))
    });
    match worker {
        Ok(worker) => resolved.worker = worker.or(resolved.worker.take()),
        Err(errors) => found.extend(errors.0),
    }
}

enum Outcome {
    Planned(Box<Planned>),
    LeftOut(LeftOut),
}

fn resolve_entry(
    layer: &Layer<'_>,
    entry: &Entry<'_>,
    request: &Request<'_>,
    renderer: &Renderer<'_>,
) -> Result<Option<Outcome>, Diagnostics> {
    let (name, place) = (layer.name.clone(), entry.place.clone());
    let asks = renderer.asks(entry)?;
    let (phase, secret) = (asks.phase, asks.secret().next().is_some());
    if phase == Phase::Bind && request.binding.is_none() {
        return Ok(Some(Outcome::LeftOut(LeftOut { kind: entry.kind.clone(), layer: name, place })));
    }
    if !renderer.holds(entry, &asks)? {
        return Ok(None);
    }
    let resource = renderer.resource(entry, &asks, Some(&request.facts.os.family))?;
    let planned = Planned { resource, layer: name, place, phase, early: entry.early, secret };
    Ok(Some(Outcome::Planned(Box::new(planned))))
}

pub(crate) fn one_worker(layers: &[Layer<'_>], found: &mut Vec<Diagnostic>) {
    let mut workers = layers.iter().filter_map(|layer| layer.worker.as_ref());
    let Some(first) = workers.next() else { return };
    for other in workers {
        found.push(
            Diagnostic::at(other.place.clone(), "a second worker: at most one layer of a profile has one")
                .related(first.place.clone(), "the first one"),
        );
    }
}
