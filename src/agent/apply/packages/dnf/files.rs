//! Package files: downloaded, looked into, and handed to dnf by their paths.

use anyhow::{Context as _, Result};
use loitsut_profile::resource::Remote;

use super::rpm;
use crate::apply::Context;
use crate::apply::packages::record::{Files, Record as _};

/// Where they get names that dnf takes for package files.
const FOLDER: &str = "/run/loitsut/packages";

/// Their paths, to be given to dnf.
///
/// # Errors
/// One cannot be downloaded, or is no package.
pub async fn fetched(context: &Context<'_>, files: &[Remote]) -> Result<Vec<String>> {
    let (host, mut known, mut paths) = (context.host, Files::read(context.host)?, Vec::new());
    for file in files {
        let path = context.downloads.get(file).await?;
        let path = path.to_string_lossy();
        let found = rpm::look_into(host, &path).await.with_context(|| format!("{} is no .rpm package", file.url))?;
        let name = format!("{FOLDER}/{}.rpm", file.sha256);
        host.write_link(name.as_ref(), &path)?;
        paths.push(name);
        known.0.insert(file.sha256.to_string(), found);
    }
    known.write(host)?;
    Ok(paths)
}
