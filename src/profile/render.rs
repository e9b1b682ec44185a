//! From an entry as written to a typed resource: `when` decided, templates rendered, table read.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use minijinja::Value;
use toml::Spanned;
use toml::de::DeTable;

use crate::asks::{self, Asks, Text, variable_of, whole_file};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::library::Library;
use crate::names::{BundlePath, Mode};
use crate::resource::{Action, Command, File, Resource, TableError, Tables, WorkerUnit, for_each_text};
use crate::scope::Scope;
use crate::template::Engine;
use crate::written::{Entry, locate, place};

/// Everything that turns the entries of one layer into resources.
pub(crate) struct Renderer<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) library: &'a Library,
    pub(crate) context: &'a Value,
    pub(crate) scope: Scope<'a>,
}

impl Renderer<'_> {
    /// What an entry asks for; every name that it cannot have is reported.
    pub(crate) fn asks(&self, entry: &Entry<'_>) -> Result<Asks, Diagnostics> {
        asks::of(entry, self.engine, self.library, &self.scope)
    }

    /// Whether the entry's `when` holds.
    pub(crate) fn holds(&self, entry: &Entry<'_>, asks: &Asks) -> Result<bool, Diagnostic> {
        let Some((when, place)) = &entry.when else { return Ok(true) };
        let secret = asks.of_key("when").any(|asked| asked.secret);
        self.engine.holds(when, self.context).map_err(|error| Text::when(when, place).broken(error, secret))
    }

    /// The typed resource of an entry. The family is `debian` or `redhat`; absent if no list of packages may be missed.
    pub(crate) fn resource(
        &self,
        entry: &Entry<'_>,
        asks: &Asks,
        family: Option<&str>,
    ) -> Result<Resource, Diagnostic> {
        let table = self.rendered(entry, asks)?;
        let render = |path: &BundlePath, text: &str| self.bundled(path, text, asks);
        let tables = Tables { family, load: &|path| self.library.load(path), render: &render };
        let read = Resource::read(&entry.kind, table, &tables).and_then(|mut resource| {
            match &mut resource {
                Resource::Command(command) => self.add_params(command, asks),
                Resource::File(file) if asks.secret().any(|asked| asked.key != "when") => keep_private(file, entry)?,
                _ => {}
            }
            Ok(resource)
        });
        read.map_err(|error| problem(error, entry, asks))
    }

    /// The worker of an entry.
    pub(crate) fn worker(&self, entry: &Entry<'_>, asks: &Asks) -> Result<WorkerUnit, Diagnostic> {
        WorkerUnit::read(self.rendered(entry, asks)?).map_err(|error| problem(error, entry, asks))
    }

    fn rendered<'l>(&self, entry: &Entry<'l>, asks: &Asks) -> Result<Spanned<DeTable<'l>>, Diagnostic> {
        let mut table = entry.table.clone();
        for_each_text(table.get_mut(), &mut |key, text, span| {
            if Engine::is_template(text) {
                let rendered = self.engine.render(text, self.context).map_err(|error| {
                    let secret = asks.of_key(key).any(|asked| asked.secret);
                    Text::template(key, text, place(&entry.place.file, span)).broken(error, secret)
                })?;
                *text = Cow::Owned(rendered);
            }
            Ok(())
        })?;
        Ok(table)
    }

    /// A bundled file that is a template; what is wrong in it is shown there.
    fn bundled(&self, path: &BundlePath, text: &str, asks: &Asks) -> Result<String, Diagnostic> {
        self.engine.render(text, self.context).map_err(|error| {
            let secret = asks.of_key("source").any(|asked| asked.secret);
            Text::template("source", text, whole_file(path.as_str(), text)).broken(error, secret)
        })
    }

    /// Scripts see the parameters in their environment; secrets only those that they name.
    fn add_params(&self, command: &mut Command, asks: &Asks) {
        let Action::Script(_) = &command.action else { return };
        let named = |name: &str| asks.of_key("script").any(|asked| asked.names.contains(&format!("params.{name}")));
        let visible = self
            .scope
            .params
            .iter()
            .filter(|(name, param)| self.scope.can_reach(name) && (!param.declaration.secret || named(name)));
        let values = visible.filter_map(|(name, param)| Some((variable_of(name), param.value.as_ref()?.0.to_text())));
        let values: BTreeMap<_, _> = values.collect();
        command.environment.extend(values);
    }
}

/// A file with a secret in it is its owner's alone, unless it says otherwise; nobody may say "everybody's".
fn keep_private(file: &mut File, entry: &Entry<'_>) -> Result<(), TableError> {
    if !entry.table.get_ref().contains_key("mode") {
        file.mode = Mode(0o600);
    }
    if file.mode.0 & 0o007 == 0 {
        return Ok(());
    }
    Err(TableError::value(
        "mode",
        format!("there is a secret in this file, and by the mode {} others may use it", file.mode),
    )
    .help("write mode = \"0600\", or \"0640\" for the group"))
}

/// What is wrong with a table, with the caret at the key it is about.
fn problem(error: TableError, entry: &Entry<'_>, asks: &Asks) -> Diagnostic {
    if let Some(elsewhere) = error.elsewhere {
        return *elsewhere;
    }
    let key_span = error.key.and_then(|key| {
        let (name, value) = entry.table.get_ref().get_key_value(key)?;
        Some(if error.at_value { value.span() } else { name.span() })
    });
    let error = TableError { span: error.span.or(key_span), ..error };
    let located = locate(error, &entry.place.file, Some(&entry.place));
    // What is said of a value may quote it.
    let hidden = asks.secret().find(|asked| is_about(&located, asked.place.span.clone(), entry, &asked.key));
    match hidden {
        Some(asked) => Diagnostic { message: format!("the value of `{}` is not valid", asked.key), ..located }
            .help("there is a secret in it, so it is not shown"),
        None => located,
    }
}

/// Whether an error is about the value of a text, or of the whole key that it belongs to.
pub(crate) fn is_about(error: &Diagnostic, text: Range<usize>, entry: &Entry<'_>, key: &str) -> bool {
    let whole = entry.table.get_ref().get(key).map(Spanned::span);
    error.place.as_ref().is_some_and(|place| place.span == text || Some(&place.span) == whole.as_ref())
}
