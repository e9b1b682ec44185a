//! What templates and `when` may ask about the machine, and about the launch it serves.

use crate::secret::Secret;
use crate::userdata::Document;

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

/// `launch` of the user-data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Launch {
    /// Id of this launch.
    pub id: String,
    /// Name of the instance, for people.
    pub name: String,
    /// Pool it belongs to.
    pub pool: String,
}

/// `worker` of the user-data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// The master's `host:port`.
    pub master: String,
    /// The name that the master knows the worker by.
    pub name: String,
    /// The password that goes with it.
    pub password: Secret,
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
        let launch = document.launch.as_ref().map(|launch| Launch {
            id: launch.id.to_string(),
            name: launch.name.to_string(),
            pool: launch.pool.to_string(),
        });
        let worker = document.worker.as_ref().map(|worker| Worker {
            master: worker.master.to_string(),
            name: worker.name.to_string(),
            password: worker.password.clone(),
        });
        Self { launch, worker }
    }

    /// A launch to check profiles against where there is none.
    pub fn sample() -> Self {
        let launch = Launch { id: "sample-launch".into(), name: "sample-instance".into(), pool: "sample-pool".into() };
        let worker = Worker {
            master: "master.example.org:9989".into(),
            name: "sample-worker".into(),
            password: Secret::from("sample-password".to_owned()),
        };
        Self { launch: Some(launch), worker: Some(worker) }
    }
}
