//! What apt-get says when it fails, reduced to what matters: hundreds of lines come before and after it.

use anyhow::Error;

use crate::host::process::ProcessError;

/// How many lines are shown.
const SHOWN: usize = 50;

/// What dpkg says of a package that it gave up.
const GAVE_UP: &str = "dpkg: error processing ";

/// The failure, with the packages that are to blame and what they printed; else with its last lines.
pub fn told(error: ProcessError) -> Error {
    let ProcessError::Failed { command, status, tail } = error else { return error.into() };
    let culprits: Vec<Culprit<'_>> = tail.iter().enumerate().filter_map(|line| Culprit::of(line, &tail)).collect();
    let summary = match culprits.as_slice() {
        [] if tail.iter().any(|line| is_about_holds(line)) => Some(
            "a package that is held stands in the way: `apt-mark showhold` lists them, `apt-mark unhold NAME` lets one go"
                .to_owned(),
        ),
        [] => None,
        several => {
            let names: Vec<_> = several.iter().map(|culprit| culprit.name).collect();
            Some(format!("dpkg could not finish {}", names.join(", ")))
        }
    };
    let lines: Vec<String> = culprits.iter().flat_map(|culprit| culprit.lines).cloned().collect();
    let shown = if lines.is_empty() { &tail } else { &lines };
    let tail = shown[shown.len().saturating_sub(SHOWN)..].to_vec();
    let failed = Error::from(ProcessError::Failed { command, status, tail });
    match summary {
        Some(summary) => failed.context(summary),
        None => failed,
    }
}

fn is_about_holds(line: &str) -> bool {
    line.contains("held broken packages") || line.contains("Held packages were changed")
}

/// A package that dpkg gave up, and the lines from the beginning of its work on it.
struct Culprit<'t> {
    name: &'t str,
    lines: &'t [String],
}

impl<'t> Culprit<'t> {
    /// `dpkg: error processing package NAME (--configure):`, and the reason in the next line; for a package that cannot
    /// be unpacked, `archive FILE` instead.
    fn of((at, line): (usize, &'t String), tail: &'t [String]) -> Option<Self> {
        let name = line.strip_prefix(GAVE_UP)?.split_whitespace().nth(1)?;
        let file = name.rsplit('/').next().unwrap_or(name);
        let package = file.split(['_', ':']).next().unwrap_or(file);
        let began = |line: &String| {
            let mut words = line.split(' ').filter(|word| !matches!(*word, "up" | "to" | "unpack"));
            let verb =
                words.next().is_some_and(|verb| matches!(verb, "Setting" | "Preparing" | "Removing" | "Unpacking"));
            verb && words.any(|word| word.rsplit('/').next().unwrap_or(word).split(['_', ':']).next() == Some(package))
        };
        let from = tail[..at].iter().rposition(began).unwrap_or(at);
        Some(Self { name: package, lines: tail.get(from..=at + 1).unwrap_or(&tail[from..]) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;

    fn told_of(text: &str) -> String {
        let tail = text.lines().map(str::to_owned).collect();
        let status = std::process::ExitStatus::from_raw(100 << 8);
        format!("{:#}", told(ProcessError::Failed { command: "apt-get".into(), status, tail }))
    }

    #[test]
    fn the_package_that_failed_is_named_with_its_own_output() {
        let noise = "Unpacking other (1.0) ...\n".repeat(100);
        let said = told_of(&format!(
            "{noise}Setting up lt-fails (1.0) ...\nthe disk is haunted\ndpkg: error processing package lt-fails \
             (--configure):\n installed lt-fails package post-installation script subprocess returned error exit status 3\n\
             {noise}Errors were encountered while processing:\n lt-fails\nE: Sub-process /usr/bin/dpkg returned an error"
        ));
        assert!(said.starts_with("dpkg could not finish lt-fails: `apt-get` ended with exit status 100"), "{said}");
        assert!(said.contains("| the disk is haunted") && said.contains("exit status 3"), "{said}");
        assert!(!said.contains("other"), "{said}");
    }

    #[test]
    fn an_archive_that_cannot_be_unpacked_is_named_too() {
        let said = told_of(
            "Preparing to unpack .../lt-two_1.0_all.deb ...\nUnpacking lt-two (1.0) ...\ndpkg: error processing archive \
             /var/cache/apt/archives/lt-two_1.0_all.deb (--unpack):\n trying to overwrite '/etc/x', which is also in \
             package lt-one 1.0",
        );
        assert!(said.starts_with("dpkg could not finish lt-two") && said.contains("trying to overwrite"), "{said}");
    }

    #[test]
    fn a_hold_in_the_way_is_told_as_one() {
        assert!(told_of("E: Unable to correct problems, you have held broken packages.").contains("apt-mark unhold"));
        assert!(told_of("E: something else").starts_with("`apt-get` ended"));
    }
}
