//! `git`.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use toml::Spanned;
use toml::de::DeTable;

use super::tree::{TableError, typed};
use super::{Claim, Claims};
use crate::names::{AbsPath, UserName};
use crate::text::{Invalid, read_from_text};

/// A checkout of one exact state of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Git {
    /// Where the repository is.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub url: GitUrl,
    /// Which state of it.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub revision: Revision,
    /// Where the checkout is.
    pub path: AbsPath,
    /// Whose it is, and who runs git.
    #[serde(default = "UserName::root")]
    pub owner: UserName,
    /// How many commits of its history are fetched; all unless said.
    pub depth: Option<u32>,
}

/// An exact state of a repository. Branches are none: the same profile would give another machine tomorrow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revision {
    /// The full id of a commit, in lower case.
    Commit(String),
    /// The name of a tag.
    Tag(String),
}

/// A URL, an absolute path, or `host:path` as ssh has it; no password, since everybody could read it in .git/config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitUrl(String);

impl Git {
    pub(super) fn read(table: Spanned<DeTable<'_>>) -> Result<Self, TableError> {
        let git: Self = typed(table)?;
        if git.depth == Some(0) {
            return Err(TableError::value("depth", "a depth of 0 fetches nothing").help("leave it out for all of it"));
        }
        Ok(git)
    }

    pub(super) fn claims(&self) -> Vec<Claim> {
        Claims::about(format!("path {}", self.path))
            .want("type", "git")
            .want("url", &self.url)
            .want("revision", &self.revision)
            .want("owner", &self.owner)
            .done()
    }
}

impl FromStr for Revision {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let hex = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if hex && [40, 64].contains(&text.len()) {
            return Ok(Self::Commit(text.to_ascii_lowercase()));
        }
        if hex && text.len() >= 7 {
            return Err(Invalid::new(text, "is a part of a commit's id").advise("write all 40 (or 64) digits"));
        }
        let name = text.strip_prefix("refs/tags/").unwrap_or(text);
        if text.starts_with("refs/") && name == text || !is_tag(name) {
            return Err(Invalid::new(text, "is neither a tag nor a commit").advise("write `v1.2` or the full id"));
        }
        Ok(Self::Tag(name.to_owned()))
    }
}

read_from_text!(Revision);

/// By the rules of git-check-ref-format(1), and nothing that git could take for an option.
fn is_tag(name: &str) -> bool {
    let good = |c: char| !c.is_control() && !" ~^:?*[\\".contains(c);
    let part = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    !name.starts_with('-')
        && !name.ends_with('.')
        && !name.contains("..")
        && !name.contains("@{")
        && name.len() <= 200
        && name.chars().all(good)
        && name.split('/').all(part)
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commit(id) => f.write_str(id),
            Self::Tag(name) => write!(f, "tag {name}"),
        }
    }
}

impl GitUrl {
    /// As git takes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for GitUrl {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let advice = "write https://…, http://…, ssh://…, git://…, file:///…, user@host:path or an absolute path";
        if text.starts_with('-') || text.chars().any(char::is_control) || text.contains("::") {
            return Err(Invalid::new(text, "is not the URL of a repository").advise(advice));
        }
        match text.split_once("://") {
            Some((scheme, rest)) if ["https", "http", "ssh", "git", "file"].contains(&scheme) => {
                let authority = rest.split('/').next().unwrap_or_default();
                let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
                if user.contains(':') || (scheme.starts_with("http") && !user.is_empty()) {
                    return Err(Invalid::hidden("there are credentials in the URL").advise(
                        "leave them out: everybody could read them; a `file` ~/.netrc of the owner can hold them",
                    ));
                }
            }
            None if text.starts_with('/') || text.split('/').next().is_some_and(|host| host.contains(':')) => {}
            _ => return Err(Invalid::new(text, "is not the URL of a repository").advise(advice)),
        }
        Ok(Self(text.to_owned()))
    }
}

read_from_text!(GitUrl);

impl fmt::Display for GitUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_exact() {
        let id = "0123456789ABCDEF0123456789abcdef01234567";
        assert_eq!(id.parse::<Revision>().unwrap(), Revision::Commit(id.to_lowercase()));
        assert_eq!("refs/tags/v1.2".parse::<Revision>().unwrap(), Revision::Tag("v1.2".into()));
        assert_eq!("release/11.4".parse::<Revision>().unwrap(), Revision::Tag("release/11.4".into()));
        for bad in ["", "0123456789", "refs/heads/main", "-x", "a..b", "a b", "HEAD^", "x.lock", "a//b", "v1@{u}"] {
            assert!(bad.parse::<Revision>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_url_has_no_credentials_and_runs_no_program() {
        for good in ["https://example.org/x.git", "ssh://git@example.org/x", "git@example.org:x", "/srv/x", "file:///x"]
        {
            assert!(good.parse::<GitUrl>().is_ok(), "{good}");
        }
        for bad in ["ext::sh -c x", "--upload-pack=x", "x", "ftp://example.org/x", "http://example.org/\n", "fd::3"] {
            assert!(bad.parse::<GitUrl>().is_err(), "{bad}");
        }
        for secret in ["https://me:hunter2@example.org/x", "https://hunter2@example.org/x", "ssh://me:hunter2@h/x"] {
            assert!(!secret.parse::<GitUrl>().unwrap_err().to_string().contains("hunter2"));
        }
    }
}
