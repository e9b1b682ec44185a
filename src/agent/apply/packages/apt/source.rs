//! Build dependencies, by `apt-get build-dep`.

use std::path::Path;

use anyhow::{Result, bail};
use loitsut_profile::resource::BuildDep;

use super::dpkg::Status;
use super::{build, transaction, version};
use crate::apply::Context;
use crate::apply::packages::record::{BuildNeeds, Record as _};
use crate::host::Host;
use crate::host::files::Attributes;
use crate::host::process::Program;

/// Where apt-get finds a control file of a bundle, as if it were in a source tree.
const TREE: &str = "/run/loitsut/build-dep";

/// A source, and what it needs to be built.
pub struct Source {
    wanted: BuildDep,
    needs: String,
}

/// The sources that cannot be built yet, and why. What a source package of the distribution needs is remembered from
/// when it was last installed.
///
/// # Errors
/// A control file of the bundle is none.
pub fn unmet(wanted: &[BuildDep], status: &Status, host: &Host) -> Result<Vec<(BuildDep, String)>> {
    let mut found = Vec::new();
    for source in wanted {
        let needs = match source {
            BuildDep::Source(spec) => BuildNeeds::read(host)?.0.remove(&spec.to_string()),
            BuildDep::Bundled { .. } => Some(needs_of_bundled(source)?),
        };
        let unmet =
            needs.map_or_else(|| vec!["what it needs is not known".into()], |needs| build::unmet(&needs, status));
        if !unmet.is_empty() {
            found.push((source.clone(), unmet.join(", ")));
        }
    }
    Ok(found)
}

fn needs_of_bundled(source: &BuildDep) -> Result<String> {
    let BuildDep::Bundled { path, text } = source else { return Ok(String::new()) };
    match build::needs(text) {
        Some(needs) => Ok(needs),
        None => bail!("{path} is not the control file of a source: it does not begin with `Source: …`"),
    }
}

/// What each source needs, and messages for those that no one has.
///
/// # Errors
/// apt-cache fails.
pub async fn look_up(context: &Context<'_>, wanted: &[(BuildDep, String)]) -> Result<(Vec<Source>, Vec<String>)> {
    let (mut found, mut unknown) = (Vec::new(), Vec::new());
    for (wanted, _) in wanted {
        let needs = match wanted {
            BuildDep::Source(spec) => ask(context.host, &spec.name, spec.version.as_deref()).await?,
            BuildDep::Bundled { .. } => Some(needs_of_bundled(wanted)?),
        };
        match needs {
            Some(needs) => found.push(Source { wanted: wanted.clone(), needs }),
            None => unknown.push(format!(
                "there is no source package `{wanted}` (a `repository` with types = [\"deb-src\"] makes them known)"
            )),
        }
    }
    Ok((found, unknown))
}

/// What a source package needs in its newest version, or in this one.
async fn ask(host: &Host, name: &str, wanted: Option<&str>) -> Result<Option<String>> {
    let finished = host.run(&Program::new(["apt-cache", "showsrc", "--only-source", name]).keep_output()).await?;
    // The empty lines between stanzas are not kept; each begins with its name.
    let mut stanzas: Vec<String> = Vec::new();
    for line in &finished.tail {
        if line.starts_with("Package: ") {
            stanzas.push("Source: x\n".to_owned());
        }
        stanzas.last_mut().into_iter().for_each(|stanza| *stanza += &format!("{line}\n"));
    }
    let version =
        |stanza: &str| stanza.lines().find_map(|line| line.strip_prefix("Version: ")).unwrap_or_default().to_owned();
    let fitting = stanzas.iter().filter(|stanza| wanted.is_none_or(|wanted| version(stanza) == wanted));
    let newest = fitting.max_by(|one, other| version::compare(&version(one), &version(other)));
    Ok(newest.and_then(|stanza| build::needs(stanza)))
}

/// Installs what these sources need, and remembers it.
///
/// # Errors
/// apt-get fails.
pub async fn install(context: &Context<'_>, sources: Vec<Source>) -> Result<()> {
    let host = context.host;
    for Source { wanted, needs } in sources {
        let status = context.packages.status.status(host)?;
        if !build::unmet(&needs, &status).is_empty() {
            let named = match &wanted {
                BuildDep::Source(spec) => spec.to_string(),
                BuildDep::Bundled { text, .. } => {
                    let control = Path::new(TREE).join("debian/control");
                    host.write(&control, text.as_bytes(), Attributes::PUBLIC)?;
                    TREE.to_owned()
                }
            };
            transaction::perform(context, &["--no-install-recommends", "build-dep", &named]).await?;
        }
        if let BuildDep::Source(spec) = &wanted {
            let mut known = BuildNeeds::read(host)?;
            known.0.insert(spec.to_string(), needs);
            known.write(host)?;
        }
    }
    Ok(())
}
