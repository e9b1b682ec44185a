//! Programs run: without a terminal, in an environment of our making, with a deadline, their output seen line by line.
#![allow(clippy::disallowed_methods)]

mod error;
mod lines;
mod program;

use std::collections::VecDeque;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::net::unix::pipe;
use tokio::process::Child;

use super::Host;
use super::mask::Mask;
use lines::Lines;

pub use error::ProcessError;
pub use program::{PATH, Program};

/// From the request to end to the order.
const GRACE: Duration = Duration::from_secs(10);

/// How long output is waited for once the program has ended: a daemon that it started may hold the pipe for ever.
const DRAIN: Duration = Duration::from_millis(200);

/// How a program ended, and the last that it said.
#[derive(Clone, Debug)]
pub struct Finished {
    /// How.
    pub status: ExitStatus,
    /// Its last lines on standard output and error, masked.
    pub tail: Vec<String>,
}

impl Host {
    /// Becomes another program, with the same arguments and one more variable. Returns only if that cannot be.
    pub fn become_program(&self, path: &Path, variable: &str, value: &str) -> io::Error {
        let mut program = std::process::Command::new(self.rooted(path));
        program.args(std::env::args_os().skip(1)).env(variable, value).exec()
    }

    /// Runs a program to its end, whatever its exit status.
    ///
    /// # Errors
    /// It cannot be started, or does not end in time.
    pub async fn run(&self, program: &Program) -> Result<Finished, ProcessError> {
        let title = self.masked(&program.words.join(" "));
        let failed = |problem: String| ProcessError::Start { command: title.clone(), problem };
        let (child, output) = start(program).map_err(&failed)?;
        let group = Group::of(&child);
        let mut running = Running { child, output, kept: program.kept, tail: VecDeque::new() };
        let ended = tokio::select! {
            status = running.until_its_end(self.mask()) => status.map_err(|error| failed(error.to_string())),
            () = tokio::time::sleep(program.timeout) => {
                Err(ProcessError::TimedOut { command: title.clone(), limit: program.timeout, tail: Vec::new() })
            }
            () = crate::stop::requested(), if !program.last => Err(ProcessError::Stopped { command: title.clone() }),
        };
        if ended.is_err() {
            running.end().await;
        }
        drop(group);
        let tail = Vec::from(running.tail);
        match ended {
            Ok(status) => Ok(Finished { status, tail }),
            Err(ProcessError::TimedOut { command, limit, .. }) => Err(ProcessError::TimedOut { command, limit, tail }),
            Err(other) => Err(other),
        }
    }

    /// Runs a program that has to succeed.
    ///
    /// # Errors
    /// As [`Host::run`], or its exit status is not 0.
    pub async fn run_checked(&self, program: &Program) -> Result<Finished, ProcessError> {
        let finished = self.run(program).await?;
        if finished.status.success() {
            return Ok(finished);
        }
        let command = self.masked(&program.words.join(" "));
        Err(ProcessError::Failed { command, status: finished.status, tail: finished.tail })
    }

    /// Starts a program whose output is read line by line for as long as anybody wants; dropping it ends the program.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn follow(&self, program: &Program) -> Result<Follow, ProcessError> {
        let failed = |problem| ProcessError::Start { command: self.masked(&program.words.join(" ")), problem };
        let (child, output) = start(program).map_err(failed)?;
        Ok(Follow { _child: child, lines: Lines::of(output, self.mask()) })
    }

    /// Whether a TCP port of the loopback address accepts connections.
    pub async fn accepts(&self, port: u16) -> bool {
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
    }

    /// Whether a program is found.
    pub fn has_program(&self, name: &str) -> bool {
        PATH.split(':').any(|folder| matches!(self.stat_through(&PathBuf::from(folder).join(name)), Ok(Some(_))))
    }
}

/// Standard output and error share one pipe, so that their lines keep their order.
fn start(program: &Program) -> Result<(Child, pipe::Receiver), String> {
    let pipe = || -> std::io::Result<_> {
        let (reader, writer) = std::io::pipe()?;
        Ok((pipe::Receiver::from_owned_fd(reader.into())?, writer.try_clone()?, writer))
    };
    let (reader, out, err) = pipe().map_err(|error| error.to_string())?;
    let mut command = program.command();
    // A group of its own, so that it can be ended with all that it started.
    command.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0).kill_on_drop(true);
    let child = command.spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("{} (searched {PATH}; is its package installed?)", error),
        _ => error.to_string(),
    })?;
    Ok((child, reader))
}

/// The process group of a program that runs: ended with the agent if that must end at once.
struct Group(i32);

