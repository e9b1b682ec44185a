//! What rpm says is installed: asked of rpm, once for all names, for its database is nothing to be read by others.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use loitsut_profile::resource::WantedPackage;

use crate::apply::packages::record::InFile;
use crate::host::Host;
use crate::host::process::Program;

/// One line of a package, and one of each name that it provides.
const FORMAT: &str = "%{NAME}\\t%|EPOCH?{%{EPOCH}}:{0}|:%{VERSION}-%{RELEASE}\\t%{ARCH}\\n[\\t%{PROVIDENAME}\\n]";

/// Architectures that a name may end in: `glibc.i686`.
const ARCHITECTURES: [&str; 5] = ["x86_64", "aarch64", "i686", "noarch", "src"];

/// Packages that are meant to be there in several versions.
const SEVERAL: &str = "kernel";

/// What is installed of the names that were asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Installed {
    /// Version as `epoch:version-release`, and architecture, by name.
    packages: BTreeMap<String, BTreeSet<(String, String)>>,
    provided: BTreeSet<String>,
}

impl Installed {
    /// Asks for these names, and for the packages that provide them.
    ///
    /// # Errors
    /// rpm fails.
    pub async fn ask(host: &Host, names: impl IntoIterator<Item = &str>) -> Result<Self> {
        let names: BTreeSet<&str> = names.into_iter().map(|name| split(name).0).collect();
        if names.is_empty() {
            return Ok(Self::default());
        }
        let words = ["rpm", "--query", "--queryformat", FORMAT, "--whatprovides"].into_iter().chain(names);
        // Its status is the number of those that nobody provides.
        let finished = host.run(&Program::new(words).keep_output()).await?;
        if let Some(error) = finished.tail.iter().find(|line| line.starts_with("error:")) {
            bail!("rpm cannot tell what is installed: {error}");
        }
        Ok(Self::parse(&finished.tail))
    }

    fn parse(lines: &[String]) -> Self {
        let mut installed = Self::default();
        for line in lines {
            match line.split('\t').collect::<Vec<_>>().as_slice() {
                ["", provided] => drop(installed.provided.insert((*provided).to_owned())),
                [name, version, architecture] => {
                    let versions = installed.packages.entry((*name).to_owned()).or_default();
                    versions.insert(((*version).to_owned(), (*architecture).to_owned()));
                }
                // `no package provides x`
                _ => {}
            }
        }
        installed
    }

    /// Whether a package of this name, or one that provides it, is there.
    pub fn provides(&self, name: &str) -> bool {
        self.provided.contains(name) || self.packages.contains_key(name)
    }

    /// All versions of a package that are there, in words.
    pub fn versions(&self, name: &str) -> Option<String> {
        let found = self.packages.get(split(name).0)?;
        Some(found.iter().map(|(version, _)| shown(version)).collect::<Vec<_>>().join(" "))
    }

    /// Whether exactly this is there.
    pub fn has(&self, found: &InFile) -> bool {
        let versions = self.packages.get(&found.name);
        versions.is_some_and(|versions| versions.contains(&(found.version.clone(), found.architecture.clone())))
    }

    /// A package that is there twice: its old version is removed only after the new one has come.
    pub fn is_doubled(&self) -> bool {
        self.packages.iter().filter(|(name, _)| !name.starts_with(SEVERAL)).any(|(_, versions)| {
            let architectures: BTreeSet<_> = versions.iter().map(|(_, architecture)| architecture).collect();
            architectures.len() < versions.len()
        })
    }

    /// How one wanted package differs, in a few words.
    pub fn drift(&self, wanted: &WantedPackage) -> Option<String> {
        let name = &wanted.spec.name;
        let (plain, of) = split(name);
        let found = self.packages.get(plain).into_iter().flatten();
        let found: Vec<_> = found.filter(|(_, architecture)| of.is_none_or(|of| of == architecture)).collect();
        match (&wanted.spec.version, found.as_slice()) {
            (_, []) if !wanted.present => None,
            (_, _) if !wanted.present => Some(format!("{name} is installed")),
            (None, []) if of.is_none() && self.provided.contains(plain) => None,
            (_, []) => Some(format!("{name} is missing")),
            (Some(version), found) if !found.iter().any(|(full, _)| is_version(full, version)) => {
                Some(format!("{name} is {}, not {version}", shown(&found[0].0)))
            }
            _ => None,
        }
    }
}

/// A name, and the architecture that it ends in.
fn split(name: &str) -> (&str, Option<&str>) {
    match name.rsplit_once('.') {
        Some((plain, architecture)) if ARCHITECTURES.contains(&architecture) => (plain, Some(architecture)),
        _ => (name, None),
    }
}

/// Whether `epoch:version-release` is meant by these words, which may leave out epoch and release.
fn is_version(full: &str, wanted: &str) -> bool {
    let of_epoch = full.split_once(':').map_or(full, |(_, rest)| rest);
    [full, of_epoch].iter().any(|full| {
        *full == wanted || full.rsplit_once('-').is_some_and(|(without_release, _)| without_release == wanted)
    })
}

/// Without an epoch of 0, as people write it.
fn shown(full: &str) -> &str {
    full.strip_prefix("0:").unwrap_or(full)
}

/// What is in a package file.
///
/// # Errors
/// It is no package.
pub async fn look_into(host: &Host, path: &str) -> Result<InFile> {
    let words = ["rpm", "--query", "--nosignature", "--queryformat", FORMAT, "--package", path];
    let finished = host.run_checked(&Program::new(words)).await?;
    let fields: Vec<&str> = finished.tail.first().map(|line| line.split('\t').collect()).unwrap_or_default();
    let [name, version, architecture] = fields[..] else { bail!("rpm does not know what it is") };
    Ok(InFile { name: name.into(), version: version.into(), architecture: architecture.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_versions_architectures_and_provided_names() {
        let lines = [
            "gcc\t0:14.2-3.fc41\tx86_64",
            "\tgcc",
            "\tcc",
            "glibc\t0:2-1\ti686",
            "no package provides x",
            "bind\t32:9-1\tx86_64",
        ];
        let installed = Installed::parse(&lines.map(str::to_owned));
        let want = |spec: &str, present| WantedPackage {
            spec: spec.parse().unwrap(),
            present,
            optional: false,
            recommends: false,
            hold: false,
            upgrade: false,
        };
        let words = |spec: &str| installed.drift(&want(spec, true)).unwrap_or_default();
        for met in [
            "gcc",
            "cc",
            "gcc=14.2",
            "gcc=14.2-3.fc41",
            "gcc=0:14.2",
            "bind=32:9-1",
            "bind=9",
            "glibc.i686",
            "gcc.x86_64",
        ] {
            assert_eq!(words(met), "", "{met}");
        }
        assert_eq!(words("gcc=13"), "gcc is 14.2-3.fc41, not 13");
        assert_eq!(words("glibc.x86_64"), "glibc.x86_64 is missing");
        assert_eq!(words("x"), "x is missing");
        assert_eq!(installed.drift(&want("gcc", false)).unwrap(), "gcc is installed");
        assert_eq!(installed.drift(&want("cc", false)), None);
        assert!(!installed.is_doubled());
        assert!(Installed::parse(&["a\t0:1-1\tnoarch".into(), "a\t0:2-1\tnoarch".into()]).is_doubled());
    }
}
