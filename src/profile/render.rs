//! From an entry as written to a typed resource: names checked, `when` decided, templates rendered, table read.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use minijinja::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::library::Library;
use crate::resource::{Action, Command, Resource, TableError, Tables, WorkerUnit, for_each_text};
use crate::scope::{Phase, Scope};
use crate::source::Place;
use crate::template::{Engine, TemplateError};
use crate::written::{Entry, locate};

/// Everything that turns the entries of one layer into resources.
pub(crate) struct Renderer<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) library: &'a Library,
    pub(crate) context: &'a Value,
    pub(crate) scope: Scope<'a>,
    /// `debian` or `redhat`; absent if no list of packages may be missed.
    pub(crate) family: Option<&'a str>,
}

impl Renderer<'_> {
    /// The phase of an entry: the latest of what it asks for; every name that it cannot have is reported.
    pub(crate) fn phase(&self, entry: &Entry<'_>) -> Result<Phase, Diagnostics> {
        let mut phase = Phase::Provision;
        let mut found = Vec::new();
        if let Some((when, place)) = &entry.when {
            self.ask(self.engine.expression_names(when), place, &mut phase, &mut found);
        }
        let mut table = entry.table.get_ref().clone();
        let _ = for_each_text(&mut table, &mut |text, span| {
            if Engine::is_template(text) {
                self.ask(self.engine.names(text), &at(entry, span), &mut phase, &mut found);
            }
            Ok::<(), ()>(())
        });
        self.keep_secrets_from_arguments(entry, &mut found);
        if let Some((names, place)) = self.asked_elsewhere(entry) {
            self.ask(names, &place, &mut phase, &mut found);
        }
        Diagnostics::none_in(found).map(|()| phase)
    }

    /// Everybody on a machine can read the arguments of every process.
    fn keep_secrets_from_arguments(&self, entry: &Entry<'_>, found: &mut Vec<Diagnostic>) {
        let table = entry.table.get_ref();
        let lists = ["command", "unless"].into_iter().filter_map(|key| table.get(key)?.get_ref().as_array());
        for (word, span) in lists.flatten().filter_map(|word| Some((word.get_ref().as_str()?, word.span()))) {
            let names = self.engine.names(word).unwrap_or_default();
            if let Some(secret) = names.iter().find(|name| self.scope.is_secret(name)) {
                let place = narrow(&at(entry, span), secret);
                found.push(
                    Diagnostic::at(place, format!("`{secret}` is secret, and arguments are not"))
                        .help("pass it by `environment`, or by a `file` with mode = \"0600\""),
                );
            }
        }
    }

    /// What an entry asks for outside its own texts: a script's variables, the templates of a bundled `source`.
    fn asked_elsewhere(&self, entry: &Entry<'_>) -> Option<(Result<BTreeSet<String>, TemplateError>, Place)> {
        let table = entry.table.get_ref();
        if let Some(script) = text_of(table, "script") {
            let asked = |name: &&String| script.0.contains(&variable_of(name));
            let secrets = self.scope.params.iter().filter(|(_, param)| param.declaration.secret).map(|(name, _)| name);
            let names = secrets.filter(asked).map(|name| format!("params.{name}")).collect();
            return Some((Ok(names), at(entry, script.1)));
        }
        let wanted = table.get("template").is_some_and(|value| value.get_ref().as_bool() == Some(true));
        let (path, span) = text_of(table, "source").filter(|_| wanted)?;
        let bytes = self.library.load(&path.parse().ok()?).ok()?;
        Some((self.engine.names(std::str::from_utf8(&bytes).ok()?), at(entry, span)))
    }

    fn ask(
        &self,
        names: Result<BTreeSet<String>, TemplateError>,
        place: &Place,
        phase: &mut Phase,
        found: &mut Vec<Diagnostic>,
    ) {
        let names = names.unwrap_or_else(|error| {
            found.push(broken(error, place));
            BTreeSet::new()
        });
        for name in names {
            match self.scope.phase_of(&name) {
                Ok(needed) => *phase = needed.max(*phase),
                Err(unknown) => {
                    found.push(Diagnostic::at(narrow(place, &unknown.name), unknown.message).help(unknown.help));
                }
            }
        }
    }

    /// Whether the entry's `when` holds.
    pub(crate) fn holds(&self, entry: &Entry<'_>) -> Result<bool, Diagnostic> {
        match &entry.when {
            None => Ok(true),
            Some((when, place)) => self.engine.holds(when, self.context).map_err(|error| broken(error, place)),
        }
    }

    /// The typed resource of an entry.
    pub(crate) fn resource(&self, entry: &Entry<'_>) -> Result<Resource, Diagnostic> {
        let table = self.rendered(entry)?;
        let render = |text: &str| self.engine.render(text, self.context).map_err(|error| error.message);
        let tables = Tables { family: self.family, load: &|path| self.library.load(path), render: &render };
        let mut resource = Resource::read(&entry.kind, table, &tables).map_err(|error| problem(error, entry))?;
        if let Resource::Command(command) = &mut resource {
            self.add_params(command);
        }
        Ok(resource)
    }

    /// The worker of an entry.
    pub(crate) fn worker(&self, entry: &Entry<'_>) -> Result<WorkerUnit, Diagnostic> {
        WorkerUnit::read(&entry.kind, self.rendered(entry)?).map_err(|error| problem(error, entry))
    }

    fn rendered<'l>(&self, entry: &Entry<'l>) -> Result<Spanned<DeTable<'l>>, Diagnostic> {
        let mut table = entry.table.clone();
        for_each_text(table.get_mut(), &mut |text, span| {
            if Engine::is_template(text) {
                let rendered = self.engine.render(text, self.context);
                *text = Cow::Owned(rendered.map_err(|error| broken(error, &at(entry, span)))?);
            }
            Ok(())
        })?;
        Ok(table)
    }

    /// Scripts see the parameters in their environment; secrets only those that they name.
    fn add_params(&self, command: &mut Command) {
        let Action::Script(script) = &command.action else { return };
        let visible = self.scope.params.iter().filter(|(name, param)| {
            self.scope.in_reach.contains(*name) && (!param.declaration.secret || script.contains(&variable_of(name)))
        });
        let values = visible.filter_map(|(name, param)| Some((variable_of(name), param.value.as_ref()?.0.to_text())));
        let values: BTreeMap<_, _> = values.collect();
        command.environment.extend(values);
    }
}

