//! JSON Schemas, packed: they are printed seldom, and the agent is fetched often.

use std::error::Error;
use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use loitsut_profile::schema;

/// Writes `NAME.json.gz` for each of them.
#[allow(clippy::disallowed_methods, reason = "this runs where the agent is built, not where it works")]
pub fn write(folder: &Path) -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build/schemas.rs");
    for (name, schema) in [("layer", schema::layer()), ("profile", schema::profile()), ("userdata", schema::userdata())]
    {
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        writeln!(packed, "{schema:#}")?;
        std::fs::write(folder.join(format!("{name}.json.gz")), packed.finish()?)?;
    }
    Ok(())
}
