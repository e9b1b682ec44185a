//! Providers that are programs: `docs/script-provider.md` is what they speak.

mod program;

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{ErrorKind, Provider, ProviderError, Start, Stop};
use crate::model::{Instance, PoolName};
use program::{Ended, Failed};

/// Exit statuses with a meaning, as sysexits.h has them. Any other but 0 may mean that something was done.
pub(super) const USAGE: u8 = 64;
pub(super) const UNAVAILABLE: u8 = 69;
pub(super) const NO_ROOM: u8 = 75;
pub(super) const REFUSED: u8 = 78;

/// No verb may hold up the others for longer.
const LONGEST: Duration = Duration::from_secs(3600);

/// `[provider.NAME]` with `type = "script"`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The program and its arguments; the verb is appended.
    pub command: Command,
    /// How long it may take, for one verb.
    #[serde(default)]
    pub timeout: Timeout,
}

/// A program and its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct Command(Vec<String>);

impl TryFrom<Vec<String>> for Command {
    type Error = &'static str;

    fn try_from(words: Vec<String>) -> Result<Self, Self::Error> {
        if words.first().is_some_and(|program| !program.is_empty()) {
            Ok(Self(words))
        } else {
            Err("`command` is empty: name a program, and its arguments")
        }
    }
}

/// How long a verb may take: `90s`, `5m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Timeout(pub Duration);

impl Default for Timeout {
    fn default() -> Self {
        Self(Duration::from_secs(120))
    }
}

impl TryFrom<String> for Timeout {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match humantime::parse_duration(&text) {
            Ok(duration) if !duration.is_zero() && duration <= LONGEST => Ok(Self(duration)),
            Ok(_) => Err(format!("{text:?} is too short or too long: more than nothing, at most 1h")),
            Err(error) => Err(format!("{text:?} is no duration such as `90s` or `5m`: {error}")),
        }
    }
}

/// What a pool says to the program: all keys that are not the driver's own, added to each `start`.
pub type Pool = toml::Table;

/// A program.
#[derive(Debug)]
pub struct Script {
    command: Vec<String>,
    timeout: Duration,
    pools: BTreeMap<PoolName, Pool>,
}

#[derive(Serialize)]
struct StartRequest<'a> {
    launch: &'a str,
    name: &'a str,
    pool: &'a str,
    user_data: String,
    #[serde(flatten)]
    keys: &'a Pool,
}

#[derive(Deserialize)]
struct Started {
    instance: Instance,
}

#[derive(Deserialize)]
struct Listed {
    instances: Vec<Instance>,
}

#[derive(Deserialize)]
struct Output {
    output: String,
}

impl Script {
    /// Runs nothing yet.
    pub fn new(config: &Config, pools: BTreeMap<PoolName, Pool>) -> Self {
        Self { command: config.command.0.clone(), timeout: config.timeout.0, pools }
    }

    async fn ask<T: DeserializeOwned>(&self, verb: &str, request: &impl Serialize) -> Result<T, ProviderError> {
        let line = format!("`{} {verb}`", self.command.join(" "));
        let input = serde_json::to_vec(request).map_err(|error| ProviderError {
            kind: ErrorKind::Refused,
            message: format!("{line}: what it is to be told cannot be written as JSON: {error}"),
        })?;
        let ended = program::run(&self.command, verb, &input, self.timeout).await;
        let output = ended.map_err(|failed| failure(&line, failed))?;
        serde_json::from_slice(&output).map_err(|error| ProviderError {
            kind: ErrorKind::Unknown,
            message: format!("{line}: its answer is not what docs/script-provider.md says: {error}"),
        })
    }
}

fn failure(line: &str, failed: Failed) -> ProviderError {
    let kind = match &failed {
        Failed::NotRun(_) => ErrorKind::Unreachable,
        Failed::Ended(Ended { code, .. }) => match code.and_then(|code| u8::try_from(code).ok()) {
            Some(NO_ROOM) => ErrorKind::Capacity,
            Some(UNAVAILABLE) => ErrorKind::Unreachable,
            Some(USAGE | REFUSED) => ErrorKind::Refused,
            _ => ErrorKind::Unknown,
        },
        Failed::TooLong(_) | Failed::TooMuch(_) | Failed::Broken(_) => ErrorKind::Unknown,
    };
    ProviderError { kind, message: format!("{line} {failed}") }
}

