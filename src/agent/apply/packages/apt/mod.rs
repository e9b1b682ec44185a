//! `packages`, by apt and dpkg.

mod build;
mod cache;
mod command;
mod dpkg;
mod failure;
mod files;
mod lists;
mod policy;
mod source;
mod transaction;
mod version;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};
use loitsut_profile::names::Architecture;
use loitsut_profile::resource::{BuildDep, Packages, WantedPackage};

use super::record::{Record as _, Skipped};
use super::{Context, PackagesDrift, names};
use crate::host::process::Program;
use dpkg::Status;
use policy::Policy;

pub(super) use cache::StatusCache;
pub(super) use lists::Lists;

/// Where dpkg keeps the names of foreign architectures, and its own.
const ARCHITECTURES: &str = "/var/lib/dpkg/arch";

/// What differs, by dpkg's status and what is remembered. Only `upgrade` asks apt.
pub(super) async fn check(packages: &Packages, context: &Context<'_>) -> Result<PackagesDrift> {
    let (host, status) = (context.host, context.packages.status.status(context.host)?);
    let drift = |wanted: &WantedPackage| Some((wanted.clone(), status.drift(wanted)?));
    let mut differing: Vec<_> = packages.wanted.iter().filter_map(drift).collect();
    if differing.iter().any(|(wanted, _)| wanted.optional) {
        let skipped = Skipped::read(host)?;
        let still = skipped.lists == host.modified(Path::new(lists::FOLDER))?;
        differing.retain(|(wanted, _)| !(still && wanted.optional && skipped.names.contains(&wanted.spec.to_string())));
    }
    differing.extend(outdated(packages, &status, context).await?);
    let known = host.read_text(Path::new(ARCHITECTURES))?.unwrap_or_default();
    let is_foreign =
        |name: &&Architecture| name.as_str() != dpkg::NATIVE && !known.lines().any(|line| line == name.as_str());
    let architectures = packages.architectures.iter().filter(is_foreign).cloned().collect();
    Ok(PackagesDrift {
        interrupted: transaction::left_work(context)?,
        architectures,
        differing,
        files: files::missing(&packages.files, &status, host)?,
        build_deps: source::unmet(&packages.build_deps, &status, host)?,
    })
}

/// Those wanted at their newest version that are not, as far as the lists know; old lists know nothing.
async fn outdated(packages: &Packages, status: &Status, context: &Context<'_>) -> Result<Vec<(WantedPackage, String)>> {
    let installed = |wanted: &&WantedPackage| wanted.upgrade && status.installed(&wanted.spec.name).is_some();
    let wanted: Vec<WantedPackage> = packages.wanted.iter().filter(installed).cloned().collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    if !lists::are_fresh(context)? {
        let words = |name: &str| format!("{name} may be outdated: the package lists are");
        return Ok(wanted.into_iter().map(|wanted| (wanted.clone(), words(&wanted.spec.name))).collect());
    }
    let known = policy::policy(context.host, &names(&wanted)).await?;
    let outdated = wanted.into_iter().filter_map(|wanted| {
        let (found, newest) = (status.installed(&wanted.spec.name)?, known.get(&wanted.spec.name)?.candidate.as_ref()?);
        let is_newer = version::compare(newest, &found.version).is_gt();
        is_newer.then(|| (wanted.clone(), format!("{} is {}, the newest is {newest}", wanted.spec.name, found.version)))
    });
    Ok(outdated.collect())
}

/// Removes the drift: the lists once, then one transaction, then what sources need to be built.
pub(super) async fn apply(context: &Context<'_>, drift: PackagesDrift) -> Result<()> {
    if drift.interrupted || context.packages.status.status(context.host)?.interrupted {
        transaction::repair(context).await?;
    }
    for architecture in &drift.architectures {
        let program = Program::new(["dpkg", "--add-architecture", architecture.as_str()]);
        command::run(context, &program).await??;
        context.packages.sources_changed();
    }
    let status = context.packages.status.status(context.host)?;
    let files = files::fetched(context, &drift.files, &status).await?;
    let wanted: Vec<WantedPackage> = drift.differing.into_iter().map(|(wanted, _)| wanted).collect();
    let (present, absent): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|wanted| wanted.present);
    let (only_held, missing): (Vec<_>, Vec<_>) = present.into_iter().partition(|wanted| has_version(&status, wanted));
    let (missing, sources) = obtainable(context, missing, drift.build_deps, &files).await?;
    refuse_held(&missing, &status)?;
    Transaction { wanted: &missing, files: &files, absent: &absent, status: &status }.run(context).await?;
    source::install(context, sources).await?;
    let held: Vec<WantedPackage> = missing.into_iter().chain(only_held).filter(|wanted| wanted.hold).collect();
    if !held.is_empty() {
        let words = ["apt-mark", "hold"].into_iter().chain(names(&held));
        command::run(context, &Program::new(words)).await??;
    }
    // Also where a run before this one was killed between its transaction and the end of it.
    transaction::forget(context)
}

fn has_version(status: &Status, wanted: &WantedPackage) -> bool {
    !wanted.upgrade && status.drift(&WantedPackage { hold: false, ..wanted.clone() }).is_none()
}

