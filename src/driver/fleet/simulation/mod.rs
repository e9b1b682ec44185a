//! The fleet against a world of faults, the same for each seed. `LOITSUT_SIMULATIONS=N` runs that many seeds,
//! `LOITSUT_SEED=N` that one with its history.

mod agent;
mod cloud;
mod driver;
mod promises;
mod random;
mod user;
mod world;

use std::time::Duration;

use super::{Fleet, Times};
use world::World;

/// The lease of all instances here.
const JOIN: Duration = Duration::from_secs(900);
const LIFE: Duration = Duration::from_secs(4 * 3600);
const HOLD: Duration = Duration::from_secs(1200);

/// How many seeds without being told.
const SEEDS: u64 = 200;

/// How much of the history of a broken promise is shown.
const SHOWN: usize = 150;

/// The driver that is tried.
#[derive(Clone)]
struct Setup {
    times: Times,
    /// It stores before it acts.
    stores_first: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self { times: Times::default(), stores_first: true }
    }
}

/// Runs a seed; answers how many requests got a worker, or the broken promise.
fn run(setup: &Setup, seed: u64) -> Result<u32, String> {
    let mut world = World::new(setup.clone(), seed, false);
    world.run().map(|()| world.served)
}

/// Runs a seed again, for its history.
fn tell(setup: &Setup, seed: u64) -> String {
    let mut world = World::new(setup.clone(), seed, true);
    let end = world.run();
    let history = world.history.unwrap_or_default();
    let shown = &history[history.len().saturating_sub(SHOWN)..];
    format!(
        "{}\nseed {seed}: {end:?}\n`LOITSUT_SEED={seed} cargo test -p loitsut-driver simulation` runs it again",
        shown.join("\n")
    )
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn whatever_goes_wrong_no_promise_is_broken() {
    let setup = Setup::default();
    let seeds = match (number("LOITSUT_SEED"), number("LOITSUT_SIMULATIONS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, count) => 0..count.unwrap_or(SEEDS),
    };
    let mut served = 0;
    for seed in seeds.clone() {
        served += u64::from(run(&setup, seed).unwrap_or_else(|_| panic!("{}", tell(&setup, seed))));
    }
    let count = seeds.end - seeds.start;
    println!("{count} seeds from {}: no promise broken, {served} requests served", seeds.start);
    assert!(served >= count * 2, "{served} of some {} requests got a worker", count * 16);
}

/// The first broken promise in some seeds.
fn broken(setup: &Setup) -> String {
    (0..5 * SEEDS).find_map(|seed| run(setup, seed).err()).expect("nobody noticed")
}

#[test]
fn a_driver_that_acts_before_it_stores_is_caught() {
    let words = broken(&Setup { stores_first: false, ..Setup::default() });
    assert!(!words.is_empty());
}

#[test]
fn a_driver_that_believes_lists_at_once_is_caught() {
    let times = Times { settle: Duration::ZERO, ..Times::default() };
    let words = broken(&Setup { times, ..Setup::default() });
    assert!(!words.is_empty());
}
