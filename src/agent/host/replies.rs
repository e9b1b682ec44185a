//! The kernel's check of where packets come from (`rp_filter`, ip-sysctl.rst of the kernel's documentation). It looks the
//! sender up as if this machine sent there without a mark. So once a routing rule prohibits that, the replies to marked
//! sockets are dropped too, in the loose mode as well, and no rule can tell the check from a sender.
#![allow(clippy::disallowed_methods)]

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;

use super::socket;

/// The settings of each link, of `all`, and of `default` for those to come. What holds is the stricter of a link's and `all`.
const SETTINGS: &str = "/proc/sys/net/ipv4/conf";

/// Drops the check on the link by which `service` is reached, and on that alone; the link's name, if something was changed.
/// IPv6 has no such check.
///
/// # Errors
/// The kernel's; it names the file.
pub(crate) fn let_in(service: SocketAddr) -> io::Result<Option<String>> {
    match link_to(service)? {
        Some(link) if drop_check(Path::new(SETTINGS), &link)? => Ok(Some(link)),
        _ => Ok(None),
    }
}

/// The link by which the agent's sockets get there, if there is a way. Nothing is sent.
fn link_to(service: SocketAddr) -> io::Result<Option<String>> {
    if !service.is_ipv4() {
        return Ok(None);
    }
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket::set_mark(&socket)?;
    if socket.connect(service).is_err() {
        return Ok(None);
    }
    let own = socket.local_addr()?.ip();
    let has_it = |link: &nix::ifaddrs::InterfaceAddress| {
        link.address.as_ref().and_then(|address| address.as_sockaddr_in()).is_some_and(|address| own == address.ip())
    };
    Ok(nix::ifaddrs::getifaddrs()?.find(has_it).map(|link| link.interface_name))
}

/// Whether something was changed. What `all` asks for goes to each other link, since `all` cannot be outvoted.
fn drop_check(settings: &Path, link: &str) -> io::Result<bool> {
    let file = |name: &str| settings.join(name).join("rp_filter");
    let all = read(&file("all"))?;
    if all.max(read(&file(link))?) == 0 {
        return Ok(false);
    }
    for name in fs::read_dir(settings)? {
        let name = name?.file_name();
        let (name, other) = (name.to_string_lossy(), settings.join(&name).join("rp_filter"));
        if name != "all" && name != link && read(&other)? < all {
            write(&other, all)?;
        }
    }
    write(&file(link), 0)?;
    write(&file("all"), 0)?;
    Ok(true)
}

fn read(path: &Path) -> io::Result<u8> {
    let text = fs::read_to_string(path).map_err(|error| named(path, &error))?;
    text.trim().parse().map_err(|_| io::Error::other(format!("{}: \"{}\"", path.display(), text.escape_debug())))
}

fn write(path: &Path, value: u8) -> io::Result<()> {
    fs::write(path, value.to_string()).map_err(|error| named(path, &error))
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of the settings of `all`, `default`, eth0 and eth1 when eth0 is to be let in.
    fn after(before: [u8; 4]) -> (bool, [u8; 4]) {
        let settings = tempfile::tempdir().unwrap();
        let file = |name| settings.path().join(name).join("rp_filter");
        let names = ["all", "default", "eth0", "eth1"];
        for (name, value) in names.into_iter().zip(before) {
            fs::create_dir(settings.path().join(name)).unwrap();
            fs::write(file(name), format!("{value}\n")).unwrap();
        }
        let changed = drop_check(settings.path(), "eth0").unwrap();
        (changed, names.map(|name| read(&file(name)).unwrap()))
    }

    #[test]
    fn the_check_is_dropped_on_one_link_and_stays_on_all_others() {
        assert_eq!(after([0, 2, 0, 2]), (false, [0, 2, 0, 2]));
        assert_eq!(after([0, 2, 2, 2]), (true, [0, 2, 0, 2]));
        assert_eq!(after([1, 0, 0, 2]), (true, [0, 1, 0, 2]));
    }
}
