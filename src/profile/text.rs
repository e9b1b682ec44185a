//! Values that are written as text, parsed once at the edge.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{Deserializer, Error, Visitor};

/// Stands between problem and advice where an error must be one string; no text that is quoted has it.
const ADVICE: char = '\u{1f}';

/// The most characters of a text that are quoted.
const QUOTED: usize = 120;

/// Why a text is not such a value.
#[derive(Debug, PartialEq, Eq)]
pub struct Invalid {
    problem: String,
    advice: Option<&'static str>,
}

impl Invalid {
    /// The text and what is wrong with it, as in "is not absolute".
    pub fn new(text: &str, problem: impl fmt::Display) -> Self {
        let shown: String = text.chars().take(QUOTED).collect();
        let cut = if shown.len() < text.len() { "…" } else { "" };
        Self::hidden(format!("`{}{cut}` {problem}", shown.escape_debug()))
    }

    /// What is wrong with a text that must not be shown.
    pub fn hidden(problem: impl Into<String>) -> Self {
        Self { problem: problem.into(), advice: None }
    }

    /// With what to do about it.
    pub fn advise(self, advice: &'static str) -> Self {
        Self { advice: Some(advice), ..self }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)?;
        self.advice.iter().try_for_each(|advice| write!(f, ": {advice}"))
    }
}

impl std::error::Error for Invalid {}

/// The problem and the advice of a message that serde carried.
pub(crate) fn split_advice(message: &str) -> (&str, Option<&str>) {
    match message.split_once(ADVICE) {
        Some((problem, advice)) => (problem, Some(advice)),
        None => (message, None),
    }
}

/// For `Deserialize`: parses inside of the visitor, so that the error gets the place of the text and not of the list that
/// it is in.
pub(crate) fn read<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err = Invalid>,
{
    deserializer.deserialize_str(TextVisitor(PhantomData))
}

/// In the words of serde.
pub(crate) fn serde_error<E: Error>(invalid: Invalid) -> E {
    match invalid.advice {
        Some(advice) => E::custom(format!("{}{ADVICE}{advice}", invalid.problem)),
        None => E::custom(invalid.problem),
    }
}

struct TextVisitor<T>(PhantomData<T>);

impl<T: FromStr<Err = Invalid>> Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(serde_error)
    }
}

/// Lets a type with `FromStr` be read from a string in a file.
macro_rules! read_from_text {
    ($($name:ident),*) => {$(
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::text::read(deserializer)
            }
        }
    )*};
}
pub(crate) use read_from_text;

/// Lets a type with `Display` be written as a string.
macro_rules! write_as_text {
    ($($name:ident),*) => {$(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )*};
}
pub(crate) use write_as_text;

/// Declares a checked text: `check` gives the canonical form or the problem.
macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::text::Invalid;
            fn from_str(text: &str) -> Result<Self, $crate::text::Invalid> {
                let check: fn(&str) -> Result<String, $crate::text::Invalid> = $check;
                check(text).map(Self)
            }
        }

        $crate::text::read_from_text!($name);
        $crate::text::write_as_text!($name);

        /// Lets maps be asked by the text.
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}
pub(crate) use checked_text;
