//! Sockets below HTTP: those that bear the agent's mark.
#![allow(clippy::disallowed_methods)]

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::{TcpSocket, TcpStream};

/// What the agent's own requests to the metadata service bear ("loit"); routing rules tell them by it from all others.
pub(crate) const MARK: u32 = 0x6c6f_6974;

/// A TCP connection that bears the mark.
///
/// # Errors
/// The kernel's, as it is.
pub(crate) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    mark(&socket)?;
    socket.connect(address).await
}

/// An ordinary user may not, and need not: what the agent closes is open until root has closed it.
fn mark(socket: &impl AsFd) -> io::Result<()> {
    match setsockopt(socket, sockopt::Mark, &MARK) {
        Err(Errno::EPERM) => Ok(()),
        set => Ok(set?),
    }
}
