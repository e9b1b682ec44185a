//! JSON Schemas of what people write.

use std::error::Error;
use std::path::Path;

use loitsut_profile::schema;

use super::packed;

/// Writes `NAME.json.gz` for each of them.
pub fn write(folder: &Path) -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build/schemas.rs");
    for (name, schema) in [("layer", schema::layer()), ("profile", schema::profile()), ("userdata", schema::userdata())]
    {
        packed::write(folder, &format!("{name}.json"), format!("{schema:#}\n").as_bytes())?;
    }
    Ok(())
}
