//! `[worker]`: the build agent that is launched.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;
use toml::de::DeTable;

use super::command::{check_environment, program};
use super::tree::{TableError, typed};
use crate::duration::HumanDuration;
use crate::names::{AbsPath, UserName};

/// The build agent, run as `loitsut-worker.service`.
#[derive(Clone, PartialEq, Eq)]
pub struct WorkerUnit {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Who runs it; root unless said.
    pub user: UserName,
    /// Where it runs; the user's home unless said.
    pub directory: Option<AbsPath>,
    /// What its environment has beside HOME, USER, LOGNAME, SHELL, PATH and LANG.
    pub environment: BTreeMap<String, String>,
    /// When it counts as ready; at once, if nothing is said.
    pub ready: Option<Ready>,
    /// How long it may take to get ready.
    pub ready_timeout: HumanDuration,
    /// The signal that asks it to stop.
    pub stop_signal: String,
    /// How long it may take to stop before it is killed.
    pub stop_grace: HumanDuration,
    /// `Restart=` of the unit.
    pub restart: Restart,
    /// Drops the unit's hardening, for builds that need sudo.
    pub root: bool,
}

impl std::fmt::Debug for WorkerUnit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Arguments and environment may hold a secret.
        write!(f, "worker {}", self.command.first().map_or("", String::as_str))
    }
}

/// What shows that a worker is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ready {
    /// A line of its output has this text in it.
    Log(String),
    /// This file exists.
    File(AbsPath),
    /// This TCP port of the loopback address accepts connections.
    Port(u16),
}

/// When systemd starts the worker again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize), schemars(inline))]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// Never.
    #[default]
    No,
    /// When it fails.
    OnFailure,
    /// Whenever it ends.
    Always,
}

impl Restart {
    /// As `Restart=` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::OnFailure => "on-failure",
            Self::Always => "always",
        }
    }
}

/// The build agent, run as `loitsut-worker.service`.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct WorkerTable {
    /// Program, by its absolute path, and arguments.
    command: Vec<String>,
    /// Who runs it.
    #[serde(default = "UserName::root")]
    user: UserName,
    /// Where it runs; the user's home unless said.
    directory: Option<AbsPath>,
    /// What its environment has beside HOME, USER, LOGNAME, SHELL, PATH and LANG.
    #[serde(default)]
    environment: BTreeMap<String, String>,
    /// When it counts as ready: one of `log`, `file` and `port`. At once, if nothing is said.
    ready: Option<ReadyTable>,
    /// How it is stopped.
    #[serde(default)]
    stop: StopTable,
    /// When systemd starts it again.
    #[serde(default)]
    restart: Restart,
    /// Drops the unit's hardening, for builds that need sudo.
    #[serde(default)]
    root: bool,
}

/// What shows that a worker is ready: one of `log`, `file` and `port`.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Ready"))]
#[serde(deny_unknown_fields)]
struct ReadyTable {
    /// A line of its output has this text in it.
    log: Option<String>,
    /// This file exists.
    file: Option<AbsPath>,
    /// This TCP port of the loopback address accepts connections.
    port: Option<u16>,
    /// How long it may take.
    #[serde(default = "ready_timeout")]
    timeout: HumanDuration,
}

/// How a worker is stopped.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Stop"))]
#[serde(default, deny_unknown_fields)]
struct StopTable {
    /// The signal that asks it to: SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2 or SIGKILL.
    signal: String,
    /// How long it may take before it is killed.
    grace: HumanDuration,
}

impl Default for StopTable {
    fn default() -> Self {
        Self { signal: "SIGTERM".into(), grace: HumanDuration::from_secs(90) }
    }
}

fn ready_timeout() -> HumanDuration {
    HumanDuration::from_secs(300)
}

impl WorkerUnit {
    /// Reads the rendered table of a worker.
    pub(crate) fn read(table: Spanned<DeTable<'_>>) -> Result<Self, TableError> {
        let table: WorkerTable = typed(table)?;
        check_environment(&table.environment)?;
        let command = program("command", table.command)?;
        if !command[0].starts_with('/') {
            return Err(TableError::value("command", format!("`{}` is not an absolute path", command[0])));
        }
        let ready_timeout = table.ready.as_ref().map_or_else(ready_timeout, |ready| ready.timeout);
        Ok(Self {
            command,
            user: table.user,
            directory: table.directory,
            environment: table.environment,
            ready: table.ready.map(ReadyTable::condition).transpose()?,
            ready_timeout,
            stop_signal: signal(table.stop.signal)?,
            stop_grace: table.stop.grace,
            restart: table.restart,
            root: table.root,
        })
    }
}

impl ReadyTable {
    fn condition(self) -> Result<Ready, TableError> {
        match (self.log, self.file, self.port) {
            (Some(text), None, None) if !text.is_empty() => Ok(Ready::Log(text)),
            (None, Some(path), None) => Ok(Ready::File(path)),
            (None, None, Some(port)) if port > 0 => Ok(Ready::Port(port)),
            _ => Err(TableError::about("ready", "`ready` needs one of `log`, `file` and `port`")),
        }
    }
}

fn signal(name: String) -> Result<String, TableError> {
    const KNOWN: [&str; 7] = ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGKILL"];
    if KNOWN.contains(&name.as_str()) {
        return Ok(name);
    }
    Err(TableError::value("stop", format!("`{name}` is not a signal to stop by"))
        .help(format!("use {}", KNOWN.join(", "))))
}
