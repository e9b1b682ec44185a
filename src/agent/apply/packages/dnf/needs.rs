//! Build dependencies, by `dnf builddep`. What a source needs is remembered from when it was last installed.

use std::path::Path;

use anyhow::{Result, bail};
use loitsut_profile::resource::BuildDep;
use loitsut_profile::sha256::Sha256;

use super::command;
use super::rpm::Installed;
use crate::apply::Context;
use crate::apply::packages::record::{BuildNeeds, Record as _};
use crate::host::files::Attributes;
use crate::host::process::Program;

/// The package that has dnf's command for it, whatever its name.
const BUILDDEP: &str = "dnf-command(builddep)";

/// Where dnf finds a spec file of a bundle.
const SPEC: &str = "/run/loitsut/build-dep/source.spec";

/// The names that a source is known to need.
pub fn known<'n>(needs: &'n BuildNeeds, source: &BuildDep) -> Option<impl Iterator<Item = &'n str> + use<'n>> {
    Some(needs.0.get(&key(source))?.lines())
}

/// Of a spec file, what it was made of counts.
fn key(source: &BuildDep) -> String {
    match source {
        BuildDep::Source(spec) => spec.to_string(),
        BuildDep::Bundled { text, .. } => Sha256::of(text.as_bytes()).to_string(),
    }
}

/// The sources that cannot be built yet, and why.
pub fn unmet(needs: &BuildNeeds, sources: &[BuildDep], installed: &Installed) -> Vec<(BuildDep, String)> {
    let words = |source: &BuildDep| match known(needs, source) {
        None => Some("what it needs is not known".to_owned()),
        Some(names) => {
            let missing: Vec<_> = names.filter(|name| !installed.provides(name)).collect();
            (!missing.is_empty()).then(|| format!("{} is missing", missing.join(", ")))
        }
    };
    sources.iter().filter_map(|source| Some((source.clone(), words(source)?))).collect()
}

/// Installs what these sources need, and remembers it.
///
/// # Errors
/// dnf fails, or does not know a source.
pub async fn install(context: &Context<'_>, sources: &[BuildDep]) -> Result<()> {
    let host = context.host;
    for source in sources {
        let named = match source {
            BuildDep::Source(spec) => spec.name.clone(),
            BuildDep::Bundled { text, .. } => {
                host.write(Path::new(SPEC), text.as_bytes(), Attributes::PUBLIC)?;
                SPEC.to_owned()
            }
        };
        let unknown = builddep(context, &named).await?;
        if !unknown.is_empty() {
            bail!("there is no source package `{source}` in the configured repositories, or no package that it needs");
        }
        let mut needs = BuildNeeds::read(host)?;
        needs.0.insert(key(source), names(context, &named).await?);
        needs.write(host)?;
    }
    Ok(())
}

/// The command is a plugin, which is installed where it is missing.
async fn builddep(context: &Context<'_>, named: &str) -> Result<Vec<String>> {
    if command::run(context, &["builddep", "--help"]).await?.is_err() {
        command::transaction(context, &["install", BUILDDEP]).await?;
    }
    command::transaction(context, &["--setopt=install_weak_deps=False", "builddep", named]).await
}

/// The names that a source needs, without versions: a line each.
async fn names(context: &Context<'_>, named: &str) -> Result<String> {
    let lines = if named == SPEC {
        context
            .host
            .run_checked(&Program::new(["rpmspec", "--query", "--buildrequires", SPEC]).keep_output())
            .await?
            .tail
    } else {
        let words =
            ["--quiet", "repoquery", "--requires", "--arch=src", "--latest-limit=1", "--enablerepo=*source*", named];
        command::run(context, &words).await?.map_err(command::shortened)?.tail
    };
    let names =
        lines.iter().filter(|line| !line.starts_with("rpmlib(")).filter_map(|line| line.split_whitespace().next());
    Ok(names.map(|name| format!("{name}\n")).collect())
}
