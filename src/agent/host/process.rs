//! Programs run: without a terminal, in an environment of our making, with a deadline, their output seen line by line.
#![allow(clippy::disallowed_methods)]

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};

use super::Host;
use super::accounts::User;

/// Where programs are looked for, whatever the environment of the agent says.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Variables of the agent's own environment that programs need to reach the network.
const PASSED_ON: [&str; 9] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
    "SSL_CERT_FILE",
];

/// How much of the output is kept for a message.
const KEPT_LINES: usize = 50;

/// Longer lines are cut: a flood must not fill the memory.
const LONGEST_LINE: usize = 4096;

/// From the request to end to the order.
const GRACE: Duration = Duration::from_secs(10);

/// How long output is waited for once the program has ended: a daemon that it started may hold the pipe for ever.
const DRAIN: Duration = Duration::from_millis(200);

/// A program to run.
#[derive(Clone)]
pub struct Program {
    words: Vec<String>,
    environment: Vec<(String, String)>,
    user: Option<User>,
    directory: PathBuf,
    timeout: Duration,
}

impl Program {
    /// A program and its arguments; found in [`PATH`] unless it has a slash.
    pub fn new<S: Into<String>>(words: impl IntoIterator<Item = S>) -> Self {
        Self {
            words: words.into_iter().map(Into::into).collect(),
            environment: Vec::new(),
            user: None,
            directory: "/".into(),
            timeout: Duration::from_secs(60),
        }
    }

    /// With a variable in its environment.
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Run by this user, with all groups that it is in.
    pub fn user(mut self, user: User) -> Self {
        self.user = Some(user);
        self
    }

    /// Run there.
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = directory.into();
        self
    }

    /// Ended after this time; a minute unless said.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    fn command(&self) -> Command {
        let home = self.user.as_ref().map_or("/root", |user| &user.home);
        let name = self.user.as_ref().map_or("root", |user| &user.name);
        let mut words = self.words.clone();
        if let Some(user) = &self.user {
            // setpriv of util-linux knows the groups of a user by whatever means this machine has.
            let groups = if user.uid == 0 { "--keep-groups" } else { "--init-groups" };
            let (uid, gid) = (format!("--reuid={}", user.uid), format!("--regid={}", user.gid));
            words.splice(0..0, ["setpriv".to_owned(), uid, gid, groups.to_owned(), "--".to_owned()]);
        }
        let mut command = Command::new(words.first().map_or("", String::as_str));
        command.args(words.iter().skip(1)).env_clear().current_dir(&self.directory);
        command.envs(PASSED_ON.iter().filter_map(|name| Some((*name, std::env::var_os(name)?))));
        command.envs([("PATH", PATH), ("HOME", home), ("USER", name), ("LOGNAME", name), ("LANG", "C.UTF-8")]);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// How a program ended, and the last that it said.
#[derive(Clone, Debug)]
pub struct Finished {
    /// How.
    pub status: ExitStatus,
    /// Its last lines on standard output and error, masked.
    pub tail: Vec<String>,
}

/// A program that did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It could not be started.
    #[error("cannot run `{command}`: {problem}")]
    Start {
        /// The program.
        command: String,
        /// Why.
        problem: String,
    },
    /// It ended with another status than 0.
    #[error("`{command}` ended with {}{}", describe(*.status), quoted(.tail))]
    Failed {
        /// The program with its arguments, masked.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// Its last lines, masked.
        tail: Vec<String>,
    },
    /// It took too long and was ended.
    #[error("`{command}` was ended after {} s{}", .limit.as_secs(), quoted(.tail))]
    TimedOut {
        /// The program with its arguments, masked.
        command: String,
        /// How long it was given.
        limit: Duration,
        /// Its last lines, masked.
        tail: Vec<String>,
    },
    /// The agent was asked to stop, and passed that on.
    #[error("`{command}` was ended because the agent was asked to stop")]
    Stopped {
        /// The program with its arguments, masked.
        command: String,
    },
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => match Signal::try_from(signal) {
            Ok(signal) => format!("signal {signal}"),
            Err(_) => format!("signal {signal}"),
        },
        (None, None) => status.to_string(),
    }
}

