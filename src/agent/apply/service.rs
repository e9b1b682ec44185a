//! `service`.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use loitsut_profile::names::AbsPath;
use loitsut_profile::resource::Service;
use loitsut_profile::sha256::Sha256;

use super::{Context, Converge, Drift};
use crate::host::Host;
use crate::host::files::{Attributes, Kind};
use crate::host::process::Program;
use crate::unit;

/// Where an admin's units and links are.
const UNITS: &str = "/etc/systemd/system";

/// Digests of the files that a service was last started with.
const STARTED_WITH: &str = "/var/lib/loitsut/services";

/// One thing to do about a unit.
#[derive(Clone, Copy, PartialEq)]
enum Action {
    Write,
    Unmask,
    Enable,
    Disable,
    Restart,
    Start,
    Stop,
    Mask,
}

/// How a unit differs, and what to do about it, in order.
pub struct ServiceDrift {
    differing: Vec<(Action, String)>,
}

impl fmt::Display for ServiceDrift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = self.differing.iter().map(|(_, words)| words.as_str()).collect();
        f.write_str(&words.join(", "))
    }
}

impl Drift for ServiceDrift {}

impl Converge for Service {
    type Drift = ServiceDrift;

    async fn check(&self, context: &Context<'_>) -> Result<Option<ServiceDrift>> {
        let host = context.host;
        let mut differing = Vec::new();
        let mut note = |action: Action, words: &str| differing.push((action, words.to_owned()));
        if let Some(unit) = &self.unit
            && host.read_text(&unit_path(self))?.as_deref() != Some(unit)
        {
            note(Action::Write, "its unit differs");
        }
        match (self.masked, is_masked(host, self)?) {
            (Some(true), false) => note(Action::Mask, "is not masked"),
            (Some(false), true) => note(Action::Unmask, "is masked"),
            _ => {}
        }
        match (self.enabled, is_enabled(host, self)?) {
            (Some(true), false) => note(Action::Enable, "is not enabled"),
            (Some(false), true) => note(Action::Disable, "is enabled"),
            _ => {}
        }
        // In a tree that is not booted nothing runs, and nothing can be started.
        if is_booted(host)? {
            match (self.running, unit::is_active(host, self.name.as_str())?) {
                (Some(true), false) => note(Action::Start, "is not running"),
                (Some(false), true) => note(Action::Stop, "is running"),
                (_, true) if needs_restart(host, self)? => note(Action::Restart, "runs with files as they were before"),
                _ => {}
            }
        }
        Ok((!differing.is_empty()).then_some(ServiceDrift { differing }))
    }

    async fn apply(&self, context: &Context<'_>, drift: ServiceDrift) -> Result<()> {
        // A unit that is masked can no longer be stopped by name alone: mask it last.
        let mut actions: Vec<Action> = drift.differing.into_iter().map(|(action, _)| action).collect();
        actions.sort_by_key(|action| *action == Action::Mask);
        for action in actions {
            perform(self, context.host, action).await?;
        }
        Ok(())
    }
}

async fn perform(service: &Service, host: &Host, action: Action) -> Result<()> {
    let verb = match action {
        Action::Write => {
            let text = service.unit.as_deref().unwrap_or_default();
            host.write(&unit_path(service), text.as_bytes(), Attributes::PUBLIC)?;
            return reload(host).await;
        }
        Action::Mask => {
            if host.stat(&unit_path(service))?.is_some_and(|stat| stat.kind == Kind::File) {
                bail!("{} is an admin's own unit: remove it instead of masking it", unit_path(service).display());
            }
            host.write_link(&unit_path(service), "/dev/null")?;
            return reload(host).await;
        }
        Action::Unmask => {
            host.remove(&unit_path(service))?;
            return reload(host).await;
        }
        Action::Enable => "enable",
        Action::Disable => "disable",
        Action::Restart => "restart",
        Action::Start => "start",
        Action::Stop => "stop",
    };
    host.run_checked(
        &Program::new(["systemctl", verb, service.name.as_str()]).timeout(std::time::Duration::from_secs(300)),
    )
    .await?;
    if matches!(action, Action::Start | Action::Restart) && !service.restart_on.is_empty() {
        host.write(&started_with_path(service), digests(host, &service.restart_on)?.as_bytes(), Attributes::PUBLIC)?;
    }
    Ok(())
}

async fn reload(host: &Host) -> Result<()> {
    if is_booted(host)? {
        host.run_checked(&Program::new(["systemctl", "daemon-reload"])).await?;
    }
    Ok(())
}

fn unit_path(service: &Service) -> PathBuf {
    Path::new(UNITS).join(service.name.as_str())
}

fn is_booted(host: &Host) -> Result<bool> {
    // As sd_booted(3).
    Ok(host.stat(Path::new("/run/systemd/system"))?.is_some())
}

fn is_masked(host: &Host, service: &Service) -> Result<bool> {
    Ok(host.link_target(&unit_path(service))?.is_some_and(|target| target == Path::new("/dev/null")))
}

/// Enabled is what `systemctl enable` leaves behind: a link in a `.wants`, `.requires` or `.upholds` directory.
fn is_enabled(host: &Host, service: &Service) -> Result<bool> {
    for folder in host.list(Path::new(UNITS))? {
        let pulls_in = [".wants", ".requires", ".upholds"].iter().any(|suffix| folder.ends_with(suffix));
        let link = Path::new(UNITS).join(&folder).join(service.name.as_str());
        if pulls_in && host.stat(&link)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn started_with_path(service: &Service) -> PathBuf {
    Path::new(STARTED_WITH).join(service.name.as_str())
}

fn needs_restart(host: &Host, service: &Service) -> Result<bool> {
    if service.restart_on.is_empty() || service.running == Some(false) {
        return Ok(false);
    }
    // Without a note, a package has started it, perhaps before the files were there.
    Ok(host.read_text(&started_with_path(service))?.as_deref() != Some(&digests(host, &service.restart_on)?))
}

fn digests(host: &Host, paths: &[AbsPath]) -> Result<String> {
    let line = |path: &AbsPath| -> Result<String> {
        let digest =
            host.digest(path.as_path())?.map_or_else(|| "absent".to_owned(), |digest: Sha256| digest.to_string());
        Ok(format!("{digest}  {path}\n"))
    };
    paths.iter().map(line).collect()
}
