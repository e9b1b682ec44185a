//! `loitsut-driver.toml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use serde::Deserialize;

use crate::model::{DriverName, PoolName};
use crate::provider::{self, Any};

/// The keys of a pool that are the driver's own; all others are its provider's.
const OWN: [&str; 7] = ["lease", "max", "metadata", "params", "profile", "provider", "user_data_parts"];

/// As it is written.
#[derive(Debug, Deserialize)]
struct Written {
    #[serde(default)]
    driver: Driver,
    #[serde(default)]
    provider: BTreeMap<String, provider::Config>,
    #[serde(default)]
    pool: BTreeMap<String, toml::Table>,
}

/// `[driver]`
#[derive(Debug, Default, Deserialize)]
struct Driver {
    name: Option<String>,
}

/// The configuration, checked.
#[derive(Debug)]
pub struct Config {
    path: PathBuf,
    driver: DriverName,
    providers: BTreeMap<String, provider::Config>,
    /// Each with the name of its provider.
    pools: BTreeMap<PoolName, (String, provider::Pool)>,
}

impl Config {
    /// Where it is unless said.
    pub const PATH: &str = "/etc/loitsut/loitsut-driver.toml";

    /// Reads and checks it; an error says where it is wrong.
    pub fn read(path: &Path) -> Result<Self> {
        let place = path.display();
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {place}"))?;
        let written: Written = toml::from_str(&text).with_context(|| format!("{place} is not as it should be"))?;
        let name = written.driver.name.unwrap_or_else(|| "loitsut".to_owned());
        let driver = DriverName::try_from(name).with_context(|| format!("{place}: [driver] name"))?;
        let mut pools = BTreeMap::new();
        for (name, table) in written.pool {
            let (provider, pool) = pool(&written.provider, table).with_context(|| format!("{place}: [pool.{name}]"))?;
            let name = PoolName::try_from(name).with_context(|| place.to_string())?;
            pools.insert(name, (provider, pool));
        }
        Ok(Self { path: path.to_owned(), driver, providers: written.provider, pools })
    }

    /// One of the providers, with its pools.
    pub fn provider(&self, name: &str) -> Result<Any> {
        let Some(config) = self.providers.get(name) else {
            bail!("{}: there is no [provider.{name}]; there is {}", self.path.display(), names(&self.providers));
        };
        let pools = self.pools.iter().filter(|(_, (provider, _))| provider == name);
        let pools = pools.map(|(name, (_, pool))| (name.clone(), pool.clone())).collect();
        Ok(Any::new(config, &self.driver, pools)?)
    }
}

fn pool(providers: &BTreeMap<String, provider::Config>, mut table: toml::Table) -> Result<(String, provider::Pool)> {
    let Some(toml::Value::String(name)) = table.get("provider").cloned() else {
        bail!("`provider` is missing: the name of one ({})", names(providers));
    };
    let Some(config) = providers.get(&name) else {
        bail!("there is no [provider.{name}]; there is {}", names(providers));
    };
    table.retain(|key, _| !OWN.contains(&key));
    Ok((name, config.pool(table).map_err(|words| anyhow!(words))?))
}

fn names(providers: &BTreeMap<String, provider::Config>) -> String {
    if providers.is_empty() { "none".to_owned() } else { providers.keys().cloned().collect::<Vec<_>>().join(", ") }
}
