//! The agent is fetched and paged in at every boot: what no run of it needs is left out when it is linked.

use std::env;

/// Without relocations one by one, and without tables for unwinding.
///
/// Nothing unwinds in a program that aborts on panic, and there are no symbols for a backtrace to name; the tables of the
/// standard library and of glibc would be an eighth of the file. What asks for a backtrace without them ends in abort():
/// so the agent has anyhow without it.
pub(super) fn smaller() {
    for file in ["link.rs", "no-unwinding.ld"] {
        println!("cargo::rerun-if-changed=build/{file}");
    }
    let is_release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    if let (true, Ok(here)) = (is_release, env::var("CARGO_MANIFEST_DIR")) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
        println!("cargo::rustc-link-arg-bins=-Wl,--script={here}/build/no-unwinding.ld");
    }
}
