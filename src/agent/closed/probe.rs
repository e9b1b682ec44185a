//! The probe: what a process in the worker's control group gets when it asks for the metadata service.
//!
//! It wants proof and takes no failure for it: a service that is down for a moment looks closed too. A connection that
//! is made at all is one too many, whatever the service would answer to whichever token.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use nix::errno::Errno;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::host::Host;
use crate::host::file_error::FileError;
use crate::host::files::Attributes;
use crate::host::socket::{self, Mark};

/// Written by the probe, read by the agent.
const FINDINGS: &str = "/run/loitsut/worker/closed.json";

/// A routing rule refuses at once, and a service on this link accepts as fast.
const CONNECT: Duration = Duration::from_secs(2);

/// What the probe has found; nothing, if all is as it should be.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Findings {
    /// The routing rules do not close this.
    pub open: BTreeSet<String>,
    /// The filter of the worker's control group does not.
    pub unfiltered: BTreeSet<String>,
}

impl Findings {
    pub(super) fn read(host: &Host) -> Result<Self, FileError> {
        let text = host.read_text(Path::new(FINDINGS))?.unwrap_or_default();
        // Torn, or not there: systemd refuses the worker if the probe has not ended well.
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }

    /// Why the worker must not start, if so.
    pub fn refusal(&self) -> Option<String> {
        let open = joined(&self.open)?;
        let filter = match self.unfiltered.is_empty() {
            true => "only the filter on the worker's control group (IPAddressDeny=) does, which does not hold for root",
            false => "neither does the filter on the worker's control group (IPAddressDeny=)",
        };
        Some(format!(
            "the metadata service is not closed, so the worker is not started: the routing rules do not keep it out of \
             there ({open}), {filter}"
        ))
    }

    /// What is weaker than it should be, if anything is.
    pub fn warning(&self) -> Option<String> {
        let unfiltered = joined(&self.unfiltered)?;
        Some(format!(
            "the metadata service is closed by routing rules only: IPAddressDeny= has no effect on the worker \
             ({unfiltered}), for which systemd needs the unified control group hierarchy and a kernel with CONFIG_CGROUP_BPF"
        ))
    }
}

fn joined(texts: &BTreeSet<String>) -> Option<String> {
    (!texts.is_empty()).then(|| texts.iter().cloned().collect::<Vec<_>>().join("; "))
}

/// Tries each service from where it is run.
///
/// # Errors
/// What was found cannot be written down.
pub async fn probe(services: &[SocketAddr]) -> Result<ExitCode> {
    let mut findings = Findings::default();
    for service in services.iter().filter(|service| service.is_ipv4() || socket::has_ipv6()) {
        for way in ways(*service)? {
            findings.open.extend(rule_fails(way).await);
            findings.unfiltered.extend(filter_fails(way));
        }
    }
    let text = serde_json::to_vec(&findings)?;
    Host::here().write(Path::new(FINDINGS), &text, Attributes::PRIVATE)?;
    for told in findings.refusal().iter().chain(&findings.warning()) {
        eprintln!("{told}");
    }
    Ok(if findings.open.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A link-local address is another service on each link.
fn ways(service: SocketAddr) -> io::Result<Vec<SocketAddr>> {
    match service {
        SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() => {
            let scoped = |scope| {
                let mut way = v6;
                way.set_scope_id(scope);
                SocketAddr::V6(way)
            };
            Ok(socket::links()?.into_iter().map(scoped).collect())
        }
        _ => Ok(vec![service]),
    }
}

/// Why the routing rules do not close this, if so. They do when the kernel says that it is prohibited.
async fn rule_fails(way: SocketAddr) -> Option<String> {
    match timeout(CONNECT, socket::connect(way, Mark::None)).await {
        Ok(Ok(_)) => Some(format!("{way} can be connected to")),
        Ok(Err(error)) if error.raw_os_error() == Some(Errno::EACCES as i32) => None,
        Ok(Err(error)) => Some(format!("{way}: {error}")),
        Err(_) => Some(format!("{way}: no answer, and no refusal")),
    }
}

/// Why the filter does not close this, if so.
fn filter_fails(way: SocketAddr) -> Option<String> {
    match socket::is_filtered(way) {
        Ok(true) => None,
        Ok(false) => Some(format!("{way} can be sent to")),
        Err(error) => Some(format!("{way}: {error}")),
    }
}
