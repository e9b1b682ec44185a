//! What the three verbs read on standard input and write on standard output: the protocol of `script` providers,
//! with the keys that this provider adds. `docs/script-provider.md` is its description for people.
//!
//! Exit status 0 comes with one JSON value on standard output; 1 is a failure, told on standard error; 64 a wrong
//! command line. Unknown keys are refused, so that a misspelt one is not silently ignored.

use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::range::Range;

/// `start`: one launch of one instance. Asking again with the same launch answers the same instance.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Start {
    /// The id of this launch; everything the provider makes is named by it.
    pub(crate) launch: LaunchId,
    /// What the instance is called (its host name); the launch id unless said.
    #[serde(default)]
    pub(crate) name: Option<String>,
    /// The pool it belongs to; `list` tells it again.
    #[serde(default)]
    pub(crate) pool: Option<String>,
    /// The user-data, in base64. Absent: the metadata service answers 404, as for an instance without any.
    #[serde(default)]
    pub(crate) user_data: Option<UserData>,
    /// A directory with a root file system that holds systemd. It is never written to.
    pub(crate) image: PathBuf,
    /// Directories laid over the image, the first lowest: what is "baked" into it without copying it.
    #[serde(default)]
    pub(crate) overlays: Vec<PathBuf>,
    /// Directories or files of the host that the instance sees.
    #[serde(default)]
    pub(crate) binds: Vec<Bind>,
    /// How it is connected.
    #[serde(default)]
    pub(crate) network: NetworkOptions,
}

/// A path of the host inside the instance.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bind {
    pub(crate) source: PathBuf,
    pub(crate) target: PathBuf,
    #[serde(default)]
    pub(crate) read_only: bool,
}

/// The network of an instance; the defaults do unless they collide with the host's.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NetworkOptions {
    /// The private /16 that addresses are taken from. Its first address is the host, for every instance.
    #[serde(default)]
    pub(crate) range: Range,
    /// The name servers; the host's own unless said.
    #[serde(default)]
    pub(crate) nameservers: Vec<Ipv4Addr>,
}

/// `stop`: end a launch and remove all that is left of it. One that is already gone is fine.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stop {
    pub(crate) launch: LaunchId,
}

/// The answer of `start`.
#[derive(Serialize)]
pub(crate) struct Started {
    pub(crate) instance: Instance,
}

/// The answer of `stop`.
#[derive(Serialize)]
pub(crate) struct Stopped {
    pub(crate) stopped: LaunchId,
}

/// The answer of `list`: every instance that `stop` has not removed.
#[derive(Serialize)]
pub(crate) struct Listed {
    pub(crate) instances: Vec<Instance>,
}

/// One instance, as `start` and `list` tell it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Instance {
    pub(crate) launch: LaunchId,
    /// The provider's own id; the metadata service's `instance-id`.
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) pool: Option<String>,
    pub(crate) state: State,
    /// Why it ended.
    pub(crate) reason: Option<String>,
    /// Its address, reachable from the host.
    pub(crate) address: Ipv4Addr,
    /// The host's address, reachable from the instance: the first of the network's range.
    pub(crate) host: Ipv4Addr,
    /// When it was started (RFC 3339).
    pub(crate) started: String,
}

/// Whether an instance may still do work.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    Running,
    Ended,
}

/// A launch id that is safe as the name of a directory.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String")]
pub(crate) struct LaunchId(String);

impl LaunchId {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LaunchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for LaunchId {
    type Error = anyhow::Error;

    fn try_from(id: String) -> Result<Self> {
        let plain = id.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        ensure!(
            plain && (1..=64).contains(&id.len()) && !id.starts_with(['.', '-']),
            "launch id {id:?}: up to 64 letters, digits, `-`, `_` and `.` are allowed, the first a letter or digit"
        );
        Ok(Self(id))
    }
}

impl std::str::FromStr for LaunchId {
    type Err = anyhow::Error;

    fn from_str(id: &str) -> Result<Self> {
        Self::try_from(id.to_owned())
    }
}

/// User-data: secrets may be in it, so it has no `Debug`.
#[derive(Clone, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct UserData(pub(crate) Vec<u8>);

impl TryFrom<String> for UserData {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        // The decoder's own words would quote bytes of it.
        STANDARD.decode(text.trim()).map(Self).map_err(|_| "user_data is not base64 (padded, on one line)")
    }
}

impl From<UserData> for String {
    fn from(data: UserData) -> Self {
        STANDARD.encode(data.0)
    }
}

impl Start {
    /// Checks what can be known before anything is made.
    pub(crate) fn check(&self) -> Result<()> {
        check_name(self.name())?;
        for tree in std::iter::once(&self.image).chain(&self.overlays) {
            check_path(tree)?;
            ensure!(tree.is_dir(), "{}: no such directory", tree.display());
            ensure!(
                !tree.to_string_lossy().contains([':', ',', '\\']),
                "{}: overlayfs cannot have `:`, `,` or `\\` in a path",
                tree.display()
            );
        }
        for bind in &self.binds {
            check_path(&bind.source)?;
            check_path(&bind.target)?;
            bind.source.symlink_metadata().with_context(|| format!("bind source {}", bind.source.display()))?;
        }
        Ok(())
    }

    /// The host name.
    pub(crate) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(self.launch.as_str())
    }
}

fn check_path(path: &std::path::Path) -> Result<()> {
    ensure!(path.is_absolute(), "{}: an absolute path is needed", path.display());
    ensure!(path.to_str().is_some_and(|p| !p.contains('\n')), "{}: must be UTF-8, on one line", path.display());
    Ok(())
}

/// A name ends up in /etc/hosts and in file names of systemd-nspawn.
fn check_name(name: &str) -> Result<()> {
    let label = |l: &str| !l.is_empty() && l.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if name.len() > 64 || !name.split('.').all(label) {
        bail!("name {name:?} is no host name: up to 64 letters, digits, `-` and `.`");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_launch_id_never_leaves_its_directory() {
        for bad in ["", ".", "..", "a/b", "../x", "-rf", "a b", "ä", &"x".repeat(65)] {
            assert!(bad.parse::<LaunchId>().is_err(), "{bad}");
        }
        assert_eq!("0192f-a.B_3".parse::<LaunchId>().unwrap().as_str(), "0192f-a.B_3");
    }

    #[test]
    fn a_misspelt_key_is_named() {
        let error = serde_json::from_str::<Start>(r#"{"launch":"x","image":"/","bind":[]}"#).err().unwrap();
        assert!(error.to_string().contains("unknown field `bind`"), "{error}");
    }

    #[test]
    fn broken_user_data_is_not_quoted() {
        let error =
            serde_json::from_str::<Start>(r#"{"launch":"x","image":"/","user_data":"hunter2 "}"#).err().unwrap();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn a_relative_image_and_a_missing_bind_are_refused() {
        let check = |json: &str| serde_json::from_str::<Start>(json).unwrap().check().unwrap_err().to_string();
        assert!(check(r#"{"launch":"x","image":"base"}"#).contains("absolute"));
        let bind = r#"{"launch":"x","image":"/","binds":[{"source":"/no/such","target":"/mnt"}]}"#;
        assert!(check(bind).contains("/no/such"));
    }

    #[test]
    fn an_image_path_that_overlayfs_would_split_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("a:b");
        std::fs::create_dir(&tree).unwrap();
        let start = serde_json::json!({"launch": "x", "image": tree});
        let error = serde_json::from_value::<Start>(start).unwrap().check().unwrap_err();
        assert!(error.to_string().contains("overlayfs"), "{error}");
    }
}
