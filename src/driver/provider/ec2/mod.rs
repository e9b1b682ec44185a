//! Instances of EC2, or of a cloud that speaks as it does: the Query API, and nothing of an SDK but its signatures and
//! its ways to find credentials. `docs/ec2.md` is for whoever sets it up.

mod answers;
mod api;
mod buckets;
mod config;
mod credentials;
mod error;
mod image;
mod ladder;
mod launch;
mod list;
mod send;
mod tags;
mod terminate;
mod tries;

use std::cell::RefCell;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tracing::info;

pub use config::{Config, Pool};

use answers::{Console, Reservation};
use api::{Api, Query};
use buckets::Kind;
use error::CallError;
use image::ImageCache;
use ladder::{Climb, Full, Rung};
use terminate::Terminator;

use super::{ErrorKind, Provider, ProviderError, Start, Stop};
use crate::model::{DriverName, Instance, LaunchId, PoolName};

/// One region of one account.
#[derive(Debug)]
pub struct Ec2 {
    api: Api,
    driver: String,
    pools: BTreeMap<PoolName, Pool>,
    images: ImageCache,
    full: Full,
    /// Launches that were asked for and not yet answered for good: they must go on where they were.
    climbs: RefCell<BTreeMap<LaunchId, Climb>>,
    terminator: Terminator,
}

impl Ec2 {
    /// Asks nothing yet. Pools are those of this provider.
    pub fn new(config: &Config, driver: &DriverName, pools: BTreeMap<PoolName, Pool>) -> Result<Self, ProviderError> {
        Ok(Self {
            api: Api::new(config)?,
            driver: driver.to_string(),
            pools,
            images: ImageCache::default(),
            full: Full::default(),
            climbs: RefCell::default(),
            terminator: Terminator::default(),
        })
    }

    fn pool(&self, name: &PoolName) -> Result<&Pool, ProviderError> {
        self.pools.get(name).ok_or_else(|| ProviderError {
            kind: ErrorKind::Refused,
            message: format!("there is no pool {name} of this provider in the configuration"),
        })
    }

    /// Where a launch was left, or the foot of the ladder.
    async fn climb(&self, launch: &LaunchId, pool: &Pool) -> Result<Climb, ProviderError> {
        let known = self.climbs.borrow_mut().remove(launch);
        match known {
            Some(climb) => Ok(climb),
            None => Ok(Climb::new(self.images.resolve(&self.api, pool).await?)),
        }
    }

    /// Rung by rung. The next one is tried only after a definite refusal: otherwise there might be two instances.
    async fn ascend(&self, start: &Start, pool: &Pool, climb: &mut Climb) -> Result<Instance, ProviderError> {
        let rungs = ladder::rungs(pool);
        while let Some(rung) = self.full.next(climb, &rungs) {
            climb.current = Some(rung.clone());
            // Kept before it is asked for: this future may be dropped while it waits.
            self.climbs.borrow_mut().insert(start.launch.clone(), climb.clone());
            match self.try_rung(start, pool, climb, &rung).await {
                Ok(instance) => {
                    self.full.clear(&rung);
                    return Ok(instance);
                }
                Err(error) => match error.refusal().filter(|refusal| refusal.is_of_the_rung()) {
                    Some(refusal) => {
                        info!("{}: no {}: {error}", start.launch, rung.describe());
                        self.full.mark(&rung);
                        climb.refused(&rung, refusal);
                    }
                    None => return Err(self.failed(climb, error)),
                },
            }
        }
        Err(exhausted(start, climb))
    }

    async fn try_rung(&self, start: &Start, pool: &Pool, climb: &Climb, rung: &Rung) -> Result<Instance, CallError> {
        let call = launch::run_instances(&self.driver, start, pool, &climb.image, rung);
        let answer: Reservation = self.api.ask(&call).await?;
        let Some(item) = answer.instances_set.items.into_iter().next() else {
            return Err(self.api.unreadable(&call, "there is no instance in it"));
        };
        info!("{}: {} is {} ({})", start.launch, item.instance_id, item.instance_state.name, rung.describe());
        // Some clouds do not tell the tags and the price of what they have just made.
        let public = pool.public_ip == Some(true);
        let instance = list::instance(item, start.launch.clone(), self.api.region(), public);
        Ok(Instance { pool: Some(start.pool.to_string()), price: Some(rung.price()), ..instance })
    }

