//! A program to run: its words, its surroundings, its deadline.
#![allow(clippy::disallowed_methods)]

use std::path::PathBuf;
use std::time::Duration;

use tokio::process::Command;

use crate::host::accounts::User;

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

/// How many lines are kept for a message.
pub(super) const LAST_WORDS: usize = 50;

/// More lines than anything prints that is parsed here.
const WHOLE_OUTPUT: usize = 100_000;

/// A program to run.
#[derive(Clone)]
pub struct Program {
    pub(super) words: Vec<String>,
    environment: Vec<(String, String)>,
    user: Option<User>,
    directory: PathBuf,
    pub(super) timeout: Duration,
    /// How many of its last lines are kept.
    pub(super) kept: usize,
    /// Run although a stop is requested.
    pub(super) last: bool,
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
            kept: LAST_WORDS,
            last: false,
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

    /// With its whole output kept, because it is to be parsed; bounded all the same.
    pub fn keep_output(mut self) -> Self {
        self.kept = WHOLE_OUTPUT;
        self
    }

    /// Run also when a stop is requested, because it is a part of stopping.
    pub fn at_last(mut self) -> Self {
        self.last = true;
        self
    }

    /// Ended after this time; a minute unless said.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// What tokio runs.
    pub(super) fn command(&self) -> Command {
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
