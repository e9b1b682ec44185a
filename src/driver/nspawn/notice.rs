//! What EC2 tells an instance of its near end, told on demand: how watching for it is rehearsed.
//!
//! A notice is a file in the launch's directory, named as its path in the metadata service is, so that it holds for a
//! running instance, whoever gives it.

use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use serde_json::json;

use super::state;

const ACTION: &str = "meta-data/spot/instance-action";
const TERMINATION: &str = "meta-data/spot/termination-time";
const REBALANCE: &str = "meta-data/events/recommendations/rebalance";

/// Where the notices of a launch are, in its directory.
pub(crate) const DIRECTORY: &str = "notices";

/// A notice, in EC2's words.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Notice {
    /// The instance is taken back
    Spot,
    /// It may be taken back soon
    Rebalance,
}

impl Notice {
    /// Gives the notice, of a spot instance that has this long to live, or of a rebalancing that is recommended now.
    pub(crate) fn give(self, directory: &Path, left: Duration) -> Result<()> {
        let rfc3339 = |time| humantime::format_rfc3339_seconds(time).to_string();
        let (now, end) = (rfc3339(SystemTime::now()), rfc3339(SystemTime::now() + left));
        let files = match self {
            Self::Spot => {
                vec![(TERMINATION, end.clone()), (ACTION, json!({"action": "terminate", "time": end}).to_string())]
            }
            Self::Rebalance => vec![(REBALANCE, json!({"noticeTime": now}).to_string())],
        };
        for (path, text) in files {
            let path = directory.join(path);
            state::replace(&path, text.as_bytes()).with_context(|| path.display().to_string())?;
        }
        Ok(())
    }
}

/// The notices in this directory that were given so far, by their paths in the metadata service.
pub(crate) fn given(directory: &Path) -> impl Iterator<Item = (String, Vec<u8>)> {
    let read = |path: &str| Some((path.to_owned(), std::fs::read(directory.join(path)).ok()?));
    [ACTION, TERMINATION, REBALANCE].into_iter().filter_map(read)
}
