//! What dpkg says is installed: the text of its own status file. `fuzz/` reads by this file too.

use std::collections::BTreeMap;

use loitsut_profile::resource::WantedPackage;

/// dpkg's word for this machine.
pub const NATIVE: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };

/// A package that is installed, or was begun to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Package {
    /// Its version.
    pub version: String,
    /// Unpacked and configured.
    pub installed: bool,
    /// Neither there nor half there: at most its configuration files are.
    pub gone: bool,
    /// Kept at its version.
    pub hold: bool,
}

/// dpkg's status file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// By name, and also by `name:architecture`.
    packages: BTreeMap<String, Package>,
    /// Virtual names that installed packages provide, with the version if they say one.
    provided: BTreeMap<String, Vec<Option<String>>>,
    /// A package is half installed, half configured or waits for a trigger.
    pub interrupted: bool,
    /// A package waits for a trigger.
    pub triggers: bool,
    /// Packages that were being unpacked: only their archive can mend them.
    pub to_reinstall: Vec<String>,
}

impl Status {
    /// Reads the format of dpkg's status file: stanzas of `Key: value` lines, deb822(5).
    pub fn parse(text: &str) -> Self {
        let mut status = Self::default();
        for stanza in text.split("\n\n") {
            status.add(stanza);
        }
        status
    }

    fn add(&mut self, stanza: &str) {
        let (mut name, mut architecture, mut provides) = ("", "", "");
        // Without a `Status` it is not installed: dpkg takes it so.
        let (mut package, mut reinstall) = (Package { gone: true, ..Package::default() }, false);
        // Most lines are descriptions and dependencies: those are passed over by their first letter.
        for line in stanza.lines().filter(|line| line.starts_with(['A', 'P', 'S', 'V'])) {
            match line.split_once(": ") {
                Some(("Package", value)) => name = value,
                Some(("Architecture", value)) => architecture = value,
                Some(("Version", value)) => package.version = value.to_owned(),
                Some(("Provides", value)) => provides = value,
                Some(("Status", value)) => {
                    let words: Vec<&str> = value.split(' ').collect();
                    package.hold = words.first() == Some(&"hold");
                    let state = words.get(2).copied().unwrap_or_default();
                    package.installed = state == "installed";
                    package.gone = matches!(state, "not-installed" | "config-files");
                    // Cut short after its files were unpacked, a package is `unpacked`, and dpkg yet refuses to configure it.
                    reinstall = state == "half-installed" || words.get(1) == Some(&"reinstreq");
                    self.interrupted |= reinstall || !package.installed && !package.gone;
                    self.triggers |= state.starts_with("triggers-");
                }
                _ => {}
            }
        }
        if name.is_empty() {
            return;
        }
        if package.installed {
            provides.split(',').for_each(|provided| self.add_provided(provided.trim()));
        }
        if reinstall {
            self.to_reinstall.push(format!("{name}:{architecture}"));
        }
        self.packages.insert(format!("{name}:{architecture}"), package.clone());
        // Of two architectures the one that is installed counts.
        let known = self.packages.entry(name.to_owned()).or_default();
        if !known.installed {
            *known = package;
        }
    }

    /// `name`, or `name (= version)`.
    fn add_provided(&mut self, provided: &str) {
        let (name, rest) = provided.split_once(' ').unwrap_or((provided, ""));
        let version = rest.trim_matches(['(', ')']).strip_prefix('=').map(|version| version.trim().to_owned());
        if !name.is_empty() {
            self.provided.entry(name.to_owned()).or_default().push(version);
        }
    }

    /// The versions in which installed packages provide a virtual name; one may provide it without saying any.
    pub fn provided(&self, name: &str) -> impl Iterator<Item = Option<&str>> {
        self.provided.get(name).into_iter().flatten().map(Option::as_deref)
    }

    /// The package of that name, `name:architecture` or plain. One of no architecture is of each.
    pub fn package(&self, name: &str) -> Option<&Package> {
        let of_all = || self.packages.get(&format!("{}:all", name.split_once(':')?.0));
        self.packages.get(name).or_else(of_all)
    }

    /// The package of that name, if it is unpacked and configured.
    pub fn installed(&self, name: &str) -> Option<&Package> {
        self.package(name).filter(|package| package.installed)
    }

    /// How one wanted package differs, in a few words.
    pub fn drift(&self, wanted: &WantedPackage) -> Option<String> {
        let name = &wanted.spec.name;
        let found = self.package(name);
        if !wanted.present {
            return found.filter(|package| !package.gone).map(|_| format!("{name} is installed"));
        }
        match (self.installed(name), &wanted.spec.version) {
            (None, None) if self.provided.contains_key(name) => None,
            (None, _) => Some(format!("{name} is missing")),
            (Some(package), Some(version)) if package.version != *version => {
                Some(format!("{name} is {}, not {version}", package.version))
            }
            (Some(package), _) if wanted.hold && !package.hold => Some(format!("{name} is not held")),
            (Some(_), _) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
Package: mawk
Status: install ok installed
Architecture: amd64
Version: 1.3.4
Provides: awk, posix-awk (= 2)
Description: words
 Package: not a field
 .

Package: tzdata
Status: install ok installed
Architecture: all
Version: 2025b

Package: held
Status: hold ok installed
Architecture: amd64
Version: 2

Package: removed
Status: deinstall ok config-files
Architecture: amd64
Version: 1
Provides: nothing-any-more
";

    fn want(spec: &str, present: bool) -> WantedPackage {
        WantedPackage {
            spec: spec.parse().unwrap(),
            present,
            optional: false,
            recommends: false,
            hold: false,
            upgrade: false,
        }
    }

    #[test]
    fn installed_provided_pinned_held_and_removed() {
        let status = Status::parse(TEXT);
        assert!(!status.interrupted);
        assert_eq!(status.drift(&want("mawk", true)), None);
        assert_eq!(status.drift(&want("mawk:amd64", true)), None);
        assert_eq!(status.drift(&want("tzdata:amd64", true)), None);
        assert_eq!(status.drift(&want("awk", true)), None);
        assert_eq!(status.drift(&want("posix-awk", true)), None);
        assert_eq!(status.drift(&want("mawk=1.3.5", true)).unwrap(), "mawk is 1.3.4, not 1.3.5");
        assert_eq!(status.drift(&want("removed", true)).unwrap(), "removed is missing");
        assert_eq!(status.drift(&want("nothing-any-more", true)).unwrap(), "nothing-any-more is missing");
        assert_eq!(status.drift(&want("removed", false)), None);
        assert_eq!(status.drift(&want("mawk", false)).unwrap(), "mawk is installed");
        assert_eq!(status.drift(&WantedPackage { hold: true, ..want("held", true) }), None);
        assert!(status.drift(&WantedPackage { hold: true, ..want("mawk", true) }).is_some());
    }

    #[test]
    fn a_package_without_a_status_is_not_there() {
        let status = Status::parse("Package: x\nArchitecture: all\nVersion: 1\n");
        assert_eq!(status.drift(&want("x", false)), None);
        assert!(!status.interrupted);
    }

    #[test]
    fn an_interrupted_dpkg_is_seen() {
        assert!(Status::parse("Package: x\nStatus: install ok half-configured\nVersion: 1\n").interrupted);
        let status = Status::parse("Package: x\nStatus: install reinstreq unpacked\nArchitecture: amd64\nVersion: 1\n");
        assert!(status.interrupted);
        assert_eq!(status.to_reinstall, ["x:amd64"]);
        assert!(Status::parse("Package: x\nStatus: install ok triggers-pending\nVersion: 1\n").interrupted);
    }
}
