//! Parameters: what a layer asks for, and the values it is given.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::secret::MASK;
use crate::source::Place;

/// The type of a parameter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ParamType {
    /// Text; what a parameter is unless it says otherwise.
    #[default]
    String,
    /// A whole number.
    Integer,
    /// true or false.
    Boolean,
    /// A list of texts.
    List,
}

impl fmt::Display for ParamType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Boolean => "boolean",
            Self::List => "list of strings",
        })
    }
}

/// The value of a parameter. In JSON and in TOML it stands as itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged, expecting = "expected a string, an integer, a boolean or a list of strings")]
pub enum ParamValue {
    /// Text.
    String(String),
    /// A boolean.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A list of texts.
    List(Vec<String>),
}

impl ParamValue {
    /// Its type.
    pub fn kind(&self) -> ParamType {
        match self {
            Self::String(_) => ParamType::String,
            Self::Boolean(_) => ParamType::Boolean,
            Self::Integer(_) => ParamType::Integer,
            Self::List(_) => ParamType::List,
        }
    }

    /// The value that the text of `--param name=text` means for a parameter of that type; a list is split at commas.
    ///
    /// # Errors
    /// The text is no value of that type; the error completes "parameter `x` …".
    pub fn from_text(text: &str, kind: ParamType) -> Result<Self, String> {
        let wrong = |_| format!("is {kind}, which `{text}` is not");
        match kind {
            ParamType::String => Ok(Self::String(text.to_owned())),
            ParamType::Integer => {
                text.parse().map(Self::Integer).map_err(|e: std::num::ParseIntError| wrong(e.to_string()))
            }
            ParamType::Boolean => {
                text.parse().map(Self::Boolean).map_err(|e: std::str::ParseBoolError| wrong(e.to_string()))
            }
            ParamType::List if text.is_empty() => Ok(Self::List(Vec::new())),
            ParamType::List => Ok(Self::List(text.split(',').map(|item| item.trim().to_owned()).collect())),
        }
    }

    /// As a script sees it in its environment: a list has one item a line.
    pub fn to_text(&self) -> String {
        match self {
            Self::String(text) => text.clone(),
            Self::Boolean(value) => value.to_string(),
            Self::Integer(value) => value.to_string(),
            Self::List(items) => items.join("\n"),
        }
    }

    /// Every text in it that has to be masked if the parameter is secret.
    pub fn texts(&self) -> Vec<String> {
        match self {
            Self::List(items) => items.clone(),
            other => vec![other.to_text()],
        }
    }
}

impl fmt::Display for ParamValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String(text) => write!(f, "{text:?}"),
            Self::List(items) => write!(f, "{items:?}"),
            other => f.write_str(&other.to_text()),
        }
    }
}

/// `[params.NAME]` of a layer, as written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Declaration {
    /// What it is for.
    pub description: Option<String>,
    /// Its value when nobody gives one.
    #[cfg_attr(feature = "schema", schemars(with = "Option<ParamValue>"))]
    pub default: Option<Spanned<ParamValue>>,
    /// Its type; a default tells it too.
    #[serde(rename = "type")]
    pub kind: Option<ParamType>,
    /// The only values it may have.
    pub choices: Option<Vec<ParamValue>>,
    /// Masked everywhere; given by user-data only.
    #[serde(default)]
    pub secret: bool,
}

impl Declaration {
    /// Its type: as said, else that of the default, else a string.
    pub fn kind(&self) -> ParamType {
        self.kind.or(self.default.as_ref().map(|default| default.get_ref().kind())).unwrap_or_default()
    }

    /// Whether a value fits; the error completes "parameter `x` …" and never quotes a secret.
    ///
    /// # Errors
    /// It is of another type, or not among the choices.
    pub fn accept(&self, value: &ParamValue) -> Result<(), String> {
        if value.kind() != self.kind() {
            return Err(format!("is {}, and was given {}", self.kind(), value.kind()));
        }
        match &self.choices {
            Some(choices) if !choices.contains(value) => {
                let choices: Vec<_> = choices.iter().map(ToString::to_string).collect();
                let given = if self.secret { "the value".to_owned() } else { value.to_string() };
                Err(format!("can be {}; {given} is none of them", choices.join(", ")))
            }
            _ => Ok(()),
        }
    }

    /// Whether two layers mean the same parameter; descriptions may differ.
    pub fn is_like(&self, other: &Self) -> bool {
        let essence = |d: &Self| {
            (d.kind(), d.default.as_ref().map(|default| default.get_ref().clone()), d.choices.clone(), d.secret)
        };
        essence(self) == essence(other)
    }
}

/// Who gave a parameter its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A `default` of a layer or a value of the profile.
    File(Place),
    /// `params` of the user-data.
    UserData,
    /// `--param` on the command line.
    CommandLine,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(place) => place.fmt(f),
            Self::UserData => f.write_str("user-data"),
            Self::CommandLine => f.write_str("--param"),
        }
    }
}

/// Values from outside the profile, which override those in it.
#[derive(Clone, Default)]
pub struct Overrides {
    /// `params` of the user-data.
    pub user_data: BTreeMap<String, ParamValue>,
    /// `--param name=text`, typed once the declaration is known.
    pub command_line: BTreeMap<String, String>,
}

/// Which of them are secret is known only to the layers: all are hidden.
impl fmt::Debug for Overrides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.user_data.keys().chain(self.command_line.keys());
        f.debug_map().entries(names.map(|name| (name, MASK))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_the_declared_type() {
        assert_eq!(ParamValue::from_text("7", ParamType::Integer), Ok(ParamValue::Integer(7)));
        assert_eq!(ParamValue::from_text("a, b", ParamType::List), Ok(ParamValue::List(vec!["a".into(), "b".into()])));
        assert!(ParamValue::from_text("yes", ParamType::Boolean).is_err());
    }

    #[test]
    fn a_secret_outside_its_choices_is_not_quoted() {
        let declaration =
            Declaration { choices: Some(vec![ParamValue::String("a".into())]), secret: true, ..Declaration::default() };
        let error = declaration.accept(&ParamValue::String("hunter2".into())).unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