/// Those that can be had, and the sources with what they need. Optional packages that cannot be had are noted and
/// skipped; all others are named at once, before anything is touched.
async fn obtainable(
    context: &Context<'_>,
    wanted: Vec<WantedPackage>,
    build_deps: Vec<(BuildDep, String)>,
    files: &[String],
) -> Result<(Vec<WantedPackage>, Vec<source::Source>)> {
    if wanted.is_empty() && build_deps.is_empty() && files.is_empty() {
        return Ok((wanted, Vec::new()));
    }
    lists::freshen(context).await?;
    let mut known = policy::policy(context.host, &names(&wanted)).await?;
    let (mut sources, mut unknown) = source::look_up(context, &build_deps).await?;
    let lacks = |known: &BTreeMap<_, _>| wanted.iter().any(|wanted| lacking(wanted, known).is_some());
    if (lacks(&known) || !unknown.is_empty()) && !context.packages.lists.are_updated() {
        lists::update(context).await?;
        known = policy::policy(context.host, &names(&wanted)).await?;
        (sources, unknown) = source::look_up(context, &build_deps).await?;
    }
    let (mut found, mut skipped) = (Vec::new(), Vec::new());
    for wanted in wanted {
        match lacking(&wanted, &known) {
            None => found.push(wanted),
            Some(why) if wanted.optional => {
                tracing::info!(package = %wanted.spec, "optional package skipped: {why}");
                skipped.push(wanted.spec.to_string());
            }
            Some(why) => unknown.push(why),
        }
    }
    if !unknown.is_empty() {
        bail!(
            "{}\nhelp: `apt-cache search` finds the right name; `when` or `optional` leaves it out where it does not exist",
            unknown.join("\n")
        );
    }
    skip(context, skipped)?;
    Ok((found, sources))
}

/// Remembers which optional packages do not exist, so that a check need not ask apt; forgotten when the lists change.
fn skip(context: &Context<'_>, names: Vec<String>) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let lists = context.host.modified(Path::new(lists::FOLDER))?;
    let known = Skipped::read(context.host)?;
    let known = if known.lists == lists { known.names } else { Default::default() };
    Ok(Skipped { lists, names: known.into_iter().chain(names).collect() }.write(context.host)?)
}

/// Why a package cannot be had, if so.
fn lacking(wanted: &WantedPackage, known: &BTreeMap<String, Policy>) -> Option<String> {
    let name = &wanted.spec.name;
    let policy = known.get(name).cloned().unwrap_or_default();
    match &wanted.spec.version {
        Some(version) if policy.versions.contains(version) => None,
        Some(version) if policy.versions.is_empty() => {
            Some(format!("there is no package `{name}` ({version} was wanted)"))
        }
        Some(version) => {
            Some(format!("there is no version {version} of `{name}`; there is {}", policy.versions.join(", ")))
        }
        None if policy.candidate.is_some() || policy.provided => None,
        None => Some(format!("there is no package `{name}` in the configured sources")),
    }
}

/// A pin says which version is wanted, also of a package that is held; `upgrade` does not.
fn refuse_held(wanted: &[WantedPackage], status: &Status) -> Result<()> {
    let is_kept = |wanted: &&WantedPackage| {
        wanted.upgrade && !wanted.hold && status.installed(&wanted.spec.name).is_some_and(|package| package.hold)
    };
    match wanted.iter().find(is_kept) {
        Some(wanted) => bail!(
            "{name} is held at its version, and wanted at the newest\nhelp: `apt-mark unhold {name}` lets it go; or leave \
             out `upgrade`, pin a version, or say `hold = true` here too",
            name = wanted.spec.name
        ),
        None => Ok(()),
    }
}

/// What apt-get is to do at once.
struct Transaction<'t> {
    wanted: &'t [WantedPackage],
    files: &'t [String],
    absent: &'t [WantedPackage],
    status: &'t Status,
}

impl Transaction<'_> {
    /// One for all; another one before it where some are wanted with what they recommend, for apt-get knows all or none.
    async fn run(&self, context: &Context<'_>) -> Result<()> {
        let specs = |recommends: bool| {
            let chosen = self.wanted.iter().filter(move |wanted| wanted.recommends == recommends);
            chosen.map(|wanted| wanted.spec.to_string())
        };
        let removed = self.absent.iter().map(|wanted| format!("{}-", wanted.spec.name));
        let plain: Vec<String> = specs(false).chain(self.files.iter().cloned()).chain(removed).collect();
        for (option, words) in [("--install-recommends", specs(true).collect()), ("--no-install-recommends", plain)] {
            if !words.is_empty() {
                let words =
                    self.options().into_iter().chain([option, "install"]).chain(words.iter().map(String::as_str));
                transaction::perform(context, &words.collect::<Vec<_>>()).await?;
            }
        }
        Ok(())
    }

    fn options(&self) -> Vec<&'static str> {
        let mut options = Vec::new();
        // What is removed goes with its configuration.
        if !self.absent.is_empty() {
            options.push("--purge");
        }
        if !self.files.is_empty() || self.wanted.iter().any(|wanted| wanted.spec.version.is_some()) {
            options.push("--allow-downgrades");
        }
        let is_held = |wanted: &WantedPackage| self.status.installed(&wanted.spec.name).is_some_and(|found| found.hold);
        if self.wanted.iter().any(is_held) {
            options.push("--allow-change-held-packages");
        }
        options
    }
}
