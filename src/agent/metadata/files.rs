//! Metadata from files: for hosts that are always there, containers, and tests.

use std::path::Path;

use loitsut_profile::sha256::Sha256;

use super::{Identity, LIMIT, Metadata, MetadataError};
use crate::host::Host;
use crate::host::files::Kind;

/// In a directory, the first that is there says who the instance is.
const IDENTITIES: [&str; 2] = ["instance-identity.json", "meta-data.json"];
const MACHINE_ID: &str = "/etc/machine-id";

/// From a directory with `user-data` and perhaps an identity, or from a file that is the user-data. The path must be
/// there, for somebody named it.
pub(super) fn fetch(host: &Host, path: &Path) -> Result<Metadata, MetadataError> {
    let (user_data, mut identity) = match host.stat_through(path)? {
        None => return Err(MetadataError::Missing { path: path.to_owned() }),
        Some(stat) if stat.kind == Kind::Directory => (read(host, &path.join("user-data"))?, identity(host, path)?),
        Some(_) => (read(host, path)?, Identity::default()),
    };
    if identity.instance_id.is_empty() {
        identity.instance_id = local_id(host)?;
    }
    Ok(Metadata { user_data, identity })
}

fn identity(host: &Host, directory: &Path) -> Result<Identity, MetadataError> {
    for name in IDENTITIES {
        let path = directory.join(name);
        if let Some(text) = read(host, &path)? {
            return Identity::parse(&path.display().to_string(), &text);
        }
    }
    Ok(Identity::default())
}

/// An id made from the machine's, which itself is to be kept confidential (machine-id(5)).
fn local_id(host: &Host) -> Result<String, MetadataError> {
    let id = read(host, Path::new(MACHINE_ID))?.unwrap_or_default();
    if id.trim_ascii().is_empty() {
        return Ok("local".to_owned());
    }
    let digest = Sha256::of(&[b"loitsut instance ", id.trim_ascii()].concat());
    Ok(format!("local-{:.16}", digest.to_string()))
}

fn read(host: &Host, path: &Path) -> Result<Option<Vec<u8>>, MetadataError> {
    let content = host.read(path)?;
    match &content {
        Some(bytes) if bytes.len() as u64 > LIMIT => Err(MetadataError::TooLong { path: path.to_owned() }),
        _ => Ok(content),
    }
}
