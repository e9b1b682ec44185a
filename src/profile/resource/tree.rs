//! From a table of a file to a typed resource: templates rendered in place, so that values never change structure and
//! every error still knows its place.

use std::borrow::Cow;
use std::ops::Range;

use serde::Deserialize;
use serde::de::IntoDeserializer;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::Diagnostic;
use crate::names::BundlePath;

/// What is wrong with a table.
#[derive(Debug)]
pub(crate) struct TableError {
    /// In one line.
    pub(crate) message: String,
    /// The key it is about, to be pointed at.
    pub(crate) key: Option<&'static str>,
    /// It is the value of that key which is wrong.
    pub(crate) at_value: bool,
    /// Where in the file, if the parser knows.
    pub(crate) span: Option<Range<usize>>,
    /// What to do about it.
    pub(crate) help: Option<String>,
    /// What is wrong in another file, instead of all the above.
    pub(crate) elsewhere: Option<Box<Diagnostic>>,
}

impl TableError {
    /// An error about the table as a whole.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), key: None, at_value: false, span: None, help: None, elsewhere: None }
    }

    /// An error about one key of it, whatever its value.
    pub(crate) fn about(key: &'static str, message: impl Into<String>) -> Self {
        Self { key: Some(key), ..Self::new(message) }
    }

    /// An error about the value of one key.
    pub(crate) fn value(key: &'static str, message: impl Into<String>) -> Self {
        Self { at_value: true, ..Self::about(key, message) }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl From<Diagnostic> for TableError {
    fn from(elsewhere: Diagnostic) -> Self {
        Self { elsewhere: Some(Box::new(elsewhere)), ..Self::new("") }
    }
}

impl From<toml::de::Error> for TableError {
    fn from(error: toml::de::Error) -> Self {
        Self { span: error.span(), ..Self::new(error.message()) }
    }
}

/// What reading a resource needs beside its table.
pub(crate) struct Tables<'a> {
    /// `debian` or `redhat`; absent where the machine is not known and no list may be missed.
    pub(crate) family: Option<&'a str>,
    /// A file of the bundle, or why it cannot be had.
    pub(crate) load: &'a dyn Fn(&BundlePath) -> Result<Vec<u8>, String>,
    /// Renders a bundled file that asks for it by `template = true`.
    pub(crate) render: &'a dyn Fn(&BundlePath, &str) -> Result<String, Diagnostic>,
}

impl Tables<'_> {
    /// The bytes of a bundled file named by `key`.
    pub(crate) fn bundled(&self, key: &'static str, path: &BundlePath) -> Result<Vec<u8>, TableError> {
        (self.load)(path).map_err(|problem| TableError::value(key, problem))
    }

    /// The text of a bundled file named by `key`.
    pub(crate) fn bundled_text(&self, key: &'static str, path: &BundlePath) -> Result<String, TableError> {
        String::from_utf8(self.bundled(key, path)?)
            .map_err(|_| TableError::value(key, format!("`{path}` is not UTF-8 text")))
    }
}

/// A table as a type of ours; unknown keys and wrong types are errors with their span.
pub(crate) fn typed<'de, T: Deserialize<'de>>(table: Spanned<DeTable<'de>>) -> Result<T, TableError> {
    let span = table.span();
    let value = Spanned::new(span, DeValue::Table(table.into_inner()));
    Ok(T::deserialize(value.into_deserializer())?)
}

/// What is called with a text, the key it belongs to, and its span.
type Visit<'v, E> = dyn FnMut(&str, &mut Cow<'_, str>, Range<usize>) -> Result<(), E> + 'v;

/// Keys whose text is taken as it stands.
pub(crate) const VERBATIM: [&str; 2] = ["script", "source"];

/// Calls `visit` for every text that may be a template, with its span.
pub(crate) fn for_each_text<E>(table: &mut DeTable<'_>, visit: &mut Visit<'_, E>) -> Result<(), E> {
    for (key, value) in table.iter_mut() {
        let key = key.get_ref().as_ref();
        if !VERBATIM.contains(&key) {
            for_each_text_of(key, value, visit)?;
        }
    }
    Ok(())
}

fn for_each_text_of<E>(key: &str, value: &mut Spanned<DeValue<'_>>, visit: &mut Visit<'_, E>) -> Result<(), E> {
    let span = value.span();
    match value.get_mut() {
        DeValue::String(text) => visit(key, text, span),
        DeValue::Array(items) => items.iter_mut().try_for_each(|item| for_each_text_of(key, item, visit)),
        DeValue::Table(table) => table.iter_mut().try_for_each(|(_, value)| for_each_text_of(key, value, visit)),
        _ => Ok(()),
    }
}
