//! `loitsut plan` and `loitsut apply`.

use std::process::ExitCode;
use std::rc::Rc;

use anyhow::{Result, bail};
use loitsut_profile::library::Library;
use loitsut_profile::order;
use loitsut_profile::resolve::Resolved;
use loitsut_profile::userdata::Document;
use serde_json::json;

use super::{Target, exit};
use crate::apply::{self, Context, RebootNeeded};
use crate::config::Config;
use crate::document;
use crate::host::Host;
use crate::library;
use crate::metadata::{Identity, Source};
use crate::report::{Event, Phase, Printer, Reporter, State, Status, StepFailure, Style, say};
use crate::resolve::Wanted;
use crate::stop;

/// Shows what `apply` would change.
pub(super) async fn plan(target: &Target) -> Result<ExitCode> {
    let host = Rc::new(Host::here());
    let (resolved, disposable) = resolve(&host, target).await?;
    let mut reporter = reporter(&host, target);
    let context = Context::new(&host, disposable);
    let planned = apply::plan(&order::steps(&resolved.resources), &context, &mut reporter).await;
    finish(planned, &mut reporter, &resolved, target)?;
    Ok(if reporter.status.count("differs") > 0 { exit::two() } else { ExitCode::SUCCESS })
}

/// Makes it so.
pub(super) async fn apply(target: &Target) -> Result<ExitCode> {
    let host = Rc::new(Host::here());
    super::require_root("apply")?;
    let (resolved, disposable) = resolve(&host, target).await?;
    let Some(_lock) = host.lock()? else {
        bail!(
            "another loitsut is at work: `loitsut status --wait` waits for a boot, `fuser /run/loitsut/lock` names it"
        );
    };
    let mut reporter = reporter(&host, target);
    let context = Context::new(&host, disposable);
    let applied = apply::apply(&order::steps(&resolved.resources), &context, &mut reporter).await;
    if let Some(needed) = applied.as_ref().err().and_then(RebootNeeded::of) {
        return Ok(stop_for_reboot(needed, &mut reporter, &resolved, target));
    }
    finish(applied, &mut reporter, &resolved, target)?;
    Ok(ExitCode::SUCCESS)
}

/// Somebody else may be at work on this machine: it is for them to reboot it.
fn stop_for_reboot(
    needed: &RebootNeeded,
    reporter: &mut Reporter<'_>,
    resolved: &Resolved,
    target: &Target,
) -> ExitCode {
    reporter.emit(Event::Ended(State::Rebooting, None));
    if target.json {
        let mut value = json(&reporter.status, resolved);
        value["reboot"] = needed.to_string().into();
        say(&value.to_string());
    } else {
        let (done, all) = (reporter.status.steps.len() - 1, order::steps(&resolved.resources).len());
        say(&format!("profile {}: {done} of {all} steps done; {needed}; apply again after it", resolved.profile));
    }
    exit::reboot()
}

fn reporter<'a>(host: &'a Host, target: &Target) -> Reporter<'a> {
    Reporter::of_command(host, Printer::new(if target.json { Style::Silent } else { Style::Lines }))
}

/// What the machine is to have, and whether it is thrown away after use.
async fn resolve(host: &Rc<Host>, target: &Target) -> Result<(Resolved, bool)> {
    let sources = sources(host, target).await?;
    let disposable = sources.document.as_ref().is_some_and(|document| document.disposable);
    Ok((sources.wanted(target)?.resolve(host, &sources.library)?, disposable))
}

/// What a command line names: the document, if there is one, and the files.
pub(super) struct Sources {
    document: Option<Box<Document>>,
    identity: Identity,
    pub(super) library: Library,
}

/// Reads what a command line names.
pub(super) async fn sources(host: &Rc<Host>, target: &Target) -> Result<Sources> {
    let (document, identity) = document(host, target).await?;
    let library = match (&target.profiles, &document) {
        (Some(folder), _) => library::in_folder(Rc::clone(host), folder)?,
        (None, Some(document)) => library::of_document(Rc::clone(host), document).await?,
        (None, None) => library::on_image(Rc::clone(host))?,
    };
    Ok(Sources { document, identity, library })
}

impl Sources {
    /// What is to be resolved of it.
    pub(super) fn wanted<'s>(&'s self, target: &'s Target) -> Result<Wanted<'s>> {
        let mut wanted = match (&self.document, &target.profile) {
            (Some(document), _) => Wanted::by_document(document, &self.identity),
            (None, Some(profile)) => Wanted::by_name(profile),
            (None, None) => bail!("neither a profile nor user-data"),
        };
        if let Some(profile) = &target.profile {
            wanted.profile = profile;
        }
        wanted.overrides.command_line = target.params.iter().cloned().collect();
        Ok(wanted)
    }
}

/// The document, if there is to be one: of a file, or of the metadata service when nothing else is named.
async fn document(host: &Host, target: &Target) -> Result<(Option<Box<Document>>, Identity)> {
    let (bytes, identity) = match (&target.user_data, &target.profile) {
        (Some(file), _) => (Some(document::bytes_of(host, Some(file))?), Identity::default()),
        (None, Some(_)) => return Ok((None, Identity::default())),
        (None, None) => {
            let source = Source::detect(host, Config::read(host)?)?;
            let metadata = stop::unless_requested(source.fetch(host)).await??;
            (metadata.user_data, metadata.identity)
        }
    };
    match document::read(bytes.as_deref())? {
        document::Read::Ours(document) => Ok((Some(document), identity)),
        document::Read::NotOurs(why) => bail!("there is nothing to apply: the user-data is {why}"),
    }
}

/// Sums up, also what was done before a failure; the failure itself is for the caller to tell.
fn finish(
    done: Result<(), StepFailure>,
    reporter: &mut Reporter<'_>,
    resolved: &Resolved,
    target: &Target,
) -> Result<()> {
    let done = done.map_err(anyhow::Error::from);
    if let Err(error) = &done {
        reporter.take_in(Phase::Apply, error);
    }
    if target.json {
        say(&json(&reporter.status, resolved).to_string());
    } else {
        for left in &resolved.left_out {
            say(&format!("left out  {} ({}, {}): needs a launch", left.kind, left.layer, left.place));
        }
        say(&summary(&reporter.status, resolved));
    }
    done
}

fn json(status: &Status, resolved: &Resolved) -> serde_json::Value {
    let left_out = resolved.left_out.iter();
    let left_out: Vec<_> = left_out
        .map(|left| json!({ "type": left.kind, "layer": left.layer.as_str(), "place": left.place.to_string() }))
        .collect();
    json!({ "profile": resolved.profile, "steps": status.steps, "left_out": left_out, "failure": status.failure })
}

fn summary(status: &Status, resolved: &Resolved) -> String {
    let (steps, all) = (status.steps.len(), order::steps(&resolved.resources).len());
    let found = match (status.count("differs"), status.count("changed")) {
        (0, 0) => "nothing to change".to_owned(),
        (0, changed) => format!("{changed} changed"),
        (differing, _) => format!("{differing} would change"),
    };
    match &status.failure {
        None => format!("profile {}: {all} steps, {found}", resolved.profile),
        Some(_) => {
            let before = if status.count("changed") == 0 { "nothing changed".to_owned() } else { found };
            format!("profile {}: step {steps} of {all} failed, {before} before it", resolved.profile)
        }
    }
}
