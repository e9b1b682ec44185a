//! Where the agent's own words go: to the journal with their fields when systemd runs it, else to standard error.

use std::io::IsTerminal;

use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

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
        let plain = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).without_time().with_target(false);
        plain.with_ansi(std::io::stderr().is_terminal()).compact()
    });
    tracing_subscriber::registry().with(journal.with_filter(filter.clone())).with(terminal.with_filter(filter)).init();
}
