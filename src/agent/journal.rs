//! What a unit printed, read from the journal.
//!
//! Asked by the monotonic clock: the other one may be years off at boot, and stepped while somebody waits.

use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::time::{ClockId, clock_gettime};

use crate::host::Host;
use crate::host::process::{Follow, Program};

/// How much is shown of a unit that failed.
const LAST_LINES: &str = "--lines=50";

/// The time that entries of the journal are compared with.
pub fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

/// The lines of a unit, old and new, as they come.
pub struct Lines {
    journal: Follow,
    filter: Filter,
}

impl Lines {
    /// Those printed since then.
    ///
    /// # Errors
    /// journalctl cannot be started.
    pub fn follow(host: &Host, unit: &str, since: Duration) -> Result<Self> {
        let journal = host.follow(&journalctl(unit, &["--follow", "--no-tail"]))?;
        Ok(Self { journal, filter: Filter::since(since) })
    }

    /// The next one; waits for it.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub async fn next(&mut self) -> Result<String> {
        loop {
            let entry = self.journal.next().await?.context("journalctl ended while a unit's output was waited for")?;
            if let Some(line) = self.filter.line(&entry) {
                return Ok(line.to_owned());
            }
        }
    }
}

/// The last lines that a unit printed since then.
///
/// # Errors
/// The journal cannot be read.
pub async fn last_lines(host: &Host, unit: &str, since: Duration) -> Result<Vec<String>> {
    let read = host.run_checked(&journalctl(unit, &[LAST_LINES])).await?;
    let mut filter = Filter::since(since);
    Ok(read.tail.iter().filter_map(|entry| filter.line(entry)).map(str::to_owned).collect())
}

/// A match instead of --unit=, which would also show what systemd says of the unit.
fn journalctl(unit: &str, more: &[&str]) -> Program {
    let words = ["journalctl", "--boot", "--quiet", "--no-pager", "--output=short-monotonic", "--no-hostname"];
    let unit = format!("_SYSTEMD_UNIT={unit}");
    Program::new(words.iter().chain(more).map(|word| (*word).to_owned()).chain([unit]))
}

/// Lets lines of later entries through.
struct Filter {
    since: Duration,
    passes: bool,
}

impl Filter {
    fn since(since: Duration) -> Self {
        Self { since, passes: false }
    }

    /// The text in `[   12.345678] sh[12]: text`; further lines of the same entry are indented instead.
    fn line<'a>(&mut self, entry: &'a str) -> Option<&'a str> {
        let stamped = entry.strip_prefix('[').and_then(|rest| rest.split_once("] "));
        let Some((stamp, rest)) = stamped.and_then(|(stamp, rest)| Some((stamp.trim().parse::<f64>().ok()?, rest)))
        else {
            return self.passes.then(|| entry.trim_start());
        };
        self.passes = stamp >= self.since.as_secs_f64();
        let text = rest.split_once(": ").map_or("", |(_, text)| text);
        self.passes.then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_earlier_entries_are_left_out() {
        let mut filter = Filter::since(Duration::from_secs(12));
        let entries = [
            "[   11.900000] sh[1]: old: one",
            "         more of it",
            "[   12.000000] sh[2]: new: one",
            "    more",
            "[x] y",
        ];
        let lines: Vec<_> = entries.iter().filter_map(|entry| filter.line(entry)).collect();
        assert_eq!(lines, ["new: one", "more", "[x] y"]);
    }
}
