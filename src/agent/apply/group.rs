//! `group`.

use std::fmt;

use anyhow::{Result, bail};
use loitsut_profile::resource::Group;

use super::{Context, Converge, Drift};
use crate::host::process::Program;

/// How a group differs.
pub enum GroupDrift {
    /// It is not there.
    Missing,
    /// groupadd(8) writes two files, and came to an end between them.
    HalfMade,
}

impl fmt::Display for GroupDrift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "is missing",
            Self::HalfMade => "has no line in /etc/gshadow",
        })
    }
}

impl Drift for GroupDrift {}

impl Converge for Group {
    type Drift = GroupDrift;

    async fn check(&self, context: &Context<'_>) -> Result<Option<GroupDrift>> {
        let groups = context.host.groups()?;
        let Some(found) = groups.iter().find(|group| group.name == self.name.as_str()) else {
            if let Some(other) = groups.iter().find(|group| Some(group.gid) == self.gid) {
                bail!("the gid {} that `{}` is to have belongs to `{}`", other.gid, self.name, other.name);
            }
            return Ok(Some(GroupDrift::Missing));
        };
        if let Some(gid) = self.gid.filter(|gid| *gid != found.gid) {
            bail!(
                "`{}` has the gid {}, not {gid}; files on this machine belong to it, so it is not changed",
                found.name,
                found.gid
            );
        }
        Ok(context.host.lacks_shadow(&found.name)?.then_some(GroupDrift::HalfMade))
    }

    async fn apply(&self, context: &Context<'_>, drift: GroupDrift) -> Result<()> {
        context.host.clear_account_locks()?;
        let words = match drift {
            GroupDrift::Missing => add(self),
            // No password: it makes the line that is missing.
            GroupDrift::HalfMade => vec!["groupmod".into(), "--password".into(), "!".into(), self.name.to_string()],
        };
        context.host.run_checked(&Program::new(words)).await?;
        Ok(())
    }
}

fn add(group: &Group) -> Vec<String> {
    let mut words = vec!["groupadd".to_owned()];
    words.extend(group.gid.iter().flat_map(|gid| ["--gid".to_owned(), gid.to_string()]));
    words.extend(group.system.then(|| "--system".to_owned()));
    words.push(group.name.to_string());
    words
}
