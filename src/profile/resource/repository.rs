//! `repository`.

use serde::Deserialize;
use toml::Spanned;
use toml::de::DeTable;

use super::one_or_many::OneOrMany;
use super::package::Manager;
use super::tree::{TableError, Tables, typed};
use super::{Claim, Claims};
use crate::names::{Architecture, RepositoryName, RepositoryWord};
use crate::openpgp::{Fingerprint, PublicKeys};
use crate::text::Invalid;
use crate::userdata::field::HttpUrl;

/// Where packages come from, beside the distribution's own repositories.
#[derive(Clone, PartialEq, Eq)]
pub struct Repository {
    /// What its files are called.
    pub name: RepositoryName,
    /// Where it is, in the words of this machine's package manager.
    pub kind: RepositoryKind,
    /// What signs it; the system's own keys where there is none.
    pub key: Option<Key>,
    /// Which wins where several have a package: in apt the higher number, in dnf the lower.
    pub priority: Option<i32>,
}

/// Where a repository is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepositoryKind {
    /// See sources.list(5).
    Apt {
        /// `deb`, `deb-src`.
        types: Vec<RepositoryWord>,
        /// Never empty.
        uris: Vec<RepositoryWord>,
        /// Never empty.
        suites: Vec<RepositoryWord>,
        /// Empty where the suites are paths.
        components: Vec<RepositoryWord>,
        /// Those of this machine where empty.
        architectures: Vec<Architecture>,
    },
    /// See dnf.conf(5).
    Dnf {
        /// Never empty.
        baseurl: Vec<RepositoryWord>,
    },
}

/// The key that signs a repository.
#[derive(Clone, PartialEq, Eq)]
pub enum Key {
    /// A file of the bundle.
    Bundled(PublicKeys),
    /// To be downloaded.
    Url {
        /// Where it is.
        url: HttpUrl,
        /// Of each primary key in it; never empty.
        fingerprints: Vec<Fingerprint>,
    },
}

/// A repository of packages. Its key is the only one that counts for it; without one, those of the system do.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct RepositoryTable {
    /// What its files are called.
    name: RepositoryName,
    /// apt: `deb`, `deb-src`; `deb` unless said.
    #[serde(default)]
    types: Vec<RepositoryWord>,
    /// apt: where it is.
    #[serde(default)]
    uris: Vec<RepositoryWord>,
    /// apt: suites, or paths that end in `/`.
    #[serde(default)]
    suites: Vec<RepositoryWord>,
    /// apt: components of the suites; none with paths.
    #[serde(default)]
    components: Vec<RepositoryWord>,
    /// apt: the machine's own and all foreign ones unless said.
    #[serde(default)]
    architectures: Vec<Architecture>,
    /// dnf: where it is.
    #[serde(default)]
    baseurl: OneOrMany<RepositoryWord>,
    /// Which wins where several have a package. apt: the higher one, for all packages of the same host; dnf: the lower.
    priority: Option<i32>,
    /// The key that signs it, armored or binary: a bundled file, or a URL.
    key: Option<String>,
    /// Of each primary key in `key`: 40 hexadecimal digits. Needed with a URL.
    #[serde(default)]
    fingerprint: OneOrMany<Fingerprint>,
}

impl Repository {
    pub(super) fn read(table: Spanned<DeTable<'_>>, tables: &Tables<'_>) -> Result<Self, TableError> {
        let table: RepositoryTable = typed(table)?;
        let key = table.key(tables)?;
        let apt_only = table.baseurl.0.is_empty();
        let kind = match Manager::of(tables.family)? {
            // Where the family is not known, either will do.
            Manager::Apt if tables.family.is_some() || apt_only => table.apt()?,
            _ => table.dnf()?,
        };
        Ok(Self { name: table.name, kind, key, priority: table.priority })
    }

