//! The tags that instances and volumes bear: by them, and nothing else, ours are known.

use super::config::Pool;
use crate::provider::Start;

/// Whose it is: the driver's name.
pub(super) const DRIVER: &str = "loitsut:driver";

/// Its pool.
pub(super) const POOL: &str = "loitsut:pool";

/// Its launch.
pub(super) const LAUNCH: &str = "loitsut:launch";

/// All tags of a launch.
pub(super) fn of(driver: &str, start: &Start, pool: &Pool) -> Vec<(String, String)> {
    let own =
        [(DRIVER, driver), (POOL, start.pool.as_str()), (LAUNCH, start.launch.as_str()), ("Name", start.name.as_str())];
    let own = own.map(|(key, value)| (key.to_owned(), value.to_owned()));
    own.into_iter().chain(pool.tags.clone()).collect()
}
