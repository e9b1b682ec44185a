//! `service`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};
use loitsut_profile::resource::Service;

use super::{Context, Converge, Drift, diff};
use crate::host::Host;
use crate::host::files::{Attributes, Kind};
use crate::host::process::Program;
use crate::unit::is_booted;

/// Where an admin's units and links are.
pub(super) const UNITS: &str = "/etc/systemd/system";

/// Digests of the files that a service was last started with.
const STARTED_WITH: &str = "/var/lib/loitsut/services";

/// How long systemd may take to do what it is told; units have deadlines of their own, mostly of 90 s.
const SYSTEMCTL: Duration = Duration::from_secs(300);

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
    differing: Vec<(Action, &'static str)>,
    diff: Option<String>,
}

impl fmt::Display for ServiceDrift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = self.differing.iter().map(|(_, words)| *words).collect();
        f.write_str(&words.join(", "))
    }
}

impl Drift for ServiceDrift {
    fn diff(&self) -> Option<String> {
        self.diff.clone()
    }
}

impl Converge for Service {
    type Drift = ServiceDrift;

    async fn check(&self, context: &Context<'_>) -> Result<Option<ServiceDrift>> {
        let host = context.host;
        let mut differing = check_files(self, host)?;
        // In a tree that is not booted nothing runs, and nothing can be started.
        if is_booted(host)? {
            let rewritten = differing.iter().any(|(action, _)| *action == Action::Write);
            differing.extend(match (self.running, context.units.has(host, self.name.as_str()).await?) {
                (Some(true), false) => Some((Action::Start, "is not running")),
                (Some(false), true) => Some((Action::Stop, "is running")),
                (Some(false), false) | (None, false) => None,
                (_, true) if rewritten || needs_restart(host, self)? => {
                    Some((Action::Restart, "runs with files as they were before"))
                }
                (_, true) => None,
            });
        }
        let diff = if differing.iter().any(|(action, _)| *action == Action::Write) { shown(self, host)? } else { None };
        Ok((!differing.is_empty()).then_some(ServiceDrift { differing, diff }))
    }

    async fn apply(&self, context: &Context<'_>, drift: ServiceDrift) -> Result<()> {
        let mut actions: Vec<Action> = drift.differing.into_iter().map(|(action, _)| action).collect();
        actions.sort_by_key(|action| match action {
            // The mask is where a unit of ours is to be.
            Action::Unmask => 0,
            // A unit that is masked can no longer be stopped by name alone.
            Action::Mask => 2,
            _ => 1,
        });
        for action in actions {
            perform(self, context, action).await?;
            context.units.forget();
        }
        Ok(())
    }
}

/// A unified diff of the unit's file, of which everybody may read what is there.
fn shown(service: &Service, host: &Host) -> Result<Option<String>> {
    let (path, wanted) = (unit_path(service), service.unit.as_deref().unwrap_or_default());
    let found = match host.stat(&path)? {
        None => Vec::new(),
        Some(stat) if stat.kind == Kind::File && stat.mode & 0o004 != 0 => host.read(&path)?.unwrap_or_default(),
        Some(_) => return Ok(None),
    };
    let diff = diff::unified(&path.display().to_string(), &found, wanted.as_bytes());
    Ok(diff.map(|diff| host.masked(&diff)))
}

/// What differs whether it runs or not.
fn check_files(service: &Service, host: &Host) -> Result<Vec<(Action, &'static str)>> {
    let mut differing = Vec::new();
    let masked = is_masked(host, service)?;
    if let Some(unit) = &service.unit
        && (masked || host.read_text(&unit_path(service))?.as_deref() != Some(unit))
    {
        differing.push((Action::Write, "its unit differs"));
    }
    differing.extend(match (service.masked, masked) {
        (Some(true), false) => Some((Action::Mask, "is not masked")),
        (Some(false), true) => Some((Action::Unmask, "is masked")),
        _ => None,
    });
    differing.extend(match (service.enabled, is_enabled(host, service)?) {
        (Some(true), false) => Some((Action::Enable, "is not enabled")),
        (Some(false), true) => Some((Action::Disable, "is enabled")),
        _ => None,
    });
    Ok(differing)
}

