//! `loitsut-driver`: starts, stops and lists build instances, and passes each its profile.

mod config;
#[cfg_attr(not(test), expect(dead_code, unused_imports, reason = "`serve`, which feeds it, is not there yet"))]
mod fleet;
#[expect(dead_code, reason = "`serve` is not there yet")]
mod model;
mod nspawn;
mod process;
mod provider;
#[cfg_attr(not(test), expect(dead_code, unused_imports, reason = "`serve` is not there yet"))]
mod store;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;

/// What a usage error exits with, as sysexits.h and the agent have it.
const USAGE: u8 = 64;

/// Starts, stops and lists build instances.
#[derive(Parser)]
#[command(name = "loitsut-driver", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Throw-away systemd containers over a base tree: the provider that needs no account
    Nspawn {
        #[command(subcommand)]
        verb: nspawn::Verb,
    },
    /// One provider of the configuration by itself, with no service around it: to try it out
    Provider(provider::verb::Arguments),
}

// One thread: the work is waiting, and a child must be started by a thread that lives as long as the process.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print(); // nobody is left to tell when the terminal is gone
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    let terminal = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(terminal).with_target(false).init();
    let done = match cli.command {
        Command::Nspawn { verb } => nspawn::run(verb).await.map(|()| ExitCode::SUCCESS),
        Command::Provider(arguments) => provider::verb::run(arguments).await,
    };
    match done {
        Ok(status) => status,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
