//! Names to addresses without NSS: a static binary must not call getaddrinfo, which loads plugins of the image's libc.
//!
//! /etc/hosts and /etc/resolv.conf are read at each look-up, which is cheap beside a connection: at boot both appear
//! late and change. No answer of failure is ever kept, and there is no fallback to a public resolver, because names
//! of a private network do not belong there.
#![allow(clippy::disallowed_methods)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::{fs, io};

use hickory_resolver::config::ResolveHosts;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::system_conf::parse_resolv_conf;
use hickory_resolver::{Hosts, TokioResolver};
use reqwest::dns::{Resolve, Resolving};

/// Why a name has no address.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub(crate) enum DnsError {
    #[error("`{name}` is not a host name: {cause}")]
    Name { name: String, cause: String },
    #[error("cannot look up {name}: cannot read {}: {source}; is the network up?", path.display())]
    Unreadable { name: String, path: PathBuf, source: io::Error },
    #[error("cannot look up {name}: {}: {problem}", path.display())]
    Unusable { name: String, path: PathBuf, problem: String },
    #[error("cannot look up {name}: {problem}")]
    LookUp { name: String, problem: String },
    #[error("{name} has the link-local address {address}, which is refused: the metadata service is there")]
    LinkLocal { name: String, address: IpAddr },
}

/// Whether an address is of this link only, as the metadata service's are (169.254.169.254, fe80::a9fe:a9fe and the
/// unique local fd00:ec2::254, which EC2 treats alike).
pub(crate) fn is_link_local(address: IpAddr) -> bool {
    const EC2: [u16; 2] = [0xfd00, 0x0ec2];
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.segments()[..2] == EC2,
    }
}

/// A resolver, and the text of the resolv.conf that it was made by.
type Current = (Vec<u8>, TokioResolver);

/// The resolver of the agent's HTTP clients.
#[derive(Debug, Clone)]
pub(crate) struct Dns {
    etc: PathBuf,
    port: u16,
    link_local: bool,
    /// The resolver and the text of the resolv.conf that it was made from: kept for its cache and connections.
    current: Arc<Mutex<Option<Current>>>,
}

impl Dns {
    /// By this machine's configuration, any address.
    pub(crate) fn system() -> Self {
        Self { etc: "/etc".into(), port: 53, link_local: true, current: Arc::default() }
    }

    /// Refuses names that lead to this link, so that no answer of a server elsewhere can lead to the metadata service.
    pub(crate) fn without_link_local(self) -> Self {
        Self { link_local: false, ..self }
    }

    /// The addresses of `host`, of both families; never empty.
    pub(crate) async fn look_up(&self, host: &str) -> Result<Vec<IpAddr>, DnsError> {
        let name = Name::from_str(host)
            .map_err(|error| DnsError::Name { name: host.escape_debug().to_string(), cause: error.to_string() })?;
        let addresses = match self.known_here(&name) {
            Some(addresses) => addresses,
            None => self.ask(host).await?,
        };
        match addresses.iter().find(|address| is_link_local(**address)) {
            Some(address) if !self.link_local => Err(DnsError::LinkLocal { name: host.to_owned(), address: *address }),
            _ => Ok(addresses),
        }
    }