    fn failed(&self, climb: &Climb, error: CallError) -> ProviderError {
        if error.refusal().is_some_and(|refusal| refusal.code.starts_with("InvalidAMIID")) {
            self.images.forget(&climb.image);
        }
        error.into()
    }

    async fn instances_of(&self, launch: &LaunchId) -> Result<Vec<String>, ProviderError> {
        let found = list::describe(&self.api, &self.driver, Some(launch)).await?;
        Ok(found
            .into_iter()
            .filter(|item| item.instance_state.name != "terminated")
            .map(|item| item.instance_id)
            .collect())
    }
}

impl Provider for Ec2 {
    async fn start(&self, start: &Start) -> Result<Instance, ProviderError> {
        let pool = self.pool(&start.pool)?;
        launch::check(start)?;
        let mut climb = self.climb(&start.launch, pool).await?;
        let result = self.ascend(start, pool, &mut climb).await;
        // What may be asked again goes on there; what is settled is forgotten.
        let settled = match &result {
            Ok(_) => true,
            Err(error) => matches!(error.kind, ErrorKind::Capacity | ErrorKind::Refused),
        };
        if settled {
            self.climbs.borrow_mut().remove(&start.launch);
        } else {
            self.climbs.borrow_mut().insert(start.launch.clone(), climb);
        }
        result
    }

    async fn stop(&self, stop: &Stop) -> Result<(), ProviderError> {
        self.climbs.borrow_mut().remove(&stop.launch);
        let ids = match &stop.instance {
            Some(id) => vec![id.clone()],
            None => self.instances_of(&stop.launch).await?,
        };
        for id in ids {
            self.terminator.end(async |ids| terminate::terminate(&self.api, ids).await, id).await?;
        }
        Ok(())
    }

    async fn list(&self) -> Result<Vec<Instance>, ProviderError> {
        let found = list::describe(&self.api, &self.driver, None).await?;
        let public = |name: Option<&str>| {
            let name = name.and_then(|name| PoolName::try_from(name.to_owned()).ok());
            name.and_then(|name| self.pools.get(&name)).is_some_and(|pool| pool.public_ip == Some(true))
        };
        let region = self.api.region();
        let known = found.into_iter().filter_map(|item| {
            let launch = list::launch_of(&item)?;
            let public = public(item.tag(tags::POOL));
            Some(list::instance(item, launch, region, public))
        });
        Ok(known.collect())
    }

    async fn console(&self, instance: &str) -> Result<String, ProviderError> {
        let query = || Query::new("GetConsoleOutput").with("InstanceId", instance);
        let latest: Result<Console, CallError> =
            self.api.ask(&query().with("Latest", "true").counted_as(Kind::Look)).await;
        let answer = match latest {
            // Older types have only what was there some minutes ago.
            Err(error) if error.refusal().is_some_and(|it| it.code.starts_with("Unsupported")) => {
                self.api.ask(&query().counted_as(Kind::Look)).await?
            }
            latest => latest?,
        };
        let encoded: String = answer.output.unwrap_or_default().split_ascii_whitespace().collect();
        let output = STANDARD.decode(encoded).unwrap_or_default();
        Ok(String::from_utf8_lossy(&output).into_owned())
    }
}

/// Every rung was refused.
fn exhausted(start: &Start, climb: &Climb) -> ProviderError {
    let (kind, words) = if climb.is_capacity() {
        (ErrorKind::Capacity, "there is no room for an instance of pool")
    } else {
        (ErrorKind::Refused, "nowhere is there what is wanted for pool")
    };
    ProviderError { kind, message: format!("{words} {}:\n{}", start.pool, climb.words()) }
}
