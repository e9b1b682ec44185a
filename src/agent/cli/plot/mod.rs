//! `loitsut analyze plot`: the boot as a picture.

mod svg;

use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::host::Host;
use crate::host::cache::Ended;
use crate::report::{Phase, Span, Status, say};
use svg::Bar;

/// Draws the boot so far, as systemd-analyze does.
pub(super) fn plot() -> Result<ExitCode> {
    let status = Status::read(&Host::here())?.context("nothing to plot: loitsut.service has not run in this boot")?;
    say(&svg::draw(&heading(&status), &bars(&status)));
    Ok(ExitCode::SUCCESS)
}

fn heading(status: &Status) -> String {
    let name = status.profile.as_ref().map(|profile| format!(", profile {profile}")).unwrap_or_default();
    let launch = status.launch.as_ref().map(|launch| format!(", launch {launch}")).unwrap_or_default();
    format!("loitsut {}{name}{launch}: {}", status.version, status.state.as_str())
}

/// Phases, and what was done in `apply` below it; `watch` is no part of the way, and may last for days.
fn bars(status: &Status) -> Vec<Bar> {
    let on_the_way: Vec<_> = status.phases.iter().filter(|report| report.phase != Phase::Watch).collect();
    let end = end(status, &on_the_way.iter().map(|report| &report.span).collect::<Vec<_>>());
    let bar = |class, text: String, span: &Span| Bar {
        class,
        text,
        start: span.start,
        length: span.duration.unwrap_or(end.saturating_sub(span.start)),
    };
    let steps = status.steps.iter().map(|step| {
        let outcome = step.outcome.as_deref().unwrap_or("running");
        bar(class(outcome), format!("{} ({}, {outcome})", step.resource, step.layer), &step.span)
    });
    let downloads = status.downloads.iter().map(|download| {
        let outcome = download.outcome.map_or("running", word);
        bar(class(outcome), format!("{} ({} bytes, {outcome})", download.url, download.received), &download.span)
    });
    let mut within_apply = Some(downloads.chain(steps).collect::<Vec<_>>());
    let mut bars = Vec::new();
    for report in on_the_way {
        bars.push(bar("phase", report.phase.as_str().to_owned(), &report.span));
        if report.phase == Phase::Apply {
            bars.extend(within_apply.take().unwrap_or_default());
        }
    }
    bars
}

/// Where what goes on still is drawn to.
fn end(status: &Status, phases: &[&Span]) -> u64 {
    let others = status.steps.iter().map(|step| &step.span).chain(status.downloads.iter().map(|one| &one.span));
    let spans = phases.iter().copied().chain(others);
    spans.map(|span| span.start + span.duration.unwrap_or_default()).max().unwrap_or_default()
}

fn word(ended: Ended) -> &'static str {
    match ended {
        Ended::Verified => "verified",
        Ended::Failed => "failed",
    }
}

fn class(outcome: &str) -> &'static str {
    match outcome {
        "changed" => "changed",
        "verified" => "download",
        "failed" => "failed",
        "running" => "running",
        _ => "unchanged",
    }
}
