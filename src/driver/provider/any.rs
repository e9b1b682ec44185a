//! The providers there are: what the configuration says of each, and a call for each.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::ec2::{self, Ec2};
use super::script::{self, Script};
use super::{Provider, ProviderError, Start, Stop};
use crate::model::{DriverName, Instance, PoolName};

/// `[provider.NAME]`
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Config {
    /// EC2, or a cloud that speaks as it does.
    Ec2(ec2::Config),
    /// A program.
    Script(script::Config),
}

/// What a `[pool.NAME]` says to its provider.
#[derive(Clone, Debug)]
pub enum Pool {
    /// For EC2.
    Ec2(Box<ec2::Pool>),
    /// For a program: whatever it wants to know.
    Script(script::Pool),
}

impl Config {
    /// The part of a pool that is this provider's, which are all keys that are not the driver's own. An error says
    /// which key is wrong, and why.
    pub fn pool(&self, table: toml::Table) -> Result<Pool, String> {
        match self {
            Self::Script(_) => Ok(Pool::Script(table)),
            Self::Ec2(_) => {
                let pool: ec2::Pool = table.try_into().map_err(|error: toml::de::Error| error.message().to_owned())?;
                pool.check()?;
                Ok(Pool::Ec2(Box::new(pool)))
            }
        }
    }
}

/// A provider.
#[derive(Debug)]
pub enum Any {
    /// EC2.
    Ec2(Box<Ec2>),
    /// A program.
    Script(Script),
}

impl Any {
    /// Asks nothing yet. `pools` are those that [`Config::pool`] made of this provider's.
    pub fn new(config: &Config, driver: &DriverName, pools: BTreeMap<PoolName, Pool>) -> Result<Self, ProviderError> {
        let pools = pools.into_iter();
        match config {
            Config::Ec2(config) => {
                let own = |(name, pool)| match pool {
                    Pool::Ec2(pool) => Some((name, *pool)),
                    Pool::Script(_) => None,
                };
                Ok(Self::Ec2(Box::new(Ec2::new(config, driver, pools.filter_map(own).collect())?)))
            }
            Config::Script(config) => {
                let own = |(name, pool)| match pool {
                    Pool::Script(pool) => Some((name, pool)),
                    Pool::Ec2(_) => None,
                };
                Ok(Self::Script(Script::new(config, pools.filter_map(own).collect())))
            }
        }
    }
}

impl Provider for Any {
    async fn start(&self, start: &Start) -> Result<Instance, ProviderError> {
        match self {
            Self::Ec2(ec2) => ec2.start(start).await,
            Self::Script(script) => script.start(start).await,
        }
    }

    async fn stop(&self, stop: &Stop) -> Result<(), ProviderError> {
        match self {
            Self::Ec2(ec2) => ec2.stop(stop).await,
            Self::Script(script) => script.stop(stop).await,
        }
    }

    async fn list(&self) -> Result<Vec<Instance>, ProviderError> {
        match self {
            Self::Ec2(ec2) => ec2.list().await,
            Self::Script(script) => script.list().await,
        }
    }

    async fn console(&self, instance: &str) -> Result<String, ProviderError> {
        match self {
            Self::Ec2(ec2) => ec2.console(instance).await,
            Self::Script(script) => script.console(instance).await,
        }
    }
}
