//! Policy-routing rules (ip-rule(8)), by netlink: they must be set on an image without iproute2, and at once.
//!
//! One message of the kernel's is all that is needed; the crates that know all of rtnetlink are larger than the rest of
//! the agent's networking. Its form: netlink(7), rtnetlink(7), `struct fib_rule_hdr` of linux/fib_rules.h.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, connect, recv, send, setsockopt,
    socket, sockopt,
};
use nix::sys::time::TimeVal;
use tokio::io::unix::AsyncFd;

// linux/fib_rules.h
const FRA_DST: u16 = 1;
const FRA_PRIORITY: u16 = 6;
const FRA_FWMARK: u16 = 10;
const FRA_TABLE: u16 = 15;
const FRA_FWMASK: u16 = 16;
const FRA_PROTOCOL: u16 = 21;
const FR_ACT_TO_TBL: u8 = 1;
const FR_ACT_PROHIBIT: u8 = 8;

/// Who set the rule, as `ip rule` shows it. The kernel interprets none from 4 on (linux/rtnetlink.h), and nobody else
/// is known to use this one.
const PROTOCOL: u8 = 108;

/// The header of a message is so long, and so is what an answer has before it quotes the request.
const HEADER: usize = 16;

/// The kernel answers at once; should it not, nobody must wait for ever.
const PATIENCE: TimeVal = TimeVal::new(5, 0);

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Routed by the main table.
    Main,
    /// Refused: EACCES to a local sender, "administratively prohibited" to another machine or container.
    Prohibit,
}

/// A rule for packets to one address, the machine's own and those that it forwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rule {
    /// Rules are asked in this order; table `local` has 0, `main` 32766.
    pub priority: u32,
    /// Where packets go.
    pub to: IpAddr,
    /// The mark that they bear; any, if none is said.
    pub mark: Option<u32>,
    /// What becomes of them.
    pub verdict: Verdict,
}

/// A way to the kernel's rules of this network namespace.
pub(crate) struct Rules {
    socket: OwnedFd,
}

impl Rules {
    /// Opens it.
    ///
    /// # Errors
    /// The kernel's, as it is.
    pub(crate) fn open() -> io::Result<Self> {
        let socket = netlink(SockFlag::empty())?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &PATIENCE)?;
        connect(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        Ok(Self { socket })
    }

    /// Sets a rule; whether it was not there.
    ///
    /// # Errors
    /// The kernel's, as it is.
    pub(crate) fn add(&self, rule: &Rule) -> io::Result<bool> {
        let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        self.tell(libc::RTM_NEWRULE, flags, rule, Errno::EEXIST)
    }

    /// Takes a rule away; whether it was there.
    ///
    /// # Errors
    /// The kernel's, as it is.
    pub(crate) fn remove(&self, rule: &Rule) -> io::Result<bool> {
        self.tell(libc::RTM_DELRULE, libc::NLM_F_REQUEST | libc::NLM_F_ACK, rule, Errno::ENOENT)
    }

    /// Whether something was changed; `unchanged` is how the kernel says that nothing was.
    fn tell(&self, kind: u16, flags: libc::c_int, rule: &Rule, unchanged: Errno) -> io::Result<bool> {
        send(self.socket.as_raw_fd(), &message(kind, flags as u16, rule), MsgFlags::empty())?;
        let mut answer = [0; 1024];
        let length = recv(self.socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
        match errno(&answer[..length]) {
            Some(Errno::UnknownErrno) => Ok(true),
            Some(errno) if errno == unchanged => Ok(false),
            Some(errno) => Err(errno.into()),
            None => Err(io::Error::other("the kernel's answer makes no sense")),
        }
    }
}

/// Changes to the rules of this network namespace, by whomever.
pub(crate) struct Changes {
    socket: AsyncFd<OwnedFd>,
}

impl Changes {
    /// Listens from now on.
    ///
    /// # Errors
    /// The kernel's, as it is.
    pub(crate) fn listen() -> io::Result<Self> {
        let socket = netlink(SockFlag::SOCK_NONBLOCK)?;
        let group = |number: u32| 1 << (number - 1);
        let groups = group(libc::RTNLGRP_IPV4_RULE) | group(libc::RTNLGRP_IPV6_RULE);
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        // SAFETY: an OwnedFd is the same open file from its making to its drop, which comes after it is deregistered.
        let socket = unsafe { AsyncFd::register(socket) }?;
        Ok(Self { socket })
    }

