//! Reports for a person at a terminal, or in the output of a script.

use std::io::{IsTerminal, Write};

use super::{Event, Outcome};

/// How much is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Lines as things happen.
    Lines,
    /// Nothing; the caller prints JSON at the end.
    Silent,
}

/// Prints what changes; on a terminal also what is being done right now.
pub struct Printer {
    style: Style,
    terminal: bool,
}

impl Printer {
    /// To standard output.
    pub fn new(style: Style) -> Self {
        Self { style, terminal: std::io::stdout().is_terminal() }
    }

    /// One event.
    pub fn print(&mut self, event: &Event<'_>) {
        if self.style == Style::Silent {
            return;
        }
        match event {
            Event::StepStarted(step) if self.terminal => self.transient(&format!("… {}", step.resource)),
            Event::StepDone(step, outcome) => {
                self.transient("");
                self.outcome(&format!("{} ({})", step.resource, step.layer), outcome);
            }
            _ => {}
        }
    }

    fn outcome(&self, title: &str, outcome: &Outcome) {
        let Some(difference) = outcome.difference() else { return };
        let mark = if matches!(outcome, Outcome::Changed(_)) { "changed" } else { "differs" };
        say(&format!("{mark}  {title}: {}", difference.line));
        if let (Outcome::Differs(_), Some(diff)) = (outcome, &difference.diff) {
            for line in diff.lines() {
                say(&format!("         {line}"));
            }
        }
    }

    /// A line that the next one overwrites.
    fn transient(&self, text: &str) {
        if self.terminal {
            let short: String = text.chars().take(78).collect();
            let _ = write!(std::io::stdout(), "\r\u{1b}[K{short}");
            let _ = std::io::stdout().flush();
        }
    }
}

/// A line on standard output; a reader that has gone away is no reason to stop in the middle of applying.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
