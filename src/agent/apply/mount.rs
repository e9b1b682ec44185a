//! `mount`: a systemd unit, which mounts the disk now and at every boot.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use loitsut_profile::resource::Mount;
use loitsut_profile::sha256::Sha256;

use super::service::UNITS;
use super::{Context, Converge, Drift};
use crate::host::Host;
use crate::host::files::{Attributes, Kind};
use crate::host::process::Program;
use crate::reboot::boot_id;
use crate::unit::is_booted;

/// What wants the unit at boot. Not local-fs.target: a disk that is gone must not keep the machine from coming up.
const WANTED_BY: &str = "multi-user.target";

/// A file for each disk whose file system is being made: what is on it then is nobody's.
const BEGUN: &str = "/var/lib/loitsut/disks";

/// How long a file system may take to be made; a large disk that cannot discard takes minutes.
const MAKE: Duration = Duration::from_secs(1800);

/// How long a disk may take to be mounted; a journal may have to be replayed.
const MOUNT: Duration = Duration::from_secs(300);

/// How a mount differs.
#[derive(Default)]
pub struct MountDrift {
    words: Vec<String>,
    make: bool,
    write: bool,
    mount: bool,
}

impl fmt::Display for MountDrift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words.join(", "))
    }
}

impl Drift for MountDrift {}

impl MountDrift {
    fn note(&mut self, words: impl Into<String>) {
        self.words.push(words.into());
    }
}

impl Converge for Mount {
    type Drift = MountDrift;

    async fn check(&self, context: &Context<'_>) -> Result<Option<MountDrift>> {
        let host = context.host;
        let mut drift = MountDrift::default();
        if host.read_text(&unit_path(self))?.as_deref() != Some(&unit_text(self))
            || host.link_target(&wants_path(self))?.is_none()
        {
            drift.write = true;
            drift.note("its unit differs");
        }
        if !is_mounted(self, host)? {
            drift.mount = true;
            drift.note("is not mounted");
            drift.make = is_to_be_made(self, host).await?;
            if drift.make {
                drift.note(format!("{} is blank", self.device));
            }
        }
        Ok((!drift.words.is_empty()).then_some(drift))
    }

    async fn apply(&self, context: &Context<'_>, drift: MountDrift) -> Result<()> {
        let host = context.host;
        if drift.make {
            make(self, host).await?;
        }
        if drift.write {
            host.write(&unit_path(self), unit_text(self).as_bytes(), Attributes::PUBLIC)?;
            host.write_link(&wants_path(self), &unit_path(self).display().to_string())?;
            if is_booted(host)? {
                host.run_checked(&Program::new(["systemctl", "daemon-reload"])).await?;
            }
        }
        if drift.mount {
            mount(self, host).await?;
        }
        Ok(())
    }
}

/// Whether the device is what is mounted there.
fn is_mounted(mount: &Mount, host: &Host) -> Result<bool> {
    let mounts = host.mounts()?;
    let Some(found) = mounts.iter().rev().find(|mounted| mounted.path == mount.path.as_path()) else {
        return Ok(false);
    };
    let is_device = found.source.is_absolute() && host.stat_through(&found.source)?.is_some();
    let same =
        is_device && host.block_device(&found.source).ok().flatten() == host.block_device(mount.device.as_path())?;
    if !same {
        let source = found.source.display();
        bail!(
            "{} is mounted at {}, where {} is to be: unmount it, or name another path",
            source,
            mount.path,
            mount.device
        );
    }
    Ok(true)
}

/// Whether the disk is blank, or was when the file system on it was begun. Anything else stays as it is.
async fn is_to_be_made(mount: &Mount, host: &Host) -> Result<bool> {
    let device = mount.device.as_path();
    if host.block_device(device)?.is_none() {
        bail!("there is no device {}: `lsblk` and `ls /dev/disk/by-id` show what there is", mount.device);
    }
    let record = host.read_text(&begun(mount))?.unwrap_or_default();
    if record == begun_text(mount, host)? {
        return Ok(true);
    }
    // In another boot the same name may be that of another disk: what is half made is then only what nobody knows.
    let was_begun = record.starts_with(&begun_for(mount));
    let probe = Program::new(["blkid", "--probe", "--output", "export", mount.device.as_str()]);
    let probed = host.run(&probe).await?;
    let found = |key: &str| probed.tail.iter().find_map(|line| line.strip_prefix(key)).map(str::to_owned);
    match (probed.status.code(), found("TYPE=")) {
        (Some(0), Some(filesystem)) if filesystem == mount.filesystem.as_str() => Ok(false),
        (Some(0), kind) => {
            let kind = kind.or_else(|| found("PTTYPE=").map(|table| format!("a {table} partition table")));
            let kind = kind.unwrap_or_else(|| "something else".into());
            bail!("{} has {kind} on it, not {}: it stays as it is\n{}", mount.device, mount.filesystem, wipe(mount));
        }
        (Some(2), _) if was_begun || host.begins_with_zeros(device)? => Ok(true),
        (Some(2), _) => {
            bail!("{} has something on it that is no file system: it stays as it is\n{}", mount.device, wipe(mount))
        }
        _ => bail!("blkid cannot tell what is on {}: {}", mount.device, probed.tail.join(" ")),
    }
}

