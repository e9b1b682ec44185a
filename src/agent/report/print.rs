//! Reports for a person at a terminal, or in the output of a script.

use std::io::Write;

use super::progress::{self, Progress};
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
    progress: Option<Progress>,
}

impl Printer {
    /// To standard output.
    pub fn new(style: Style) -> Self {
        let progress = if style == Style::Lines { Progress::on_terminal() } else { None };
        Self { style, progress }
    }

    /// One event.
    pub fn print(&mut self, event: &Event<'_>) {
        match (event, &mut self.progress) {
            (Event::StepStarted(step), Some(progress)) => progress.begin(&step.resource),
            (Event::Downloads(transfers), Some(progress)) => progress.downloads(transfers),
            (Event::StepDone(step, outcome), _) if self.style == Style::Lines => {
                print_outcome(&format!("{} ({})", step.resource, step.layer), outcome);
            }
            _ => {}
        }
    }

    /// Time goes by.
    pub fn tick(&mut self) {
        if let Some(progress) = &mut self.progress {
            progress.tick();
        }
    }
}

fn print_outcome(title: &str, outcome: &Outcome) {
    let Some(difference) = outcome.difference() else { return };
    let mark = if matches!(outcome, Outcome::Changed(_)) { "changed" } else { "differs" };
    say(&format!("{mark}  {title}: {}", difference.line));
    if let (Outcome::Differs(_), Some(diff)) = (outcome, &difference.diff) {
        for line in diff.lines() {
            say(&format!("         {line}"));
        }
    }
}

/// A line on standard output; a reader that has gone away is no reason to stop in the middle of applying.
pub fn say(line: &str) {
    progress::erase();
    let _ = writeln!(std::io::stdout(), "{line}");
}
