//! The machine: everything that the agent does to it goes through here, so that paths are rooted, writes are atomic,
//! waits are bounded and secrets are masked in one place.

pub mod accounts;
pub mod archive;
pub mod cache;
pub mod clock;
pub mod disks;
pub mod dns;
pub mod extract;
pub mod facts;
pub mod file_error;
pub mod files;
pub mod http;
pub mod lock;
pub mod mask;
mod plain;
pub mod process;
pub mod replies;
pub mod rules;
pub mod socket;
pub mod tls;
pub mod walk;

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use loitsut_profile::secret::Secret;

use mask::Mask;
pub use plain::plain;

/// A machine, or a tree that is to become one.
pub struct Host {
    root: PathBuf,
    mask: RefCell<Mask>,
}

impl Host {
    /// The machine that the agent runs on.
    pub fn here() -> Self {
        Self::at("/")
    }

    /// The tree below `root`, which takes the place of `/` in every path.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), mask: RefCell::default() }
    }

    /// From now on no output shows these.
    pub fn hide(&self, secrets: &[Secret]) {
        self.mask.borrow_mut().add(secrets);
    }

    /// What is hidden by now.
    pub fn mask(&self) -> Mask {
        self.mask.borrow().clone()
    }

    /// A text without what is hidden.
    pub fn masked(&self, text: &str) -> String {
        self.mask.borrow().apply(text).into_owned()
    }

    /// Where an absolute path of the machine really is. Good for looking; writing goes by [`walk`].
    fn rooted(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }
}
