//! A profile as it comes out, and where each value of it came from.
//!
//! No secret is in it: a text that asks for one is shown as it is written, and a secret parameter as [`MASK`].

mod page;

use minijinja::Value as Context;
use serde::Serialize;
use serde_json::{Map, Value, json};
use toml::Spanned;
use toml::de::DeValue;

use crate::asks::{Asked, Asks};
use crate::diagnostic::Diagnostics;
use crate::graph;
use crate::param::{Origin, ParamValue};
use crate::render::Renderer;
use crate::resolve::{self, Request};
use crate::resource::VERBATIM;
use crate::scope::{self, Phase, Scope};
use crate::secret::MASK;
use crate::source::Place;
use crate::template::{Engine, TemplateError};
use crate::values::{Param, Reach};
use crate::written::{self, Entry, Layer, ProfileFile};

/// A profile, resolved to be looked at. As JSON it is for programs, by `Display` for people, in the form of TOML.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// Its name.
    pub profile: String,
    /// Its file.
    pub file: String,
    /// Its layers, in the order in which they are applied.
    pub layers: Vec<ShownLayer>,
    /// Every parameter of them, by name.
    pub params: Vec<ShownParam>,
    /// Their resources, as written.
    pub resources: Vec<ShownEntry>,
    /// The build agent.
    pub worker: Option<ShownEntry>,
}

/// One layer.
#[derive(Debug, Serialize)]
pub struct ShownLayer {
    /// Its name.
    pub name: String,
    /// Its file.
    pub file: String,
    /// Each place that names it, as `file:line`: the profile, and layers that require it.
    pub named_at: Vec<String>,
}

/// One parameter.
#[derive(Debug, Serialize)]
pub struct ShownParam {
    /// Its name.
    pub name: String,
    /// Its value; null for a secret that nobody gave.
    pub value: Value,
    /// `default`, `profile`, `user-data`, `--param`, or `nobody`.
    pub given_by: &'static str,
    /// Where that is, as `file:line`, if it is a file.
    pub given_at: Option<String>,
    /// Where it is declared first.
    pub declared_at: String,
    /// It is masked everywhere.
    pub secret: bool,
    /// What it is for.
    pub description: Option<String>,
}

/// What becomes of an entry on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is wanted.
    Wanted,
    /// Its `when` does not hold here.
    LeftOut,
    /// It waits for a launch.
    NeedsLaunch,
}

/// One resource, or the worker.
#[derive(Debug, Serialize)]
pub struct ShownEntry {
    /// Its `type`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The layer that wants it.
    pub layer: String,
    /// Where it is written, as `file:line`.
    pub place: String,
    /// When it can be applied.
    pub phase: Phase,
    /// Before the package transaction.
    pub early: bool,
    /// Whether it will be.
    pub state: State,
    /// Its keys, as written but for templates; `when` too.
    pub keys: Vec<ShownKey>,
}

/// One key of an entry.
#[derive(Debug, Serialize)]
pub struct ShownKey {
    /// Its name.
    pub key: String,
    /// Its value, templates rendered where that can be.
    pub value: Value,
    /// Where it is written.
    pub line: usize,
    /// The variables that its templates ask for.
    pub uses: Vec<String>,
    /// A template in it is shown as written: it asks for a secret or a launch, or the entry is not wanted.
    pub unrendered: bool,
}

/// Resolves a profile to be looked at.
///
/// # Errors
/// Everything that is wrong with the profile, its layers and the values given to it, as [`resolve::resolve`] finds it.
pub fn show(request: &Request<'_>) -> Result<Shown, Diagnostics> {
    resolve::resolve(request)?;
    let profile = resolve::find_profile(request.library, request.profile)?;
    let layers = graph::order(request.library, &profile.layers)?;
    let params = resolve::parameters(request, &profile, &layers)?;
    let context = scope::context(request.facts, request.binding, &params);
    let engine = resolve::engine()?;
    let reach = Reach::of(&layers);
    let mut shown = Shown {
        profile: request.profile.to_owned(),
        file: request.library.profile(request.profile).map(|file| file.path.clone()).unwrap_or_default(),
        layers: layers.iter().map(|layer| shown_layer(layer, &layers, &profile)).collect(),
        params: params.iter().map(|(name, param)| shown_param(name, param, &profile)).collect(),
        resources: Vec::new(),
        worker: None,
    };
    for (index, layer) in layers.iter().enumerate() {
        let scope = Scope { params: &params, reach: &reach, layer: index, binding: request.binding };
        let renderer = Renderer { engine: &engine, library: request.library, context: &context, scope };
        let viewer = Viewer { layer, renderer: &renderer, context: &context };
        for entry in &layer.resources {
            shown.resources.push(viewer.entry(entry)?);
        }
        if let Some(worker) = &layer.worker {
            shown.worker = Some(viewer.entry(worker)?);
        }
    }
    Ok(shown)
}

fn shown_layer(layer: &Layer<'_>, layers: &[Layer<'_>], profile: &ProfileFile) -> ShownLayer {
    let named = profile.layers.iter().chain(layers.iter().flat_map(|other| &other.requires));
    let named = named.filter(|(name, _)| *name == layer.name).map(|(_, place)| place.to_string());
    ShownLayer { name: layer.name.to_string(), file: layer.file.path.clone(), named_at: named.collect() }
}

