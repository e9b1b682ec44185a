//! What may be typed. The build reads this file too, for man pages and completions: it knows nothing of the agent.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Makes a build machine out of a generic image, and launches its worker.
#[derive(Parser)]
#[command(version, about, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
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
        /// Print what is wrong as JSON
        #[arg(long)]
        json: bool,
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
        of: SchemaOf,
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
    /// Take everything of this machine out of an image that is to be started elsewhere; profiles and settings stay
    Clean,
    /// Print the completions of a shell: `source <(loitsut completions bash)`
    Completions {
        /// Which shell
        shell: Shell,
    },
}

/// What a schema is of.
#[derive(Clone, Copy, ValueEnum)]
pub enum SchemaOf {
    /// A file below `layers/`
    Layer,
    /// A profile
    Profile,
    /// User-data, as plain JSON
    Userdata,
}

/// A shell that completes.
#[derive(Clone, Copy, ValueEnum)]
#[allow(missing_docs, reason = "these are names")]
pub enum Shell {
    Bash,
    Fish,
    Zsh,
}

/// What to tell about the time of a boot.
#[derive(Subcommand)]
pub enum Analyze {
    /// List phases and steps, the slowest first
    Blame {
        /// Print as JSON
        #[arg(long)]
        json: bool,
    },
    /// Draw phases, steps and downloads on a time axis, as SVG on standard output
    Plot,
}

/// What to do with user-data.
#[derive(Subcommand)]
pub enum Userdata {
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
pub struct Target {
    /// Name of a profile: its `provision` phase only, unless --user-data is given too
    pub profile: Option<String>,
    /// A folder of profiles instead of those of the image
    #[arg(long, value_name = "DIR")]
    pub profiles: Option<PathBuf>,
    /// A file with user-data instead of the metadata service's
    #[arg(long, value_name = "FILE")]
    pub user_data: Option<PathBuf>,
    /// A value for a parameter of the profile
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parameter)]
    pub params: Vec<(String, String)>,
    /// Print the outcome as JSON
    #[arg(long)]
    pub json: bool,
}

fn parameter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".into()),
    }
}
