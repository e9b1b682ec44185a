//! Throw-away systemd containers, started, stopped and listed in the words of `script` providers.

mod cgroup;
mod inside;
mod machine;
mod metadata;
mod network;
mod notice;
mod protocol;
mod range;
mod state;
mod supervisor;
mod uplink;

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde::de::DeserializeOwned;

use metadata::Identity;
use network::Network;
use notice::Notice;
use protocol::{Instance, LaunchId, Listed, Start, Started, Stop, Stopped};
use state::{Record, Store};

/// A request holds 16 KiB of user-data and some paths.
const REQUEST_LIMIT: u64 = 1 << 20;

/// What `loitsut-driver nspawn` can be asked.
#[derive(clap::Subcommand)]
pub(crate) enum Verb {
    /// Start an instance: a JSON request on standard input, the instance as JSON on standard output
    Start,
    /// Stop an instance and remove all of it: a JSON request on standard input
    Stop,
    /// List the instances that were not stopped, as JSON
    List,
    /// Run a command in a running instance, as root; its exit status is the answer
    Exec {
        /// Where
        launch: LaunchId,
        /// What, and its arguments
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Print what an instance wrote on its console
    Log {
        /// Whose
        launch: LaunchId,
    },
    /// Tell a running instance, by its metadata service, that its end is near
    Notice {
        /// Which
        launch: LaunchId,
        /// What EC2 would tell
        notice: Notice,
        /// How long a spot instance has left
        #[arg(long = "in", value_name = "DURATION", default_value = "2m", value_parser = humantime::parse_duration)]
        left: Duration,
    },
    /// Serve the metadata of an instance, without an instance
    Metadata(MetadataOptions),
    /// The process that `start` leaves behind
    #[command(hide = true)]
    Supervise,
}

/// A metadata service by itself.
#[derive(clap::Args)]
pub(crate) struct MetadataOptions {
    /// Where to listen; port 0 takes a free one, and the address is printed
    #[arg(long)]
    listen: SocketAddr,
    /// The user-data; without it, there is none
    #[arg(long)]
    user_data: Option<PathBuf>,
    /// The instance's id
    #[arg(long, default_value = "i-00000000000000000")]
    id: String,
    /// The instance's name
    #[arg(long, default_value = "localhost")]
    name: String,
}

/// Does what was asked.
pub(crate) async fn run(verb: Verb) -> Result<()> {
    match verb {
        Verb::Start => answer(&Started { instance: start(&store()?, &request()?).await? }),
        Verb::Stop => answer(&Stopped { stopped: stop(&store()?, request()?).await? }),
        Verb::List => answer(&Listed { instances: list(&store()?).await? }),
        Verb::Exec { launch, command } => inside::exec(&running(&store()?, &launch)?, &command).await,
        Verb::Log { launch } => log(&store()?, &launch),
        Verb::Notice { launch, notice, left } => give(&store()?, &launch, notice, left),
        Verb::Metadata(options) => serve_metadata(options).await,
        Verb::Supervise => supervisor::supervise(&store()?, &request()?).await,
    }
}

fn store() -> Result<Store> {
    ensure!(nix::unistd::geteuid().is_root(), "namespaces and mounts need root: run it as root, or by sudo");
    Store::open(Path::new(state::DIRECTORY))
}

async fn start(store: &Store, request: &Start) -> Result<Instance> {
    request.check()?;
    crate::process::require(&[
        ("systemd-nspawn", "systemd-container"),
        ("ip", "iproute2"),
        ("nft", "nftables"),
        ("nsenter", "util-linux"),
    ])?;
    let _lock = store.lock().await?;
    if let Some(record) = store.read(&request.launch)? {
        return instance(store, record);
    }
    store.remove(&request.launch)?; // a `start` that was killed before it had written the record
    let taken: Vec<_> = store.records()?.into_iter().map(|record| record.network).collect();
    let record = Record::new(request, Network::free(request.network.range, &taken)?)?;
    store.write(&record)?;
    if let Err(error) = supervisor::start(store, request).await {
        supervisor::tear_down(store, &record).await.context(format!("{error:#}, and then"))?;
        store.remove(&record.launch)?;
        return Err(error);
    }
    instance(store, record)
}

async fn stop(store: &Store, request: Stop) -> Result<LaunchId> {
    supervisor::end(store, &request.launch).await?;
    let _lock = store.lock().await?;
    if let Some(record) = store.read(&request.launch)? {
        supervisor::tear_down(store, &record).await?;
    }
    store.remove(&request.launch)?;
    Ok(request.launch)
}

async fn list(store: &Store) -> Result<Vec<Instance>> {
    // Under the lock nobody is half-started: a launch without a supervisor has really lost it.
    let _lock = store.lock().await?;
    store.records()?.into_iter().map(|record| instance(store, record)).collect()
}

fn instance(store: &Store, record: Record) -> Result<Instance> {
    let alive = store.supervisor(&record.launch)?.is_some();
    Ok(record.instance(alive))
}

/// The record of an instance that runs.
fn running(store: &Store, launch: &LaunchId) -> Result<Record> {
    let record =
        store.read(launch)?.with_context(|| format!("there is no launch {launch}: `nspawn list` shows all"))?;
    if let Some(reason) = instance(store, record.clone())?.reason {
        anyhow::bail!("launch {launch} has ended: {reason}");
    }
    Ok(record)
}

fn give(store: &Store, launch: &LaunchId, notice: Notice, left: Duration) -> Result<()> {
    let record = running(store, launch)?;
    notice.give(&store.path(&record.launch).join(notice::DIRECTORY), left)
}

fn log(store: &Store, launch: &LaunchId) -> Result<()> {
    let path = store.path(launch).join("console.log");
    let mut log = File::open(&path).with_context(|| format!("{}: no console of launch {launch}", path.display()))?;
    std::io::copy(&mut log, &mut std::io::stdout())?;
    Ok(())
}

async fn serve_metadata(options: MetadataOptions) -> Result<()> {
    let MetadataOptions { listen, user_data, id, name } = options;
    let read = |path: PathBuf| std::fs::read(&path).with_context(|| path.display().to_string());
    let user_data = user_data.map(read).transpose()?;
    let listener = tokio::net::TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    writeln!(std::io::stdout(), "http://{}", listener.local_addr()?)?;
    let (address, mac, image) = (Ipv4Addr::LOCALHOST, "02:00:7f:00:00:01".to_owned(), "none".to_owned());
    let identity = Identity { id, name, address, mac, image, started: state::now() };
    metadata::serve(vec![listener], metadata::tree(&identity, user_data), None).await
}

/// The request on standard input.
fn request<T: DeserializeOwned>() -> Result<T> {
    let mut text = String::new();
    std::io::stdin().take(REQUEST_LIMIT).read_to_string(&mut text).context("standard input")?;
    serde_json::from_str(&text).context("the request on standard input")
}

fn answer(value: &impl Serialize) -> Result<()> {
    writeln!(std::io::stdout(), "{}", serde_json::to_string(value)?).context("standard output")
}
