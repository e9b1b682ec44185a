//! `hold`, by dnf's versionlock: what an administrator would use, and sees.

use std::path::Path;

use anyhow::Result;
use loitsut_profile::resource::WantedPackage;

use super::command;
use super::rpm::Installed;
use crate::apply::Context;
use crate::host::Host;

/// Where dnf 4 and dnf 5 note what is locked: `gcc-0:14.2-3.*`, and `name = "gcc"`.
const LISTS: [&str; 2] = ["/etc/dnf/plugins/versionlock.list", "/etc/dnf/versionlock.toml"];

/// What tells that there is such a command: its configuration in dnf 4; dnf 5 always has it.
const SIGNS: [&str; 2] = ["/etc/dnf/plugins/versionlock.conf", "/usr/bin/dnf5"];

/// Whether dnf can lock versions.
pub fn is_possible(host: &Host) -> Result<bool> {
    for sign in SIGNS {
        if host.stat_through(Path::new(sign))?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Those that are installed as wanted and not held, as they should be.
pub fn missing(wanted: &[WantedPackage], installed: &Installed, host: &Host) -> Result<Vec<(WantedPackage, String)>> {
    let mut held = wanted.iter().filter(|wanted| wanted.hold && installed.drift(wanted).is_none()).peekable();
    if held.peek().is_none() {
        return Ok(Vec::new());
    }
    let mut locks = String::new();
    for list in LISTS {
        locks += &host.read_text(Path::new(list))?.unwrap_or_default();
    }
    let missing = held.filter(|wanted| !is_locked(&locks, &wanted.spec.name));
    Ok(missing.map(|wanted| (wanted.clone(), format!("{} is not held", wanted.spec.name))).collect())
}

fn is_locked(locks: &str, name: &str) -> bool {
    let is_of = |line: &str| {
        let rest = line.trim().strip_prefix(name).and_then(|rest| rest.strip_prefix('-'));
        // Else it is of a package with a longer name.
        rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
            || line
                .split_once('=')
                .is_some_and(|(key, value)| key.trim() == "name" && value.trim().trim_matches('"') == name)
    };
    locks.lines().any(is_of)
}

/// Holds these at their versions.
pub async fn hold(context: &Context<'_>, names: &[&str]) -> Result<()> {
    if !names.is_empty() {
        command::run(context, &[&["versionlock", "add"], names].concat()).await?.map_err(command::shortened)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_of_one_name() {
        let four = "# comment\ngcc-c++-0:14.2-3.fc41.*\nmake-1:4.4-1.*\n";
        assert!(is_locked(four, "gcc-c++") && is_locked(four, "make") && !is_locked(four, "gcc"));
        assert!(is_locked("[[packages]]\nname = \"gcc\"\n", "gcc") && !is_locked("name = \"gcc-c++\"", "gcc"));
    }
}
