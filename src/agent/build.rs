//! What is made when the agent is built: the texts that it prints, its man pages, and how it is linked.

#[path = "build/link.rs"]
mod link;
#[path = "build/packed.rs"]
mod packed;
#[path = "build/pages.rs"]
mod pages;
#[path = "build/schemas.rs"]
mod schemas;

use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build/packed.rs");
    link::arguments(&out)?;
    pages::write(&out)?;
    schemas::write(&out)
}
