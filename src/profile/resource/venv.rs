//! `venv`.

use std::fmt;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;
use toml::de::DeTable;

use super::tree::{TableError, Tables, typed};
use super::{Claim, Claims};
use crate::names::{AbsPath, BundlePath};
use crate::sha256::Sha256;
use crate::text::serde_error;

/// A Python virtual environment with exactly these requirements.
#[derive(Clone, PartialEq, Eq)]
pub struct Venv {
    /// Where.
    pub path: AbsPath,
    /// The text of a requirements file, as pip reads it.
    pub requirements: String,
    /// The interpreter that it is made with; `python3` unless said.
    pub python: String,
}

impl std::fmt::Debug for Venv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Requirements may hold a secret.
        write!(f, "venv {}", self.path)
    }
}

#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(untagged))]
enum Requirements {
    Bundled(BundlePath),
    Listed(Vec<String>),
}

impl<'de> Deserialize<'de> for Requirements {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RequirementsVisitor)
    }
}

struct RequirementsVisitor;

impl<'de> Visitor<'de> for RequirementsVisitor {
    type Value = Requirements;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of requirements, or the path of a bundled requirements file")
    }

    fn visit_str<E: Error>(self, path: &str) -> Result<Requirements, E> {
        path.parse().map(Requirements::Bundled).map_err(serde_error)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Requirements, A::Error> {
        Deserialize::deserialize(SeqAccessDeserializer::new(items)).map(Requirements::Listed)
    }
}

/// A Python virtual environment with exactly these requirements. Made by uv where it is installed, else by pip; one that
/// differs, or was left half made, is made again from scratch.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct VenvTable {
    /// Where.
    path: AbsPath,
    /// A list of requirements, or the path of a bundled requirements file, with hashes or without.
    requirements: Requirements,
    /// The interpreter that it is made with: a name or a path.
    #[serde(default = "python3")]
    python: String,
}

fn python3() -> String {
    "python3".into()
}

impl Venv {
    pub(super) fn read(table: Spanned<DeTable<'_>>, tables: &Tables<'_>) -> Result<Self, TableError> {
        let table: VenvTable = typed(table)?;
        let requirements = match &table.requirements {
            Requirements::Bundled(path) => tables.bundled_text("requirements", path)?,
            Requirements::Listed(list) => listed(list)?,
        };
        let python = table.python;
        if python.starts_with('-') || python.is_empty() || python.chars().any(char::is_whitespace) {
            return Err(TableError::value("python", format!("`{python}` is not the name or path of an interpreter")));
        }
        Ok(Self { path: table.path, requirements, python })
    }

    pub(super) fn claims(&self) -> Vec<Claim> {
        Claims::about(format!("path {}", self.path))
            .want("type", "venv")
            .want("requirements", Sha256::of(self.requirements.as_bytes()))
            .want("python", &self.python)
            .done()
    }
}

/// One requirement a line; one that pip would read as an option or as several lines is refused.
fn listed(list: &[String]) -> Result<String, TableError> {
    match list.iter().find(|item| item.trim().is_empty() || item.starts_with('-') || item.contains(['\n', '\r'])) {
        Some(bad) => {
            Err(TableError::value("requirements", format!("{bad:?} is not a requirement such as \"six==1.17.0\""))
                .help("options belong in a bundled requirements file"))
        }
        None => Ok(list.iter().map(|item| format!("{item}\n")).collect()),
    }
}
