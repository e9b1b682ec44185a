//! The clock that deadlines are counted by. The wall clock may be years off at boot, and stepped later.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// The time since the kernel started, suspended time included.
pub fn since_boot() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}
