//! The process that lives as long as an instance: it makes it, is its metadata service, and tidies up after it.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

use super::machine::Machine;
use super::metadata::{self, Identity};
use super::notice;
use super::protocol::{Bind, LaunchId, Start};
use super::state::{Record, Store};

/// Making an instance takes well under a second.
const SETUP_DEADLINE: Duration = Duration::from_secs(60);

/// What a stopped instance gets for an orderly shutdown. It is thrown away: whoever stops it wants it gone.
pub(crate) const GRACE: Duration = Duration::from_secs(10);

/// With `--keep-unit`, systemd-nspawn ends like this when the instance reboots, and wants to be run again.
const REBOOT: i32 = 133;

/// A console that floods must not fill the host's disk.
const CONSOLE_LIMIT: u64 = 16 << 20;

/// What a supervisor has to say, in the launch's directory.
const LOG: &str = "supervisor.log";

/// The one line in which a supervisor tells `start` how it went.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Report {
    Ready,
    Failed(String),
}

/// Starts a supervisor for this launch and waits until its instance is made.
pub(crate) async fn start(store: &Store, start: &Start) -> Result<()> {
    let log = store.path(&start.launch).join(LOG);
    let mut child = Command::new("/proc/self/exe")
        .arg0(format!("loitsut-driver:{}", start.launch)) // what ps shows
        .args(["nspawn", "supervise"])
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(open_log(&log)?)
        .spawn()
        .context("cannot start a supervisor")?;
    let report = tokio::time::timeout(SETUP_DEADLINE, introduce(&mut child, start)).await;
    let failure = match report {
        Ok(Ok(Report::Ready)) => return Ok(()),
        Ok(Ok(Report::Failed(error))) => anyhow!(error),
        Ok(Err(error)) => error.context("the supervisor died"),
        Err(_) => anyhow!("the instance was not made after {} s", SETUP_DEADLINE.as_secs()),
    };
    // Its log goes away with the launch.
    let words = std::fs::read_to_string(&log).unwrap_or_default();
    let failure = if words.trim().is_empty() { failure } else { failure.context(words.trim().to_owned()) };
    let _ = child.kill().await; // it may be dead already, and its leftovers are removed by the caller
    Err(failure)
}

fn open_log(path: &Path) -> Result<File> {
    OpenOptions::new().append(true).create(true).open(path).with_context(|| path.display().to_string())
}

/// Hands the request over. It goes through a pipe, since the user-data in it may hold secrets.
async fn introduce(child: &mut Child, start: &Start) -> Result<Report> {
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else { bail!("no pipe to it") };
    stdin.write_all(&serde_json::to_vec(start)?).await?;
    drop(stdin);
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).await?;
    serde_json::from_str(&line).context("it did not say how it went")
}

/// The supervisor's life.
pub(crate) async fn supervise(store: &Store, start: &Start) -> Result<()> {
    nix::unistd::setsid().context("a supervisor is started by `nspawn start` only")?;
    // From the first on, so that a `stop` in the midst of making is obeyed after it, with everything in place.
    let mut stop = signal(SignalKind::terminate())?;
    let mut record = store.read(&start.launch)?.with_context(|| format!("there is no launch {}", start.launch))?;
    let _life = store.claim(&start.launch)?;
    let machine = Machine::new(store.path(&start.launch), &record);
    let listeners = match make(&machine, start, &record).await {
        Ok(listeners) => listeners,
        Err(error) => return report(&Report::Failed(format!("{error:#}"))),
    };
    if let Err(error) = report(&Report::Ready) {
        tracing::warn!("{error:#}"); // it was killed: the next `start` or `list` finds the instance
    }

    let tree = metadata::tree(&identity(&record), start.user_data.clone().map(|data| data.0));
    let directory = store.path(&start.launch);
    let (console, notices) = (directory.join("console.log"), directory.join(notice::DIRECTORY));
    let reason = tokio::select! {
        reason = live(&machine, &start.binds, &console, &mut stop) => reason,
        ended = metadata::serve(listeners, tree, Some(notices)) => ended.map(|()| "its metadata service ended".to_owned()),
    };
    record.ended = Some(reason.unwrap_or_else(|error| format!("{error:#}")));
    tracing::info!("ended: {}", record.ended.as_deref().unwrap_or_default());
    store.write(&record)?;
    let _lock = store.lock().await?;
    tear_down(store, &record).await
}

async fn make(machine: &Machine, start: &Start, record: &Record) -> Result<Vec<tokio::net::TcpListener>> {
    record.network.create().await?;
    machine.prepare(start, record)?;
    let listen = |listener: std::net::TcpListener| {
        listener.set_nonblocking(true)?;
        Ok(tokio::net::TcpListener::from_std(listener)?)
    };
    record.network.listen()?.into_iter().map(listen).collect()
}

