//! `command`.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;
use toml::de::DeTable;

use super::tree::{TableError, typed};
use crate::duration::HumanDuration;
use crate::names::{AbsPath, UserName};

/// A program to run, once or as long as its guard says so.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    /// What to run.
    pub action: Action,
    /// Done when this path exists.
    pub creates: Option<AbsPath>,
    /// Done when this program succeeds.
    pub unless: Option<Vec<String>>,
    /// Who runs it; root unless said.
    pub user: Option<UserName>,
    /// Where it runs; `/` unless said.
    pub directory: Option<AbsPath>,
    /// What its environment has beside the standard one.
    pub environment: BTreeMap<String, String>,
    /// How long it may take; an hour unless said.
    pub timeout: HumanDuration,
}

/// What a command runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A program and its arguments, without a shell.
    Program(Vec<String>),
    /// A script: by the interpreter of its `#!` line, else by `/bin/sh -eu`.
    Script(String),
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Arguments and environment may hold a secret.
        write!(f, "command {}", self.title())
    }
}

/// A program to run: once, and that is remembered, or as long as its guard (`creates`, `unless`) says so.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct CommandTable {
    /// A program and its arguments, without a shell. Give this or `script`.
    command: Option<Vec<String>>,
    /// A script, taken as it stands: run by the interpreter of its `#!` line, else by `/bin/sh -eu`. It gets each
    /// parameter in reach as `LOITSUT_PARAM_<NAME>`, a secret one only if it names it.
    script: Option<String>,
    /// Done when this path exists.
    creates: Option<AbsPath>,
    /// Done when this program succeeds.
    unless: Option<Vec<String>>,
    /// Who runs it; root unless said.
    user: Option<UserName>,
    /// Where it runs; `/` unless said.
    directory: Option<AbsPath>,
    /// What its environment has beside the standard one.
    #[serde(default)]
    environment: BTreeMap<String, String>,
    /// How long it may take.
    #[serde(default = "an_hour")]
    timeout: HumanDuration,
}

fn an_hour() -> HumanDuration {
    HumanDuration::from_secs(3600)
}

impl Command {
    pub(super) fn read(table: Spanned<DeTable<'_>>) -> Result<Self, TableError> {
        let table: CommandTable = typed(table)?;
        let action = match (table.command, table.script) {
            (Some(words), None) => Action::Program(program("command", words)?),
            (None, Some(script)) => Action::Script(script),
            (Some(_), Some(_)) => return Err(TableError::about("script", "both `command` and `script`")),
            (None, None) => return Err(TableError::new("a command needs `command` or `script`")),
        };
        if table.creates.is_some() && table.unless.is_some() {
            return Err(TableError::about("unless", "both `creates` and `unless`: one guard is enough"));
        }
        check_environment(&table.environment)?;
        Ok(Self {
            action,
            creates: table.creates,
            unless: table.unless.map(|words| program("unless", words)).transpose()?,
            user: table.user,
            directory: table.directory,
            environment: table.environment,
            timeout: table.timeout,
        })
    }

    pub(super) fn title(&self) -> String {
        let text = match &self.action {
            Action::Program(words) => words.first().map_or("", String::as_str),
            Action::Script(script) => {
                script.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#')).unwrap_or("")
            }
        };
        let short: String = text.chars().take(50).collect();
        if short.len() < text.len() { format!("{short}…") } else { short }
    }
}

/// A program with its arguments: the first word is there, and none holds a NUL.
pub(crate) fn program(key: &'static str, words: Vec<String>) -> Result<Vec<String>, TableError> {
    if words.first().is_none_or(|first| first.is_empty()) || words.iter().any(|word| word.contains('\0')) {
        return Err(TableError::value(key, format!("`{key}` needs a program: a list of words, the first not empty")));
    }
    Ok(words)
}

/// Names that a process can have in its environment.
pub(crate) fn check_environment(environment: &BTreeMap<String, String>) -> Result<(), TableError> {
    let in_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let good = |name: &str| !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(in_name);
    match environment.iter().find(|(name, value)| name.is_empty() || !good(name) || value.contains('\0')) {
        Some((name, _)) => Err(TableError::value("environment", format!("{name:?} cannot be a variable"))
            .help("names have letters, digits and `_`, and do not begin with a digit; values have no NUL")),
        None => Ok(()),
    }
}
