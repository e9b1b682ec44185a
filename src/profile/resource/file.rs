//! `file`, `directory` and `symlink`.

use serde::Deserialize;
use toml::Spanned;
use toml::de::DeTable;

use super::tree::{TableError, Tables, typed};
use super::{Claim, Claims, Remote};
use crate::names::{AbsPath, BundlePath, Mode, UserName};
use crate::sha256::Sha256;
use crate::userdata::field::HttpUrl;

/// A regular file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Where.
    pub path: AbsPath,
    /// What is in it.
    pub content: Content,
    /// Permission bits; 0644 unless said.
    pub mode: Mode,
    /// Owner; root unless said.
    pub owner: UserName,
    /// Group; root unless said.
    pub group: UserName,
    /// Whether a file that is there already is replaced; true unless said.
    pub replace: bool,
}

/// Where the content of a file comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// From the layer or its bundle.
    Bytes(Vec<u8>),
    /// To be downloaded.
    Remote(Remote),
}

impl Content {
    /// Its digest.
    pub fn sha256(&self) -> Sha256 {
        match self {
            Self::Bytes(bytes) => Sha256::of(bytes),
            Self::Remote(remote) => remote.sha256,
        }
    }
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            // They may hold a secret.
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::Remote(remote) => remote.fmt(f),
        }
    }
}

/// A regular file. A symbolic link in its place is replaced; a directory, fifo or device is an error. Changes are whole
/// or not at all.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct FileTable {
    /// Where. Missing parent directories are made.
    path: AbsPath,
    /// Its text. Give this, `source`, or `url` with `sha256`.
    content: Option<String>,
    /// A bundled file, taken as it stands.
    source: Option<BundlePath>,
    /// `source` is a template.
    #[serde(default)]
    template: bool,
    /// A download.
    url: Option<HttpUrl>,
    /// What the download must be.
    sha256: Option<Sha256>,
    /// Permission bits; "0600" unless said where there is a secret in the file.
    #[serde(default = "file_mode")]
    mode: Mode,
    /// Owner.
    #[serde(default = "UserName::root")]
    owner: UserName,
    /// Group.
    #[serde(default = "UserName::root")]
    group: UserName,
    /// Whether a file that is there already is replaced.
    #[serde(default = "yes")]
    replace: bool,
}

fn file_mode() -> Mode {
    Mode(0o644)
}

fn yes() -> bool {
    true
}

impl File {
    pub(super) fn read(table: Spanned<DeTable<'_>>, tables: &Tables<'_>) -> Result<Self, TableError> {
        let table: FileTable = typed(table)?;
        Ok(Self {
            content: table.content(tables)?,
            path: table.path,
            mode: table.mode,
            owner: table.owner,
            group: table.group,
            replace: table.replace,
        })
    }

    pub(super) fn claims(&self) -> Vec<Claim> {
        Claims::about(format!("path {}", self.path))
            .want("type", "file")
            .want("content", self.content.sha256())
            .want("mode", self.mode)
            .want("owner", format!("{}:{}", self.owner, self.group))
            .done()
    }
}

impl FileTable {
    fn content(&self, tables: &Tables<'_>) -> Result<Content, TableError> {
        if self.template && self.source.is_none() {
            return Err(TableError::about("template", "`template` is for a `source`: `content` is always a template"));
        }
        match (&self.content, &self.source, &self.url, self.sha256) {
            (Some(content), None, None, None) => Ok(Content::Bytes(content.clone().into_bytes())),
            (None, Some(source), None, None) => self.bundled(source, tables),
            (None, None, Some(url), Some(sha256)) => Ok(Content::Remote(Remote { url: url.clone(), sha256 })),
            (None, None, Some(_), None) => Err(TableError::about("url", "`url` without `sha256`")
                .help("add `sha256 = \"…\"`, as `sha256sum` prints it for the file you expect")),
            (None, None, None, _) => {
                Err(TableError::new("a file needs one of `content`, `source`, or `url` with `sha256`"))
            }
            _ => Err(TableError::about("path", "more than one of `content`, `source` and `url` with `sha256`")),
        }
    }

    fn bundled(&self, source: &BundlePath, tables: &Tables<'_>) -> Result<Content, TableError> {
        if !self.template {
            return Ok(Content::Bytes(tables.bundled("source", source)?));
        }
        let text = tables.bundled_text("source", source)?;
        Ok(Content::Bytes((tables.render)(source, &text)?.into_bytes()))
    }
}

/// A directory; what is in it is left alone.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Directory {
    /// Where.
    pub path: AbsPath,
    /// Permission bits.
    #[serde(default = "directory_mode")]
    pub mode: Mode,
    /// Owner.
    #[serde(default = "UserName::root")]
    pub owner: UserName,
    /// Group.
    #[serde(default = "UserName::root")]
    pub group: UserName,
}

fn directory_mode() -> Mode {
    Mode(0o755)
}

impl Directory {
    pub(super) fn claims(&self) -> Vec<Claim> {
        Claims::about(format!("path {}", self.path))
            .want("type", "directory")
            .want("mode", self.mode)
            .want("owner", format!("{}:{}", self.owner, self.group))
            .done()
    }
}

/// A symbolic link.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Symlink {
    /// Where.
    pub path: AbsPath,
    /// What it says, absolute or relative to its own directory; need not exist.
    pub target: String,
}

impl Symlink {
    pub(super) fn claims(&self) -> Vec<Claim> {
        Claims::about(format!("path {}", self.path)).want("type", "symlink").want("target", &self.target).done()
    }
}
