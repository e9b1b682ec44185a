//! What a source needs to be built, by the fields of its control file, and whether that is installed: so that a check
//! starts no process.

use std::cmp::Ordering;

use super::dpkg::{self, Status};
use super::version::compare;

/// The fields that `apt-get build-dep` obeys.
const FIELDS: [&str; 6] = [
    "Build-Depends",
    "Build-Depends-Arch",
    "Build-Depends-Indep",
    "Build-Conflicts",
    "Build-Conflicts-Arch",
    "Build-Conflicts-Indep",
];

/// What apt-get adds of itself.
const ALWAYS: &str = "build-essential";

/// The fields of a control file, or of what `apt-cache showsrc` prints, that say what is needed; of its first stanza, as
/// lines. `None` if it describes no source.
pub fn needs(control: &str) -> Option<String> {
    let mut lines: Vec<String> = Vec::new();
    let (mut is_source, mut is_wanted) = (false, false);
    for line in control.lines().filter(|line| !line.starts_with('#')).skip_while(|line| line.trim().is_empty()) {
        if line.trim().is_empty() {
            break;
        }
        if line.starts_with([' ', '\t']) {
            lines.last_mut().filter(|_| is_wanted).into_iter().for_each(|last| *last += &format!(" {}", line.trim()));
            continue;
        }
        let name = line.split(':').next().unwrap_or_default();
        is_source |= name.eq_ignore_ascii_case("Source") || name.eq_ignore_ascii_case("Binary");
        is_wanted = FIELDS.iter().any(|field| name.eq_ignore_ascii_case(field));
        if is_wanted {
            lines.push(line.to_owned());
        }
    }
    is_source.then(|| lines.join("\n"))
}

/// What of these needs is not as it should be, each in a few words.
pub fn unmet(needs: &str, status: &Status) -> Vec<String> {
    let clauses = |conflicts: bool| {
        let fields = needs.lines().filter_map(|line| line.split_once(':'));
        fields
            .filter(move |(name, _)| name.to_ascii_lowercase().starts_with("build-conflicts") == conflicts)
            .flat_map(|(_, value)| value.split(','))
            .map(str::trim)
            .filter(|clause| !clause.is_empty())
    };
    let missing = clauses(false).chain([ALWAYS]).filter(|clause| !is_met(clause, status));
    let in_the_way = clauses(true).filter(|clause| applying(clause).iter().any(|need| need.is_installed(status)));
    missing
        .map(|clause| format!("{clause} is missing"))
        .chain(in_the_way.map(|clause| format!("{clause} is in the way")))
        .collect()
}

/// A clause none of whose alternatives is for this machine asks for nothing.
fn is_met(clause: &str, status: &Status) -> bool {
    let alternatives = applying(clause);
    alternatives.is_empty() || alternatives.iter().any(|need| need.is_installed(status))
}

fn applying(clause: &str) -> Vec<Need<'_>> {
    clause.split('|').filter_map(Need::parse).collect()
}

/// `name:any (>= 1.0)`, of deb-src-control(5).
struct Need<'n> {
    name: &'n str,
    version: Option<(&'n str, &'n str)>,
}

impl<'n> Need<'n> {
    /// One alternative; `None` where its architectures `[…]` or build profiles `<…>` leave it out.
    fn parse(text: &'n str) -> Option<Self> {
        let (name, rest) = text.trim().split_at(text.trim().find([' ', '(', '[', '<']).unwrap_or(text.trim().len()));
        if let Some(architectures) = enclosed(rest, '[', ']').next()
            && !is_for_us(architectures)
        {
            return None;
        }
        let mut profiles = enclosed(rest, '<', '>').peekable();
        if profiles.peek().is_some() && !profiles.any(holds_without_profiles) {
            return None;
        }
        let version = enclosed(rest, '(', ')').next().map(|text| {
            let text = text.trim();
            text.split_at(text.find(|c| !"<>=".contains(c)).unwrap_or(text.len()))
        });
        Some(Self { name, version: version.map(|(operator, version)| (operator, version.trim())) })
    }