fn wipe(mount: &Mount) -> String {
    format!(
        "help: if that is of no use to anybody, `wipefs --all {0}` and `blkdiscard --zeroout {0}` remove it",
        mount.device
    )
}

async fn make(mount: &Mount, host: &Host) -> Result<()> {
    host.write(&begun(mount), begun_text(mount, host)?.as_bytes(), Attributes::PUBLIC)?;
    let program = format!("mkfs.{}", mount.filesystem);
    let mut words = vec![program.as_str()];
    // What is half made is to be made again.
    words.extend(match mount.filesystem.as_str() {
        "xfs" | "btrfs" => Some("-f"),
        "ext2" | "ext3" | "ext4" => Some("-F"),
        _ => None,
    });
    words.push(mount.device.as_str());
    host.run_checked(&Program::new(words).timeout(MAKE)).await.context("the file system cannot be made")?;
    Ok(host.remove(&begun(mount))?)
}

async fn mount(mount: &Mount, host: &Host) -> Result<()> {
    match host.stat(mount.path.as_path())?.map(|stat| stat.kind) {
        None => host.make_directory(mount.path.as_path(), Attributes { mode: 0o755, uid: 0, gid: 0 })?,
        Some(Kind::Directory) => {}
        Some(_) => bail!("{} is not a directory: remove it, or name another path", mount.path),
    }
    let options = options(mount);
    let (kind, device, path) = (mount.filesystem.as_str(), mount.device.as_str(), mount.path.as_str());
    let unit = unit_name(mount);
    let words = if is_booted(host)? {
        vec!["systemctl", "restart", &unit]
    } else {
        vec!["mount", "-t", kind, "-o", &options, device, path]
    };
    host.run_checked(&Program::new(words).timeout(MOUNT)).await?;
    Ok(())
}

fn options(mount: &Mount) -> String {
    let said = mount.options.iter().map(|option| option.as_str());
    // A boot does not wait for it, and comes up without it; the agent says what is wrong.
    let mut all: Vec<&str> = said.filter(|option| *option != "nofail").collect();
    all.push("nofail");
    all.join(",")
}

fn unit_text(mount: &Mount) -> String {
    // `%` begins a specifier.
    let plain = |path: &str| path.replace('%', "%%");
    format!(
        "# Written by loitsut.\n\
         [Unit]\n\
         Description=Disk at {path}\n\
         [Mount]\n\
         What={device}\n\
         Where={path}\n\
         Type={}\n\
         Options={}\n\
         [Install]\n\
         WantedBy={WANTED_BY}\n",
        mount.filesystem,
        options(mount),
        path = plain(mount.path.as_str()),
        device = plain(mount.device.as_str()),
    )
}

fn unit_path(mount: &Mount) -> PathBuf {
    Path::new(UNITS).join(unit_name(mount))
}

fn wants_path(mount: &Mount) -> PathBuf {
    Path::new(UNITS).join(format!("{WANTED_BY}.wants")).join(unit_name(mount))
}

/// As `systemd-escape --path --suffix=mount` has it: the unit of a path can have no other name.
fn unit_name(mount: &Mount) -> String {
    let path = mount.path.as_str().trim_start_matches('/');
    let escaped = path.bytes().enumerate().map(|(at, byte)| match byte {
        b'/' => "-".to_owned(),
        b'.' if at > 0 => ".".to_owned(),
        b'_' | b':' => char::from(byte).to_string(),
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("\\x{byte:02x}"),
    });
    escaped.collect::<String>() + ".mount"
}

fn begun(mount: &Mount) -> PathBuf {
    Path::new(BEGUN).join(Sha256::of(mount.device.as_str().as_bytes()).to_string())
}

fn begun_text(mount: &Mount, host: &Host) -> Result<String> {
    Ok(format!("{}{}\n", begun_for(mount), boot_id(host)?))
}

fn begun_for(mount: &Mount) -> String {
    format!("{}\n{}\n", mount.device, mount.filesystem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_named_as_systemd_escape_does() {
        let named = |path: &str| {
            unit_name(&Mount {
                device: "/dev/vdb".parse().unwrap(),
                filesystem: "ext4".parse().unwrap(),
                path: path.parse().unwrap(),
                options: Vec::new(),
            })
        };
        assert_eq!(named("/srv/build"), "srv-build.mount");
        assert_eq!(named("/srv/a-b c/.x.y_z"), "srv-a\\x2db\\x20c-.x.y_z.mount");
        assert_eq!(named("/.é"), "\\x2e\\xc3\\xa9.mount");
    }
}
