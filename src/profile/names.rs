//! Values that must not be mixed up, parsed once at the edge.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use crate::text::{Invalid, checked_text, read_from_text, write_as_text};

checked_text!(
    /// An absolute path without `..`, not `/` itself; repeated and trailing slashes are dropped.
    AbsPath,
    |text| {
        if !text.starts_with('/') {
            return Err(Invalid::new(text, "is not an absolute path").advise("begin it with `/`"));
        }
        clean_path(text).map(|path| format!("/{path}"))
    }
);

impl AbsPath {
    /// As a standard path.
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }
}

checked_text!(
    /// A path inside a bundle: relative, without `..`.
    BundlePath,
    |text| {
        if text.starts_with('/') {
            return Err(Invalid::new(text, "is absolute").advise("name a file relative to the folder of the profiles"));
        }
        clean_path(text)
    }
);

checked_text!(
    /// The name of a layer, such as `deps/boost`; its file is `layers/deps/boost.toml`.
    LayerName,
    |text| {
        let words = |c: char| c.is_ascii_alphanumeric() || "-_.+/".contains(c);
        if !text.chars().all(words) || text.starts_with('/') {
            let advice = "layer names have letters, digits and `-_.+/`, no `.toml`, no leading `/`";
            return Err(Invalid::new(text, "is not a layer name").advise(advice));
        }
        clean_path(text)
    }
);

checked_text!(
    /// A name in /etc/passwd or /etc/group.
    UserName,
    |text| {
        let first = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if first && text.len() <= 32 && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
            return Ok(text.to_owned());
        }
        Err(Invalid::new(text, "is not a user or group name").advise(
            "names have up to 32 letters, digits, `-`, `_` and `.`, the first a letter or `_`",
        ))
    }
);

checked_text!(
    /// The name of a user that is made, as useradd(8) takes it: in lower case.
    NewUserName,
    |text| {
        let name: UserName = text.parse()?;
        if text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c)) {
            return Ok(name.to_string());
        }
        Err(Invalid::new(text, "is not a name for a new user").advise("use a-z, 0-9, `-` and `_`"))
    }
);

impl UserName {
    /// The administrator, and its group.
    pub fn root() -> Self {
        Self("root".into())
    }
}

checked_text!(
    /// A systemd unit with its suffix; `.service` is added where there is none.
    UnitName,
    |text| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
        if text.is_empty() || text.starts_with(['.', '-']) || text.len() > 255 || !text.chars().all(allowed) {
            return Err(Invalid::new(text, "is not the name of a systemd unit"));
        }
        let suffixes = [".service", ".socket", ".timer", ".path", ".mount", ".target", ".slice", ".swap", ".automount"];
        let whole = suffixes.iter().any(|suffix| text.ends_with(suffix));
        Ok(if whole { text.to_owned() } else { format!("{text}.service") })
    }
);

/// A quarter of what Linux takes, and more than any file needs; the work on a path grows with its parts.
const LONGEST_PATH: usize = 1024;
const DEEPEST_PATH: usize = 64;

/// Drops empty and `.` parts; refuses `..`, emptiness and characters that no path here has a use for.
fn clean_path(text: &str) -> Result<String, Invalid> {
    let refuse = |problem: String| Err(Invalid::new(text, problem));
    if let Some(c) = text.chars().find(|c| c.is_control()) {
        return refuse(format!("has the character {c:?} in it"));
    }
    let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        return refuse("has `..` in it".into());
    }
    if parts.is_empty() {
        return refuse("names no file".into());
    }
    if text.len() > LONGEST_PATH || parts.len() > DEEPEST_PATH {
        return refuse(format!("is too long: at most {LONGEST_PATH} bytes and {DEEPEST_PATH} parts"));
    }
    Ok(parts.join("/"))
}

/// Permission bits of a file, written as in chmod(1): "0644".
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Mode(#[cfg_attr(feature = "schema", schemars(with = "String"))] pub u32);

impl FromStr for Mode {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let octal = text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit());
        match u32::from_str_radix(text, 8) {
            Ok(bits) if octal && text.len() >= 3 && bits <= 0o7777 => Ok(Self(bits)),
            _ => {
                Err(Invalid::new(text, "is not a mode")
                    .advise("three or four octal digits in quotes, such as \"0644\""))
            }
        }
    }
}

