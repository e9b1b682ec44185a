//! The network of an instance: two namespaces, as a machine and its router.
//!
//! ```text
//!   instance namespace            router namespace                              host
//!   eth0  10.83.0.3 ──────────── inside   10.83.0.2                            the uplink
//!         default via 10.83.0.2           169.254.169.254, fd00:ec2::254           │ masquerade
//!         route to fd00:ec2::254          (metadata service)                       │
//!                                outside  10.83.0.2 ──────────── loitsut-1  10.83.0.1
//!                                         default via 10.83.0.1
//! ```
//!
//! - Each instance has a number, and everything here is named and addressed by it: what a killed supervisor leaves
//!   behind can be found and removed by number alone.
//! - The host has the same address (the first of the range) on each of its ends. So user-data can name the host
//!   before the instance exists, and no instance needs a subnet of its own.
//! - The metadata address is in the router namespace: were it the host's, the host's own look-ups would end there;
//!   were it the instance's, the build inside would own it.
//! - IPv6 is there for the metadata service only, as in most of EC2's subnets; not on a host that has none.
//!
//! `ip` and `nft` are run as programs: a person can repeat each line by hand, and a netlink library would be larger
//! than all of this.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::sched::{CloneFlags, setns};
use serde::{Deserialize, Serialize};

use super::range::{PREFIX, Range};
use super::uplink;
use crate::process::run;

/// Where every cloud's metadata service answers.
pub(crate) const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// The same over IPv6, as EC2 has it.
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// Where the kernel keeps the settings of IPv6; not there, if it has none.
const IPV6: &str = "/proc/sys/net/ipv6";

/// The network of one instance.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Network {
    range: Range,
    number: u16,
}

impl Network {
    /// The network with this number, counted from 1.
    pub(crate) fn new(range: Range, number: u16) -> Result<Self> {
        ensure!((1..0x8000).contains(&number), "no address is left in {range}: stop some instances");
        Ok(Self { range, number })
    }

    /// The lowest number that none of these has, and that nobody else uses either.
    pub(crate) fn free(range: Range, taken: &[Self]) -> Result<Self> {
        let free = |number: &u16| {
            let taken = taken.iter().any(|network| network.number == *number);
            !taken && !namespace_path(&format!("{PREFIX}{number}")).exists()
        };
        Self::new(range, (1..0x8000).find(free).unwrap_or(0))
    }

    /// The host, as the instance reaches it.
    pub(crate) fn host(&self) -> Ipv4Addr {
        self.nth(1)
    }

    fn router(&self) -> Ipv4Addr {
        self.nth(2 * u32::from(self.number))
    }

    /// The instance, as the host reaches it.
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.nth(2 * u32::from(self.number) + 1)
    }

    /// The hardware address of the instance's interface: one that nobody was given.
    pub(crate) fn mac(&self) -> String {
        let [a, b, c, d] = self.address().octets();
        format!("02:00:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
    }

    /// The instance, as its metadata service sees it over IPv6.
    fn address_v6(&self) -> Ipv6Addr {
        Ipv6Addr::new(0xfd6c, 0x6f69, 0x7473, 0, 0, 0, 0, self.number)
    }

    fn nth(&self, n: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.range.0.to_bits() + n)
    }

    /// The name of the instance's namespace, of the host's interface, and of whatever else is one per instance.
    pub(crate) fn name(&self) -> String {
        format!("{PREFIX}{}", self.number)
    }

    fn router_name(&self) -> String {
        format!("{PREFIX}{}-router", self.number)
    }

    /// The instance's namespace as a file.
    pub(crate) fn namespace(&self) -> PathBuf {
        namespace_path(&self.name())
    }

    /// Makes it. What fails half-way is removed by [`Network::destroy`].
    pub(crate) async fn create(&self) -> Result<()> {
        let (name, router_name) = (&self.name(), &self.router_name());
        let (host, router, address) = (&self.host(), &self.router(), &self.address());
        uplink::check_collision(self.range).await?;
        ip(&format!("netns add {name}")).await?;
        ip(&format!("netns add {router_name}")).await?;
        ip(&format!("link add {name} type veth peer name outside netns {router_name}")).await?;
        ip(&format!("-n {router_name} link add inside type veth peer name eth0 netns {name}")).await?;

        ip(&format!("address add {host}/32 peer {router} dev {name}")).await?;
        ip(&format!("link set {name} up")).await?;
        ip(&format!("route add {address}/32 via {router}")).await?;

        ip(&format!("-n {router_name} link set lo up")).await?;
        ip(&format!("-n {router_name} address add {router}/32 peer {host} dev outside")).await?;
        ip(&format!("-n {router_name} address add {router}/32 peer {address} dev inside")).await?;
        ip(&format!("-n {router_name} address add {METADATA}/32 dev inside")).await?;
        ip(&format!("-n {router_name} link set outside up")).await?;
        ip(&format!("-n {router_name} link set inside up")).await?;
        ip(&format!("-n {router_name} route add default via {host}")).await?;
        // The host may be a cloud instance itself: its link-local services are not for builds.
        ip(&format!("-n {router_name} route add unreachable 169.254.0.0/16")).await?;
        self.inside_router(|| fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("ip_forward of the router"))?;

        ip(&format!("-n {name} link set lo up")).await?;
        ip(&format!("-n {name} address add {address}/32 peer {router} dev eth0")).await?;
        ip(&format!("-n {name} link set eth0 address {} up", self.mac())).await?;
        ip(&format!("-n {name} route add default via {router}")).await?;
        if Path::new(IPV6).exists() {
            self.create_v6().await?;
        }
        uplink::open(*address).await
    }

    /// The way to the metadata service over IPv6. `nodad`: an address that is still being tried out takes no listener.
    async fn create_v6(&self) -> Result<()> {
        let (name, router_name, address) = (&self.name(), &self.router_name(), &self.address_v6());
        ip(&format!("-n {router_name} address add {METADATA_V6}/128 dev inside nodad")).await?;
        ip(&format!("-n {router_name} route add {address}/128 dev inside")).await?;
        ip(&format!("-n {name} address add {address}/128 dev eth0 nodad")).await?;
        ip(&format!("-n {name} route add {METADATA_V6}/128 dev eth0")).await
    }

    /// The metadata service's sockets. They stay in the router's namespace whoever holds them.
    pub(crate) fn listen(&self) -> Result<Vec<TcpListener>> {
        let v6 = Path::new(IPV6).exists().then_some(IpAddr::V6(METADATA_V6));
        let listen = |address: IpAddr| {
            TcpListener::bind((address, 80)).with_context(|| format!("cannot listen on port 80 of {address}"))
        };
        self.inside_router(|| [IpAddr::V4(METADATA)].into_iter().chain(v6).map(listen).collect())
    }

    /// Removes whatever exists of it. The host's end goes first: it would outlive its namespace while a process is in
    /// there, and takes its peer with it at once.
    pub(crate) async fn destroy(&self) -> Result<()> {
        let closed = uplink::close(self.address()).await;
        let end = Path::new("/sys/class/net").join(self.name());
        if end.exists() {
            let deleted = ip(&format!("link delete {}", self.name())).await;
            // The kernel removes an interface some time after its namespace: it may just have done so.
            deleted.or_else(|error| if end.exists() { Err(error) } else { Ok(()) })?;
        }
        for name in [self.name(), self.router_name()] {
            if namespace_path(&name).exists() {
                ip(&format!("netns delete {name}")).await?;
            }
        }
        closed
    }

    /// Does something in the router's namespace, in a thread that ends with it.
    fn inside_router<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let path = namespace_path(&self.router_name());
        let namespace = File::open(&path).with_context(|| path.display().to_string())?;
        let enter = || {
            setns(&namespace, CloneFlags::CLONE_NEWNET).with_context(|| format!("cannot enter {}", path.display()))?;
            work()
        };
        std::thread::scope(|scope| scope.spawn(enter).join())
            .map_err(|_| anyhow!("the thread in {} died", path.display()))?
    }
}

