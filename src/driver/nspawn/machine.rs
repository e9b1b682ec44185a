//! The machine of an instance: its root file system, and systemd-nspawn over it.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tokio::process::{Child, Command};

use super::cgroup::Cgroup;
use super::network;
use super::protocol::{Bind, Start};
use super::state::Record;
use crate::process::PATH;

/// The machine of one launch, in the launch's directory.
pub(crate) struct Machine {
    directory: PathBuf,
    name: String,
    host_name: String,
    namespace: PathBuf,
}

impl Machine {
    pub(crate) fn new(directory: PathBuf, record: &Record) -> Self {
        Self {
            directory,
            name: record.network.name(),
            host_name: record.name.clone(),
            namespace: record.network.namespace(),
        }
    }

    fn root(&self) -> PathBuf {
        self.directory.join("root")
    }

    /// Lays the image, what is over it, and a directory for changes into one root file system.
    pub(crate) fn prepare(&self, start: &Start, record: &Record) -> Result<()> {
        let upper = self.directory.join("upper");
        let work = self.directory.join("work");
        for directory in [&upper, &work, &self.root()] {
            fs::DirBuilder::new().mode(0o755).create(directory).with_context(|| directory.display().to_string())?;
        }
        write_identity(&upper.join("etc"), record, &network::nameservers(&start.network.nameservers)?)?;
        let lower: Vec<_> = start.overlays.iter().rev().chain([&start.image]).map(|p| p.to_string_lossy()).collect();
        let options = format!("lowerdir={},upperdir={},workdir={}", lower.join(":"), upper.display(), work.display());
        mount(Some("overlay"), &self.root(), Some("overlay"), MsFlags::empty(), Some(options.as_str()))
            .with_context(|| format!("cannot mount the overlay on {} ({options})", self.root().display()))?;
        Cgroup::named(&self.name)?.create()
    }

    /// Starts systemd as its PID 1; the console is the child's standard output.
    pub(crate) fn spawn(&self, binds: &[Bind]) -> Result<Child> {
        // The shell moves itself, so that nspawn is in the instance's control group from its first breath on. What
        // nspawn has to say goes to the console too, where whoever looks for the reason of an end finds it.
        let move_then_run = "echo 0 >\"$1\" && shift && exec \"$@\" 2>&1";
        Command::new("sh")
            .args(["-c", move_then_run, "sh"])
            .arg(Cgroup::named(&self.name)?.entrance())
            .arg("systemd-nspawn")
            .args(["--quiet", "--boot", "--console=read-only", "--register=no", "--keep-unit"])
            .args(["--resolv-conf=off", "--timezone=off", "--link-journal=no"])
            // Build agents filter traffic by eBPF (IPAddressDeny=) and by routing rules, as they do on a real machine.
            .args(["--system-call-filter=bpf", "--capability=CAP_BPF,CAP_NET_ADMIN"])
            .arg(format!("--machine={}", self.name))
            .arg(format!("--hostname={}", self.host_name))
            .arg(option("--directory=", &self.root()))
            .arg(option("--network-namespace-path=", &self.namespace))
            .args(binds.iter().map(bind_option))
            .env_clear()
            .env("PATH", PATH)
            .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1") // or it copies the host's hybrid layout
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("systemd-nspawn could not be run")
    }

    /// Kills what runs and unmounts what is mounted; nothing of it need exist.
    pub(crate) async fn destroy(&self) -> Result<()> {
        Cgroup::named(&self.name)?.destroy().await?;
        match umount2(&self.root(), MntFlags::MNT_DETACH) {
            Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => (), // not a mount point, or not there
            Err(errno) => return Err(errno).with_context(|| format!("cannot unmount {}", self.root().display())),
        }
        // systemd-nspawn leaves it when it is killed.
        let _ = fs::remove_dir(Path::new("/run/systemd/nspawn/propagate").join(&self.name));
        Ok(())
    }
}

/// Writes what makes this instance itself. It goes into the upper directory before that is mounted, because an image
/// may have a link at any of these paths, and a link must not lead out of it.
fn write_identity(etc: &Path, record: &Record, resolv_conf: &str) -> Result<()> {
    let hosts = format!("127.0.0.1 localhost\n127.0.1.1 {}\n::1 localhost ip6-localhost ip6-loopback\n", record.name);
    let files = [
        ("hostname", format!("{}\n", record.name)),
        ("hosts", hosts),
        ("machine-id", format!("{}\n", record.machine_id)),
        ("resolv.conf", resolv_conf.to_owned()),
    ];
    fs::DirBuilder::new().mode(0o755).create(etc).with_context(|| etc.display().to_string())?;
    for (name, content) in files {
        fs::write(etc.join(name), content).with_context(|| etc.join(name).display().to_string())?;
    }
    Ok(())
}

fn option(name: &str, path: &Path) -> OsString {
    let mut option = OsString::from(name);
    option.push(path);
    option
}

/// `--bind=SOURCE:TARGET:OPTIONS`, in which a colon of a path is escaped.
fn bind_option(bind: &Bind) -> String {
    let escape = |path: &Path| path.to_string_lossy().replace('\\', "\\\\").replace(':', "\\:");
    let kind = if bind.read_only { "--bind-ro" } else { "--bind" };
    format!("{kind}={}:{}", escape(&bind.source), escape(&bind.target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_in_a_bind_is_no_separator() {
        let bind = |read_only| Bind { source: "/a:b".into(), target: "/c".into(), read_only };
        assert_eq!(bind_option(&bind(false)), "--bind=/a\\:b:/c");
        assert_eq!(bind_option(&bind(true)), "--bind-ro=/a\\:b:/c");
    }
}
