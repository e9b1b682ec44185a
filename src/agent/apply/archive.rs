//! `archive`.

use std::fmt;
use std::io::Cursor;

use anyhow::{Context as _, Result, bail};
use loitsut_profile::resource::{Archive, Content, Remote};

use super::{Context, Converge, Drift};
use crate::host::Host;
use crate::host::accounts::AccountError;
use crate::host::archive::{Extraction, Packed};
use crate::host::extract::Extracted;

/// How the directory of an archive differs.
pub enum ArchiveDrift {
    /// It has to be extracted; why.
    Extract(String),
    /// An agent that was killed has left something beside it.
    Leftover,
}

impl fmt::Display for ArchiveDrift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Extract(why) => f.write_str(why),
            Self::Leftover => f.write_str("a half extracted copy is beside it"),
        }
    }
}

impl Drift for ArchiveDrift {}

impl Converge for Archive {
    type Drift = ArchiveDrift;

    async fn downloads(&self, context: &Context<'_>) -> Result<Vec<Remote>> {
        let Content::Remote(remote) = &self.content else { return Ok(Vec::new()) };
        let drift = self.check(context).await?;
        let is_wanted = matches!(drift, Some(ArchiveDrift::Extract(_)));
        Ok(is_wanted.then(|| remote.clone()).into_iter().collect())
    }

    async fn check(&self, context: &Context<'_>) -> Result<Option<ArchiveDrift>> {
        let into = self.into.as_path();
        Ok(match context.host.extracted(into, &label(self))? {
            Extracted::Nothing => Some(ArchiveDrift::Extract("is missing".into())),
            Extracted::Differs(words) => Some(ArchiveDrift::Extract(words)),
            Extracted::Foreign => bail!(
                "{} is there and was not extracted by loitsut: remove it, or extract into a directory of its own",
                self.into
            ),
            Extracted::Whole => context.host.has_half_extracted(into)?.then_some(ArchiveDrift::Leftover),
        })
    }

    async fn apply(&self, context: &Context<'_>, drift: ArchiveDrift) -> Result<()> {
        let host = context.host;
        if matches!(drift, ArchiveDrift::Leftover) {
            return Ok(host.remove_half_extracted(self.into.as_path())?);
        }
        let (uid, gid) = owner(self, host)?;
        let packed: Box<dyn Packed> = match &self.content {
            Content::Bytes(bytes) => Box::new(Cursor::new(bytes.clone())),
            Content::Remote(remote) => Box::new(host.open_archive(&context.downloads.get(remote).await?)?),
        };
        let (into, label, strip) = (self.into.as_path().to_owned(), label(self), usize::from(self.strip));
        let wanted = Extraction { into, label, strip, uid, gid, durable: !context.disposable };
        host.extract(packed, &wanted).await.context("not extracted, and nothing of it is in place")
    }
}

/// Everything that makes the directory what it is.
fn label(archive: &Archive) -> String {
    let group = archive.group.as_ref().map_or("", |group| group.as_str());
    format!("archive {} strip={} owner={}:{group}", archive.content.sha256(), archive.strip, archive.owner)
}

fn owner(archive: &Archive, host: &Host) -> Result<(u32, u32), AccountError> {
    let owner = archive.owner.as_str();
    match &archive.group {
        Some(group) => Ok((host.uid(owner)?, host.gid(group.as_str())?)),
        // Root is there even without an /etc/passwd.
        None if owner == "root" => Ok((0, 0)),
        None => host.user(owner).map(|user| (user.uid, user.gid)),
    }
}
