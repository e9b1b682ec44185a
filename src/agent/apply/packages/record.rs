//! What is remembered, so that a check need not start a process. One that is lost, or cannot be read, is as good as an
//! empty one: what it told is then found out again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use loitsut_profile::sha256::Sha256;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::host::Host;
use crate::host::file_error::FileError;
use crate::host::files::Attributes;

/// Something remembered, in a file of its own.
pub(super) trait Record: Default + Serialize + DeserializeOwned {
    /// The name of the file, without its suffix.
    const NAME: &'static str;

    /// What is remembered.
    fn read(host: &Host) -> Result<Self, FileError> {
        let text = host.read(&path(Self::NAME))?.unwrap_or_default();
        Ok(serde_json::from_slice(&text).unwrap_or_default())
    }

    /// Remembers it.
    fn write(&self, host: &Host) -> Result<(), FileError> {
        let text = serde_json::to_vec(self).unwrap_or_default();
        host.write(&path(Self::NAME), &text, Attributes::PUBLIC)
    }
}

fn path(name: &str) -> PathBuf {
    Path::new("/var/lib/loitsut").join(format!("{name}.json"))
}

/// How old knowledge of repositories may be that nothing is missing from. One that has moved on since is noticed when it
/// answers 404.
const FRESH: Duration = Duration::from_secs(3600);

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Whether something was found out a short while ago. A clock that was set back says nothing.
pub(super) fn is_fresh(at: u64) -> bool {
    now().checked_sub(at).is_some_and(|age| age < FRESH.as_secs())
}

/// Optional names that were found not to exist, and what the package lists were then.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Skipped {
    /// When the lists were last changed: the names are forgotten with them.
    pub(super) lists: Option<(i64, i64)>,
    /// The names.
    pub(super) names: BTreeSet<String>,
}

impl Record for Skipped {
    const NAME: &'static str = "skipped-packages";
}

/// What is in package files, by the digest of the file.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Files(pub(super) BTreeMap<String, InFile>);

/// What is in a package file.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct InFile {
    /// The package.
    pub(super) name: String,
    /// Its version.
    pub(super) version: String,
    /// Its architecture.
    pub(super) architecture: String,
}

impl Record for Files {
    const NAME: &'static str = "package-files";
}

impl Files {
    /// What is in a file; absent where it was never seen.
    pub(super) fn get(&self, sha256: Sha256) -> Option<&InFile> {
        self.0.get(&sha256.to_string())
    }
}

/// What sources need to be built, by the name that was asked for: as it was when they were last installed.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct BuildNeeds(pub(super) BTreeMap<String, String>);

impl Record for BuildNeeds {
    const NAME: &'static str = "build-needs";
}

/// Packages that were brought to their newest version by dnf, and which that was.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Newest {
    /// Seconds since 1970.
    pub(super) at: u64,
    /// When the repositories were last changed.
    pub(super) repositories: Option<(i64, i64)>,
    /// By name.
    pub(super) versions: BTreeMap<String, String>,
}

impl Record for Newest {
    const NAME: &'static str = "newest-packages";
}
