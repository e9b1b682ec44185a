//! The agent is fetched and paged in at every boot: what no run of it needs is left out when it is linked.

use std::env::{self, VarError};

/// One static file that runs at any address; in a release, without relocations one by one and tables for unwinding.
///
/// rustc asks for the first for x86 only, so gcc is told for the other. Nothing unwinds in a program that aborts on panic,
/// and there are no symbols for a backtrace to name; the tables of the standard library and of glibc would be an eighth of
/// the file. What asks for a backtrace without them ends in abort(): so the agent has anyhow without it.
///
/// # Errors
///
/// Cargo has not said what it builds for.
pub(super) fn arguments() -> Result<(), VarError> {
    for file in ["link.rs", "no-unwinding.ld", "static-pie.specs"] {
        println!("cargo::rerun-if-changed=build/{file}");
    }
    let here = env::var("CARGO_MANIFEST_DIR")?;
    let is_arm = env::var("CARGO_CFG_TARGET_ARCH")? == "aarch64";
    if is_arm {
        argument(&format!("-specs={here}/build/static-pie.specs"));
    }
    // `PROFILE` is so for what inherits from it too.
    if env::var("PROFILE")? == "release" {
        argument(&format!("-Wl,--script={here}/build/no-unwinding.ld"));
        // The linker of Debian 12 knows them for x86 only.
        if !is_arm {
            argument("-Wl,-z,pack-relative-relocs");
        }
    }
    Ok(())
}

fn argument(argument: &str) {
    println!("cargo::rustc-link-arg-bins={argument}");
}
