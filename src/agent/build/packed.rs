//! Texts that the agent prints, packed: they are printed seldom, and the agent is fetched often.

use std::error::Error;
use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

/// Writes `NAME.gz`.
#[allow(clippy::disallowed_methods, reason = "this runs where the agent is built, not where it works")]
pub fn write(folder: &Path, name: &str, text: &[u8]) -> Result<(), Box<dyn Error>> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(text)?;
    Ok(std::fs::write(folder.join(format!("{name}.gz")), packed.finish()?)?)
}
