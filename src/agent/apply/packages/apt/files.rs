//! Package files: downloaded, looked into, and handed to apt-get by their paths.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use loitsut_profile::resource::Remote;

use super::dpkg::Status;
use crate::apply::Context;
use crate::apply::packages::record::{Files, InFile, Record as _};
use crate::host::Host;
use crate::host::process::Program;

/// Where they get names that apt-get takes for package files.
const FOLDER: &str = "/run/loitsut/packages";

/// Those that are not installed, or were never looked into.
///
/// # Errors
/// What is remembered cannot be read.
pub fn missing(files: &[Remote], status: &Status, host: &Host) -> Result<Vec<Remote>> {
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let known = Files::read(host)?;
    let is_missing = |file: &&Remote| known.get(file.sha256).is_none_or(|found| !is_installed(found, status));
    Ok(files.iter().filter(is_missing).cloned().collect())
}

fn is_installed(found: &InFile, status: &Status) -> bool {
    let package = status.package(&format!("{}:{}", found.name, found.architecture));
    package.is_some_and(|package| package.installed && package.version == found.version)
}

/// The paths of those that have to be installed, to be given to apt-get.
///
/// # Errors
/// One cannot be downloaded, or is no package.
pub async fn fetched(context: &Context<'_>, files: &[Remote], status: &Status) -> Result<Vec<String>> {
    let mut known = Files::read(context.host)?;
    let mut paths = Vec::new();
    for file in files {
        let path = context.downloads.get(file).await?;
        let found = look_into(context.host, &path).await.with_context(|| format!("{} is no .deb package", file.url))?;
        if !is_installed(&found, status) {
            let name = format!("{FOLDER}/{}_{}.deb", found.name, file.sha256);
            context.host.write_link(name.as_ref(), &path.to_string_lossy())?;
            paths.push(name);
        }
        known.0.insert(file.sha256.to_string(), found);
    }
    // Before they are installed: it says what is in them, and dpkg tells the rest.
    known.write(context.host)?;
    Ok(paths)
}

async fn look_into(host: &Host, path: &Path) -> Result<InFile> {
    let words =
        ["dpkg-deb", "--field", &path.to_string_lossy(), "Package", "Version", "Architecture"].map(str::to_owned);
    let finished = host.run_checked(&Program::new(words)).await?;
    let field = |name: &str| {
        let value = finished.tail.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        value.map(str::to_owned).unwrap_or_default()
    };
    let found = InFile { name: field("Package"), version: field("Version"), architecture: field("Architecture") };
    if found.name.is_empty() || found.version.is_empty() {
        bail!("it has no name or version");
    }
    Ok(found)
}
