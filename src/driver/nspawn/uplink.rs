//! The host's side of all instances' networks: masquerading and forwarding, there while any instance needs them.
//!
//! The addresses of those that do are the elements of one nft set, so the set itself is the count of its users. The
//! caller holds the store lock.

use std::fs;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::range::{PREFIX, Range};
use crate::process::{feed, run};

const TABLE: &str = "loitsut_nspawn";
const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

/// Exists while forwarding is on because of us. In /run, since a restart of the host undoes both.
const SWITCHED_ON: &str = "/run/loitsut-nspawn-forwarding";

/// Lets an instance out.
pub(crate) async fn open(instance: Ipv4Addr) -> Result<()> {
    let rules = format!(
        "add table ip {TABLE}
         add set ip {TABLE} instances {{ type ipv4_addr; }}
         add chain ip {TABLE} postrouting {{ type nat hook postrouting priority srcnat; }}
         flush chain ip {TABLE} postrouting
         add rule ip {TABLE} postrouting ip saddr @instances oifname != \"{PREFIX}*\" masquerade
         add element ip {TABLE} instances {{ {instance} }}
        "
    );
    feed("nft", &["-f", "-"], &rules).await?;
    if fs::read_to_string(FORWARDING).context(FORWARDING)?.trim() == "0" {
        fs::write(SWITCHED_ON, "").context(SWITCHED_ON)?;
        fs::write(FORWARDING, "1").context(FORWARDING)?;
    }
    Ok(())
}

/// Takes that back; the last one leaves the host as it was.
pub(crate) async fn close(instance: Ipv4Addr) -> Result<()> {
    if let Some(users) = users().await? {
        if users.contains(&instance) {
            run("nft", &["delete", "element", "ip", TABLE, "instances", &format!("{{ {instance} }}")]).await?;
        }
        if users.iter().any(|user| *user != instance) {
            return Ok(());
        }
        run("nft", &["delete", "table", "ip", TABLE]).await?;
    }
    // Also without a table: a firewall that was loaded anew may have flushed it.
    if Path::new(SWITCHED_ON).exists() {
        fs::write(FORWARDING, "0").context(FORWARDING)?;
        remove_file(SWITCHED_ON)?;
    }
    Ok(())
}

/// The instances that are let out, or nothing if there is no table.
async fn users() -> Result<Option<Vec<Ipv4Addr>>> {
    let tables = run("nft", &["list", "tables", "ip"]).await?;
    if !tables.lines().any(|line| line.trim() == format!("table ip {TABLE}")) {
        return Ok(None);
    }
    Ok(Some(elements(&run("nft", &["list", "set", "ip", TABLE, "instances"]).await?)))
}

/// The addresses in what `nft list set` prints. (Its JSON is an option of its build.)
fn elements(text: &str) -> Vec<Ipv4Addr> {
    text.split(|c: char| !(c.is_ascii_digit() || c == '.')).filter_map(|word| word.parse().ok()).collect()
}

/// Fails if the host uses a part of the range for something else: its own traffic would be led astray.
pub(crate) async fn check_collision(range: Range) -> Result<()> {
    for selector in ["root", "match"] {
        let routes = run("ip", &["-4", "-o", "route", "show", selector, &range.to_string()]).await?;
        if let Some(route) = foreign_route(&routes) {
            bail!("the host has a route {route:?} within {range}: say another network.range, such as \"10.84.0.0/16\"");
        }
    }
    Ok(())
}

/// The first route that is neither ours nor the default one.
fn foreign_route(routes: &str) -> Option<&str> {
    let ours = format!("dev {PREFIX}");
    routes
        .lines()
        .map(str::trim)
        .find(|route| !route.is_empty() && !route.starts_with("default") && !route.contains(&ours))
}

fn remove_file(path: &str) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error).context(path.to_owned()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_are_read_from_the_set() {
        let text = "table ip loitsut_nspawn {\n\tset instances {\n\t\ttype ipv4_addr\n\t\telements = { 10.83.0.3, 10.83.0.5,\n\t\t\t     10.83.0.7 }\n\t}\n}\n";
        assert_eq!(elements(text).len(), 3);
        assert!(elements("table ip loitsut_nspawn {\n\tset instances {\n\t\ttype ipv4_addr\n\t}\n}\n").is_empty());
    }

    #[test]
    fn a_route_of_somebody_else_is_a_collision() {
        let ours =
            "10.83.0.2 dev loitsut-1 proto kernel scope link src 10.83.0.1 \n10.83.0.3 via 10.83.0.2 dev loitsut-1\n";
        assert_eq!(foreign_route(&format!("default via 192.0.2.1 dev eth0\n{ours}")), None);
        assert_eq!(foreign_route(&format!("{ours}10.0.0.0/8 dev tun0\n")), Some("10.0.0.0/8 dev tun0"));
    }
}
