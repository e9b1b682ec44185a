//! What an entry asks for: every name in its texts, where it stands, and whether it may stand there.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::library::Library;
use crate::resource::VERBATIM;
use crate::scope::{Phase, Scope};
use crate::source::{Place, SourceFile};
use crate::template::{Engine, TemplateError, expressions};
use crate::written::{self, Entry};

/// All that an entry asks for.
pub(crate) struct Asks {
    /// The latest phase of it.
    pub(crate) phase: Phase,
    texts: Vec<Asked>,
}

/// What one text asks for.
pub(crate) struct Asked {
    /// The key of the entry that it belongs to.
    pub(crate) key: String,
    /// Where it stands.
    pub(crate) place: Place,
    /// The variables, dotted.
    pub(crate) names: BTreeSet<String>,
    /// Whether one of them is a secret.
    pub(crate) secret: bool,
}

impl Asks {
    /// What the texts of a key ask for.
    pub(crate) fn of_key(&self, key: &str) -> impl Iterator<Item = &Asked> {
        self.texts.iter().filter(move |asked| asked.key == key)
    }

    /// The texts that have a secret in them.
    pub(crate) fn secret(&self) -> impl Iterator<Item = &Asked> {
        self.texts.iter().filter(|asked| asked.secret)
    }

    /// The texts that ask for one of these parameters.
    pub(crate) fn params<'a>(&'a self, params: &'a BTreeSet<String>) -> impl Iterator<Item = &'a Asked> {
        let asks = |asked: &Asked| asked.names.iter().any(|name| is_param_of(name, params));
        self.texts.iter().filter(move |asked| asks(asked))
    }
}

fn is_param_of(name: &str, params: &BTreeSet<String>) -> bool {
    name.strip_prefix("params.").is_some_and(|name| params.contains(name))
}

/// Everything that an entry asks for; on error, each name that it cannot have or cannot have there.
pub(crate) fn of(
    entry: &Entry<'_>,
    engine: &Engine,
    library: &Library,
    scope: &Scope<'_>,
) -> Result<Asks, Diagnostics> {
    let mut asks = Asks { phase: Phase::Provision, texts: Vec::new() };
    let mut found = Vec::new();
    for text in texts(entry, library) {
        let names = text.names(engine).unwrap_or_else(|error| {
            found.push(text.broken(error, false));
            BTreeSet::new()
        });
        for name in &names {
            match scope.phase_of(name) {
                Ok(needed) => asks.phase = needed.max(asks.phase),
                Err(unknown) => found.push(Diagnostic::at(text.naming(name), unknown.message).help(unknown.help)),
            }
        }
        let secret = names.iter().find(|name| scope.is_secret(name));
        if let Some(name) = secret.filter(|_| !may_hold_secret(&entry.kind, &text.key)) {
            found.push(misplaced(name, &text));
        }
        asks.texts.push(Asked { secret: secret.is_some(), names, place: text.place, key: text.key });
        if found.len() >= Diagnostics::ENOUGH {
            break;
        }
    }
    Diagnostics::none_in(found).map(|()| asks)
}

/// Everywhere else a secret would end in an argument, a unit or a name, which everybody on the machine can read.
fn may_hold_secret(kind: &str, key: &str) -> bool {
    key == "when"
        || matches!(
            (kind, key),
            ("command", "environment" | "script")
                | ("venv", "requirements")
                | ("file", "content" | "source" | "url")
                | ("archive", "url")
        )
}

fn misplaced(name: &str, text: &Text<'_>) -> Diagnostic {
    Diagnostic::at(text.naming(name), format!("`{name}` is secret, and `{}` is not", text.key)).help(
        "a secret can stand in `when`, in the `environment` of a command or worker, in a `script` by its variable, in \
         the `requirements` of a venv, in `content`, `source` or `url` of a file, and in `url` of an archive",
    )
}

/// The name of a parameter in a script's environment.
pub(crate) fn variable_of(param: &str) -> String {
    format!("{VARIABLE}{}", param.to_uppercase())
}

const VARIABLE: &str = "LOITSUT_PARAM_";

#[derive(Clone, Copy)]
enum Language {
    Template,
    Expression,
    /// Verbatim, but for the variables of parameters that it names.
    Script,
}

/// A text that can ask for something.
pub(crate) struct Text<'t> {
    key: String,
    text: Cow<'t, str>,
    language: Language,
    place: Place,
}

impl<'t> Text<'t> {
    /// A template of an entry.
    pub(crate) fn template(key: &str, text: &'t str, place: Place) -> Self {
        Self { key: key.to_owned(), text: Cow::Borrowed(text), language: Language::Template, place }
    }

    /// A `when`.
    pub(crate) fn when(text: &'t str, place: &Place) -> Self {
        Self { key: "when".into(), text: Cow::Borrowed(text), language: Language::Expression, place: place.clone() }
    }

    fn names(&self, engine: &Engine) -> Result<BTreeSet<String>, TemplateError> {
        match self.language {
            Language::Template => engine.names(&self.text),
            Language::Expression => engine.expression_names(&self.text),
            Language::Script => Ok(variables(&self.text)),
        }
    }

