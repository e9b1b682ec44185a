//! Sockets below HTTP: those that bear the agent's mark, and what the kernel says to those that do not.
#![allow(clippy::disallowed_methods)]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::{TcpSocket, TcpStream};

/// What the agent's own requests to the metadata service bear ("loit"); routing rules tell them by it from all others.
pub(crate) const MARK: u32 = 0x6c6f_6974;

/// Whose socket it is, as far as the kernel's routing can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// The agent's.
    Agent,
    /// Anybody's.
    None,
}

/// Whether the kernel speaks IPv6 at all.
pub(crate) fn has_ipv6() -> bool {
    Path::new("/proc/sys/net/ipv6").is_dir()
}

/// The numbers of this machine's network interfaces, but for the loopback.
///
/// # Errors
/// The kernel's, as it is.
pub(crate) fn links() -> io::Result<Vec<u32>> {
    let loopback = |name: &std::ffi::CStr| name == c"lo";
    let links = nix::net::if_::if_nameindex()?;
    Ok(links.iter().filter(|link| !loopback(link.name())).map(|link| link.index()).collect())
}

/// A TCP connection.
///
/// # Errors
/// The kernel's, as it is.
pub(crate) async fn connect(address: SocketAddr, mark: Mark) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if mark == Mark::Agent {
        match set_mark(&socket) {
            // An ordinary user may not, and need not: what the agent closes is open until root has closed it.
            Err(Errno::EPERM) => {}
            set => set?,
        }
    }
    socket.connect(address).await
}

/// Whether a filter of this process's control group keeps it from sending to an address; it sends an empty datagram with
/// the agent's mark, for which the routing rules make way. (A filtered TCP connection is not refused, it only times out.)
///
/// # Errors
/// It cannot be told, such as for lack of the right to mark.
pub(crate) fn is_filtered(address: SocketAddr) -> io::Result<bool> {
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    set_mark(&socket).map_err(|errno| io::Error::other(format!("a socket cannot be marked: {errno}")))?;
    match socket.send_to(&[], address) {
        Ok(_) => Ok(false),
        Err(error) => match Errno::from_raw(error.raw_os_error().unwrap_or_default()) {
            // No way there is as good.
            Errno::EPERM | Errno::ENETUNREACH | Errno::EHOSTUNREACH => Ok(true),
            _ => Err(error),
        },
    }
}

/// Makes a socket the agent's.
///
/// # Errors
/// The kernel's, as it is: `EPERM` without CAP_NET_ADMIN.
pub(crate) fn set_mark(socket: &impl AsFd) -> nix::Result<()> {
    setsockopt(socket, sockopt::Mark, &MARK)
}
