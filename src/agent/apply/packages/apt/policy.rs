//! What the package lists know: which versions can be had, and what is provided by others.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::dpkg;
use crate::host::Host;
use crate::host::process::Program;

/// What the package lists know of one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// The version that would be installed.
    pub candidate: Option<String>,
    /// All versions that can be had.
    pub versions: Vec<String>,
    /// Another package provides the name.
    pub provided: bool,
}

/// What the lists know of these names, in one look; names that they do not know are left out.
///
/// # Errors
/// apt-cache fails.
pub async fn policy(host: &Host, names: &[&str]) -> Result<BTreeMap<String, Policy>> {
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let words = ["apt-cache", "policy"].into_iter().chain(names.iter().copied());
    let finished = host.run_checked(&Program::new(words).keep_output()).await?;
    let known = parse_policy(&finished.tail);
    let known = names.iter().filter_map(|name| Some(((*name).to_owned(), known.get(plain_name(name))?.clone())));
    let mut known: BTreeMap<String, Policy> = known.collect();
    let without = names.iter().copied().filter(|name| known.get(*name).is_none_or(|policy| policy.candidate.is_none()));
    for name in provided(host, &without.collect::<Vec<_>>()).await? {
        known.entry(name).or_default().provided = true;
    }
    Ok(known)
}

/// A name as apt-cache prints it: without the architecture, if that is this machine's.
fn plain_name(name: &str) -> &str {
    match name.split_once(':') {
        Some((plain, architecture)) if architecture == dpkg::NATIVE => plain,
        _ => name,
    }
}

/// Those of these names that some package provides.
async fn provided(host: &Host, names: &[&str]) -> Result<BTreeSet<String>> {
    if names.is_empty() {
        return Ok(BTreeSet::new());
    }
    let words = ["apt-cache", "showpkg"].into_iter().chain(names.iter().copied());
    // Its status tells of those that nobody knows, which is no failure here.
    let finished = host.run(&Program::new(words).keep_output()).await?;
    Ok(parse_provided(&finished.tail))
}

/// `apt-cache showpkg`: `Package: name`, and in the end `Reverse Provides:` with a line for each provider.
fn parse_provided(lines: &[String]) -> BTreeSet<String> {
    let (mut provided, mut name, mut in_provides) = (BTreeSet::new(), "", false);
    for line in lines {
        if let Some(next) = line.strip_prefix("Package: ") {
            (name, in_provides) = (next, false);
        } else if line.starts_with("Reverse Provides:") {
            in_provides = true;
        } else if in_provides && !line.starts_with("W:") && !line.starts_with("N:") {
            provided.insert(name.to_owned());
        }
    }
    provided
}

/// `apt-cache policy`: an unindented `name:`, then `Candidate: version`, then a table whose lines begin with a version
/// (five columns in, or marked `***`).
fn parse_policy(lines: &[String]) -> BTreeMap<String, Policy> {
    let mut known = BTreeMap::new();
    let mut name = String::new();
    for line in lines {
        if let Some(header) = line.strip_suffix(':').filter(|header| !header.starts_with(' ')) {
            name = header.to_owned();
            known.insert(name.clone(), Policy::default());
        }
        let Some(policy) = known.get_mut(&name) else { continue };
        if let Some(candidate) = line.trim().strip_prefix("Candidate: ").filter(|candidate| *candidate != "(none)") {
            policy.candidate = Some(candidate.to_owned());
        }
        let version = line.strip_prefix(" *** ").or_else(|| line.strip_prefix("     ").filter(|l| !l.starts_with(' ')));
        policy.versions.extend(version.and_then(|rest| rest.split(' ').next()).map(str::to_owned));
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_is_read_as_apt_prints_it() {
        let text = "\
gcc:
  Installed: (none)
  Candidate: 4:12.2.0-3
  Version table:
     4:12.2.0-3 500
        500 http://deb.debian.org/debian bookworm/main amd64 Packages
apt:
  Installed: 2.6.1
  Candidate: 2.6.1
  Version table:
 *** 2.6.1 500
        500 http://deb.debian.org/debian bookworm/main amd64 Packages
        100 /var/lib/dpkg/status
awk:
  Installed: (none)
  Candidate: (none)
  Version table:
";
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let known = parse_policy(&lines);
        assert_eq!(known["gcc"].candidate.as_deref(), Some("4:12.2.0-3"));
        assert_eq!(known["gcc"].versions, ["4:12.2.0-3"]);
        assert_eq!(known["apt"].versions, ["2.6.1"]);
        assert_eq!(known["awk"], Policy::default());
    }
}
