//! Texts that the build has made and packed: they are printed seldom, and the agent is fetched often.

use std::io::Read as _;
use std::process::ExitCode;

use anyhow::Result;
use flate2::read::GzDecoder;

use super::{SchemaOf, Shell};
use crate::report::say;

/// What the build script has left under this name.
macro_rules! built {
    ($name:literal) => {
        include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".gz"))
    };
}

/// Prints a JSON Schema, draft-07.
pub(super) fn schema(of: SchemaOf) -> Result<ExitCode> {
    print(match of {
        SchemaOf::Layer => built!("layer.json"),
        SchemaOf::Profile => built!("profile.json"),
        SchemaOf::Userdata => built!("userdata.json"),
    })
}

/// Prints what a shell has to read to complete our command lines.
pub(super) fn completions(shell: Shell) -> Result<ExitCode> {
    print(match shell {
        Shell::Bash => built!("loitsut.bash"),
        Shell::Fish => built!("loitsut.fish"),
        Shell::Zsh => built!("_loitsut"),
    })
}

fn print(packed: &[u8]) -> Result<ExitCode> {
    let mut text = String::new();
    GzDecoder::new(packed).read_to_string(&mut text)?;
    say(text.trim_end());
    Ok(ExitCode::SUCCESS)
}
