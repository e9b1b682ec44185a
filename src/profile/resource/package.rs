//! `packages`.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;
use toml::de::DeTable;

use super::tree::{TableError, Tables, typed};
use super::{Claim, Claims, Remote};
use crate::names::{Architecture, BundlePath, PackageSpec};
use crate::text::Invalid;

/// Packages of the distribution.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packages {
    /// Whose names these are.
    pub manager: Manager,
    /// What is wanted, in the names of this machine's package manager.
    pub wanted: Vec<WantedPackage>,
    /// Sources whose build dependencies are wanted.
    pub build_deps: Vec<BuildDep>,
    /// Architectures that packages can be of beside the machine's own, as dpkg calls them.
    pub architectures: Vec<Architecture>,
    /// Package files that no repository has.
    pub files: Vec<Remote>,
}

/// What installs packages on a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manager {
    /// apt and dpkg, of the family `debian`.
    #[default]
    Apt,
    /// dnf and rpm, of the family `redhat`.
    Dnf,
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
    /// At the newest version that can be had.
    pub upgrade: bool,
}

/// A source whose build dependencies are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildDep {
    /// A source package of the distribution, by its name.
    Source(PackageSpec),
    /// A debian/control, or an RPM spec file.
    Bundled {
        /// Where it is in the bundle.
        path: BundlePath,
        /// What is in it.
        text: String,
    },
}

impl fmt::Display for BuildDep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(spec) => spec.fmt(f),
            Self::Bundled { path, .. } => path.fmt(f),
        }
    }
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
    /// At their newest version, as the package lists know it.
    #[serde(default)]
    upgrade: bool,
    /// What it takes to build a source package of the distribution, or the source of this bundled debian/control or spec
    /// file, which is told by a slash in its path.
    build_dep: Option<String>,
    /// Architectures of which packages can be, beside the machine's own, as dpkg calls them: `i386`, and then names such
    /// as `libc6:i386`. dnf needs none.
    #[serde(default)]
    architectures: Vec<Architecture>,
    /// Package files (.deb, .rpm) to be downloaded, and installed with the others.
    #[serde(default)]
    files: Vec<Remote>,
}

impl Packages {
    pub(super) fn read(table: Spanned<DeTable<'_>>, tables: &Tables<'_>) -> Result<Self, TableError> {
        let table: PackagesTable = typed(table)?;
        table.refuse_absent_with_more()?;
        let manager = Manager::of(tables.family)?;
        let names = table.names(tables.family, manager)?.to_vec();
        let build_deps = table.build_dep.as_deref().map(|named| build_dep(named, tables)).transpose()?;
        let wanted = table.wanted(names);
        let (build_deps, files) = (build_deps.into_iter().collect(), table.files);
        Ok(Self { manager, wanted, build_deps, architectures: table.architectures, files })
    }

    /// Several put together. A package that is wanted twice is wanted once, with all that is wanted of it.
    pub(crate) fn together<'p>(all: impl Iterator<Item = &'p Self>) -> Self {
        let mut whole = Self::default();
        for packages in all {
            whole.manager = packages.manager;
            packages.wanted.iter().for_each(|wanted| whole.add(wanted));
            add_new(&mut whole.build_deps, &packages.build_deps);
            add_new(&mut whole.architectures, &packages.architectures);
            add_new(&mut whole.files, &packages.files);
        }
        whole
    }

    fn add(&mut self, wanted: &WantedPackage) {
        let Some(known) = self.wanted.iter_mut().find(|known| known.spec.name == wanted.spec.name) else {
            return self.wanted.push(wanted.clone());
        };
        known.spec.version = known.spec.version.take().or_else(|| wanted.spec.version.clone());
        known.optional &= wanted.optional;
        known.recommends |= wanted.recommends;
        known.hold |= wanted.hold;
        known.upgrade |= wanted.upgrade;
    }

    pub(super) fn title(&self) -> String {
        let names = self.wanted.iter().map(|wanted| wanted.spec.to_string());
        let builds = self.build_deps.iter().map(|source| format!("(to build {source})"));
        let files = self.files.iter().map(|file| file.url.to_string());
        let names: Vec<_> = names.chain(builds).chain(files).collect();
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
        let files = self.files.iter().flat_map(|file| {
            Claims::about(format!("the package file {}", file.url)).want("sha256", file.sha256).done()
        });
        claims.chain(files).collect()
    }
}

