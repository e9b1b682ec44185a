//! Whether this is EC2, by what the firmware and the hypervisor say: a stranger must not be asked for user-data.

use std::path::Path;

use super::MetadataError;
use crate::host::Host;

/// Where Nitro instances, bare metal included, say who made them.
const MAKERS: [&str; 3] =
    ["/sys/class/dmi/id/sys_vendor", "/sys/class/dmi/id/board_vendor", "/sys/class/dmi/id/bios_vendor"];
/// Where Xen instances have a UUID that begins with `ec2`; the second is readable by root only.
const UUIDS: [&str; 2] = ["/sys/hypervisor/uuid", "/sys/class/dmi/id/product_uuid"];

/// An error that says what this machine is if it is not EC2.
pub(super) fn require_ec2(host: &Host) -> Result<(), MetadataError> {
    let makers: Vec<String> = MAKERS.iter().filter_map(|path| text(host, path)).collect();
    let mut uuids = UUIDS.iter().filter_map(|path| text(host, path));
    let is_ec2 = makers.iter().any(|maker| maker == "Amazon EC2")
        || uuids.any(|uuid| uuid.to_ascii_lowercase().starts_with("ec2"));
    if is_ec2 {
        return Ok(());
    }
    let maker = makers.first().map(|maker| format!("\"{}\"", maker.escape_debug()));
    Err(MetadataError::NotEc2 { maker: maker.unwrap_or_else(|| "not known".to_owned()) })
}

/// The trimmed text of a file, if there is one that can be read: a container may see none of them, and what cannot be
/// known does not speak for EC2.
fn text(host: &Host, path: &str) -> Option<String> {
    let text = host.read_text(Path::new(path)).ok()??;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}
