//! Profiles and layers as they are written: keys and types checked, nothing rendered or put together yet.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::names::LayerName;
use crate::param::{Declaration, ParamValue};
use crate::resource::{TYPES, TableError, typed};
use crate::source::{Place, SourceFile};
use crate::suggest;
use crate::suggest::did_you_mean;
use crate::text::split_advice;

/// `NAME.toml`, as written.
pub(crate) struct ProfileFile {
    pub(crate) layers: Vec<(LayerName, Place)>,
    pub(crate) params: BTreeMap<String, (ParamValue, Place)>,
}

/// `layers/NAME.toml`, as written.
pub(crate) struct Layer<'l> {
    pub(crate) name: LayerName,
    pub(crate) file: &'l Arc<SourceFile>,
    pub(crate) requires: Vec<(LayerName, Place)>,
    pub(crate) params: BTreeMap<String, (Declaration, Place)>,
    pub(crate) resources: Vec<Entry<'l>>,
    pub(crate) worker: Option<Entry<'l>>,
}

/// One `[[resource]]` or the `[worker]`, as written.
pub(crate) struct Entry<'l> {
    pub(crate) kind: String,
    pub(crate) when: Option<(String, Place)>,
    pub(crate) early: bool,
    /// It is the `[worker]`.
    pub(crate) is_worker: bool,
    /// Its header in the file.
    pub(crate) place: Place,
    /// All keys but the above.
    pub(crate) table: Spanned<DeTable<'l>>,
}

/// A profile: what an instance is to become.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Profile"))]
#[serde(deny_unknown_fields)]
pub(crate) struct ProfileTable {
    /// For people.
    #[serde(rename = "description")]
    _description: Option<String>,
    /// What it is made of: each layer with what it requires first, otherwise as written.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<LayerName>"))]
    layers: Vec<Spanned<LayerName>>,
    /// Values for the parameters of its layers.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "BTreeMap<String, ParamValue>"))]
    params: BTreeMap<String, Spanned<ParamValue>>,
}

/// A layer: one reusable part of profiles.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Layer"))]
#[serde(deny_unknown_fields)]
pub(crate) struct LayerTable {
    /// For people.
    #[serde(rename = "description")]
    _description: Option<String>,
    /// Layers that are pulled in, and applied before this one.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<LayerName>"))]
    requires: Vec<Spanned<LayerName>>,
    /// The parameters that it declares, by name: a-z, 0-9 and `_`.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "BTreeMap<String, Declaration>"))]
    params: BTreeMap<String, Spanned<Declaration>>,
    /// What it wants, each of a `type`.
    #[serde(rename = "resource")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Vec<crate::schema::AnyResource>>"))]
    _resource: Option<IgnoredAny>,
    /// The build agent; at most one layer of a profile has it.
    #[serde(rename = "worker")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<crate::schema::AnyWorker>"))]
    _worker: Option<IgnoredAny>,
}

impl ProfileFile {
    pub(crate) fn parse(file: &Arc<SourceFile>) -> Result<Self, Diagnostic> {
        let table: ProfileTable = typed(root(file)?).map_err(|error| locate(error, file, None))?;
        let params = table.params.into_iter().map(|(name, value)| {
            let place = place(file, value.span());
            (name, (value.into_inner(), place))
        });
        Ok(Self { layers: names(table.layers, file), params: params.collect() })
    }
}

impl<'l> Layer<'l> {
    /// The layer, with all that is wrong with it as written.
    pub(crate) fn parse(name: LayerName, file: &'l Arc<SourceFile>) -> Result<Self, Diagnostics> {
        let mut root = root(file)?;
        let table: LayerTable = typed(root.clone()).map_err(|error| locate(error, file, None))?;
        let mut found = Vec::new();
        let (entries, wrong): (Vec<_>, Vec<_>) = take_resources(root.get_mut(), file).partition(Result::is_ok);
        found.extend(wrong.into_iter().filter_map(Result::err));
        let worker = take_worker(root.get_mut(), file).unwrap_or_else(|error| {
            found.push(error);
            None
        });
        let params = declarations(table.params, file, &mut found);
        Diagnostics::none_in(found)?;
        let resources = entries.into_iter().filter_map(Result::ok).collect();
        Ok(Self { name, file, requires: names(table.requires, file), params, resources, worker })
    }
}