/// The name of a parameter in a script's environment.
fn variable_of(param: &str) -> String {
    format!("LOITSUT_PARAM_{}", param.to_uppercase())
}

fn text_of<'t>(table: &'t DeTable<'_>, key: &str) -> Option<(&'t str, Range<usize>)> {
    let value = table.get(key)?;
    match value.get_ref() {
        DeValue::String(text) => Some((text, value.span())),
        _ => None,
    }
}

fn at(entry: &Entry<'_>, span: Range<usize>) -> Place {
    Place { file: Arc::clone(&entry.place.file), span }
}

/// A broken template, with the caret at the part that is broken where it can be found in the file.
fn broken(error: TemplateError, place: &Place) -> Diagnostic {
    Diagnostic::at(place.clone(), format!("template: {}", error.message))
}

/// The first stretch of a place that reads `needle`; the place itself if none does (a text with escapes).
fn narrow(place: &Place, needle: &str) -> Place {
    let text = place.file.text.get(place.span.clone()).unwrap_or_default();
    match text.find(needle) {
        Some(offset) => {
            let start = place.span.start + offset;
            Place { file: Arc::clone(&place.file), span: start..start + needle.len() }
        }
        None => place.clone(),
    }
}

/// What is wrong with a table, with the caret at the key it is about.
fn problem(error: TableError, entry: &Entry<'_>) -> Diagnostic {
    let key_span = error.key.and_then(|key| {
        let table = entry.table.get_ref();
        let (found, _) = table.iter().find(|(name, _)| name.get_ref() == key)?;
        Some(found.span())
    });
    let error = TableError { span: error.span.or(key_span), ..error };
    locate(error, &entry.place.file, Some(&entry.place))
}
