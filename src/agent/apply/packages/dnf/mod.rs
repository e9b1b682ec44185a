//! `packages`, by dnf and rpm.

mod command;
mod files;
mod locked;
mod needs;
mod rpm;

use std::path::Path;

use anyhow::{Result, bail};
use loitsut_profile::resource::{Packages, WantedPackage};
use loitsut_profile::sha256::Sha256;

use super::record::{BuildNeeds, Files, InFile, Newest, Record as _, Skipped, is_fresh, now};
use super::{Context, PackagesDrift, names};
use crate::host::Host;
use rpm::Installed;

/// Where repositories are configured.
const REPOSITORIES: &str = "/etc/yum.repos.d";

/// The package that has dnf's command for it, whatever its name.
const VERSIONLOCK: &str = "dnf-command(versionlock)";

/// What differs, by one question to rpm and what is remembered. dnf is not asked.
pub(super) async fn check(packages: &Packages, context: &Context<'_>) -> Result<PackagesDrift> {
    let host = context.host;
    let (files, needs) = (Files::read(host)?, BuildNeeds::read(host)?);
    let in_files = packages.files.iter().filter_map(|file| files.get(file.sha256)).map(|found| found.name.as_str());
    let needed: Vec<&str> =
        packages.build_deps.iter().flat_map(|source| needs::known(&needs, source)).flatten().collect();
    let asked = names(&packages.wanted).into_iter().chain(in_files).chain(needed);
    let installed = Installed::ask(host, asked).await?;
    let drift = |wanted: &WantedPackage| Some((wanted.clone(), installed.drift(wanted)?));
    let mut differing: Vec<_> = packages.wanted.iter().filter_map(drift).collect();
    let skipped = Skipped::read(host)?;
    let still = skipped.lists == host.modified(Path::new(REPOSITORIES))?;
    differing.retain(|(wanted, _)| !(still && wanted.optional && skipped.names.contains(&wanted.spec.to_string())));
    differing.extend(locked::missing(&packages.wanted, &installed, host)?);
    differing.extend(outdated(packages, &installed, host)?);
    let is_missing = |sha256: Sha256| files.get(sha256).is_none_or(|found: &InFile| !installed.has(found));
    Ok(PackagesDrift {
        interrupted: installed.is_doubled(),
        differing,
        files: packages.files.iter().filter(|file| is_missing(file.sha256)).cloned().collect(),
        build_deps: needs::unmet(&needs, &packages.build_deps, &installed),
        ..PackagesDrift::default()
    })
}

/// Those wanted at their newest version, but for those that were brought there a short while ago: to ask dnf would leave
/// its marks on the machine.
fn outdated(packages: &Packages, installed: &Installed, host: &Host) -> Result<Vec<(WantedPackage, String)>> {
    let is_there = |wanted: &&WantedPackage| wanted.upgrade && installed.drift(wanted).is_none();
    let mut wanted = packages.wanted.iter().filter(is_there).peekable();
    if wanted.peek().is_none() {
        return Ok(Vec::new());
    }
    let known = Newest::read(host)?;
    let fresh = is_fresh(known.at) && known.repositories == host.modified(Path::new(REPOSITORIES))?;
    let is_newest = |name: &String| fresh && known.versions.get(name) == installed.versions(name).as_ref();
    let outdated = wanted.filter(|wanted| !is_newest(&wanted.spec.name));
    let words = |name: &str| format!("{name} may be outdated: dnf was not asked of late");
    Ok(outdated.map(|wanted| (wanted.clone(), words(&wanted.spec.name))).collect())
}

/// Removes the drift: one transaction for what is to be there, one for what is to go.
pub(super) async fn apply(context: &Context<'_>, drift: PackagesDrift) -> Result<()> {
    if drift.interrupted {
        tracing::warn!("a transaction of rpm was cut short: removing what it left twice");
        command::transaction(context, &["remove", "--duplicates"]).await?;
    }
    let wanted = drift.differing.into_iter().map(|(wanted, _)| wanted);
    let (present, absent): (Vec<_>, Vec<_>) = wanted.partition(|wanted| wanted.present);
    let files = files::fetched(context, &drift.files).await?;
    let present = install(context, present, &files).await?;
    if !absent.is_empty() {
        command::transaction(context, &[&["remove"], &names(&absent)[..]].concat()).await?;
    }
    let sources: Vec<_> = drift.build_deps.into_iter().map(|(source, _)| source).collect();
    needs::install(context, &sources).await?;
    let held: Vec<&str> = present.iter().filter(|wanted| wanted.hold).map(|wanted| wanted.spec.name.as_str()).collect();
    locked::hold(context, &held).await
}