fn quoted(tail: &[String]) -> String {
    if tail.is_empty() {
        return ", and printed nothing".into();
    }
    tail.iter().map(|line| format!("\n    | {line}")).collect::<Vec<_>>().concat()
}

impl Host {
    /// Runs a program to its end, whatever its exit status.
    ///
    /// # Errors
    /// It cannot be started, or does not end in time.
    pub async fn run(&self, program: &Program) -> Result<Finished, ProcessError> {
        let title = self.masked(&program.words.join(" "));
        let failed = |problem: String| ProcessError::Start { command: title.clone(), problem };
        let (child, output) = start(program).map_err(&failed)?;
        let mut running = Running { child, output, tail: VecDeque::new() };
        let ended = tokio::select! {
            status = running.to_its_end(self) => status.map_err(|error| failed(error.to_string())),
            () = tokio::time::sleep(program.timeout) => {
                Err(ProcessError::TimedOut { command: title.clone(), limit: program.timeout, tail: Vec::new() })
            }
            () = crate::stop::requested() => Err(ProcessError::Stopped { command: title.clone() }),
        };
        if ended.is_err() {
            running.end().await;
        }
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
        Ok(Follow { _child: child, lines: Lines { reader: output, rest: Vec::new() } })
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
    tail: VecDeque<String>,
}

impl Running {
    async fn to_its_end(&mut self, host: &Host) -> std::io::Result<ExitStatus> {
        let mut lines = Lines { reader: &mut self.output, rest: Vec::new() };
        let mut keep = |line: String| {
            let line = host.masked(&line);
            tracing::debug!(target: "loitsut::output", "{line}");
            self.tail.push_back(line);
            if self.tail.len() > KEPT_LINES {
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
        while let Ok(Ok(Some(line))) = tokio::time::timeout(DRAIN, lines.next()).await {
            keep(line);
        }
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

/// Lines of bounded length; safe to drop between two of them.
struct Lines<R> {
    reader: R,
    rest: Vec<u8>,
}

impl<R: tokio::io::AsyncRead + Unpin> Lines<R> {
    async fn next(&mut self) -> std::io::Result<Option<String>> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
                let line: Vec<u8> = self.rest.drain(..=end).take(end).collect();
                if line.is_empty() {
                    continue;
                }
                return Ok(Some(text(&line)));
            }
            if self.rest.len() >= LONGEST_LINE {
                let line: Vec<u8> = self.rest.drain(..).collect();
                return Ok(Some(text(&line)));
            }
            let mut chunk = [0; 1024];
            let read = self.reader.read(&mut chunk).await?;
            if read == 0 {
                let line: Vec<u8> = self.rest.drain(..).collect();
                return Ok((!line.is_empty()).then(|| text(&line)));
            }
            self.rest.extend_from_slice(&chunk[..read]);
        }
    }
}

/// Escape sequences in a program's output must not reach the terminal of whoever reads the message.
fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line).chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
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
        assert_eq!((tail.len(), tail.last().map(String::as_str)), (KEPT_LINES, Some("100000")));
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_ended_with_all_its_children() {
        let program = Program::new(["sh", "-c", "echo $$; sleep 600 & wait"]).timeout(Duration::from_millis(300));
        let error = Host::here().run(&program).await.unwrap_err();
        let ProcessError::TimedOut { tail, .. } = error else { panic!("{error}") };
        let group = Pid::from_raw(tail[0].parse().unwrap());
        assert_eq!(killpg(group, None), Err(Errno::ESRCH));
    }

    #[tokio::test]
    async fn a_daemon_that_holds_the_pipe_does_not_hold_us() {
        let finished = shell("(trap '' HUP; exec sleep 30) & echo $!").await.unwrap();
        nix::sys::signal::kill(Pid::from_raw(finished.tail[0].parse().unwrap()), Signal::SIGKILL).unwrap();
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
