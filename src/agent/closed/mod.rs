//! The metadata service closed to all but the agent, before there is a worker.
//!
//! Two means, each enough for a build that is not root: routing rules for the whole machine, the containers on it
//! included, and a filter on the worker's control group. docs/design.md says what each is worth.

mod probe;

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use loitsut_profile::userdata::MetadataAccess;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::host::Host;
use crate::host::file_error::FileError;
use crate::host::replies;
use crate::host::rules::{Changes, Rule, Rules, Verdict};
use crate::host::socket;
use crate::metadata::Source;
use crate::unit;

use probe::Findings;

pub use probe::probe;

/// Where clouds have their metadata service: on IPv4, EC2's over IPv6, OpenStack's over IPv6.
const SERVICES: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe)),
];

/// Before all other rules but that of table `local`, whose place nobody can take.
const LET_PASS: u32 = 1;
const PROHIBIT: u32 = 2;

/// Somebody who takes the rules away in a loop must not keep the agent busy.
const PAUSE: Duration = Duration::from_millis(100);

/// How often it is looked at what changes without notice.
const LOOK: Duration = Duration::from_secs(60);

/// Why the metadata service cannot be closed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum ClosedError {
    #[error("the metadata service cannot be closed, as `metadata` of the user-data wants: {0}")]
    Service(String),
    #[error(
        "the metadata service cannot be closed: the routing rule for {to} cannot be set: {source}; the agent needs \
         CAP_NET_ADMIN, and the kernel policy routing (CONFIG_IP_MULTIPLE_TABLES)"
    )]
    Rule { to: IpAddr, source: io::Error },
    #[error("the routing rules cannot be asked for: {0}")]
    Netlink(io::Error),
    #[error("{0}")]
    Probe(String),
    #[error(transparent)]
    File(#[from] FileError),
    #[error("the path of the agent's own program is not known: {0}")]
    Program(io::Error),
}

/// A metadata service that is closed.
#[derive(Debug)]
pub struct Closed {
    services: BTreeSet<SocketAddr>,
    program: PathBuf,
}

/// Closes the metadata service, or opens what an earlier launch on this machine has closed.
///
/// # Errors
/// It cannot be closed.
pub fn arrange(access: MetadataAccess, source: &Source) -> Result<Option<Closed>, ClosedError> {
    match access {
        MetadataAccess::Closed => {
            let closed = Closed { services: services(source)?, program: own_program()? };
            closed.set_rules()?;
            closed.let_replies_in();
            Ok(Some(closed))
        }
        MetadataAccess::Open => open_again(Some(source)).map(|()| None),
    }
}

/// Opens what an earlier launch on this machine has closed.
///
/// # Errors
/// The kernel cannot be asked.
pub fn open_again(source: Option<&Source>) -> Result<(), ClosedError> {
    // What cannot be closed was never closed.
    source.map_or_else(|| Ok(well_known()), services).map_or(Ok(()), |services| reopen(&services))
}

/// The well-known addresses, and that of the service in use.
fn services(source: &Source) -> Result<BTreeSet<SocketAddr>, ClosedError> {
    let mut services = well_known();
    if let Source::Service(service) = source {
        services.extend(service.addresses().map_err(ClosedError::Service)?);
    }
    match services.iter().find(|service| service.ip().is_loopback()) {
        Some(service) => Err(ClosedError::Service(format!("it is at {service}, on this very machine"))),
        None => Ok(services),
    }
}

fn well_known() -> BTreeSet<SocketAddr> {
    SERVICES.iter().map(|address| (*address, 80).into()).collect()
}

/// An upgrade may have replaced the program that runs; another is at its place then.
fn own_program() -> Result<PathBuf, ClosedError> {
    let path = std::env::current_exe().map_err(ClosedError::Program)?;
    let text = path.to_string_lossy();
    Ok(text.strip_suffix(" (deleted)").map_or_else(|| path.clone(), PathBuf::from))
}

/// The rules for a service, in the order to set them: at no time is the agent itself kept out.
fn rules(services: &BTreeSet<SocketAddr>) -> impl Iterator<Item = Rule> {
    let addresses: BTreeSet<IpAddr> = services.iter().map(SocketAddr::ip).collect();
    let possible = addresses.into_iter().filter(|address| address.is_ipv4() || socket::has_ipv6());
    possible.flat_map(|to| {
        [
            Rule { priority: LET_PASS, to, mark: Some(socket::MARK), verdict: Verdict::Main },
            Rule { priority: PROHIBIT, to, mark: None, verdict: Verdict::Prohibit },
        ]
    })
}

fn reopen(services: &BTreeSet<SocketAddr>) -> Result<(), ClosedError> {
    let kernel = Rules::open().map_err(ClosedError::Netlink)?;
    for rule in rules(services) {
        match kernel.remove(&rule) {
            Ok(false) => {}
            Ok(true) => tracing::info!("the metadata service at {} is open again", rule.to),
            // Whoever has no right to take it away had none to set it.
            Err(error) => tracing::debug!("the routing rule for {} cannot be taken away: {error}", rule.to),
        }
    }
    Ok(())
}