async fn perform(service: &Service, context: &Context<'_>, action: Action) -> Result<()> {
    let host = context.host;
    let verb = match action {
        Action::Write => {
            let text = service.unit.as_deref().unwrap_or_default();
            // Before: if the agent ends between here and the restart, the next one finds what it still runs with.
            if is_booted(host)? && context.units.has(host, service.name.as_str()).await? {
                remember(host, service)?;
            }
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
    let program = Program::new(["systemctl", verb, service.name.as_str()]).timeout(SYSTEMCTL);
    if let Err(error) = host.run_checked(&program).await {
        bail!("{error}{}", last_words(service, host).await);
    }
    match action {
        Action::Enable if !is_enabled(host, service)? => {
            bail!("`systemctl enable` left no link: {} has no [Install] section that says what wants it", service.name)
        }
        Action::Start | Action::Restart if !files(service).is_empty() => remember(host, service),
        _ => Ok(()),
    }
}

/// What the unit itself printed; systemctl only tells where to look for it.
async fn last_words(service: &Service, host: &Host) -> String {
    let journal =
        ["journalctl", "--quiet", "--no-pager", "--output=cat", "--lines=20", "--unit", service.name.as_str()];
    let said = match host.run(&Program::new(["journalctl", "--sync"])).await {
        Ok(_) => host.run(&Program::new(journal)).await.map(|finished| finished.tail).unwrap_or_default(),
        Err(_) => Vec::new(),
    };
    said.iter().map(|line| format!("\n    | {line}")).collect()
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

fn is_masked(host: &Host, service: &Service) -> Result<bool> {
    Ok(host.link_target(&unit_path(service))?.is_some_and(|target| target == Path::new("/dev/null")))
}

/// Enabled is what `systemctl enable` leaves behind: a link in a `.wants`, `.requires` or `.upholds` directory, or an
/// alias.
fn is_enabled(host: &Host, service: &Service) -> Result<bool> {
    let name = service.name.as_str();
    for entry in host.list(Path::new(UNITS))? {
        let path = Path::new(UNITS).join(&entry);
        let pulls_in = [".wants", ".requires", ".upholds"].iter().any(|suffix| entry.ends_with(suffix));
        let enables = if pulls_in {
            host.stat(&path.join(name))?.is_some()
        } else {
            entry != name && host.link_target(&path)?.is_some_and(|target| target.ends_with(name))
        };
        if enables {
            return Ok(true);
        }
    }
    Ok(false)
}

fn started_with_path(service: &Service) -> PathBuf {
    Path::new(STARTED_WITH).join(service.name.as_str())
}

fn needs_restart(host: &Host, service: &Service) -> Result<bool> {
    if files(service).is_empty() || service.running == Some(false) {
        return Ok(false);
    }
    match host.read_text(&started_with_path(service))? {
        Some(started_with) => Ok(started_with != digests(host, &files(service))?),
        // A package or the boot has started it; perhaps before the files were there, but with this unit.
        None => Ok(!service.restart_on.is_empty()),
    }
}

/// What it runs with: the files named, and its unit.
fn files(service: &Service) -> Vec<PathBuf> {
    let unit = service.unit.as_ref().map(|_| unit_path(service));
    service.restart_on.iter().map(|path| path.as_path().to_owned()).chain(unit).collect()
}

/// Notes what it runs with.
fn remember(host: &Host, service: &Service) -> Result<()> {
    let digests = digests(host, &files(service))?;
    Ok(host.write(&started_with_path(service), digests.as_bytes(), Attributes::PUBLIC)?)
}

fn digests(host: &Host, paths: &[PathBuf]) -> Result<String> {
    let line = |path: &PathBuf| -> Result<String> {
        let digest = host.digest(path)?.map_or_else(|| "absent".to_owned(), |digest| digest.to_string());
        Ok(format!("{digest}  {}\n", path.display()))
    };
    paths.iter().map(line).collect()
}
