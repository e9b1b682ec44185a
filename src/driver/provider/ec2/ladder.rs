//! The capacity ladder: what is tried in turn until somewhere there is room.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::config::{Pool, Spot};
use super::error::Refusal;
use super::image::Image;
use crate::model::{LaunchId, Price};

/// Where there was no room lately is tried last: asking again costs one of two calls a second.
const FULL: Duration = Duration::from_secs(180);

/// One way to get an instance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rung {
    pub spot: bool,
    pub instance_type: String,
    pub subnet: Option<String>,
}

impl Rung {
    /// The price class.
    pub fn price(&self) -> Price {
        if self.spot { Price::Spot } else { Price::OnDemand }
    }

    /// What EC2 knows a start by: asked again, it answers the same instance. Of the launch and of what is asked for,
    /// never of a position: the order of rungs may be another next time.
    pub fn client_token(&self, launch: &LaunchId) -> String {
        let Self { spot, instance_type, subnet } = self;
        let price = if *spot { "spot" } else { "on-demand" };
        let subnet = subnet.as_deref().unwrap_or_default();
        let digest = Sha256::digest(format!("{launch}\n{price}\n{instance_type}\n{subnet}"));
        // 64 characters is what EC2 takes.
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// For people.
    pub fn describe(&self) -> String {
        let price = if self.spot { "spot" } else { "on-demand" };
        match &self.subnet {
            Some(subnet) => format!("{} {price} in {subnet}", self.instance_type),
            None => format!("{} {price}", self.instance_type),
        }
    }
}

/// All of a pool's, as the configuration has them: types before subnets, spot before on-demand.
pub(super) fn rungs(pool: &Pool) -> Vec<Rung> {
    let prices: &[bool] = match pool.spot {
        Spot::Never => &[false],
        Spot::Prefer => &[true, false],
        Spot::Only => &[true],
    };
    let subnets: Vec<_> =
        if pool.subnets.is_empty() { vec![None] } else { pool.subnets.iter().cloned().map(Some).collect() };
    let mut rungs = Vec::new();
    for spot in prices {
        for instance_type in &pool.instance_types {
            for subnet in &subnets {
                rungs.push(Rung { spot: *spot, instance_type: instance_type.clone(), subnet: subnet.clone() });
            }
        }
    }
    rungs
}

/// How far one launch has come.
#[derive(Clone, Debug)]
pub(super) struct Climb {
    /// The same for every rung, and for every time it is asked again: EC2 compares.
    pub image: Image,
    /// The rung whose outcome is not known: none but this one may be tried.
    pub current: Option<Rung>,
    refused: BTreeSet<Rung>,
    words: Vec<String>,
    capacity: bool,
}

impl Climb {
    pub fn new(image: Image) -> Self {
        Self { image, current: None, refused: BTreeSet::new(), words: Vec::new(), capacity: false }
    }

    /// That rung was definitely refused.
    pub fn refused(&mut self, rung: &Rung, refusal: &Refusal) {
        self.current = None;
        self.refused.insert(rung.clone());
        self.capacity |= refusal.is_capacity();
        self.words.push(format!("{}: {}: {}", rung.describe(), refusal.code, refusal.words));
    }

    /// Whether a rung was refused that may have room another time.
    pub fn is_capacity(&self) -> bool {
        self.capacity
    }

    /// All refusals, in a line each.
    pub fn words(&self) -> String {
        self.words.join("\n")
    }
}

/// Where there was no room lately.
#[derive(Debug, Default)]
pub(super) struct Full(RefCell<BTreeMap<Rung, Instant>>);

impl Full {
    /// There is none.
    pub fn mark(&self, rung: &Rung) {
        self.0.borrow_mut().insert(rung.clone(), Instant::now());
    }

    /// There is some.
    pub fn clear(&self, rung: &Rung) {
        self.0.borrow_mut().remove(rung);
    }

    /// What to try next: the one in doubt, else the first that was not refused, those that were full lately last.
    pub fn next(&self, climb: &Climb, rungs: &[Rung]) -> Option<Rung> {
        if climb.current.is_some() {
            return climb.current.clone();
        }
        let full = self.0.borrow();
        let lately = |rung: &&Rung| full.get(*rung).is_some_and(|at| at.elapsed() < FULL);
        let mut left = rungs.iter().filter(|rung| !climb.refused.contains(*rung));
        let first = left.clone().next();
        left.find(|rung| !lately(rung)).or(first).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(text: &str) -> Pool {
        toml::from_str(&format!("image = \"ami-1\"\n{text}")).unwrap()
    }

    #[test]
    fn spot_of_everything_comes_before_on_demand() {
        let pool = pool("instance_types = [\"a.x\", \"b.x\"]\nsubnets = [\"s-1\", \"s-2\"]\nspot = \"prefer\"");
        let rungs: Vec<_> = rungs(&pool).iter().map(Rung::describe).collect();
        assert_eq!(rungs[..3], ["a.x spot in s-1", "a.x spot in s-2", "b.x spot in s-1"]);
        assert_eq!(rungs[4..6], ["a.x on-demand in s-1", "a.x on-demand in s-2"]);
        assert_eq!(rungs.len(), 8);
    }

    #[test]
    fn a_token_is_of_the_launch_and_the_rung() {
        let rungs = rungs(&pool("instance_types = [\"a.x\", \"b.x\"]\nspot = \"prefer\""));
        let launch = |id: &str| LaunchId::try_from(id.to_owned()).unwrap();
        let tokens: BTreeSet<_> = rungs.iter().map(|rung| rung.client_token(&launch("one"))).collect();
        assert_eq!(tokens.len(), 4);
        assert!(tokens.contains(&rungs[0].client_token(&launch("one"))));
        assert!(!tokens.contains(&rungs[0].client_token(&launch("two"))));
        assert!(tokens.iter().all(|token| token.len() == 64));
    }

    #[test]
    fn the_one_in_doubt_comes_first_and_the_full_ones_last() {
        let rungs = rungs(&pool("instance_types = [\"a.x\", \"b.x\", \"c.x\"]"));
        let mut climb = Climb::new(Image { id: "ami-1".to_owned(), root_device: None });
        let full = Full::default();
        full.mark(&rungs[0]);
        assert_eq!(full.next(&climb, &rungs), Some(rungs[1].clone()));
        climb.current = Some(rungs[2].clone());
        assert_eq!(full.next(&climb, &rungs), Some(rungs[2].clone()));
        let refusal = Refusal::new("InsufficientInstanceCapacity", "none");
        climb.refused(&rungs[2], &refusal);
        climb.refused(&rungs[1], &refusal);
        assert_eq!(full.next(&climb, &rungs), Some(rungs[0].clone()), "all are tried before it is given up");
        climb.refused(&rungs[0], &refusal);
        assert_eq!(full.next(&climb, &rungs), None);
    }
}