read_from_text!(Mode);
write_as_text!(Mode);

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl fmt::Debug for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

checked_text!(
    /// An architecture as dpkg calls it: `i386`, `arm64`.
    Architecture,
    |text| {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if text.is_empty() || text.starts_with('-') || !text.chars().all(allowed) {
            return Err(Invalid::new(text, "is not an architecture").advise("`dpkg-architecture --list-known` has them"));
        }
        Ok(text.to_owned())
    }
);

checked_text!(
    /// The name of a repository, which its files get: letters, digits, `-`, `_` and `.`, as apt takes them.
    RepositoryName,
    |text| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) || text.len() > 100 || !text.chars().all(allowed) {
            return Err(Invalid::new(text, "is not the name of a repository").advise(
                "it has letters, digits and `-_.`, the first a letter or digit",
            ));
        }
        Ok(text.to_owned())
    }
);

checked_text!(
    /// One word of a list in a repository's file, such as a URI, a suite or a component.
    RepositoryWord,
    |text| {
        if text.is_empty() || text.starts_with(['-', '#', '[']) || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(Invalid::new(text, "is not one word").advise("write each in a string of its own"));
        }
        Ok(text.to_owned())
    }
);

/// A package, optionally pinned: `name` or `name=version`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(from = "String", into = "String"))]
pub struct PackageSpec {
    /// The name, with `:arch` if it was given.
    pub name: String,
    /// The exact version, if pinned.
    pub version: Option<String>,
}

impl FromStr for PackageSpec {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (name, version) = match text.split_once('=') {
            Some((name, version)) => (name, Some(version)),
            None => (text, None),
        };
        // Neither may look like an option or a pattern to the package manager.
        let name_ok = name.starts_with(|c: char| c.is_ascii_alphanumeric())
            // `gcc-` is how apt-get is told to remove gcc.
            && !name.ends_with('-')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "+-._:".contains(c));
        let version_ok = version.is_none_or(|version| {
            version.starts_with(|c: char| c.is_ascii_alphanumeric())
                && version.chars().all(|c| c.is_ascii_alphanumeric() || "+-._:~^".contains(c))
        });
        if !name_ok || !version_ok {
            return Err(
                Invalid::new(text, "is not a package").advise("write `name` or `name=version`, one in each string")
            );
        }
        Ok(Self { name: name.to_owned(), version: version.map(str::to_owned) })
    }
}

read_from_text!(PackageSpec);

impl fmt::Display for PackageSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(f, "{}={version}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_and_escapes_refused() {
        assert_eq!("/etc//ccache.conf/".parse::<AbsPath>().unwrap().as_str(), "/etc/ccache.conf");
        for bad in ["etc/x", "/", "/a/../b", "/a\nb", ""] {
            assert!(bad.parse::<AbsPath>().is_err(), "{bad:?}");
        }
        assert!("/abs".parse::<BundlePath>().is_err());
        assert!("../up".parse::<BundlePath>().is_err());
        assert!(format!("/{}", "x".repeat(1023)).parse::<AbsPath>().is_ok());
        assert!("x".repeat(1025).parse::<BundlePath>().is_err());
        assert!("/x".repeat(64).parse::<AbsPath>().is_ok());
        assert!("/x".repeat(65).parse::<AbsPath>().is_err());
    }

    #[test]
    fn modes_are_octal_text() {
        assert_eq!("0644".parse::<Mode>().unwrap().0, 0o644);
        assert_eq!("4755".parse::<Mode>().unwrap().0, 0o4755);
        for bad in ["644x", "+x", "9", "99999", "0888", "-644"] {
            assert!(bad.parse::<Mode>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn package_names_cannot_be_options_or_patterns() {
        assert_eq!("gcc=4:12.2.0-3".parse::<PackageSpec>().unwrap().version.as_deref(), Some("4:12.2.0-3"));
        for bad in ["-o", "gcc g++", "lib*", "gcc/sid", "gcc-", "x=", "x=-y", "", "x;y"] {
            assert!(bad.parse::<PackageSpec>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn units_get_their_suffix() {
        assert_eq!("cron".parse::<UnitName>().unwrap().as_str(), "cron.service");
        assert_eq!("apt-daily.timer".parse::<UnitName>().unwrap().as_str(), "apt-daily.timer");
        assert!("a/b".parse::<UnitName>().is_err());
    }
}
