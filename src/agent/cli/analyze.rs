//! `loitsut analyze`: where the time of the boot went.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::host::Host;
use crate::report::{Phase, Status, say};

/// One thing that took time.
#[derive(Serialize)]
struct Item {
    milliseconds: u64,
    what: String,
}

/// Lists steps and phases, the slowest first, as systemd-analyze does.
pub(super) fn blame(json: bool) -> Result<ExitCode> {
    let status =
        Status::read(&Host::here())?.context("nothing to analyze: loitsut.service has not run in this boot")?;
    let mut items = items(&status);
    items.sort_by_key(|item| std::cmp::Reverse(item.milliseconds));
    if json {
        say(&serde_json::to_string_pretty(&items)?);
        return Ok(ExitCode::SUCCESS);
    }
    for item in items {
        say(&format!("{:>10}  {}", seconds(item.milliseconds), item.what));
    }
    Ok(ExitCode::SUCCESS)
}

/// Phases, the steps of `apply` instead of it, and downloads; what goes on still is left out, and `watch`, which is no
/// part of the way.
fn items(status: &Status) -> Vec<Item> {
    let phases = status.phases.iter().filter(|report| !matches!(report.phase, Phase::Apply | Phase::Watch));
    let phases = phases.filter_map(|report| {
        Some(Item { milliseconds: report.span.duration?, what: format!("phase {}", report.phase.as_str()) })
    });
    let steps = status.steps.iter().filter_map(|step| {
        let (duration, outcome) = (step.span.duration?, step.outcome.as_deref()?);
        Some(Item { milliseconds: duration, what: format!("{} ({}, {outcome})", step.resource, step.layer) })
    });
    let downloads = status.downloads.iter().filter_map(|download| {
        Some(Item { milliseconds: download.span.duration?, what: format!("download {}", download.url) })
    });
    phases.chain(steps).chain(downloads).collect()
}

fn seconds(milliseconds: u64) -> String {
    match milliseconds {
        0..1000 => format!("{milliseconds}ms"),
        _ => format!("{}.{:03}s", milliseconds / 1000, milliseconds % 1000),
    }
}
