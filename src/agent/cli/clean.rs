//! `loitsut clean`: an image that is taken of this machine shall not start elsewhere with what belongs to this one.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::closed;
use crate::config::Config;
use crate::host::Host;
use crate::host::files::Kind;
use crate::host::process::Program;
use crate::metadata::Source;
use crate::report::say;
use crate::unit;

/// Records of what was done, downloads, and the worker's settings, which the agent writes anew at each boot.
const OF_THIS_MACHINE: [&str; 3] =
    ["/var/lib/loitsut", "/var/cache/loitsut", "/run/systemd/system/loitsut-worker.service.d"];

/// Status and secrets of this boot.
const OF_THIS_BOOT: &str = "/run/loitsut";

/// The one file there that stays: who waits for it must go on meaning the same one.
const LOCK: &str = "lock";

/// Removes what the agent has left on this machine, its routing rules too; profiles and settings of the image stay.
pub(super) async fn clean() -> Result<ExitCode> {
    let host = Host::here();
    super::require_root("clean")?;
    for unit in ["loitsut.service", "loitsut-worker.service"] {
        if unit::is_active(&host, unit)? {
            bail!("{unit} is running: `systemctl stop loitsut.service loitsut-worker.service` stops both");
        }
    }
    let Some(_lock) = host.lock()? else {
        bail!("another loitsut is at work: `fuser /run/loitsut/lock` names it");
    };
    let mut removed = Vec::new();
    for path in OF_THIS_MACHINE.map(Path::new) {
        removed.extend(remove(&host, path)?.then(|| path.display().to_string()));
    }
    for name in host.list(Path::new(OF_THIS_BOOT))?.iter().filter(|name| *name != LOCK) {
        let path = Path::new(OF_THIS_BOOT).join(name);
        removed.extend(remove(&host, &path)?.then(|| path.display().to_string()));
    }
    if removed.iter().any(|path| path.ends_with(".service.d")) {
        host.run_checked(&Program::new(["systemctl", "daemon-reload"])).await?;
    }
    // In a tree that is not booted this would be about the machine that the image is made on.
    if unit::is_booted(&host)? {
        let source = Config::read(&host).ok().and_then(|config| Source::detect(&host, config).ok());
        closed::open_again(source.as_ref())?;
    }
    match removed.as_slice() {
        [] => say("nothing of this machine was left"),
        removed => removed.iter().for_each(|path| say(&format!("removed {path}"))),
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether there was something.
fn remove(host: &Host, path: &Path) -> Result<bool> {
    match host.stat(path)?.map(|stat| stat.kind) {
        None => return Ok(false),
        Some(Kind::Directory) => host.remove_tree(path)?,
        Some(_) => host.remove(path)?,
    }
    Ok(true)
}