    /// Returns once there was one, or several. What they were is not told: of many, some are lost (ENOBUFS).
    ///
    /// # Errors
    /// The kernel's, as it is.
    pub(crate) async fn next(&self) -> io::Result<()> {
        loop {
            let mut ready = self.socket.readable().await?;
            let mut seen = false;
            let drained = ready.try_io(|socket| {
                loop {
                    match recv(socket.as_fd().as_raw_fd(), &mut [0; 8192], MsgFlags::empty()) {
                        Ok(_) | Err(Errno::ENOBUFS) => seen = true,
                        Err(errno) => return Err::<(), _>(errno.into()),
                    }
                }
            });
            match drained {
                Err(_) if seen => return Ok(()), // there is no more
                Err(_) => {}
                Ok(failed) => return failed,
            }
        }
    }
}

fn netlink(flags: SockFlag) -> nix::Result<OwnedFd> {
    let flags = flags | SockFlag::SOCK_CLOEXEC;
    socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)
}

/// The error in an answer, `UnknownErrno` (0) for success; none if it is no answer.
fn errno(answer: &[u8]) -> Option<Errno> {
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    let code = i32::from_ne_bytes(answer.get(HEADER..HEADER + 4)?.try_into().ok()?);
    (i32::from(kind) == libc::NLMSG_ERROR).then(|| Errno::from_raw(-code))
}

fn message(kind: u16, flags: u16, rule: &Rule) -> Vec<u8> {
    let (family, address) = match rule.to {
        IpAddr::V4(v4) => (libc::AF_INET, v4.octets().to_vec()),
        IpAddr::V6(v6) => (libc::AF_INET6, v6.octets().to_vec()),
    };
    let (table, action) = match rule.verdict {
        Verdict::Main => (libc::RT_TABLE_MAIN, FR_ACT_TO_TBL),
        Verdict::Prohibit => (libc::RT_TABLE_UNSPEC, FR_ACT_PROHIBIT),
    };
    // family, length of the destination in bits, of the source, tos, table, reserved twice, action, flags
    let mut body = vec![family as u8, (address.len() * 8) as u8, 0, 0, table, 0, 0, action, 0, 0, 0, 0];
    attribute(&mut body, FRA_DST, &address);
    attribute(&mut body, FRA_PRIORITY, &rule.priority.to_ne_bytes());
    attribute(&mut body, FRA_TABLE, &u32::from(table).to_ne_bytes());
    attribute(&mut body, FRA_PROTOCOL, &[PROTOCOL]);
    if let Some(mark) = rule.mark {
        attribute(&mut body, FRA_FWMARK, &mark.to_ne_bytes());
        attribute(&mut body, FRA_FWMASK, &u32::MAX.to_ne_bytes());
    }
    // length, type, flags, sequence number, port: the kernel fills in what is 0
    let length = (HEADER + body.len()) as u32;
    let header = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &flags.to_ne_bytes(), &[0; 8]];
    [header.concat(), body].concat()
}

/// Length, type and value, filled up to four bytes.
fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = (4 + value.len()) as u16;
    body.extend([length.to_ne_bytes(), kind.to_ne_bytes()].concat());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What iproute2 sends for `ip rule add to 169.254.169.254 fwmark 0x6c6f6974/0xffffffff lookup main pref 1`, but for
    /// the protocol and the order of the attributes.
    #[test]
    #[cfg(target_endian = "little")]
    fn a_message_has_the_kernels_form() {
        let to = "169.254.169.254".parse().unwrap();
        let rule = Rule { priority: 1, to, mark: Some(0x6c6f_6974), verdict: Verdict::Main };
        let wanted = [
            &[80, 0, 0, 0, 32, 0, 5, 6, 0, 0, 0, 0, 0, 0, 0, 0][..], // RTM_NEWRULE
            &[2, 32, 0, 0, 254, 0, 0, 1, 0, 0, 0, 0],
            &[8, 0, 1, 0, 169, 254, 169, 254],
            &[8, 0, 6, 0, 1, 0, 0, 0],
            &[8, 0, 15, 0, 254, 0, 0, 0],
            &[5, 0, 21, 0, 108, 0, 0, 0],
            &[8, 0, 10, 0, 0x74, 0x69, 0x6f, 0x6c],
            &[8, 0, 16, 0, 255, 255, 255, 255],
        ];
        let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        let mut wanted = wanted.concat();
        wanted[0] = wanted.len() as u8;
        assert_eq!(message(libc::RTM_NEWRULE, flags as u16, &rule), wanted);
    }

    #[test]
    fn an_answer_is_an_error_or_makes_no_sense() {
        let answer = |kind: u16, code: i32| {
            [&36u32.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10], &code.to_ne_bytes(), &[0; 16]].concat()
        };
        assert_eq!(errno(&answer(2, 0)), Some(Errno::UnknownErrno));
        assert_eq!(errno(&answer(2, -17)), Some(Errno::EEXIST));
        assert_eq!((errno(&answer(3, 0)), errno(&[0; 10])), (None, None));
    }
}
