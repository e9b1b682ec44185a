//! Another version of the agent, where the user-data asks for one: fetched, verified, and taking the place of this one.
//! Images are baked once and live for years, so this comes before anything that an old agent may not know.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use loitsut_profile::resource::Remote;
use loitsut_profile::userdata::{self, Agent, Decoded};
use tokio::time::timeout;

use crate::host::Host;
use crate::host::cache::Downloads;
use crate::host::files::Attributes;

/// The version of this agent.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Where a fetched agent is. Under /var/lib, where dpkg has its scripts: a system that forbids programs there cannot be
/// installed to, while /run is often mounted so.
pub const FETCHED: &str = "/var/lib/loitsut/agent/loitsut";

/// How long fetching it may take: nobody ends this launch before the rest of the user-data is read.
const PATIENCE: Duration = Duration::from_secs(600);

/// Tells the fetched agent that it is one: a second time would be a loop.
const UPDATED: &str = "LOITSUT_UPDATED_FROM";

/// Returns if this is the agent that the user-data asks for, or if it asks for none.
///
/// # Errors
/// The wanted one cannot be had for this machine, or is not what it should be.
pub async fn become_wanted(host: &Host, user_data: Option<&[u8]>) -> Result<()> {
    let Some(agent) = wanted(user_data)? else { return Ok(()) };
    if agent.version.as_str() == VERSION {
        return Ok(());
    }
    if std::env::var_os(UPDATED).is_some() {
        bail!("the program that was fetched as loitsut {} says that it is {VERSION}: `agent` is wrong", agent.version);
    }
    let remote = remote(&agent)?;
    tracing::info!("the user-data asks for loitsut {}, and this is {VERSION}: fetching it", agent.version);
    let downloads = Downloads::new(host);
    let fetched = timeout(PATIENCE, downloads.get(&remote)).await;
    let fetched = fetched.map_err(|_| anyhow!("it takes longer than {} s", PATIENCE.as_secs()));
    let fetched = fetched.and_then(|fetched| Ok(fetched?));
    let fetched = fetched.with_context(|| format!("loitsut {} cannot be fetched", agent.version))?;
    let place = Path::new(FETCHED);
    host.copy(&fetched, place, Attributes { mode: 0o755, ..Attributes::PUBLIC })?;
    let error = host.become_program(place, UPDATED, VERSION);
    Err(error).with_context(|| format!("{FETCHED}, which is loitsut {}, cannot be run", agent.version))
}

/// The agent that user-data asks for; nothing else in it is looked at.
fn wanted(user_data: Option<&[u8]>) -> Result<Option<Agent>> {
    match user_data.map(userdata::decode).transpose()? {
        Some(Decoded::Ours(text)) => Ok(text.preamble()?.agent),
        _ => Ok(None),
    }
}

/// Where it is for this machine. A URL without a digest was refused when the document was read.
fn remote(agent: &Agent) -> Result<Remote> {
    let machine = std::env::consts::ARCH;
    let url = agent.url.iter().find(|(name, _)| name.as_str() == machine);
    let sha256 = agent.sha256.iter().find(|(name, _)| name.as_str() == machine);
    match (url, sha256) {
        (Some((_, url)), Some((_, sha256))) => Ok(Remote { url: url.clone(), sha256: *sha256 }),
        _ => bail!(
            "the user-data asks for loitsut {}, and this is {VERSION}: its `agent` has no `url` and `sha256` for {machine}",
            agent.version
        ),
    }
}