/// Tells `start`, and lets go of its pipe, so that whoever reads what it prints is not kept waiting by us.
fn report(report: &Report) -> Result<()> {
    let told = writeln!(std::io::stdout(), "{}", serde_json::to_string(report)?);
    nix::unistd::dup2_stdout(File::open("/dev/null")?)?;
    told.context("`nspawn start` does not wait any more")
}

fn identity(record: &Record) -> Identity {
    Identity {
        id: record.id.clone(),
        name: record.name.clone(),
        address: record.network.address(),
        mac: record.network.mac(),
        image: record.image.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        started: record.started.clone(),
    }
}

/// Runs the machine, over its reboots, until it ends or is told to; answers why.
async fn live(
    machine: &Machine,
    binds: &[Bind],
    console: &Path,
    stop: &mut tokio::signal::unix::Signal,
) -> Result<String> {
    loop {
        let mut child = machine.spawn(binds)?;
        let copy = tokio::spawn(copy_console(child.stdout.take(), console.to_owned()));
        let ended = tokio::select! {
            status = child.wait() => Some(status?),
            _ = stop.recv() => None,
        };
        let Some(status) = ended else { return shut_down(child, copy).await };
        copy.await??;
        if status.code() != Some(REBOOT) {
            return Ok(reason(status));
        }
        tracing::info!("rebooted");
    }
}

/// Asks for an orderly shutdown; what does not happen in time is left to the tear-down, which kills.
async fn shut_down(mut child: Child, console: JoinHandle<Result<()>>) -> Result<String> {
    let pid = child.id().context("it is gone")?;
    kill(Pid::from_raw(pid.try_into()?), Signal::SIGTERM).context("cannot signal systemd-nspawn")?;
    match tokio::time::timeout(GRACE, child.wait()).await {
        Ok(_) => console.await?.map(|()| "stopped".to_owned()),
        Err(_) => Ok(format!("stopped: killed, for it did not shut down in {} s", GRACE.as_secs())),
    }
}

fn reason(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(0), _) => "powered off".to_owned(),
        (Some(code), _) => format!("systemd-nspawn exited with status {code}: see `nspawn log`"),
        (None, signal) => format!("systemd-nspawn was killed by signal {}", signal.unwrap_or_default()),
    }
}

async fn copy_console(output: Option<tokio::process::ChildStdout>, path: std::path::PathBuf) -> Result<()> {
    let Some(mut output) = output else { return Ok(()) };
    let file = open_log(&path)?;
    let room = CONSOLE_LIMIT.saturating_sub(file.metadata()?.len());
    let mut file = tokio::fs::File::from_std(file);
    if tokio::io::copy(&mut (&mut output).take(room), &mut file).await? == room {
        file.write_all(b"\n[the console log is full]\n").await?;
    }
    file.flush().await?;
    tokio::io::copy(&mut output, &mut tokio::io::sink()).await?; // or the instance would block on its console
    Ok(())
}

/// Removes everything of an instance but its directory; nothing of it need exist. The caller holds the store lock.
pub(crate) async fn tear_down(store: &Store, record: &Record) -> Result<()> {
    let machine = Machine::new(store.path(&record.launch), record).destroy().await;
    let network = record.network.destroy().await;
    machine.and(network).with_context(|| format!("launch {}", record.launch))
}

/// Ends the supervisor of a launch, if it lives: politely first.
pub(crate) async fn end(store: &Store, launch: &LaunchId) -> Result<()> {
    // Its own grace, and the time to tidy up.
    for (signal, deadline) in [(Signal::SIGTERM, GRACE * 2), (Signal::SIGKILL, GRACE)] {
        let Some(pid) = store.supervisor(launch)? else { return Ok(()) };
        let _ = kill(pid, signal); // it may have ended just now
        let gone = async {
            while store.supervisor(launch)?.is_some() {
                tokio::time::sleep(Duration::from_millis(20)).await; // it is not our child: nothing to wait on
            }
            anyhow::Ok(())
        };
        if let Ok(result) = tokio::time::timeout(deadline, gone).await {
            return result;
        }
    }
    bail!("the supervisor of launch {launch} does not even obey SIGKILL")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_says_how_it_ended() {
        assert_eq!(reason(ExitStatus::from_raw(0)), "powered off");
        assert!(reason(ExitStatus::from_raw(1 << 8)).contains("status 1"));
        assert!(reason(ExitStatus::from_raw(9)).contains("signal 9"));
    }

    #[tokio::test]
    async fn a_flooding_console_is_cut_off() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("console.log");
        let mut flood = Command::new("head").args(["-c", "20M", "/dev/zero"]).stdout(Stdio::piped()).spawn().unwrap();
        copy_console(flood.stdout.take(), path.clone()).await.unwrap();
        assert!(flood.wait().await.unwrap().success());
        assert!(path.metadata().unwrap().len() < CONSOLE_LIMIT + 100);
    }
}