/// Installs all that can be had, and says which those are. Optional ones that cannot be had are noted and skipped; others
/// are named, and then nothing was touched.
async fn install(context: &Context<'_>, wanted: Vec<WantedPackage>, files: &[String]) -> Result<Vec<WantedPackage>> {
    let (optional, required): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|wanted| wanted.optional);
    let mut wanted = [required, optional].concat();
    loop {
        let unknown = install_known(context, &wanted, files).await?;
        let is_unknown = |wanted: &WantedPackage| unknown.contains(&argument(wanted));
        let (skipped, required): (Vec<_>, Vec<_>) =
            wanted.iter().filter(|wanted| is_unknown(wanted)).partition(|wanted| wanted.optional);
        if !required.is_empty() {
            let lines: Vec<_> =
                required.iter().map(|wanted| format!("there is no package `{}`", wanted.spec)).collect();
            bail!(
                "{} in the configured repositories\nhelp: `dnf search` finds the right name; `when` or `optional` leaves it \
                 out where it does not exist",
                lines.join("\n")
            );
        }
        if skipped.is_empty() {
            return if unknown.is_empty() { Ok(wanted) } else { bail!("dnf does not find {}", unknown.join(", ")) };
        }
        let names = skipped.iter().map(|wanted| wanted.spec.to_string()).collect();
        skip(context.host, names)?;
        wanted.retain(|wanted| !unknown.contains(&argument(wanted)));
    }
}

/// As dnf knows a pinned package.
fn argument(wanted: &WantedPackage) -> String {
    match &wanted.spec.version {
        Some(version) => format!("{}-{version}", wanted.spec.name),
        None => wanted.spec.name.clone(),
    }
}

/// One transaction for all; another one before it where some are wanted with what they recommend, for dnf knows all or
/// none. The names that nobody knows.
async fn install_known(context: &Context<'_>, wanted: &[WantedPackage], files: &[String]) -> Result<Vec<String>> {
    let with = |recommends: bool| wanted.iter().filter(move |wanted| wanted.recommends == recommends);
    let mut plain: Vec<String> = with(false).map(argument).chain(files.iter().cloned()).collect();
    if wanted.iter().any(|wanted| wanted.hold) && !locked::is_possible(context.host)? {
        plain.push(VERSIONLOCK.to_owned());
    }
    let rich: Vec<String> = with(true).map(argument).collect();
    if !rich.is_empty() && !plain.is_empty() {
        // Each transaction only knows its own names, and the second comes too late to refuse the first.
        let unknown = command::unknown_of(context, &[&rich[..], &plain].concat()).await?;
        if !unknown.is_empty() {
            return Ok(unknown);
        }
    }
    let mut unknown = Vec::new();
    for (weak, words) in [("True", rich), ("False", plain)] {
        if words.is_empty() {
            continue;
        }
        let weak = format!("--setopt=install_weak_deps={weak}");
        let words: Vec<&str> = [weak.as_str(), "install"].into_iter().chain(words.iter().map(String::as_str)).collect();
        unknown.extend(command::transaction(context, &words).await?);
    }
    upgrade(context, wanted, unknown).await
}

/// Brings those that are wanted so to their newest version, and remembers which that was.
async fn upgrade(context: &Context<'_>, wanted: &[WantedPackage], unknown: Vec<String>) -> Result<Vec<String>> {
    let newest: Vec<&str> =
        wanted.iter().filter(|wanted| wanted.upgrade).map(|wanted| wanted.spec.name.as_str()).collect();
    if newest.is_empty() || !unknown.is_empty() {
        return Ok(unknown);
    }
    command::transaction(context, &[&["--refresh", "upgrade"], &newest[..]].concat()).await?;
    let host = context.host;
    let installed = Installed::ask(host, newest.iter().copied()).await?;
    let versions = newest.iter().filter_map(|name| Some(((*name).to_owned(), installed.versions(name)?)));
    let repositories = host.modified(Path::new(REPOSITORIES))?;
    // Only of this resource's packages: others were brought to theirs at another time.
    Newest { at: now(), repositories, versions: versions.collect() }.write(host)?;
    Ok(unknown)
}

/// Remembers which optional packages do not exist, so that a check need not ask dnf; forgotten when the repositories
/// change.
fn skip(host: &Host, names: Vec<String>) -> Result<()> {
    tracing::info!("optional packages skipped, as there are none: {}", names.join(", "));
    let lists = host.modified(Path::new(REPOSITORIES))?;
    let known = Skipped::read(host)?;
    let known = if known.lists == lists { known.names } else { Default::default() };
    Ok(Skipped { lists, names: known.into_iter().chain(names).collect() }.write(host)?)
}
