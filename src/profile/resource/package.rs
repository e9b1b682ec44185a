//! `packages`.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;
use toml::de::DeTable;

use super::tree::{TableError, Tables, typed};
use super::{Claim, Claims};
use crate::names::PackageSpec;

/// Packages of the distribution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packages {
    /// What is wanted, in the names of this machine's package manager.
    pub wanted: Vec<WantedPackage>,
}

/// One package and what is wanted of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WantedPackage {
    /// Which, and which version.
    pub spec: PackageSpec,
    /// Whether it has to be there or has to be gone.
    pub present: bool,
    /// Skipped where neither the package nor a provider of it exists.
    pub optional: bool,
    /// Installed with what it recommends.
    pub recommends: bool,
    /// Kept at its version when others are upgraded.
    pub hold: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize), schemars(inline))]
#[serde(rename_all = "lowercase")]
enum State {
    /// Installed.
    #[default]
    Present,
    /// Removed.
    Absent,
}

/// `optional = true` for all names of the resource, or the names that are.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(untagged))]
enum Optional {
    All(bool),
    These(Vec<PackageSpec>),
}

impl<'de> Deserialize<'de> for Optional {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OptionalVisitor)
    }
}

struct OptionalVisitor;

impl<'de> Visitor<'de> for OptionalVisitor {
    type Value = Optional;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true, false or a list of package names")
    }

    fn visit_bool<E: Error>(self, all: bool) -> Result<Optional, E> {
        Ok(Optional::All(all))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Optional, A::Error> {
        Deserialize::deserialize(SeqAccessDeserializer::new(items)).map(Optional::These)
    }
}

/// Packages of the distribution. A virtual name is satisfied by an installed provider.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct PackagesTable {
    /// Names for Debian's family. No list for the family of the machine is an error; `[]` means none.
    apt: Option<Vec<PackageSpec>>,
    /// Names for Red Hat's family.
    dnf: Option<Vec<PackageSpec>>,
    /// Whether they are to be there or to be gone.
    #[serde(default)]
    state: State,
    /// `true` for all names of the resource, or a list of names that are wanted too: skipped, and reported, where neither
    /// the package nor a provider of it exists.
    optional: Option<Optional>,
    /// Also what they recommend.
    #[serde(default)]
    recommends: bool,
    /// Kept at their version when others are upgraded.
    #[serde(default)]
    hold: bool,
    /// Not supported yet.
    #[serde(default)]
    upgrade: bool,
    /// Not supported yet.
    build_dep: Option<String>,
    /// Not supported yet.
    architectures: Option<Vec<String>>,
    /// Not supported yet.
    #[cfg_attr(feature = "schema", schemars(skip))]
    files: Option<Vec<toml::Table>>,
}

impl Packages {
    pub(super) fn read(table: Spanned<DeTable<'_>>, tables: &Tables<'_>) -> Result<Self, TableError> {
        let table: PackagesTable = typed(table)?;
        table.refuse_what_comes_later()?;
        let names = table.names(tables.family)?.to_vec();
        let these: BTreeSet<&PackageSpec> = match &table.optional {
            Some(Optional::These(specs)) => specs.iter().collect(),
            _ => BTreeSet::new(),
        };
        let all_optional = matches!(table.optional, Some(Optional::All(true)));
        let extra: Vec<PackageSpec> = these.difference(&names.iter().collect()).map(|spec| (*spec).clone()).collect();
        let wanted = names.into_iter().chain(extra).map(|spec| WantedPackage {
            present: table.state == State::Present,
            optional: all_optional || these.contains(&spec),
            recommends: table.recommends,
            hold: table.hold,
            spec,
        });
        Ok(Self { wanted: wanted.collect() })
    }

    pub(super) fn title(&self) -> String {
        let names: Vec<_> = self.wanted.iter().map(|wanted| wanted.spec.to_string()).collect();
        match names.len() {
            0 => "(none)".into(),
            1..=4 => names.join(" "),
            more => format!("{} and {} more", names[..3].join(" "), more - 3),
        }
    }

    pub(super) fn claims(&self) -> Vec<Claim> {
        let claims = self.wanted.iter().flat_map(|wanted| {
            Claims::about(format!("package {}", wanted.spec.name))
                .want("state", if wanted.present { "present" } else { "absent" })
                .want_if("version", wanted.spec.version.as_ref())
                .done()
        });
        claims.collect()
    }
}

impl PackagesTable {
    fn refuse_what_comes_later(&self) -> Result<(), TableError> {
        let later = [
            ("upgrade", self.upgrade),
            ("build_dep", self.build_dep.is_some()),
            ("architectures", self.architectures.is_some()),
            ("files", self.files.is_some()),
        ];
        match later.into_iter().find(|(_, used)| *used) {
            Some((key, _)) => Err(TableError::about(key, format!("`{key}` is not supported by this version"))),
            None => Ok(()),
        }
    }

    fn names(&self, family: Option<&str>) -> Result<&[PackageSpec], TableError> {
        let (key, list) = match family {
            Some("debian") => ("apt", &self.apt),
            Some("redhat") => ("dnf", &self.dnf),
            Some(other) => {
                return Err(TableError::new(format!("packages are not supported on the os family `{other}`"))
                    .help("the families are `debian` (apt) and `redhat` (dnf); leave this resource out by `when`"));
            }
            None => return Ok(self.apt.as_deref().or(self.dnf.as_deref()).unwrap_or_default()),
        };
        list.as_deref().ok_or_else(|| {
            TableError::new(format!("no package list for this os family: the key `{key}` is missing"))
                .help(format!("write `{key} = [\"…\"]`, or `{key} = []` if nothing is needed there"))
        })
    }
}
