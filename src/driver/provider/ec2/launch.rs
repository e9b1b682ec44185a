//! RunInstances, for one launch on one rung.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::api::{Call, Query};
use super::buckets::Kind;
use super::config::Pool;
use super::image::Image;
use super::ladder::Rung;
use super::tags;
use crate::provider::{ErrorKind, ProviderError, Start};

/// EC2's limit, before base64.
const USER_DATA: usize = 16_384;

/// Fails before anything is asked for if EC2 would refuse it.
pub(super) fn check(start: &Start) -> Result<(), ProviderError> {
    let length = start.user_data.len();
    if length <= USER_DATA {
        return Ok(());
    }
    let message = format!(
        "the user-data of {} is {length} bytes, and EC2 takes {USER_DATA}: let the bundle go by url, or make `user_data_parts` smaller",
        start.launch
    );
    Err(ProviderError { kind: ErrorKind::Refused, message })
}

/// The call. Everything that the instance must have it gets here, in one: what would have to be added later might not
/// be.
pub(super) fn run_instances(driver: &str, start: &Start, pool: &Pool, image: &Image, rung: &Rung) -> Call {
    let query = Query::new("RunInstances")
        .with("MinCount", "1")
        .with("MaxCount", "1")
        .with("ImageId", &image.id)
        .with("InstanceType", &rung.instance_type)
        .with("ClientToken", rung.client_token(&start.launch))
        // The agent ends its instance by a power-off.
        .with("InstanceInitiatedShutdownBehavior", "terminate")
        .with("UserData", STANDARD.encode(&start.user_data));
    let query = with_metadata(query, pool);
    let query = with_network(query, pool, rung);
    let query = with_disk(query, pool, image);
    let query = with_price(query, rung);
    let query = match &pool.instance_profile {
        Some(profile) if profile.starts_with("arn:") => query.with("IamInstanceProfile.Arn", profile),
        Some(profile) => query.with("IamInstanceProfile.Name", profile),
        None => query,
    };
    with_tags(query, &tags::of(driver, start, pool)).counted_as(Kind::Run)
}

/// Version 1 would hand the user-data, and with it the launch's token, to any request that a build can be made to send.
fn with_metadata(query: Query, pool: &Pool) -> Query {
    let query = query
        .with("MetadataOptions.HttpEndpoint", "enabled")
        .with("MetadataOptions.HttpTokens", "required")
        .with("MetadataOptions.HttpPutResponseHopLimit", "1");
    if pool.metadata_ipv6 { query.with("MetadataOptions.HttpProtocolIpv6", "enabled") } else { query }
}

fn with_network(query: Query, pool: &Pool, rung: &Rung) -> Query {
    // A public address can only be asked for by way of an interface, and then all else goes there too.
    let Some(public) = pool.public_ip else {
        let query = query.with_list("SecurityGroupId", pool.security_groups.iter().map(String::as_str));
        return match &rung.subnet {
            Some(subnet) => query.with("SubnetId", subnet),
            None => query,
        };
    };
    let query = query
        .with("NetworkInterface.1.DeviceIndex", "0")
        .with("NetworkInterface.1.DeleteOnTermination", "true")
        .with("NetworkInterface.1.AssociatePublicIpAddress", public.to_string())
        .with_list("NetworkInterface.1.SecurityGroupId", pool.security_groups.iter().map(String::as_str));
    match &rung.subnet {
        Some(subnet) => query.with("NetworkInterface.1.SubnetId", subnet),
        None => query,
    }
}

fn with_disk(query: Query, pool: &Pool, image: &Image) -> Query {
    let (Some(size), Some(device)) = (pool.disk, &image.root_device) else { return query };
    query
        .with("BlockDeviceMapping.1.DeviceName", device)
        .with("BlockDeviceMapping.1.Ebs.VolumeSize", size.0.to_string())
        .with("BlockDeviceMapping.1.Ebs.VolumeType", "gp3")
        .with("BlockDeviceMapping.1.Ebs.DeleteOnTermination", "true")
}

fn with_price(query: Query, rung: &Rung) -> Query {
    if !rung.spot {
        return query;
    }
    query
        .with("InstanceMarketOptions.MarketType", "spot")
        .with("InstanceMarketOptions.SpotOptions.SpotInstanceType", "one-time")
        .with("InstanceMarketOptions.SpotOptions.InstanceInterruptionBehavior", "terminate")
}

fn with_tags(mut query: Query, tags: &[(String, String)]) -> Query {
    for (index, kind) in ["instance", "volume"].iter().enumerate() {
        let prefix = format!("TagSpecification.{}", index + 1);
        query = query.with(format!("{prefix}.ResourceType"), *kind);
        for (index, (key, value)) in tags.iter().enumerate() {
            query = query
                .with(format!("{prefix}.Tag.{}.Key", index + 1), key)
                .with(format!("{prefix}.Tag.{}.Value", index + 1), value);
        }
    }
    query
}
