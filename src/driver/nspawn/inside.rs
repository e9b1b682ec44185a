//! Commands in a running instance.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::state::Record;
use crate::process::{PATH, run};

/// `start` returns before systemd runs, which takes a moment.
const BOOT_DEADLINE: Duration = Duration::from_secs(20);

/// Runs what it is given and exits as that does. A pid namespace is entered by a fork, and `nsenter`, which would do it,
/// stops itself when its child is stopped, as systemd stops all processes before a reboot: nobody would then reap the child,
/// and the reboot would wait for it. A shell waits for ends only. (`exit`, or it would become the command.)
const WAIT: &str = "\"$@\"; exit \"$?\"";

/// Becomes this command in the instance, so that its input, output and exit status are the command's own.
pub(crate) async fn exec(record: &Record, command: &[String]) -> Result<()> {
    let leader = leader(record).await?;
    let error = Command::new("nsenter")
        .arg(format!("--target={leader}"))
        .args(["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd", "--no-fork", "--"])
        .args(["sh", "-c", WAIT, "sh"])
        // What is killed out here must not leave its command behind in there.
        .args(["setpriv", "--pdeathsig=TERM", "--"])
        .args(command)
        .env_clear()
        .envs([("PATH", PATH), ("HOME", "/root"), ("LANG", "C.UTF-8")])
        .envs(std::env::var_os("TERM").map(|term| ("TERM", term)))
        .exec();
    Err(error).context("cannot run nsenter")
}

/// Waits for the instance's PID 1; answers its pid as the host counts.
async fn leader(record: &Record) -> Result<u32> {
    let begin = Instant::now();
    loop {
        let pids = run("ip", &["netns", "pids", &record.network.name()]).await?;
        if let Some(pid) = pids.lines().filter_map(|pid| pid.trim().parse().ok()).find(is_systemd) {
            return Ok(pid);
        }
        if begin.elapsed() > BOOT_DEADLINE {
            bail!("launch {} has no PID 1 after {} s: see `nspawn log`", record.launch, BOOT_DEADLINE.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(50)).await; // there is no event for "has executed its init"
    }
}

/// Whether this is PID 1 one namespace below ours (not that of a container within), and no longer systemd-nspawn.
fn is_systemd(pid: &u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let pids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    let first = pids.split_whitespace().skip(1).eq(["1"]);
    let program = fs::read_link(format!("/proc/{pid}/exe"));
    first && program.is_ok_and(|path| !path.ends_with("systemd-nspawn"))
}
