//! `/etc/loitsut/agent.toml`: what the image says to the agent. It need not exist.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::host::Host;

const CONFIG: &str = "/etc/loitsut/agent.toml";

/// The settings of the image.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// A file or directory that takes the place of the metadata service.
    pub metadata: Option<PathBuf>,
    /// A metadata service that gives no token may be asked without one, as version 1 has it: OpenStack's is such.
    #[serde(default)]
    pub metadata_v1: bool,
}

impl Config {
    /// What the image says.
    ///
    /// # Errors
    /// The file cannot be read, or has a key that does not exist.
    pub fn read(host: &Host) -> Result<Self> {
        let text = host.read_text(Path::new(CONFIG))?.unwrap_or_default();
        toml::from_str(&text).with_context(|| format!("{CONFIG} is wrong"))
    }
}