impl Closed {
    /// Sets what is missing; how many rules that were.
    fn set_rules(&self) -> Result<usize, ClosedError> {
        let kernel = Rules::open().map_err(ClosedError::Netlink)?;
        let mut missing = 0;
        for rule in rules(&self.services) {
            let added = kernel.add(&rule).map_err(|source| ClosedError::Rule { to: rule.to, source })?;
            missing += usize::from(added);
        }
        Ok(missing)
    }

    /// Sees to it that the agent, whom the rules let pass, also gets its answers.
    fn let_replies_in(&self) {
        for service in &self.services {
            match replies::let_in(*service) {
                Ok(None) => {}
                Ok(Some(link)) => tracing::info!(
                    "rp_filter is off on {link}: with the metadata service closed, it would drop its answers to the agent"
                ),
                Err(error) => tracing::warn!(
                    "rp_filter may drop the answers of the metadata service to the agent, and cannot be changed: {error}"
                ),
            }
        }
    }

    /// What the worker's unit is to have: the filter, and the probe without which it does not start. The plus: as root,
    /// which alone may mark sockets; the control group, and the filter with it, is the worker's all the same.
    pub fn settings(&self) -> String {
        let addresses: BTreeSet<String> = self.services.iter().map(|service| service.ip().to_string()).collect();
        let services = self.services.iter().map(|service| format!(" {service}")).collect::<String>();
        let program = unit::quoted(&self.program.to_string_lossy().replace('%', "%%"));
        format!(
            "# The metadata service is closed.\n\
             IPAddressDeny={}\n\
             ExecStartPre=+{program} probe-closed{services}\n",
            addresses.into_iter().collect::<Vec<_>>().join(" "),
        )
    }

    /// Judges what the probe found when the worker was last to be started.
    ///
    /// # Errors
    /// The service is not closed, and the worker was not started.
    pub fn judge(&self, host: &Host) -> Result<(), ClosedError> {
        let findings = Findings::read(host)?;
        if let Some(warning) = findings.warning() {
            tracing::warn!("{warning}");
        }
        match findings.refusal() {
            Some(refusal) => Err(ClosedError::Probe(refusal)),
            None => Ok(()),
        }
    }

    /// Sets the rules again whenever somebody has taken them away, as systemd-networkd does with all that it does not
    /// know when it is configured anew, and lets replies in again; until what is returned is dropped.
    pub fn keep(self) -> Keeper {
        Keeper(tokio::spawn(async move {
            if let Err(error) = self.keep_for_ever().await {
                tracing::error!("nobody sees any more whether the metadata service stays closed: {error}");
            }
        }))
    }

    async fn keep_for_ever(&self) -> Result<(), ClosedError> {
        let changes = Changes::listen().map_err(ClosedError::Netlink)?;
        loop {
            // First, for what happened before it listened.
            match self.set_rules() {
                Ok(0) => {}
                Ok(missing) => tracing::warn!(
                    "somebody took {missing} of the routing rules away that close the metadata service: they are set \
                     again (if it is systemd-networkd: ManageForeignRoutingPolicyRules=no in networkd.conf)"
                ),
                Err(error) => tracing::error!("{error}"),
            }
            // Nobody tells of changes to rp_filter, such as by `sysctl --system` of a package that is installed.
            if let Ok(changed) = timeout(LOOK, changes.next()).await {
                changed.map_err(ClosedError::Netlink)?;
                tokio::time::sleep(PAUSE).await;
            }
            self.let_replies_in();
        }
    }
}

/// The watch over the rules; it ends when this is dropped, and the rules stay.
pub struct Keeper(JoinHandle<()>);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Service;

    fn at(url: &str) -> Source {
        Source::Service(Service::new(vec![url.to_owned()], false))
    }

    #[test]
    fn the_service_in_use_is_closed_beside_the_known_ones() {
        let found = services(&at("http://192.0.2.7:8080")).unwrap();
        assert!(found.contains(&"192.0.2.7:8080".parse().unwrap()) && found.len() == 4);
        assert_eq!(services(&at("http://169.254.169.254")).unwrap().len(), 3);
        assert_eq!(services(&at("http://[fd00:ec2::254]")).unwrap().len(), 3);
    }

    #[test]
    fn what_cannot_be_closed_is_said() {
        for (url, part) in [("http://127.0.0.1:1338", "this very machine"), ("http://metadata.example", "host name")] {
            let error = services(&at(url)).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("cannot be closed"), "{error}");
        }
    }

    #[test]
    fn the_agent_is_let_pass_before_all_others_are_kept_out() {
        let found: Vec<Rule> = rules(&services(&at("http://169.254.169.254")).unwrap()).collect();
        for pair in found.chunks(2) {
            assert_eq!((pair[0].to, pair[0].mark), (pair[1].to, Some(socket::MARK)));
            assert!(pair[0].priority < pair[1].priority && pair[1].verdict == Verdict::Prohibit);
        }
    }

    #[test]
    fn the_unit_gets_filter_and_probe() {
        let closed = Closed { services: services(&at("http://169.254.169.254")).unwrap(), program: "/a b%".into() };
        let settings = closed.settings();
        for line in [
            "IPAddressDeny=169.254.169.254 fd00:ec2::254 fe80::a9fe:a9fe\n",
            "ExecStartPre=+\"/a b%%\" probe-closed 169.254.169.254:80 [fd00:ec2::254]:80 [fe80::a9fe:a9fe]:80\n",
        ] {
            assert!(settings.contains(line), "{settings}");
        }
    }
}
