//! `loitsut-driver provider NAME start|stop|list|console`: a provider of the configuration by itself, with no service
//! around it, as `docs/script-provider.md` has it. For trying a configuration out.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Any, ErrorKind, Provider as _, ProviderError, Start, Stop, script};
use crate::config::Config;
use crate::model::{LaunchId, PoolName};

/// As much as a start with its user-data may be, many times over.
const INPUT: u64 = 1 << 20;

/// What is on the command line.
#[derive(clap::Args)]
pub struct Arguments {
    /// Which provider of the configuration
    name: String,
    #[command(subcommand)]
    verb: Verb,
    /// The driver's configuration
    #[arg(long, value_name = "FILE", default_value = Config::PATH, global = true)]
    config: PathBuf,
}

#[derive(Clone, Copy, clap::Subcommand)]
enum Verb {
    /// Start the instance of a launch: reads {"launch", "pool", "name", "user_data"} on standard input
    Start,
    /// End it: reads {"launch", "id"}, of which `id` may be left out
    Stop,
    /// List all instances of this driver
    List,
    /// Print what an instance has printed on its console: reads {"id"}
    Console,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StartRequest {
    launch: LaunchId,
    pool: PoolName,
    name: Option<String>,
    #[serde(default)]
    user_data: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StopRequest {
    launch: LaunchId,
    id: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConsoleRequest {
    id: String,
}

/// Does it. What the provider refuses is told by exit status and standard error.
pub async fn run(arguments: Arguments) -> Result<ExitCode> {
    let config = Config::read(&arguments.config)?;
    let provider = config.provider(&arguments.name)?;
    match ask(&provider, arguments.verb).await? {
        Ok(answer) => {
            println!("{answer}");
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            eprintln!("error: {error}");
            Ok(ExitCode::from(status(error.kind)))
        }
    }
}

async fn ask(provider: &Any, verb: Verb) -> Result<Result<Value, ProviderError>> {
    Ok(match verb {
        Verb::Start => {
            let StartRequest { launch, pool, name, user_data } = read()?;
            let user_data = STANDARD.decode(user_data).context("`user_data` is not base64")?;
            let name = name.unwrap_or_else(|| launch.to_string());
            let started = provider.start(&Start { launch, name, pool, user_data }).await;
            started.map(|instance| json!({ "instance": instance }))
        }
        Verb::Stop => {
            let StopRequest { launch, id } = read()?;
            let stop = Stop { launch, instance: id };
            provider.stop(&stop).await.map(|()| json!({ "stopped": stop.launch }))
        }
        Verb::List => provider.list().await.map(|instances| json!({ "instances": instances })),
        Verb::Console => {
            let ConsoleRequest { id } = read()?;
            provider.console(&id).await.map(|output| json!({ "output": output }))
        }
    })
}

fn read<T: DeserializeOwned>() -> Result<T> {
    let mut input = Vec::new();
    std::io::stdin().lock().take(INPUT + 1).read_to_end(&mut input).context("cannot read standard input")?;
    ensure!(input.len() as u64 <= INPUT, "standard input is larger than {} MiB", INPUT >> 20);
    serde_json::from_slice(&input).context("standard input is not what this verb reads (docs/script-provider.md)")
}

/// So that it can itself be a script provider of another driver.
fn status(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Capacity => script::NO_ROOM,
        ErrorKind::Throttled(_) | ErrorKind::Unreachable => script::UNAVAILABLE,
        ErrorKind::Refused => script::REFUSED,
        ErrorKind::Unknown => 1,
    }
}
