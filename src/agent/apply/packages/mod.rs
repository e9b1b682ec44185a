//! `packages`: what differs is found and told alike for both package managers.

mod apt;
mod dnf;
mod locks;
mod record;

use std::fmt;

use anyhow::Result;
use loitsut_profile::names::Architecture;
use loitsut_profile::resource::{BuildDep, Manager, Packages, Remote, WantedPackage};

use super::{Context, Converge, Drift};

/// What package managers are known to have told in this run.
#[derive(Default)]
pub struct Known {
    status: apt::StatusCache,
    lists: apt::Lists,
}

impl Known {
    /// The package lists are no longer those of the sources.
    pub fn sources_changed(&self) {
        self.lists.forget();
    }
}

/// The packages that differ.
#[derive(Default)]
pub struct PackagesDrift {
    /// The package manager was killed in the middle of something.
    interrupted: bool,
    architectures: Vec<Architecture>,
    differing: Vec<(WantedPackage, String)>,
    files: Vec<Remote>,
    build_deps: Vec<(BuildDep, String)>,
}

impl PackagesDrift {
    fn is_empty(&self) -> bool {
        let Self { interrupted, architectures, differing, files, build_deps } = self;
        !interrupted && architectures.is_empty() && differing.is_empty() && files.is_empty() && build_deps.is_empty()
    }
}

impl fmt::Display for PackagesDrift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let interrupted = self.interrupted.then(|| "the package manager was interrupted".to_owned());
        let architectures = self.architectures.iter().map(|name| format!("the architecture {name} is unknown to dpkg"));
        let packages = self.differing.iter().map(|(_, words)| words.clone());
        let files = self.files.iter().map(|file| format!("{} is not installed", file.url));
        let build_deps = self.build_deps.iter().map(|(source, words)| format!("to build {source}: {words}"));
        let all = interrupted.into_iter().chain(architectures).chain(packages).chain(files).chain(build_deps);
        f.write_str(&all.collect::<Vec<_>>().join(", "))
    }
}

impl Drift for PackagesDrift {}

impl Converge for Packages {
    type Drift = PackagesDrift;

    async fn downloads(&self, context: &Context<'_>) -> Result<Vec<Remote>> {
        if self.files.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.check(context).await?.map(|drift| drift.files).unwrap_or_default())
    }

    async fn check(&self, context: &Context<'_>) -> Result<Option<PackagesDrift>> {
        let drift = match self.manager {
            Manager::Apt => apt::check(self, context).await?,
            Manager::Dnf => dnf::check(self, context).await?,
        };
        Ok((!drift.is_empty()).then_some(drift))
    }

    async fn apply(&self, context: &Context<'_>, drift: PackagesDrift) -> Result<()> {
        match self.manager {
            Manager::Apt => apt::apply(context, drift).await,
            Manager::Dnf => dnf::apply(context, drift).await,
        }
    }
}

fn names(wanted: &[WantedPackage]) -> Vec<&str> {
    wanted.iter().map(|wanted| wanted.spec.name.as_str()).collect()
}
