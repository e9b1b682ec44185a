//! `symlink`.

use anyhow::{Result, bail};
use loitsut_profile::resource::Symlink;

use super::{Context, Converge};
use crate::host::files::Kind;

impl Converge for Symlink {
    type Drift = String;

    async fn check(&self, context: &Context<'_>) -> Result<Option<String>> {
        let path = self.path.as_path();
        let kind = context.host.stat(path)?.map(|stat| stat.kind);
        match kind {
            None => Ok(Some("is missing".into())),
            Some(Kind::File) => Ok(Some("is a file".into())),
            Some(Kind::Symlink) => match context.host.link_target(path)? {
                // As text: to a `Path`, a slash at the end is nothing, and to whoever reads the link it may be.
                Some(target) if target.as_os_str() == self.target.as_str() => Ok(None),
                Some(target) => Ok(Some(format!("points to {}, not {}", target.display(), self.target))),
                None => Ok(Some("is missing".into())),
            },
            Some(Kind::Directory) => bail!("{} is a directory: remove it, or name another path", self.path),
            Some(Kind::Other(what)) => bail!("{} is {what}: remove it, or name another path", self.path),
        }
    }

    async fn apply(&self, context: &Context<'_>, _drift: String) -> Result<()> {
        Ok(context.host.write_link(self.path.as_path(), &self.target)?)
    }
}
