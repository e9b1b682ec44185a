//! The command line.

mod analyze;
mod converge;
mod lint;
mod schema;
mod show;
mod status;
mod userdata;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

/// Ends of a command other than success.
pub mod exit {
    use std::process::ExitCode;

    /// What was asked for failed or is wrong.
    pub const FAILURE: ExitCode = ExitCode::FAILURE;
    /// `plan`: there is drift. `status`: the boot is still on its way.
    pub fn two() -> ExitCode {
        ExitCode::from(2)
    }
    /// `apply`: what is left needs a reboot first.
    pub fn reboot() -> ExitCode {
        ExitCode::from(3)
    }
    /// The command line cannot be understood: EX_USAGE of sysexits.h.
    pub fn usage() -> ExitCode {
        ExitCode::from(64)
    }
}

/// Makes a build machine out of a generic image, and launches its worker.
#[derive(Parser)]
#[command(version, about, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the boot job: read user-data, apply the profile, launch the worker (loitsut.service does that)
    Boot,
    /// Show what `apply` would change; exit status 0: nothing, 2: something, 1: error
    Plan(Target),
    /// Make this machine what a profile says; without PROFILE and --user-data, what the metadata service says
    Apply(Target),
    /// Check profiles and layers, without a machine; exit status 1 on any error
    Lint {
        /// A folder of profiles, or single profiles and layers in one
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// Show what a profile comes out as, and which file each value came from
    Show(Target),
    /// Tell how the boot goes; exit status 0: ready, 1: failed, 2: in progress
    Status {
        /// Wait until the boot has ended, well or badly
        #[arg(long)]
        wait: bool,
        /// Print everything that is known, as JSON
        #[arg(long)]
        json: bool,
    },
    /// Tell where the time of the boot went
    #[command(subcommand)]
    Analyze(Analyze),
    /// Print the JSON Schema (draft-07) of a kind of file, for editors
    Schema {
        /// Of what
        of: schema::Of,
    },
    /// Try whether the metadata service is closed where this runs (loitsut-worker.service does that)
    #[command(hide = true)]
    ProbeClosed {
        /// Where it is
        services: Vec<SocketAddr>,
    },
    /// Work with user-data
    #[command(subcommand)]
    Userdata(Userdata),
}

#[derive(Subcommand)]
enum Analyze {
    /// List phases and steps, the slowest first
    Blame {
        /// Print as JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Subcommand)]
enum Userdata {
    /// Print user-data of any encoding as plain JSON, checked; exit status 1 when it is refused
    Decode {
        /// Where it is; standard input if not said
        file: Option<PathBuf>,
        /// Show secrets and parameters
        #[arg(long)]
        reveal: bool,
    },
}

/// What a machine is to become.
#[derive(Args)]
struct Target {
    /// Name of a profile: its `provision` phase only, unless --user-data is given too
    profile: Option<String>,
    /// A folder of profiles instead of those of the image
    #[arg(long, value_name = "DIR")]
    profiles: Option<PathBuf>,
    /// A file with user-data instead of the metadata service's
    #[arg(long, value_name = "FILE")]
    user_data: Option<PathBuf>,
    /// A value for a parameter of the profile
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parameter)]
    params: Vec<(String, String)>,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

fn parameter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".into()),
    }
}

impl Cli {
    /// Whether this is the boot job, which speaks to the journal and not to a person.
    pub fn is_boot(&self) -> bool {
        matches!(self.command, Command::Boot)
    }

    /// Whether it has waits that a signal can end in good order; others die of it as programs do.
    pub fn waits(&self) -> bool {
        matches!(
            self.command,
            Command::Boot | Command::Plan(_) | Command::Show(_) | Command::Apply(_) | Command::Status { .. }
        )
    }

    /// Does what the command line says.
    ///
    /// # Errors
    /// It failed.
    pub async fn run(self) -> Result<ExitCode> {
        match self.command {
            Command::Boot => Ok(crate::boot::boot().await),
            Command::Plan(target) => converge::plan(&target).await,
            Command::Apply(target) => converge::apply(&target).await,
            Command::Show(target) => show::show(&target).await,
            Command::Lint { paths } => lint::lint(&paths),
            Command::Status { wait, json } => status::status(wait, json).await,
            Command::Analyze(Analyze::Blame { json }) => analyze::blame(json),
            Command::Schema { of } => schema::schema(of),
            Command::ProbeClosed { services } => crate::closed::probe(&services).await,
            Command::Userdata(Userdata::Decode { file, reveal }) => userdata::decode(file.as_deref(), reveal),
        }
    }
}
