//! What is made when the agent is built: the JSON Schemas that `loitsut schema` prints, and how it is linked.

#[path = "build/link.rs"]
mod link;
#[path = "build/schemas.rs"]
mod schemas;

use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    println!("cargo::rerun-if-changed=build.rs");
    link::smaller();
    schemas::write(&out)
}
