//! `directory`.

use anyhow::{Result, bail};
use loitsut_profile::resource::Directory;

use super::attributes::WantedAttributes;
use super::{Context, Converge, Drift};
use crate::host::files::Kind;

/// How a directory differs.
pub enum DirectoryDrift {
    /// It is not there.
    Missing,
    /// Its owner or permissions are others, in words.
    Attributes(String),
}

impl std::fmt::Display for DirectoryDrift {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => f.write_str("is missing"),
            Self::Attributes(words) => f.write_str(words),
        }
    }
}

impl Drift for DirectoryDrift {}

impl Converge for Directory {
    type Drift = DirectoryDrift;

    async fn check(&self, context: &Context<'_>) -> Result<Option<DirectoryDrift>> {
        let Some(stat) = context.host.stat(self.path.as_path())? else { return Ok(Some(DirectoryDrift::Missing)) };
        match stat.kind {
            Kind::Directory => {}
            Kind::File => bail!("{} is a file: remove it, or name another path", self.path),
            Kind::Symlink => bail!("{} is a symbolic link: remove it, or name the directory itself", self.path),
            Kind::Other(what) => bail!("{} is {what}: remove it, or name another path", self.path),
        }
        let words = wanted(self).drift(context.host, &stat)?;
        Ok((!words.is_empty()).then(|| DirectoryDrift::Attributes(words.join(", "))))
    }

    async fn apply(&self, context: &Context<'_>, drift: DirectoryDrift) -> Result<()> {
        let attributes = wanted(self).attributes(context.host)?;
        match drift {
            DirectoryDrift::Missing => context.host.make_directory(self.path.as_path(), attributes)?,
            DirectoryDrift::Attributes(_) => context.host.set_attributes(self.path.as_path(), attributes)?,
        }
        Ok(())
    }
}

fn wanted(directory: &Directory) -> WantedAttributes<'_> {
    WantedAttributes { mode: directory.mode, owner: &directory.owner, group: &directory.group }
}
