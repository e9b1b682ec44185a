//! The agent is fetched and paged in at every boot: what no run of it needs is left out when it is linked.

use std::env;
use std::error::Error;
use std::fs;
use std::path::Path;

/// One static file that runs at any address; in a release, without relocations one by one and tables for unwinding.
///
/// rustc asks for the first for x86 only, so gcc is told for the other. Nothing unwinds in a program that aborts on panic,
/// and there are no symbols for a backtrace to name; the tables of the standard library and of glibc would be an eighth of
/// the file. What asks for a backtrace without them ends in abort(): so the agent has anyhow without it.
///
/// # Errors
///
/// Cargo has not said what it builds for, or what the linker reads cannot be written.
pub(super) fn arguments(out: &Path) -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build/link.rs");
    // Beside what is built: a target directory may outlive the checkout, or serve several.
    for file in ["no-unwinding.ld", "static-pie.specs"] {
        println!("cargo::rerun-if-changed=build/{file}");
        fs::copy(Path::new("build").join(file), out.join(file))?;
    }
    let here = out.display();
    let is_arm = env::var("CARGO_CFG_TARGET_ARCH")? == "aarch64";
    if is_arm {
        argument(&format!("-specs={here}/static-pie.specs"));
    }
    // `PROFILE` is so for what inherits from it too.
    if env::var("PROFILE")? == "release" {
        argument(&format!("-Wl,--script={here}/no-unwinding.ld"));
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
