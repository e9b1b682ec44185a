//! What a metadata service knows: values by their paths below `/latest`. Directories are those paths' prefixes, listed as
//! EC2 lists them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use serde_json::json;

/// Who an instance is.
pub(crate) struct Identity {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) address: Ipv4Addr,
    /// The hardware address of its interface.
    pub(crate) mac: String,
    pub(crate) image: String,
    /// When the launch began (RFC 3339).
    pub(crate) started: String,
}

/// Everything an instance may ask, by path below `/latest/`.
pub(crate) type Tree = BTreeMap<String, Vec<u8>>;

/// The tree of an instance. There is no path for user-data that is absent.
pub(crate) fn tree(identity: &Identity, user_data: Option<Vec<u8>>) -> Tree {
    let values = meta_data(identity).into_iter().chain(interface(identity));
    let mut tree: Tree = values.map(|(path, value)| (format!("meta-data/{path}"), value.into_bytes())).collect();
    tree.insert("dynamic/instance-identity/document".to_owned(), document(identity));
    tree.extend(user_data.map(|data| ("user-data".to_owned(), data)));
    tree
}

/// What clients written for EC2 take for given. What an instance of EC2 may lack (keys, a role, tags) is not there.
fn meta_data(identity: &Identity) -> Vec<(String, String)> {
    let address = identity.address.to_string();
    let values = [
        ("ami-id", identity.image.as_str()),
        ("ami-launch-index", "0"),
        ("block-device-mapping/ami", "/dev/sda1"),
        ("block-device-mapping/root", "/dev/sda1"),
        ("hostname", &identity.name),
        ("instance-action", "none"),
        ("instance-id", &identity.id),
        ("instance-life-cycle", "on-demand"),
        ("instance-type", TYPE),
        ("local-hostname", &identity.name),
        ("local-ipv4", &address),
        ("mac", &identity.mac),
        ("placement/availability-zone", ZONE),
        ("placement/availability-zone-id", ZONE),
        ("placement/region", REGION),
        ("reservation-id", RESERVATION),
        ("security-groups", "default"),
        ("services/domain", "amazonaws.com"),
        ("services/partition", "aws"),
    ];
    values.into_iter().map(|(path, value)| (path.to_owned(), value.to_owned())).collect()
}

/// Its one network interface.
fn interface(identity: &Identity) -> Vec<(String, String)> {
    let (address, mac) = (identity.address.to_string(), identity.mac.as_str());
    let values = [
        ("device-number", "0"),
        ("interface-id", INTERFACE),
        ("local-hostname", identity.name.as_str()),
        ("local-ipv4s", &address),
        ("mac", mac),
        ("owner-id", ACCOUNT),
        ("security-groups", "default"),
        ("subnet-ipv4-cidr-block", &format!("{address}/32")),
    ];
    let path = |key| format!("network/interfaces/macs/{mac}/{key}");
    values.into_iter().map(|(key, value)| (path(key), value.to_owned())).collect()
}

const ACCOUNT: &str = "000000000000";
const RESERVATION: &str = "r-00000000000000000";
const INTERFACE: &str = "eni-00000000000000000";
const TYPE: &str = "nspawn";
const REGION: &str = "local";
const ZONE: &str = "locala";

fn document(identity: &Identity) -> Vec<u8> {
    let document = json!({
        "accountId": ACCOUNT,
        "architecture": std::env::consts::ARCH,
        "availabilityZone": ZONE,
        "imageId": identity.image,
        "instanceId": identity.id,
        "instanceType": TYPE,
        "pendingTime": identity.started,
        "privateIp": identity.address,
        "region": REGION,
        "version": "2017-09-30",
    });
    format!("{document:#}").into_bytes()
}

/// The value at a path, or the listing of a directory.
pub(super) fn look_up(tree: &Tree, path: &str) -> Option<Vec<u8>> {
    let path = path.trim_matches('/');
    let (version, path) = path.split_once('/').unwrap_or((path, ""));
    match version {
        "" => return Some(b"latest".to_vec()),
        "latest" => (),
        // Clients such as cloud-init ask for the edition that they were written for.
        dated if dated.len() == 10 && dated.chars().all(|c| c.is_ascii_digit() || c == '-') => (),
        _ => return None,
    }
    tree.get(path).cloned().or_else(|| list(tree, path))
}

/// The names in a directory, one a line; directories among them end with a slash.
fn list(tree: &Tree, directory: &str) -> Option<Vec<u8>> {
    let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
    let below = tree.keys().filter_map(|path| path.strip_prefix(&prefix));
    let names: BTreeSet<&str> = below.map(|rest| rest.split_inclusive('/').next().unwrap_or(rest)).collect();
    // EC2 lists the three top directories without a slash.
    let names: Vec<&str> =
        names.into_iter().map(|n| if prefix.is_empty() { n.trim_end_matches('/') } else { n }).collect();
    (!names.is_empty()).then(|| names.join("\n").into_bytes())
}