fn root(file: &Arc<SourceFile>) -> Result<Spanned<DeTable<'_>>, Diagnostic> {
    DeTable::parse(&file.text).map_err(|error| {
        let located = locate(error.into(), file, None);
        // The parser's words are of itself, not of the file.
        match located.message.contains("max recursion depth") {
            true => Diagnostic { message: "nested too deep".into(), ..located }.help("write it flatter"),
            false => located,
        }
    })
}

fn names(list: Vec<Spanned<LayerName>>, file: &Arc<SourceFile>) -> Vec<(LayerName, Place)> {
    list.into_iter().map(|name| (name.as_ref().clone(), place(file, name.span()))).collect()
}

fn declarations(
    params: BTreeMap<String, Spanned<Declaration>>,
    file: &Arc<SourceFile>,
    found: &mut Vec<Diagnostic>,
) -> BTreeMap<String, (Declaration, Place)> {
    let mut declared = BTreeMap::new();
    for (name, declaration) in params {
        let place = place(file, declaration.span());
        let declaration = declaration.into_inner();
        match (check_declaration(&name, &declaration), secret_default(&declaration)) {
            (_, Some(span)) => found.push(
                Diagnostic::at(
                    self::place(file, span).masked(),
                    format!("parameter `{name}` is secret, and has a default"),
                )
                .help("pass it in the user-data; an empty default makes it optional"),
            ),
            (Err(problem), None) => found.push(Diagnostic::at(place.clone(), problem)),
            (Ok(()), None) => {}
        }
        declared.insert(name, (declaration, place));
    }
    declared
}

fn check_declaration(name: &str, declaration: &Declaration) -> Result<(), String> {
    let mut chars = name.chars();
    let first = chars.next().is_some_and(|c| c.is_ascii_lowercase() || c == '_');
    if !first || !chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
        return Err(format!(
            "parameter `{name}`: a name is made of a-z, 0-9 and `_`, as templates write `params.{name}`"
        ));
    }
    if declaration.choices.as_ref().is_some_and(Vec::is_empty) {
        return Err(format!("parameter `{name}` has no choices: leave out `choices`, or name some"));
    }
    let mut choices = declaration.choices.iter().flatten();
    if let Some(other) = choices.find(|choice| choice.kind() != declaration.kind()) {
        return Err(format!(
            "parameter `{name}` is {}, and one of its choices is {}",
            declaration.kind(),
            other.kind()
        ));
    }
    match &declaration.default {
        Some(default) => {
            declaration.accept(default.get_ref()).map_err(|problem| format!("parameter `{name}` {problem}"))
        }
        None => Ok(()),
    }
}

/// Where a secret stands in the file. An empty one hides nothing: it makes the parameter optional.
fn secret_default(declaration: &Declaration) -> Option<Range<usize>> {
    let default = declaration.default.as_ref().filter(|_| declaration.secret)?;
    default.get_ref().texts().iter().any(|text| !text.is_empty()).then(|| default.span())
}

fn take_resources<'l>(
    root: &mut DeTable<'l>,
    file: &Arc<SourceFile>,
) -> impl Iterator<Item = Result<Entry<'l>, Diagnostic>> {
    let items = match root.remove("resource").map(|list| (list.span(), list.into_inner())) {
        Some((_, DeValue::Array(items))) => items.into_iter().collect(),
        // As one item that is none.
        Some((span, _)) => vec![Spanned::new(span, DeValue::Boolean(false))],
        None => Vec::new(),
    };
    items.into_iter().map(move |item| {
        let span = item.span();
        match item.into_inner() {
            DeValue::Table(table) => entry(Spanned::new(span, table), file, false),
            _ => Err(Diagnostic::at(place(file, span), "resources are a list of tables").help("write `[[resource]]`")),
        }
    })
}

