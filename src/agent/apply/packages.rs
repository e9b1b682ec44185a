//! `packages`, by apt.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};
use loitsut_profile::resource::{Packages, WantedPackage};
use serde::{Deserialize, Serialize};

use super::apt::{self, Policy};
use super::dpkg::{self, Status};
use super::{Context, Converge, Drift};
use crate::host::Host;
use crate::host::files::Attributes;
use crate::host::process::Program;

/// Optional names that were found not to exist, and what the package lists were then.
const SKIPPED: &str = "/var/lib/loitsut/skipped-packages.json";

/// The package lists of apt.
const LISTS: &str = "/var/lib/apt/lists";

/// The packages that differ.
pub struct PackagesDrift {
    /// dpkg was killed in the middle of something.
    interrupted: bool,
    differing: Vec<(WantedPackage, String)>,
}

impl std::fmt::Display for PackagesDrift {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let interrupted = self.interrupted.then_some("dpkg was interrupted");
        let words: Vec<_> =
            interrupted.into_iter().chain(self.differing.iter().map(|(_, words)| words.as_str())).collect();
        f.write_str(&words.join(", "))
    }
}

impl Drift for PackagesDrift {}

impl Converge for Packages {
    type Drift = PackagesDrift;

    async fn check(&self, context: &Context<'_>) -> Result<Option<PackagesDrift>> {
        let status = context.packages.status(context.host)?;
        let drift = |wanted: &WantedPackage| Some((wanted.clone(), status.drift(wanted)?));
        let mut differing: Vec<_> = self.wanted.iter().filter_map(drift).collect();
        if differing.iter().any(|(wanted, _)| wanted.optional) {
            let skipped = Skipped::read(context.host)?;
            differing.retain(|(wanted, _)| !(wanted.optional && skipped.has(&wanted.spec.to_string())));
        }
        let interrupted = apt::left_work(context)?;
        Ok((interrupted || !differing.is_empty()).then_some(PackagesDrift { interrupted, differing }))
    }

    async fn apply(&self, context: &Context<'_>, drift: PackagesDrift) -> Result<()> {
        if drift.interrupted || context.packages.status(context.host)?.interrupted {
            apt::repair(context).await?;
        }
        let wanted: Vec<WantedPackage> = drift.differing.into_iter().map(|(wanted, _)| wanted).collect();
        let (present, absent): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|wanted| wanted.present);
        let status = context.packages.status(context.host)?;
        let (only_held, missing): (Vec<_>, Vec<_>) = present.into_iter().partition(|w| has_version(&status, w));
        let missing = if missing.is_empty() { missing } else { obtainable(context, missing).await? };
        for recommends in [false, true] {
            install(context, missing.iter().filter(|wanted| wanted.recommends == recommends), recommends).await?;
        }
        if !absent.is_empty() {
            let names = names(&absent);
            apt::transaction(context, &[&["purge"], &names[..]].concat()).await?;
        }
        let held: Vec<WantedPackage> = missing.into_iter().chain(only_held).filter(|wanted| wanted.hold).collect();
        if !held.is_empty() {
            let words = ["apt-mark", "hold"].into_iter().chain(names(&held));
            context.host.run_checked(&Program::new(words)).await?;
        }
        Ok(())
    }
}

fn has_version(status: &Status, wanted: &WantedPackage) -> bool {
    status.drift(&WantedPackage { hold: false, ..wanted.clone() }).is_none()
}

fn names(wanted: &[WantedPackage]) -> Vec<&str> {
    wanted.iter().map(|wanted| wanted.spec.name.as_str()).collect()
}

/// Those that can be had. Optional ones that cannot are noted and skipped; others are named, before anything is touched.
async fn obtainable(context: &Context<'_>, wanted: Vec<WantedPackage>) -> Result<Vec<WantedPackage>> {
    apt::update(context).await?;
    let known = apt::policy(context.host, &names(&wanted)).await?;
    let (mut found, mut skipped, mut missing) = (Vec::new(), Vec::new(), Vec::new());
    for wanted in wanted {
        match lacking(context.host, &wanted, known.get(plain_name(&wanted.spec.name))).await? {
            None => found.push(wanted),
            Some(why) if wanted.optional => {
                tracing::info!(package = %wanted.spec, "optional package skipped: {why}");
                skipped.push(wanted.spec.to_string());
            }
            Some(why) => missing.push(why),
        }
    }
    if !missing.is_empty() {
        bail!(
            "{}\nhelp: `apt-cache search` finds the right name; `when` or `optional` leaves it out where it does not exist",
            missing.join("\n")
        );
    }
    if !skipped.is_empty() {
        Skipped::write(context.host, skipped)?;
    }
    Ok(found)
}

/// A name as apt-cache prints it: without the architecture, if that is this machine's.
fn plain_name(name: &str) -> &str {
    match name.split_once(':') {
        Some((plain, architecture)) if architecture == dpkg::NATIVE => plain,
        _ => name,
    }
}

/// Why a package cannot be had, if so.
async fn lacking(host: &Host, wanted: &WantedPackage, policy: Option<&Policy>) -> Result<Option<String>> {
    let name = &wanted.spec.name;
    let policy = policy.cloned().unwrap_or_default();
    match &wanted.spec.version {
        Some(version) if policy.versions.contains(version) => Ok(None),
        Some(version) if policy.versions.is_empty() => {
            Ok(Some(format!("there is no package `{name}` ({version} was wanted)")))
        }
        Some(version) => {
            Ok(Some(format!("there is no version {version} of `{name}`; there is {}", policy.versions.join(", "))))
        }
        None if policy.candidate.is_some() || apt::is_provided(host, name).await? => Ok(None),
        None => Ok(Some(format!("there is no package `{name}` in the configured sources"))),
    }
}

async fn install(context: &Context<'_>, wanted: impl Iterator<Item = &WantedPackage>, recommends: bool) -> Result<()> {
    let specs: Vec<String> = wanted.map(|wanted| wanted.spec.to_string()).collect();
    if specs.is_empty() {
        return Ok(());
    }
    let mut words = vec![if recommends { "--install-recommends" } else { "--no-install-recommends" }];
    // A pin says which version is wanted, also if a newer one is there or the package is held.
    if specs.iter().any(|spec| spec.contains('=')) {
        words.extend(["--allow-downgrades", "--allow-change-held-packages"]);
    }
    words.push("install");
    words.extend(specs.iter().map(String::as_str));
    apt::transaction(context, &words).await
}

/// Remembers which optional packages do not exist, so that a check need not ask apt; forgotten when the lists change.
#[derive(Default, Serialize, Deserialize)]
struct Skipped {
    lists: Option<(i64, i64)>,
    names: BTreeMap<String, ()>,
}

impl Skipped {
    fn read(host: &Host) -> Result<Self> {
        let text = host.read(Path::new(SKIPPED))?.unwrap_or_default();
        let skipped: Self = serde_json::from_slice(&text).unwrap_or_default();
        let current = skipped.lists == host.modified(Path::new(LISTS))?;
        Ok(if current { skipped } else { Self::default() })
    }

    fn has(&self, spec: &str) -> bool {
        self.names.contains_key(spec)
    }

    fn write(host: &Host, names: Vec<String>) -> Result<()> {
        let mut skipped = Self::read(host)?;
        skipped.lists = host.modified(Path::new(LISTS))?;
        skipped.names.extend(names.into_iter().map(|name| (name, ())));
        Ok(host.write(Path::new(SKIPPED), &serde_json::to_vec(&skipped)?, Attributes::PUBLIC)?)
    }
}
