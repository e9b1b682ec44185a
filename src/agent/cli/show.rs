//! `loitsut show`.

use std::process::ExitCode;
use std::rc::Rc;

use anyhow::Result;

use super::{Target, converge};
use crate::host::Host;
use crate::report::say;

/// Prints the resolved profile as a page, or as JSON.
pub(super) async fn show(target: &Target) -> Result<ExitCode> {
    let host = Rc::new(Host::here());
    let sources = converge::sources(&host, target).await?;
    let shown = sources.wanted(target)?.show(&host, &sources.library)?;
    say(&if target.json { serde_json::to_string_pretty(&shown)? } else { shown.to_string().trim_end().to_owned() });
    Ok(ExitCode::SUCCESS)
}