fn add_new<T: Clone + PartialEq>(known: &mut Vec<T>, more: &[T]) {
    for item in more {
        if !known.contains(item) {
            known.push(item.clone());
        }
    }
}

/// What has a slash is a path; no source package has one in its name.
fn build_dep(named: &str, tables: &Tables<'_>) -> Result<BuildDep, TableError> {
    let wrong = |error: Invalid| TableError::value("build_dep", error.to_string());
    if !named.contains('/') {
        return Ok(BuildDep::Source(named.parse().map_err(wrong)?));
    }
    let path: BundlePath = named.parse().map_err(wrong)?;
    Ok(BuildDep::Bundled { text: tables.bundled_text("build_dep", &path)?, path })
}

impl Manager {
    /// The one of a family; apt's where it is not known.
    pub(super) fn of(family: Option<&str>) -> Result<Self, TableError> {
        match family {
            Some("debian") | None => Ok(Self::Apt),
            Some("redhat") => Ok(Self::Dnf),
            Some(other) => Err(TableError::new(format!("packages are not supported on the os family `{other}`"))
                .help("the families are `debian` (apt) and `redhat` (dnf); leave this resource out by `when`")),
        }
    }
}

impl PackagesTable {
    fn refuse_absent_with_more(&self) -> Result<(), TableError> {
        let of_present = [
            ("recommends", self.recommends),
            ("hold", self.hold),
            ("upgrade", self.upgrade),
            ("build_dep", self.build_dep.is_some()),
            ("files", !self.files.is_empty()),
        ];
        match of_present.into_iter().find(|(_, used)| *used && self.state == State::Absent) {
            Some((key, _)) => Err(TableError::about(key, format!("`{key}` makes no sense with state = \"absent\""))
                .help("write what is to be there in a resource of its own")),
            None => Ok(()),
        }
    }

    fn names(&self, family: Option<&str>, manager: Manager) -> Result<&[PackageSpec], TableError> {
        let (key, list) = match manager {
            Manager::Apt => ("apt", &self.apt),
            Manager::Dnf => ("dnf", &self.dnf),
        };
        // Where no list is given at all, none was forgotten.
        let other_keys = self.build_dep.is_some() || !self.files.is_empty() || !self.architectures.is_empty();
        let none_needed = self.apt.is_none() && self.dnf.is_none() && other_keys;
        match list.as_deref() {
            Some(names) => Ok(names),
            None if family.is_none() => Ok(self.dnf.as_deref().unwrap_or_default()),
            None if none_needed => Ok(&[]),
            None => Err(TableError::new(format!("no package list for this os family: the key `{key}` is missing"))
                .help(format!("write `{key} = [\"…\"]`, or `{key} = []` if nothing is needed there"))),
        }
    }

    fn wanted(&self, names: Vec<PackageSpec>) -> Vec<WantedPackage> {
        let these: BTreeSet<&PackageSpec> = match &self.optional {
            Some(Optional::These(specs)) => specs.iter().collect(),
            _ => BTreeSet::new(),
        };
        let all_optional = matches!(self.optional, Some(Optional::All(true)));
        let extra: Vec<PackageSpec> = these.difference(&names.iter().collect()).map(|spec| (*spec).clone()).collect();
        let wanted = names.into_iter().chain(extra).map(|spec| WantedPackage {
            present: self.state == State::Present,
            optional: all_optional || these.contains(&spec),
            recommends: self.recommends,
            hold: self.hold,
            // A pin says which version, and that is the newest that may be.
            upgrade: self.upgrade && spec.version.is_none(),
            spec,
        });
        wanted.collect()
    }
}
