//! `file`.

use std::fmt;

use anyhow::{Result, bail};
use loitsut_profile::resource::{Content, File, Remote};

use super::attributes::WantedAttributes;
use super::{Context, Converge, Drift, diff};
use crate::host::Host;
use crate::host::files::Kind;

/// Larger contents that cannot be the wanted ones are not read: their diff would help nobody.
const LARGEST_READ: u64 = 256 * 1024;

/// How a file differs.
pub struct FileDrift {
    words: Vec<String>,
    /// Whether it has to be written; else only its owner or permissions differ.
    rewrite: bool,
    diff: Option<String>,
}

impl fmt::Display for FileDrift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words.join(", "))
    }
}

impl Drift for FileDrift {
    fn diff(&self) -> Option<String> {
        self.diff.clone()
    }
}

impl Converge for File {
    type Drift = FileDrift;

    async fn check(&self, context: &Context<'_>) -> Result<Option<FileDrift>> {
        let host = context.host;
        let Some(stat) = host.stat(self.path.as_path())? else {
            let diff = shown(self, host, &[], self.mode.0);
            return Ok(Some(FileDrift { words: vec!["is missing".into()], rewrite: true, diff }));
        };
        match stat.kind {
            Kind::File if !self.replace => return Ok(None),
            Kind::File => {}
            Kind::Symlink if !self.replace && host.stat_through(self.path.as_path())?.is_some() => return Ok(None),
            Kind::Symlink => {
                return Ok(Some(FileDrift { words: vec!["is a symbolic link".into()], rewrite: true, diff: None }));
            }
            Kind::Directory => bail!("{} is a directory: remove it, or name another path", self.path),
            Kind::Other(what) => bail!("{} is {what}: remove it, or name another path", self.path),
        }
        let mut words = wanted(self).drift(host, &stat)?;
        let found = differing_content(self, host, stat.size)?;
        let diff = found.as_ref().and_then(|found| shown(self, host, found, stat.mode));
        if found.is_some() {
            words.insert(0, "content differs".into());
        }
        Ok((!words.is_empty()).then_some(FileDrift { words, rewrite: found.is_some(), diff }))
    }

    async fn downloads(&self, context: &Context<'_>) -> Result<Vec<Remote>> {
        let Content::Remote(remote) = &self.content else { return Ok(Vec::new()) };
        let drift = self.check(context).await?;
        Ok(drift.filter(|drift| drift.rewrite).map(|_| remote.clone()).into_iter().collect())
    }

    async fn apply(&self, context: &Context<'_>, drift: FileDrift) -> Result<()> {
        let attributes = wanted(self).attributes(context.host)?;
        if !drift.rewrite {
            return Ok(context.host.set_attributes(self.path.as_path(), attributes)?);
        }
        let (host, path) = (context.host, self.path.as_path());
        match &self.content {
            Content::Bytes(bytes) => host.write(path, bytes, attributes)?,
            Content::Remote(remote) => host.copy(&context.downloads.get(remote).await?, path, attributes)?,
        }
        Ok(())
    }
}

fn wanted(file: &File) -> WantedAttributes<'_> {
    WantedAttributes { mode: file.mode, owner: &file.owner, group: &file.group }
}

/// The content found, if it is not the wanted one; empty where it is too large to be shown.
fn differing_content(file: &File, host: &Host, size: u64) -> Result<Option<Vec<u8>>> {
    let path = file.path.as_path();
    match &file.content {
        Content::Bytes(wanted) if size != wanted.len() as u64 && size > LARGEST_READ => Ok(Some(Vec::new())),
        Content::Bytes(wanted) => {
            let found = host.read(path)?.unwrap_or_default();
            Ok((found != *wanted).then_some(found))
        }
        Content::Remote(remote) => Ok((host.digest(path)? != Some(remote.sha256)).then(Vec::new)),
    }
}

/// A unified diff from `found` to the wanted content, if both are text that everybody may read: others can hold
/// secrets, also ones of an earlier launch that no mask knows.
fn shown(file: &File, host: &Host, found: &[u8], found_mode: u32) -> Option<String> {
    let Content::Bytes(wanted) = &file.content else { return None };
    let everybody_reads = file.mode.0 & found_mode & 0o004 != 0;
    everybody_reads.then(|| diff::unified(file.path.as_str(), found, wanted))?.map(|diff| host.masked(&diff))
}