impl Provider for Script {
    async fn start(&self, start: &Start) -> Result<Instance, ProviderError> {
        let Some(keys) = self.pools.get(&start.pool) else {
            let message = format!("there is no pool {} of this provider in the configuration", start.pool);
            return Err(ProviderError { kind: ErrorKind::Refused, message });
        };
        let request = StartRequest {
            launch: start.launch.as_str(),
            name: &start.name,
            pool: start.pool.as_str(),
            user_data: STANDARD.encode(&start.user_data),
            keys,
        };
        let Started { instance } = self.ask("start", &request).await?;
        if instance.launch == start.launch {
            return Ok(instance);
        }
        let message = format!(
            "`{} start`: asked for launch {}, it answered with launch {}",
            self.command.join(" "),
            start.launch,
            instance.launch
        );
        Err(ProviderError { kind: ErrorKind::Unknown, message })
    }

    async fn stop(&self, stop: &Stop) -> Result<(), ProviderError> {
        let request = BTreeMap::from([("launch", stop.launch.as_str())]);
        self.ask::<serde::de::IgnoredAny>("stop", &request).await.map(drop)
    }

    async fn list(&self) -> Result<Vec<Instance>, ProviderError> {
        let Listed { instances } = self.ask("list", &BTreeMap::<&str, &str>::new()).await?;
        Ok(instances)
    }

    async fn console(&self, instance: &str) -> Result<String, ProviderError> {
        let Output { output } = self.ask("console", &BTreeMap::from([("id", instance)])).await?;
        Ok(output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(text: &str) -> Script {
        let command = ["sh", "-c", text, "program"].map(str::to_owned).to_vec();
        let config = Config { command: Command(command), timeout: Timeout(Duration::from_secs(10)) };
        Script::new(&config, BTreeMap::from([(pool(), toml::from_str("image = \"/base\"").unwrap())]))
    }

    fn pool() -> PoolName {
        PoolName::try_from("p".to_owned()).unwrap()
    }

    fn start() -> Start {
        let launch = "l-1".to_owned().try_into().unwrap();
        Start { launch, name: "n".to_owned(), pool: pool(), user_data: b"{}".to_vec() }
    }

    #[tokio::test]
    async fn the_program_is_told_the_launch_and_the_keys_of_its_pool() {
        let text = r#"read -r line; test "$1" = start || exit 1
            test "$line" = '{"launch":"l-1","name":"n","pool":"p","user_data":"e30=","image":"/base"}' || exit 2
            echo '{"instance": {"launch": "l-1", "id": "i-1", "state": "running", "host": "ignored"}}'"#;
        let instance = script(text).start(&start()).await.unwrap();
        assert_eq!(instance.id, "i-1");
    }

    #[tokio::test]
    async fn exit_statuses_say_what_follows() {
        for (status, kind) in [
            (1, ErrorKind::Unknown),
            (i32::from(USAGE), ErrorKind::Refused),
            (i32::from(UNAVAILABLE), ErrorKind::Unreachable),
            (i32::from(NO_ROOM), ErrorKind::Capacity),
            (i32::from(REFUSED), ErrorKind::Refused),
        ] {
            let error = script(&format!("echo because >&2; exit {status}")).start(&start()).await.unwrap_err();
            assert_eq!(error.kind, kind, "{status}");
            assert!(error.message.contains("because"), "{}", error.message);
        }
    }

    #[tokio::test]
    async fn an_answer_about_another_launch_is_not_believed() {
        let text = r#"echo '{"instance": {"launch": "other", "id": "i-1", "state": "running"}}'"#;
        assert_eq!(script(text).start(&start()).await.unwrap_err().kind, ErrorKind::Unknown);
        assert_eq!(script("echo nothing").list().await.unwrap_err().kind, ErrorKind::Unknown);
    }
}