fn take_worker<'l>(root: &mut DeTable<'l>, file: &Arc<SourceFile>) -> Result<Option<Entry<'l>>, Diagnostic> {
    let Some(value) = root.remove("worker") else { return Ok(None) };
    let span = value.span();
    match value.into_inner() {
        DeValue::Table(table) => entry(Spanned::new(span, table), file, true).map(Some),
        _ => Err(Diagnostic::at(place(file, span), "the worker is a table").help("write `[worker]`")),
    }
}

fn entry<'l>(
    mut table: Spanned<DeTable<'l>>,
    file: &Arc<SourceFile>,
    is_worker: bool,
) -> Result<Entry<'l>, Diagnostic> {
    let header = place(file, table.span());
    let keys = table.get_mut();
    let (kind, kind_place) = take_text(keys, "type", file)?.ok_or_else(|| {
        let known = if is_worker { "`type = \"command\"`" } else { "`type = \"packages\"`, for example" };
        Diagnostic::at(header.clone(), "the key `type` is missing").help(format!("add {known}"))
    })?;
    if is_worker {
        check_worker_kind(&kind, kind_place)?
    } else {
        check_kind(&kind, kind_place)?
    }
    take_text(keys, "description", file)?;
    let when = take_text(keys, "when", file)?;
    let early = match keys.remove_entry("early") {
        None => false,
        Some((key, _)) if is_worker => {
            return Err(Diagnostic::at(
                place(file, key.span()),
                "a worker is never `early`: it comes after all resources",
            )
            .help("leave `early` out"));
        }
        Some((_, value)) => value
            .get_ref()
            .as_bool()
            .ok_or_else(|| Diagnostic::at(place(file, value.span()), "`early` is true or false"))?,
    };
    Ok(Entry { kind, when, early, is_worker, place: header, table })
}

fn check_worker_kind(kind: &str, place: Place) -> Result<(), Diagnostic> {
    if kind == "command" {
        return Ok(());
    }
    Err(Diagnostic::at(place, format!("unknown worker type `{kind}`")).help("the only type is `command`"))
}

fn check_kind(kind: &str, place: Place) -> Result<(), Diagnostic> {
    if TYPES.contains(&kind) {
        return Ok(());
    }
    let help = did_you_mean(kind, TYPES).unwrap_or_else(|| format!("the types are {}", TYPES.join(", ")));
    Err(Diagnostic::at(place, format!("unknown resource type `{kind}`")).help(help))
}

fn take_text(
    table: &mut DeTable<'_>,
    key: &str,
    file: &Arc<SourceFile>,
) -> Result<Option<(String, Place)>, Diagnostic> {
    let Some(value) = table.remove(key) else { return Ok(None) };
    let place = place(file, value.span());
    match value.into_inner() {
        DeValue::String(text) => Ok(Some((text.into_owned(), place))),
        other => Err(Diagnostic::at(place, format!("`{key}` is a string, and this is of type {}", other.type_str()))),
    }
}

/// A place in a file; an empty one at its very beginning stands for the whole.
pub(crate) fn place(file: &Arc<SourceFile>, span: Range<usize>) -> Place {
    Place { file: Arc::clone(file), span }
}

/// Turns an error about a table into a diagnostic that points at the key, or else at the table.
pub(crate) fn locate(error: TableError, file: &Arc<SourceFile>, table: Option<&Place>) -> Diagnostic {
    let span = error.span.filter(|span| !span.is_empty() || table.is_none());
    let at = match (span, table) {
        (Some(span), _) => place(file, span),
        (None, Some(table)) => table.clone(),
        (None, None) => place(file, 0..0),
    };
    let known = suggest::expected_names(&error.message);
    let suggestion = unknown_name(&error.message).and_then(|name| did_you_mean(name, known.iter().copied()));
    let message = error.message.replace("unknown field", "unknown key").replace("missing field", "missing key");
    let (problem, advice) = split_advice(&message);
    Diagnostic::at(at, problem).help_if(error.help.or(suggestion).or(advice.map(str::to_owned)))
}

/// The name in "unknown field `x`, expected …" and "unknown variant `x`, expected …".
fn unknown_name(message: &str) -> Option<&str> {
    let rest = message.strip_prefix("unknown field `").or_else(|| message.strip_prefix("unknown variant `"))?;
    rest.split('`').next()
}