    /// What /etc/hosts says, and localhost even without it. hickory would look there too, but asks the DNS for a
    /// family that the file lacks: with no DNS at all, a host that is listed must not wait for one.
    fn known_here(&self, name: &Name) -> Option<Vec<IpAddr>> {
        let mut hosts = Hosts::default();
        match fs::File::open(self.etc.join("hosts")) {
            Ok(file) => {
                hosts.read_hosts_conf(file).unwrap_or_else(|error| tracing::warn!(%error, "cannot read /etc/hosts"))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(%error, "cannot read /etc/hosts"),
        }
        let listed: Vec<IpAddr> = [RecordType::AAAA, RecordType::A]
            .into_iter()
            .filter_map(|family| hosts.lookup_static_host(&Query::query(name.clone(), family)))
            .flat_map(|found| {
                let records = found.answers().iter();
                records.filter_map(|record| record.data.ip_addr()).collect::<Vec<_>>()
            })
            .collect();
        if listed.is_empty() && name.is_localhost() {
            return Some(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        Some(listed).filter(|listed| !listed.is_empty())
    }

    async fn ask(&self, host: &str) -> Result<Vec<IpAddr>, DnsError> {
        let addresses = match self.resolver(host)?.lookup_ip(host).await {
            Ok(found) => found.iter().collect(),
            Err(error) if error.is_no_records_found() && !error.is_nx_domain() => Vec::new(),
            Err(error) => return Err(self.failed(host, &problem(&error))),
        };
        match addresses.is_empty() {
            true => Err(self.failed(host, "it has no address")),
            false => Ok(addresses),
        }
    }

    /// What failed may be the way there: the next look-up starts afresh, without negative answers.
    fn failed(&self, host: &str, problem: &str) -> DnsError {
        *self.lock() = None;
        DnsError::LookUp { name: host.to_owned(), problem: problem.to_owned() }
    }

    /// The resolver at hand if resolv.conf still says what it was made from, else a new one.
    fn resolver(&self, host: &str) -> Result<TokioResolver, DnsError> {
        let path = self.etc.join("resolv.conf");
        let text = read(&path, host)?;
        let mut current = self.lock();
        if let Some((made_from, resolver)) = current.as_ref()
            && *made_from == text
        {
            return Ok(resolver.clone());
        }
        let resolver = self.build(&text).map_err(|error| DnsError::Unusable {
            name: host.to_owned(),
            path,
            problem: error.to_string(),
        })?;
        *current = Some((text, resolver.clone()));
        Ok(resolver)
    }

    fn build(&self, resolv_conf: &[u8]) -> Result<TokioResolver, NetError> {
        let (mut config, mut options) = parse_resolv_conf(resolv_conf)?;
        for connection in config.name_servers.iter_mut().flat_map(|s| &mut s.connections) {
            connection.port = self.port;
        }
        options.use_hosts_file = ResolveHosts::Never; // looked into before
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options).build()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(Vec<u8>, TokioResolver)>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn problem(error: &NetError) -> String {
    match error.is_nx_domain() {
        true => "there is no such name".to_owned(),
        false => error.to_string(),
    }
}

fn read(path: &Path, host: &str) -> Result<Vec<u8>, DnsError> {
    fs::read(path).map_err(|source| DnsError::Unreadable { name: host.to_owned(), path: path.to_owned(), source })
}

impl Resolve for Dns {
    fn resolve(&self, name: reqwest::dns::Name) -> Resolving {
        let dns = self.clone();
        Box::pin(async move {
            let addresses = dns.look_up(name.as_str()).await?;
            // Port 0 is replaced by the URL's.
            let sockets = addresses.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(sockets) as reqwest::dns::Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::op::{Message, ResponseCode};
    use hickory_resolver::proto::rr::{RData, Record};
    use tokio::net::UdpSocket;
    use tokio::task::JoinHandle;

    use super::*;

    /// Answers each query for an A record with the address, or with that failure; AAAA with nothing.
    fn serve(socket: UdpSocket, answer: Result<Ipv4Addr, ResponseCode>) -> JoinHandle<()> {
        tokio::spawn(async move {
            let mut packet = [0; 4096];
            loop {
                let (length, from) = socket.recv_from(&mut packet).await.unwrap();
                let query = Message::from_vec(&packet[..length]).unwrap();
                let question = query.queries[0].clone();
                let mut response = Message::response(query.metadata.id, query.metadata.op_code);
                match answer {
                    Ok(address) if question.query_type() == RecordType::A => {
                        let record = Record::from_rdata(question.name().clone(), 60, RData::A(address.into()));
                        response.add_answer(record);
                    }
                    Ok(_) => {}
                    Err(code) => response.metadata.response_code = code,
                }
                response.add_query(question);
                socket.send_to(&response.to_vec().unwrap(), from).await.unwrap();
            }
        })
    }

    /// A resolver by an /etc of its own.
    fn dns(etc: &Path, port: u16) -> Dns {
        Dns { etc: etc.to_owned(), port, ..Dns::system() }
    }

    async fn two_sockets() -> (UdpSocket, UdpSocket, u16) {
        let first = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = first.local_addr().unwrap().port();
        let second = UdpSocket::bind(("127.0.0.2", port)).await.unwrap();
        (first, second, port)
    }

    const FIRST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const SECOND: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

    #[tokio::test]
    async fn resolv_conf_may_appear_late_and_change() {
        let etc = tempfile::tempdir().unwrap();
        let (first, second, port) = two_sockets().await;
        let servers = [serve(first, Ok(FIRST)), serve(second, Ok(SECOND))];
        let dns = dns(etc.path(), port);

        let error = dns.look_up("ci.example.org").await.unwrap_err().to_string();
        assert!(error.contains("ci.example.org") && error.contains("/resolv.conf: No such file"), "{error}");
        for (server, address) in [("127.0.0.1", FIRST), ("127.0.0.2", SECOND)] {
            fs::write(etc.path().join("resolv.conf"), format!("nameserver {server}\n")).unwrap();
            assert_eq!(dns.look_up("ci.example.org").await.unwrap(), [IpAddr::from(address)]);
        }
        servers.iter().for_each(JoinHandle::abort);
    }

    #[tokio::test]
    async fn a_failure_is_not_kept() {
        let etc = tempfile::tempdir().unwrap();
        fs::write(etc.path().join("resolv.conf"), "nameserver 127.0.0.1\n").unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let dns = dns(etc.path(), address.port());

        let failing = serve(socket, Err(ResponseCode::NXDomain));
        let error = dns.look_up("ci.example.org").await.unwrap_err().to_string();
        assert!(error == "cannot look up ci.example.org: there is no such name", "{error}");
        failing.abort();
        assert!(failing.await.unwrap_err().is_cancelled()); // and so its socket is closed
        let working = serve(UdpSocket::bind(address).await.unwrap(), Ok(FIRST));
        assert_eq!(dns.look_up("ci.example.org").await.unwrap(), [IpAddr::from(FIRST)]);
        working.abort();
    }

    #[tokio::test]
    async fn a_resolv_conf_without_servers_is_an_error() {
        let etc = tempfile::tempdir().unwrap();
        fs::write(etc.path().join("resolv.conf"), "# by nobody yet\n").unwrap();
        let error = dns(etc.path(), 53).look_up("ci.example.org").await.unwrap_err().to_string();
        assert!(error.contains("/resolv.conf: ") && error.contains("no nameservers"), "{error}");
    }

    #[tokio::test]
    async fn hosts_and_localhost_need_no_resolv_conf() {
        let etc = tempfile::tempdir().unwrap();
        let dns = dns(etc.path(), 53);
        let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        assert_eq!(dns.look_up("localhost").await.unwrap(), loopback);
        fs::write(etc.path().join("hosts"), "192.0.2.1 ci.example.org CI # x\n2001:db8::1 ci\n").unwrap();
        assert_eq!(dns.look_up("ci.example.org").await.unwrap(), [IpAddr::from(FIRST)]);
        assert_eq!(dns.look_up("ci").await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn link_local_addresses_are_refused_when_told() {
        let etc = tempfile::tempdir().unwrap();
        fs::write(etc.path().join("hosts"), "169.254.169.254 trap\n").unwrap();
        let dns = dns(etc.path(), 53);
        assert!(dns.look_up("trap").await.is_ok());
        let error = dns.without_link_local().look_up("trap").await.unwrap_err().to_string();
        assert!(error.contains("trap") && error.contains("169.254.169.254"), "{error}");
    }

    #[test]
    fn the_metadata_service_is_link_local_however_it_is_written() {
        for address in ["169.254.169.254", "fe80::a9fe:a9fe", "fd00:ec2::254", "::ffff:169.254.169.254"] {
            assert!(is_link_local(address.parse().unwrap()), "{address}");
        }
        for address in ["10.0.0.1", "fd00::1", "127.0.0.1", "::1", "2001:db8::1"] {
            assert!(!is_link_local(address.parse().unwrap()), "{address}");
        }
    }
}