    pub(super) fn claims(&self) -> Vec<Claim> {
        let words = |words: &[RepositoryWord]| words.iter().map(RepositoryWord::as_str).collect::<Vec<_>>().join(" ");
        let claims = Claims::about(format!("repository {}", self.name)).want_if("priority", self.priority);
        let claims = match &self.kind {
            RepositoryKind::Apt { types, uris, suites, components, .. } => claims
                .want("types", words(types))
                .want("uris", words(uris))
                .want("suites", words(suites))
                .want("components", words(components)),
            RepositoryKind::Dnf { baseurl } => claims.want("baseurl", words(baseurl)),
        };
        let fingerprints = self.key.as_ref().map(|key| match key {
            Key::Bundled(keys) => &keys.fingerprints,
            Key::Url { fingerprints, .. } => fingerprints,
        });
        claims.want_if("key", fingerprints.map(|all| format!("{all:?}"))).done()
    }
}

impl RepositoryTable {
    fn apt(&self) -> Result<RepositoryKind, TableError> {
        if self.uris.is_empty() || self.suites.is_empty() {
            let missing = if self.uris.is_empty() { "uris" } else { "suites" };
            return Err(TableError::new(format!("`{missing}` is missing, or empty")).help(format!(
                "write `{missing} = [\"…\"]`, or let a `when` keep this repository from Debian's family"
            )));
        }
        let paths = self.suites.iter().filter(|suite| suite.as_str().ends_with('/')).count();
        let all_or_none = if self.components.is_empty() { self.suites.len() } else { 0 };
        if paths != all_or_none {
            return Err(TableError::about("suites", "suites and components do not fit")
                .help("a suite has components (`main`); one that ends in `/` is a path, and has none"));
        }
        let other = self.types.iter().find(|kind| !["deb", "deb-src"].contains(&kind.as_str()));
        if let Some(other) = other {
            return Err(TableError::value("types", format!("`{other}` is neither `deb` nor `deb-src`")));
        }
        let deb = || "deb".parse().map_err(|error: Invalid| TableError::value("types", error.to_string()));
        Ok(RepositoryKind::Apt {
            types: if self.types.is_empty() { vec![deb()?] } else { self.types.clone() },
            uris: self.uris.clone(),
            suites: self.suites.clone(),
            components: self.components.clone(),
            architectures: self.architectures.clone(),
        })
    }

    fn dnf(&self) -> Result<RepositoryKind, TableError> {
        if self.baseurl.0.is_empty() {
            return Err(TableError::new("`baseurl` is missing")
                .help("write `baseurl = \"…\"`, or let a `when` keep this repository from Red Hat's family"));
        }
        if self.name.as_str() == "main" {
            return Err(TableError::value(
                "name",
                "dnf has its own settings under `main`, and takes no repository for it",
            )
            .help("give it another name"));
        }
        Ok(RepositoryKind::Dnf { baseurl: self.baseurl.0.clone() })
    }

    fn key(&self, tables: &Tables<'_>) -> Result<Option<Key>, TableError> {
        let wrong = |error: Invalid| TableError::value("key", error.to_string());
        let fingerprints = self.fingerprint.0.clone();
        let Some(key) = &self.key else {
            return match fingerprints.is_empty() {
                true => Ok(None),
                false => Err(TableError::about("fingerprint", "`fingerprint` without `key`")
                    .help("add `key = \"…\"`: a bundled file, or a URL")),
            };
        };
        if key.contains("://") {
            let url = key.parse().map_err(wrong)?;
            return match fingerprints.is_empty() {
                false => Ok(Some(Key::Url { url, fingerprints })),
                true => Err(TableError::about("key", "a key by URL without `fingerprint`")
                    .help("add `fingerprint = \"…\"`, as `gpg --show-keys FILE` prints it for the key you trust")),
            };
        }
        let bytes = tables.bundled("key", &key.parse().map_err(wrong)?)?;
        let keys = PublicKeys::read(&bytes).and_then(|keys| match fingerprints.is_empty() {
            true => Ok(keys),
            false => keys.check(&fingerprints).map(|()| keys),
        });
        keys.map(|keys| Some(Key::Bundled(keys))).map_err(|why| TableError::value("key", format!("`{key}` {why}")))
    }
}
