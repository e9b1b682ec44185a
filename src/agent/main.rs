//! loitsut, the agent: makes a build machine out of a generic image, and launches its worker.

mod agent;
mod apply;
mod boot;
mod bundle;
mod cli;
mod closed;
mod config;
mod document;
mod guard;
mod host;
mod journal;
mod launch;
mod lease;
mod ledger;
mod library;
mod logging;
mod metadata;
mod notices;
mod reboot;
mod report;
mod resolve;
mod state;
mod stop;
mod unit;
mod watch;

use std::process::ExitCode;

use clap::Parser;
use loitsut_profile::diagnostic::Diagnostics;
use nix::sys::stat::{Mode, umask};

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { cli::exit::usage() } else { ExitCode::SUCCESS };
        }
    };
    // Whoever starts us may have another: what is made here is for everybody to read, unless said otherwise.
    umask(Mode::from_bits_truncate(0o022));
    let boot = cli.is_boot();
    logging::start(boot);
    let done =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(anyhow::Error::from).and_then(
            |runtime| {
                runtime.block_on(async {
                    if cli.waits() {
                        stop::listen(report::erase)?;
                    }
                    cli.run().await
                })
            },
        );
    done.unwrap_or_else(|error| {
        tell(&error);
        cli::exit::FAILURE
    })
}

fn tell(error: &anyhow::Error) {
    match error.downcast_ref::<Diagnostics>() {
        Some(diagnostics) => {
            eprintln!("{}", diagnostics.render(logging::colours()));
        }
        // There may be names of files in it, which whoever made them chose.
        None => format!("error: {error:#}").lines().for_each(|line| eprintln!("{}", host::plain(line))),
    }
}
