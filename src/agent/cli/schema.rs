//! `loitsut schema`: what editors need to help with profiles, layers and user-data.

use std::io::Read as _;
use std::process::ExitCode;

use anyhow::Result;
use clap::ValueEnum;
use flate2::read::GzDecoder;

use crate::report::say;

/// What a schema is of.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Of {
    /// A file below `layers/`
    Layer,
    /// A profile
    Profile,
    /// User-data, as plain JSON
    Userdata,
}

impl Of {
    /// As the build script has left it.
    fn packed(self) -> &'static [u8] {
        match self {
            Self::Layer => include_bytes!(concat!(env!("OUT_DIR"), "/layer.json.gz")),
            Self::Profile => include_bytes!(concat!(env!("OUT_DIR"), "/profile.json.gz")),
            Self::Userdata => include_bytes!(concat!(env!("OUT_DIR"), "/userdata.json.gz")),
        }
    }
}

/// Prints a JSON Schema, draft-07.
pub(super) fn schema(of: Of) -> Result<ExitCode> {
    let mut text = String::new();
    GzDecoder::new(of.packed()).read_to_string(&mut text)?;
    say(text.trim_end());
    Ok(ExitCode::SUCCESS)
}