impl Group {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok()).unwrap_or_default();
        crate::stop::ends_with_us(id);
        Self(id)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        crate::stop::has_ended(self.0);
    }
}

/// A program whose output is being read.
pub struct Follow {
    _child: Child,
    lines: Lines<pipe::Receiver>,
}

impl Follow {
    /// Its next line; `None` at its end.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn next(&mut self) -> std::io::Result<Option<String>> {
        self.lines.next().await
    }
}

struct Running {
    child: Child,
    output: pipe::Receiver,
    kept: usize,
    tail: VecDeque<String>,
}

impl Running {
    async fn until_its_end(&mut self, mask: Mask) -> std::io::Result<ExitStatus> {
        let mut lines = Lines::of(&mut self.output, mask);
        let mut keep = |line: String| {
            tracing::debug!(target: "loitsut::output", "{line}");
            self.tail.push_back(line);
            if self.tail.len() > self.kept {
                self.tail.pop_front();
            }
        };
        let status = loop {
            tokio::select! {
                line = lines.next() => match line? {
                    Some(line) => keep(line),
                    None => break self.child.wait().await?,
                },
                status = self.child.wait() => break status?,
            }
        };
        let drained = async {
            while let Ok(Some(line)) = lines.next().await {
                keep(line);
            }
        };
        let _ = tokio::time::timeout(DRAIN, drained).await;
        Ok(status)
    }

    /// Asks the whole group to end, and makes it.
    async fn end(&mut self) {
        let Some(group) = self.child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw) else { return };
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            if killpg(group, signal) == Err(Errno::ESRCH) {
                return;
            }
            if tokio::time::timeout(GRACE, self.child.wait()).await.is_ok() {
                break;
            }
        }
        // What the program itself left behind goes too.
        let _ = killpg(group, Signal::SIGKILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell(script: &str) -> Result<Finished, ProcessError> {
        Host::here().run_checked(&Program::new(["sh", "-c", script]).timeout(Duration::from_secs(5))).await
    }

    #[tokio::test]
    async fn both_streams_are_kept_in_order_without_control_characters() {
        let tail = shell("echo one; echo two >&2; printf 'th\\033ree'").await.unwrap().tail;
        assert_eq!(tail, ["one", "two", "th\u{fffd}ree"]);
    }

    #[tokio::test]
    async fn a_failure_names_command_status_and_last_lines() {
        let error = shell("echo last words; exit 3").await.unwrap_err().to_string();
        assert!(
            error.contains("`sh -c") && error.contains("exit status 3") && error.contains("| last words"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_flood_keeps_the_last_lines_only() {
        let tail = shell("seq 100000").await.unwrap().tail;
        assert_eq!((tail.len(), tail.last().map(String::as_str)), (program::LAST_WORDS, Some("100000")));
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_ended_with_all_its_children() {
        use tokio::io::AsyncReadExt as _;
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut open_files = pipe::OpenOptions::new().open_receiver(&fifo).unwrap();
        let script = format!("exec 3>{}; echo up >&3; sleep 600 & wait", fifo.display());
        let program = Program::new(["sh", "-c", &script]).timeout(Duration::from_millis(1500));
        let error = Host::here().run(&program).await.unwrap_err();
        assert!(matches!(error, ProcessError::TimedOut { .. }), "{error}");
        // It ends when the last of them has closed it.
        let mut said = String::new();
        tokio::time::timeout(Duration::from_secs(20), open_files.read_to_string(&mut said)).await.unwrap().unwrap();
        assert_eq!(said, "up\n");
    }

    #[tokio::test]
    async fn a_daemon_that_holds_the_pipe_does_not_hold_us() {
        let finished = shell("(trap '' HUP; exec sleep 30) & echo $!").await.unwrap();
        nix::sys::signal::kill(Pid::from_raw(finished.tail[0].parse().unwrap()), Signal::SIGKILL).unwrap();
    }

    #[tokio::test]
    async fn a_daemon_that_goes_on_printing_does_not_hold_us_either() {
        let finished = shell("(trap '' HUP; while echo tick; do sleep 0.05; done) & echo $!").await.unwrap();
        let pid = finished.tail.iter().find_map(|line| line.parse().ok()).unwrap();
        nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }

    #[tokio::test]
    async fn the_environment_is_ours() {
        let tail = shell("env | cut -d= -f1 | sort | grep -v -i -e proxy -e _CERT_ -e '^PWD$' -e '^_$' -e SHLVL")
            .await
            .unwrap()
            .tail;
        assert_eq!(tail, ["HOME", "LANG", "LOGNAME", "PATH", "USER"]);
    }
}