fn namespace_path(name: &str) -> PathBuf {
    Path::new("/run/netns").join(name)
}

async fn ip(arguments: &str) -> Result<()> {
    run("ip", &arguments.split(' ').collect::<Vec<_>>()).await.map(drop)
}

/// The name servers for an instance: those asked for, else the host's. One on the host's loopback cannot be reached
/// from an instance; systemd-resolved, the usual reason for that, keeps the real ones in a file of its own.
pub(crate) fn nameservers(wanted: &[Ipv4Addr]) -> Result<String> {
    if !wanted.is_empty() {
        return Ok(wanted.iter().map(|address| format!("nameserver {address}\n")).collect());
    }
    for path in ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"] {
        if let Some(reachable) = fs::read_to_string(path).ok().and_then(|text| reachable_from_outside(&text)) {
            return Ok(reachable);
        }
    }
    bail!(
        "/etc/resolv.conf names no server that an instance can reach (a loopback address is the host's own): say network.nameservers"
    )
}

/// A resolv.conf without the servers on loopback and IPv6, if any server is left.
fn reachable_from_outside(text: &str) -> Option<String> {
    let server = |line: &str| line.strip_prefix("nameserver").map(|address| address.trim().parse::<Ipv4Addr>());
    let keep = |line: &&str| server(line).is_none_or(|address| address.is_ok_and(|address| !address.is_loopback()));
    let kept: Vec<_> = text.lines().filter(keep).collect();
    kept.iter().any(|line| server(line).is_some()).then(|| kept.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_give_addresses_that_do_not_meet() {
        let first = Network::new(Range::default(), 1).unwrap();
        let last = Network::new(Range::default(), 0x7fff).unwrap();
        assert_eq!(first.host().to_string(), "10.83.0.1");
        assert_eq!((first.router().to_string(), first.address().to_string()), ("10.83.0.2".into(), "10.83.0.3".into()));
        assert_eq!((last.host(), last.address().to_string()), (first.host(), "10.83.255.255".into()));
        assert!(last.router_name().len() < 64 && last.name().len() <= 15);
    }

    #[test]
    fn the_lowest_free_number_is_taken_and_the_range_ends() {
        let taken: Vec<_> = (1..0x7fff).map(|n| Network::new(Range::default(), n).unwrap()).collect();
        assert_eq!(Network::free(Range::default(), &taken).unwrap().number, 0x7fff);
        let all: Vec<_> = (1..0x8000).map(|n| Network::new(Range::default(), n).unwrap()).collect();
        assert!(Network::free(Range::default(), &all).unwrap_err().to_string().contains("stop some"));
    }

    #[test]
    fn loopback_name_servers_are_left_out() {
        let text = "search example.org\nnameserver 127.0.0.53\nnameserver ::1\n";
        assert_eq!(reachable_from_outside(text), None);
        let mixed = format!("{text}nameserver 192.0.2.1\n");
        assert_eq!(reachable_from_outside(&mixed).unwrap(), "search example.org\nnameserver 192.0.2.1\n");
        assert_eq!(nameservers(&[Ipv4Addr::new(192, 0, 2, 7)]).unwrap(), "nameserver 192.0.2.7\n");
    }
}
