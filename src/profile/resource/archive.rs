//! `archive`.

use serde::Deserialize;
use toml::Spanned;
use toml::de::DeTable;

use super::tree::{TableError, Tables, typed};
use super::{Claim, Claims, Content, Remote};
use crate::names::{AbsPath, BundlePath, UserName};
use crate::sha256::Sha256;
use crate::userdata::field::HttpUrl;

/// More parts than any path in an archive has.
const DEEPEST: u8 = 100;

/// A directory that is what an archive holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    /// The archive itself.
    pub content: Content,
    /// The directory that it becomes; it belongs to this archive alone.
    pub into: AbsPath,
    /// How many leading parts of each name are left out.
    pub strip: u8,
    /// Owner of everything in it.
    pub owner: UserName,
    /// Group of everything in it; the owner's own unless said.
    pub group: Option<UserName>,
}

/// A directory that is what an archive holds: tar, plain or as gz, xz, zst or bz2, or zip, known by its content. It is
/// put in place whole or not at all, and belongs to this archive alone.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct ArchiveTable {
    /// A download. Give this, with `sha256`, or `source`.
    url: Option<HttpUrl>,
    /// A bundled file.
    source: Option<BundlePath>,
    /// What the archive must be; needed for a download.
    sha256: Option<Sha256>,
    /// The directory that it becomes. Missing parent directories are made.
    into: AbsPath,
    /// How many leading parts of each name are left out.
    #[serde(default)]
    strip: u8,
    /// Owner of everything in it: `user` or `user:group`; root unless said.
    owner: Option<String>,
}

impl Archive {
    pub(super) fn read(table: Spanned<DeTable<'_>>, tables: &Tables<'_>) -> Result<Self, TableError> {
        let table: ArchiveTable = typed(table)?;
        if table.strip > DEEPEST {
            return Err(TableError::value("strip", format!("{} parts are more than a path has", table.strip)));
        }
        let (owner, group) = owner(table.owner.as_deref().unwrap_or("root"))?;
        Ok(Self { content: table.content(tables)?, into: table.into, strip: table.strip, owner, group })
    }

    pub(super) fn claims(&self) -> Vec<Claim> {
        let group = self.group.as_ref().map_or_else(String::new, |group| format!(":{group}"));
        Claims::about(format!("path {}", self.into))
            .want("type", "archive")
            .want("content", self.content.sha256())
            .want("strip", self.strip)
            .want("owner", format!("{}{group}", self.owner))
            .done()
    }
}

impl ArchiveTable {
    fn content(&self, tables: &Tables<'_>) -> Result<Content, TableError> {
        match (&self.url, &self.source, self.sha256) {
            (Some(url), None, Some(sha256)) => Ok(Content::Remote(Remote { url: url.clone(), sha256 })),
            (Some(_), None, None) => Err(TableError::about("url", "`url` without `sha256`")
                .help("add `sha256 = \"…\"`, as `sha256sum` prints it for the archive you expect")),
            (None, Some(source), wanted) => bundled(tables.bundled("source", source)?, wanted),
            (Some(_), Some(_), _) => Err(TableError::about("source", "both `url` and `source`: give one of them")),
            (None, None, _) => Err(TableError::new("an archive needs `url` with `sha256`, or `source`")),
        }
    }
}

fn bundled(bytes: Vec<u8>, wanted: Option<Sha256>) -> Result<Content, TableError> {
    let found = Sha256::of(&bytes);
    match wanted {
        Some(wanted) if wanted != found => {
            Err(TableError::value("sha256", format!("the SHA-256 of the bundled archive is {found}, not {wanted}")))
        }
        _ => Ok(Content::Bytes(bytes)),
    }
}

fn owner(text: &str) -> Result<(UserName, Option<UserName>), TableError> {
    let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
    let name = |name: &str| {
        name.parse::<UserName>()
            .map_err(|error| TableError::value("owner", error.to_string()).help("write \"user\" or \"user:group\""))
    };
    Ok((name(user)?, group.map(name).transpose()?))
}
