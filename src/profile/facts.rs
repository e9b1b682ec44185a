//! What templates and `when` may ask about the machine, and about the launch it serves.

use url::Host;

use crate::secret::Secret;
use crate::userdata::Document;
use crate::userdata::document::{Launch, Worker};
use crate::userdata::field::{Label, MasterAddress};

/// The machine; known before anybody has a use for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// `os.*`
    pub os: Os,
    /// Kernel release, as `uname -r` prints it.
    pub kernel: String,
    /// Machine, as `uname -m` prints it: `x86_64`, `aarch64`.
    pub arch: String,
    /// CPUs that this system may use.
    pub cpus: u64,
    /// Memory in MiB.
    pub memory: u64,
    /// `instance.*`
    pub instance: Instance,
}

/// The operating system, from os-release(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Os {
    /// `ID`: `debian`, `ubuntu`, `fedora`.
    pub id: String,
    /// `VERSION_ID`: `12`; empty for Debian's unstable.
    pub version: String,
    /// Which package manager: `debian` (apt) or `redhat` (dnf); the `ID` itself where neither fits.
    pub family: String,
    /// `VERSION_CODENAME`: `bookworm`.
    pub codename: String,
}

/// The instance as its metadata service describes it; what is not known is an empty text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instance {
    /// `i-0abc…`, or a name of one's own for machines that no cloud made.
    pub id: String,
    /// Instance type.
    pub kind: String,
    /// Region.
    pub region: String,
    /// Availability zone.
    pub zone: String,
    /// Image.
    pub image: String,
    /// Private address.
    pub address: String,
}

/// What only this launch knows: the values of the `bind` phase.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Binding {
    /// `launch.*`
    pub launch: Option<Launch>,
    /// `worker.*`
    pub worker: Option<Worker>,
}

impl Facts {
    /// A machine to check profiles against where there is none: Debian 12, 4 CPUs, 16 GiB.
    pub fn sample() -> Self {
        let debian =
            Os { id: "debian".into(), version: "12".into(), family: "debian".into(), codename: "bookworm".into() };
        let instance = Instance { id: "i-0123456789abcdef0".into(), ..Instance::default() };
        Self { os: debian, kernel: "6.1.0".into(), arch: "x86_64".into(), cpus: 4, memory: 16_384, instance }
    }
}

impl Binding {
    /// What a document says of its launch.
    pub fn of(document: &Document) -> Self {
        Self { launch: document.launch.clone(), worker: document.worker.clone() }
    }

    /// A launch to check profiles against where there is none.
    pub fn sample() -> Self {
        let launch = Launch {
            id: Label::sample("sample-launch"),
            name: Label::sample("sample-instance"),
            pool: Label::sample("sample-pool"),
        };
        let worker = Worker {
            master: MasterAddress { host: Host::Domain("master.example.org".into()), port: 9989 },
            name: Label::sample("sample-worker"),
            password: Secret::from("sample-password".to_owned()),
        };
        Self { launch: Some(launch), worker: Some(worker) }
    }
}
