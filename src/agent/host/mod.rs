//! The machine: everything that the agent does to it goes through here, so that paths are rooted, writes are atomic,
//! waits are bounded and secrets are masked in one place.

pub mod accounts;
pub mod dns;
pub mod facts;
pub mod files;
pub mod http;
pub mod lock;
pub mod mask;
pub mod process;
pub mod tls;
pub mod walk;

use std::path::{Path, PathBuf};

use mask::Mask;

/// A machine, or a tree that is to become one.
pub struct Host {
    root: PathBuf,
    /// What no output may show.
    pub mask: Mask,
}

impl Host {
    /// The machine that the agent runs on.
    pub fn here() -> Self {
        Self::at("/")
    }

    /// The tree below `root`, which takes the place of `/` in every path.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), mask: Mask::default() }
    }

    /// Where an absolute path of the machine really is. Good for looking; writing goes by [`walk`].
    fn rooted(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }
}
