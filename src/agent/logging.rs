//! Where the agent's own words go: to the journal with their fields when systemd runs it, else to standard error.

use std::io::IsTerminal;

use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::report;

/// Names the level, or levels of targets: `debug`, `info,loitsut::output=debug`.
const VARIABLE: &str = "LOITSUT_LOG";

/// Sets it up; `boot` tells more than a command whose output somebody reads.
pub fn start(boot: bool) {
    let usual = if boot { LevelFilter::INFO } else { LevelFilter::WARN };
    let wanted = std::env::var(VARIABLE).ok().and_then(|text| text.parse::<Targets>().ok());
    // Of the libraries only warnings: at their own debug level they tell of every packet.
    let ours = Targets::new().with_default(LevelFilter::WARN).with_target("loitsut", usual);
    let filter = wanted.unwrap_or(ours);
    let journal = std::env::var_os("JOURNAL_STREAM").and_then(|_| tracing_journald::layer().ok());
    let journal = journal.map(|layer| layer.with_field_prefix(None).with_syslog_identifier("loitsut".into()));
    let terminal = journal.is_none().then(|| {
        let plain = tracing_subscriber::fmt::layer().with_writer(to_terminal).without_time().with_target(false);
        plain.with_ansi(colours()).compact()
    });
    tracing_subscriber::registry().with(journal.with_filter(filter.clone())).with(terminal.with_filter(filter)).init();
}

/// Whether standard error is a terminal that shows colours, and somebody who wants them (no-color.org) looks at it.
pub fn colours() -> bool {
    let is_set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    is_set("NO_COLOR").is_none() && is_set("TERM").is_some_and(|kind| kind != "dumb") && std::io::stderr().is_terminal()
}

/// What is said goes above what goes on.
fn to_terminal() -> std::io::Stderr {
    report::erase();
    std::io::stderr()
}
