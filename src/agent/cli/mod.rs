//! The command line.

mod analyze;
mod arguments;
mod clean;
mod converge;
mod lint;
mod packed;
mod plot;
mod show;
mod status;
mod userdata;

use std::process::ExitCode;

use anyhow::{Result, bail};

pub use arguments::Cli;
use arguments::{Analyze, Command, SchemaOf, Shell, Target, Userdata};

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
            Command::Boot => {
                require_root("boot")?;
                Ok(crate::boot::boot().await)
            }
            Command::Plan(target) => converge::plan(&target).await,
            Command::Apply(target) => converge::apply(&target).await,
            Command::Show(target) => show::show(&target).await,
            Command::Lint { paths, json } => lint::lint(&paths, json),
            Command::Status { wait, json } => status::status(wait, json).await,
            Command::Analyze(Analyze::Blame { json }) => analyze::blame(json),
            Command::Analyze(Analyze::Plot) => plot::plot(),
            Command::Clean => clean::clean().await,
            Command::Completions { shell } => packed::completions(shell),
            Command::Schema { of } => packed::schema(of),
            Command::ProbeClosed { services } => crate::closed::probe(&services).await,
            Command::Userdata(Userdata::Decode { file, reveal }) => userdata::decode(file.as_deref(), reveal),
        }
    }
}

/// Refuses to begin what root alone could end.
fn require_root(command: &str) -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("`loitsut {command}` changes the system: run it as root (`loitsut plan` only looks)");
    }
    Ok(())
}