    /// A broken template, with the caret at the part that is broken. The details may quote a secret.
    pub(crate) fn broken(&self, error: TemplateError, secret: bool) -> Diagnostic {
        let place = error.range.map_or_else(|| self.place.clone(), |range| self.part(range));
        let detail = error.detail.filter(|_| !secret).map(|detail| format!(": {detail}")).unwrap_or_default();
        let sliced = self
            .expressions()
            .into_iter()
            .any(|range| self.text.get(range).is_some_and(|text| text.contains('[') && text.contains(':')));
        let help = sliced.then(|| "slices such as `x[0:2]` are not supported".to_owned());
        Diagnostic::at(place, format!("template: {}{detail}", error.problem)).help_if(help)
    }

    /// Where a name is asked for.
    fn naming(&self, name: &str) -> Place {
        let needle = match (self.language, name.strip_prefix("params.")) {
            (Language::Script, Some(param)) => variable_of(param),
            _ => name.to_owned(),
        };
        let found = self.expressions().into_iter().find_map(|range| {
            let at = range.start + find_word(self.text.get(range)?, &needle)?;
            Some(at..at + needle.len())
        });
        found.map_or_else(|| self.place.clone(), |range| self.part(range))
    }

    fn expressions(&self) -> Vec<Range<usize>> {
        match self.language {
            Language::Template => expressions(&self.text),
            Language::Expression | Language::Script => std::iter::once(0..self.text.len()).collect(),
        }
    }

    /// The place of a part of the text; of all of it where escapes make the file read otherwise.
    fn part(&self, range: Range<usize>) -> Place {
        let Place { file, span } = &self.place;
        let written = file.text.get(span.clone()).and_then(|written| written.find(&*self.text));
        let range = whole_characters(&self.text, range);
        let start = written.map(|offset| span.start + offset);
        let span = start.map_or(span.clone(), |start| start + range.start..start + range.end);
        Place { file: Arc::clone(file), span }
    }
}

/// The range without the halves of characters at its ends: minijinja's ranges may have them.
fn whole_characters(text: &str, range: Range<usize>) -> Range<usize> {
    let boundary = |at: usize| (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let start = boundary(range.start);
    start..boundary(range.end).max(start)
}

/// Where a word stands that is not a part of a longer one.
fn find_word(text: &str, word: &str) -> Option<usize> {
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    let alone = |at: &usize| {
        let before = text[..*at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(|c| in_word(c) || c == '.') && !after.is_some_and(in_word)
    };
    text.match_indices(word).map(|(at, _)| at).find(alone)
}

/// The parameters whose variables a script names.
fn variables(script: &str) -> BTreeSet<String> {
    let words = script.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    // A prefix alone is a search or a loop.
    let names = words.filter_map(|word| word.strip_prefix(VARIABLE)).filter(|name| !name.is_empty());
    names.map(|name| format!("params.{}", name.to_lowercase())).collect()
}

fn texts<'t>(entry: &'t Entry<'_>, library: &Library) -> Vec<Text<'t>> {
    let mut texts = Vec::new();
    texts.extend(entry.when.as_ref().map(|(when, place)| Text::when(when, place)));
    for (key, value) in entry.table.get_ref() {
        let key = key.get_ref().as_ref();
        if !VERBATIM.contains(&key) {
            collect(entry, key, value, &mut texts);
        }
    }
    let table = entry.table.get_ref();
    if let Some((script, span)) = text_of(table, "script") {
        let (text, place) = (Cow::Borrowed(script), written::place(&entry.place.file, span));
        texts.push(Text { key: "script".into(), text, language: Language::Script, place });
    }
    texts.extend(bundled_template(table, library));
    texts
}

fn collect<'t>(entry: &Entry<'_>, key: &str, value: &'t Spanned<DeValue<'_>>, texts: &mut Vec<Text<'t>>) {
    match value.get_ref() {
        DeValue::String(text) if Engine::is_template(text) => {
            texts.push(Text::template(key, text, written::place(&entry.place.file, value.span())));
        }
        DeValue::Array(items) => items.iter().for_each(|item| collect(entry, key, item, texts)),
        DeValue::Table(table) => table.iter().for_each(|(_, value)| collect(entry, key, value, texts)),
        _ => {}
    }
}

/// The bundled file of a `source` with `template = true`; one that cannot be had is reported when it is read.
fn bundled_template(table: &DeTable<'_>, library: &Library) -> Option<Text<'static>> {
    let wanted = table.get("template").is_some_and(|value| value.get_ref().as_bool() == Some(true));
    let (path, _) = text_of(table, "source").filter(|_| wanted)?;
    let text = String::from_utf8(library.load(&path.parse().ok()?).ok()?).ok()?;
    let place = whole_file(path, &text);
    Some(Text { key: "source".into(), text: Cow::Owned(text), language: Language::Template, place })
}

/// A bundled file as a place of its own.
pub(crate) fn whole_file(path: &str, text: &str) -> Place {
    let file = SourceFile { path: path.to_owned(), text: text.to_owned() };
    Place { span: 0..text.len(), file: Arc::new(file) }
}

fn text_of<'t>(table: &'t DeTable<'_>, key: &str) -> Option<(&'t str, Range<usize>)> {
    let value = table.get(key)?;
    match value.get_ref() {
        DeValue::String(text) => Some((text, value.span())),
        _ => None,
    }
}