fn shown_param(name: &str, param: &Param, profile: &ProfileFile) -> ShownParam {
    let declaration = &param.declaration;
    let given = param.value.as_ref().map(|(_, origin)| origin);
    let by_profile = |place: &Place| profile.params.get(name).is_some_and(|(_, at)| at == place);
    let given_by = match given {
        None => "nobody",
        Some(Origin::File(place)) if by_profile(place) => "profile",
        Some(Origin::File(_)) => "default",
        Some(Origin::UserData) => "user-data",
        Some(Origin::CommandLine) => "--param",
    };
    let given_at = given.and_then(|origin| match origin {
        Origin::File(place) => Some(place.to_string()),
        Origin::UserData | Origin::CommandLine => None,
    });
    // An empty secret hides nothing, and says that there is none.
    let is_empty = |value: &ParamValue| value.texts().iter().all(String::is_empty);
    let value = match &param.value {
        Some((value, _)) if declaration.secret && !is_empty(value) => json!(MASK),
        Some((value, _)) => json!(value),
        None => Value::Null,
    };
    ShownParam {
        name: name.to_owned(),
        value,
        given_by,
        given_at,
        declared_at: param.place.to_string(),
        secret: declaration.secret,
        description: declaration.description.clone(),
    }
}

/// Looks at the entries of one layer.
struct Viewer<'v> {
    layer: &'v Layer<'v>,
    renderer: &'v Renderer<'v>,
    context: &'v Context,
}

impl Viewer<'_> {
    fn entry(&self, entry: &Entry<'_>) -> Result<ShownEntry, Diagnostics> {
        let asks = self.renderer.asks(entry)?;
        // A worker belongs to a launch, whatever its own values are.
        let phase = if entry.is_worker { Phase::Bind } else { asks.phase };
        let state = match () {
            () if phase == Phase::Bind && self.renderer.scope.binding.is_none() => State::NeedsLaunch,
            () if self.renderer.holds(entry, &asks)? => State::Wanted,
            () => State::LeftOut,
        };
        let mut keys = Vec::new();
        if let Some((when, place)) = &entry.when {
            keys.push(ShownKey {
                key: "when".into(),
                value: json!(when),
                line: place.line(),
                uses: uses(&asks, "when"),
                unrendered: false,
            });
        }
        for (key, value) in entry.table.get_ref() {
            keys.push(self.key(entry, &asks, state, key, value)?);
        }
        keys.sort_by_key(|key| key.line);
        let (kind, layer, place) = (entry.kind.clone(), self.layer.name.to_string(), entry.place.to_string());
        Ok(ShownEntry { kind, layer, place, phase, early: entry.early, state, keys })
    }

    fn key(
        &self,
        entry: &Entry<'_>,
        asks: &Asks,
        state: State,
        key: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<ShownKey, Diagnostics> {
        let place = written::place(&entry.place.file, key.span());
        let key = key.get_ref().as_ref();
        let mut unrendered = false;
        let mut render = |text: &str, asked: Option<&Asked>| {
            if state != State::Wanted || asked.is_some_and(|asked| self.is_hidden(asked)) {
                unrendered = true;
                return Ok(text.to_owned());
            }
            self.renderer.engine.render(text, self.context)
        };
        let texts: Vec<&Asked> = asks.of_key(key).collect();
        let value = shown_value(value, VERBATIM.contains(&key), &texts, &mut render);
        // Resolving has rendered it before.
        let value = value.map_err(|error| crate::diagnostic::Diagnostic::at(place.clone(), error.problem))?;
        Ok(ShownKey { key: key.to_owned(), value, line: place.line(), uses: uses(asks, key), unrendered })
    }

    fn is_hidden(&self, asked: &Asked) -> bool {
        let of_launch = |name: &String| self.renderer.scope.phase_of(name).is_ok_and(|phase| phase == Phase::Bind);
        asked.secret || (self.renderer.scope.binding.is_none() && asked.names.iter().any(of_launch))
    }
}

fn uses(asks: &Asks, key: &str) -> Vec<String> {
    let names: std::collections::BTreeSet<_> = asks.of_key(key).flat_map(|asked| asked.names.iter().cloned()).collect();
    names.into_iter().collect()
}

type Render<'r> = dyn FnMut(&str, Option<&Asked>) -> Result<String, TemplateError> + 'r;

/// A value of a file, its templates rendered.
fn shown_value(
    value: &Spanned<DeValue<'_>>,
    verbatim: bool,
    texts: &[&Asked],
    render: &mut Render<'_>,
) -> Result<Value, TemplateError> {
    Ok(match value.get_ref() {
        DeValue::String(text) if verbatim || !Engine::is_template(text) => json!(text),
        DeValue::String(text) => {
            let asked = texts.iter().find(|asked| asked.place.span == value.span());
            json!(render(text, asked.copied())?)
        }
        DeValue::Integer(number) => i64::from_str_radix(&number.as_str().replace('_', ""), number.radix())
            .map_or_else(|_| json!(number.to_string()), |number| json!(number)),
        DeValue::Float(number) => json!(number.to_string()),
        DeValue::Boolean(value) => json!(value),
        DeValue::Datetime(time) => json!(time.to_string()),
        DeValue::Array(items) => {
            let items = items.iter().map(|item| shown_value(item, verbatim, texts, render));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => {
            let entries = table
                .iter()
                .map(|(key, value)| Ok((key.get_ref().to_string(), shown_value(value, verbatim, texts, render)?)));
            Value::Object(entries.collect::<Result<Map<_, _>, TemplateError>>()?)
        }
    })
}