    fn is_installed(&self, status: &Status) -> bool {
        let (name, qualifier) = self.name.split_once(':').unwrap_or((self.name, ""));
        let name = if matches!(qualifier, "" | "any" | "native") { name } else { self.name };
        let fits = |found: &str| self.version.is_none_or(|(operator, wanted)| holds(operator, compare(found, wanted)));
        let installed = status.package(name).filter(|package| package.installed);
        installed.is_some_and(|package| fits(&package.version))
            || status.provided(name).any(|version| version.map_or(self.version.is_none(), fits))
    }
}

/// Everything between these brackets.
fn enclosed(text: &str, open: char, close: char) -> impl Iterator<Item = &str> {
    text.split(open).skip(1).filter_map(move |rest| rest.split_once(close).map(|(inside, _)| inside))
}

fn holds(operator: &str, order: Ordering) -> bool {
    match operator {
        "<<" => order == Ordering::Less,
        "<=" | "<" => order != Ordering::Greater,
        ">=" | ">" => order != Ordering::Less,
        ">>" => order == Ordering::Greater,
        _ => order == Ordering::Equal,
    }
}

/// Either a list of architectures, or one of those that are not meant.
fn is_for_us(architectures: &str) -> bool {
    let is_ours = |name: &str| {
        let ours = [dpkg::NATIVE, "any", "linux-any"];
        ours.contains(&name)
            || name.strip_prefix("any-").is_some_and(|cpu| cpu == dpkg::NATIVE)
            || name.strip_prefix("linux-").is_some_and(|cpu| cpu == dpkg::NATIVE)
    };
    let mut words = architectures.split_whitespace().peekable();
    match words.peek().is_some_and(|word| word.starts_with('!')) {
        true => !words.any(|word| is_ours(word.trim_start_matches('!'))),
        false => words.any(is_ours),
    }
}

/// A list of profiles that must all be as said; none is active here.
fn holds_without_profiles(list: &str) -> bool {
    list.split_whitespace().all(|profile| profile.starts_with('!'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "\
Package: build-essential
Status: install ok installed
Architecture: amd64
Version: 12.9

Package: build-essential
Status: install ok installed
Architecture: arm64
Version: 12.9

Package: debhelper
Status: install ok installed
Architecture: all
Version: 13.11.4
Provides: debhelper-compat (= 12), debhelper-compat (= 13), dh-sequence
";

    fn unmet_of(fields: &str) -> Vec<String> {
        let control =
            format!("# a comment\nSource: x\n{fields}Standards-Version: 4\n\nPackage: y\nBuild-Depends: nonsense\n");
        unmet(&needs(&control).unwrap(), &Status::parse(STATUS))
    }

    #[test]
    fn versions_alternatives_architectures_profiles_and_provided_names() {
        let met = "debhelper (>= 13), debhelper-compat (= 13), gone | debhelper, dh-sequence, other [hurd-any],\n other \
                   [!any], other <stage1> <cross>, debhelper:any <!nocheck>\n";
        assert_eq!(unmet_of(&format!("Build-Depends: {met}")), [""; 0]);
        for missing in
            ["debhelper (>> 14)", "other", "other [linux-any]", "other <!nocheck>", "debhelper-compat (= 11)"]
        {
            assert_eq!(unmet_of(&format!("Build-Depends-Indep:\n {missing},\n")), [format!("{missing} is missing")]);
        }
        assert_eq!(unmet_of("Build-Conflicts: debhelper (<< 14), other\n"), ["debhelper (<< 14) is in the way"]);
        assert_eq!(unmet("", &Status::default()), ["build-essential is missing"]);
        assert_eq!(needs("Package: x\nVersion: 1\n"), None);
    }
}
