//! Whose cloud this is, by what the firmware and the hypervisor say: a stranger must not be asked for user-data.

use std::path::Path;

use super::MetadataError;
use crate::host::Host;

const DMI: &str = "/sys/class/dmi/id";
/// Where Nitro instances, bare metal included, say who made them.
const MAKERS: [&str; 3] = ["sys_vendor", "board_vendor", "bios_vendor"];
/// What Nova has its machines say; the second are asset tags of clouds that are OpenStack under a name of their own. As
/// cloud-init knows them: https://github.com/canonical/cloud-init/blob/main/tools/ds-identify
const OPENSTACK_PRODUCTS: [&str; 2] = ["OpenStack Nova", "OpenStack Compute"];
const OPENSTACK_TAGS: [&str; 4] = ["HUAWEICLOUD", "OpenTelekomCloud", "SAP CCloud VM", "Samsung Cloud Platform"];

/// A cloud whose metadata service is at the usual address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Platform {
    Ec2,
    OpenStack,
}

/// Where this machine runs; an error that says what it is, if nobody there may be asked.
pub(super) fn detect(host: &Host, v1_is_permitted: bool) -> Result<Platform, MetadataError> {
    if is_ec2(host) {
        return Ok(Platform::Ec2);
    }
    match (is_openstack(host), v1_is_permitted) {
        (true, true) => Ok(Platform::OpenStack),
        (true, false) => Err(MetadataError::OpenStack),
        (false, _) => Err(MetadataError::NotEc2 { maker: maker(host) }),
    }
}

fn is_ec2(host: &Host) -> bool {
    MAKERS.iter().any(|name| dmi(host, name).as_deref() == Some("Amazon EC2")) || is_ec2_on_xen(host)
}

/// Xen instances have a UUID that begins with `ec2`, as one in 4096 of all others has. So more is wanted: the hypervisor
/// tells it, and the serial number is the same; on an instance without firmware the hypervisor has to do.
fn is_ec2_on_xen(host: &Host) -> bool {
    let is_ec2 = |uuid: &Option<String>| uuid.as_ref().is_some_and(|uuid| uuid.to_ascii_lowercase().starts_with("ec2"));
    let hypervisor = text(host, "/sys/hypervisor/uuid");
    let (product, serial) = (dmi(host, "product_uuid"), dmi(host, "product_serial"));
    match (&product, &serial) {
        (Some(product), Some(serial)) if product.eq_ignore_ascii_case(serial) => is_ec2(&Some(product.clone())),
        (None, None) => is_ec2(&hypervisor),
        _ => false,
    }
}

fn is_openstack(host: &Host) -> bool {
    let is_one_of = |name, known: &[&str]| dmi(host, name).is_some_and(|text| known.contains(&text.as_str()));
    is_one_of("product_name", &OPENSTACK_PRODUCTS) || is_one_of("chassis_asset_tag", &OPENSTACK_TAGS)
}

fn maker(host: &Host) -> String {
    let maker = MAKERS.iter().find_map(|name| dmi(host, name));
    maker.map_or_else(|| "not known".to_owned(), |maker| format!("\"{}\"", maker.escape_debug()))
}

fn dmi(host: &Host, name: &str) -> Option<String> {
    text(host, &format!("{DMI}/{name}"))
}

/// The trimmed text of a file, if there is one that can be read: a container may see none of them, and what cannot be
/// known does not speak for a cloud.
fn text(host: &Host, path: &str) -> Option<String> {
    let text = host.read_text(Path::new(path)).ok()??;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}
