//! What is remembered of each launch, and who may touch what.
//!
//! Each launch has a directory with its record, its console and its root file system. Two locks keep order:
//! - the *store lock* is held by whoever makes or removes instances, since they share address numbers, the
//!   masquerading and the forwarding switch;
//! - the *life lock* of a launch is held by its supervisor as long as that lives. It is a POSIX record lock, because
//!   the kernel tells who holds it: a pid that can neither be stale nor belong to somebody else.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::fcntl::{FcntlArg, Flock, FlockArg, fcntl};
use nix::libc;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::network::Network;
use super::protocol::{Instance, LaunchId, Start, State};

/// Where launches are kept: on a disk, since a build is larger than memory.
pub(crate) const DIRECTORY: &str = "/var/lib/loitsut/nspawn";

/// A start takes well under a second, so the lock is free soon unless somebody hangs.
const LOCK_DEADLINE: Duration = Duration::from_secs(60);

/// What is remembered of a launch.
#[derive(Clone, Deserialize, Serialize)]
pub(crate) struct Record {
    pub(crate) launch: LaunchId,
    pub(crate) id: String,
    pub(crate) machine_id: String,
    pub(crate) name: String,
    pub(crate) pool: Option<String>,
    pub(crate) image: PathBuf,
    pub(crate) network: Network,
    pub(crate) started: String,
    /// Why it ended, once it has.
    pub(crate) ended: Option<String>,
}

impl Record {
    /// A new instance for this launch, on this network.
    pub(crate) fn new(start: &Start, network: Network) -> Result<Self> {
        let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid").context("no random uuid to be had")?;
        let machine_id: String = uuid.trim().replace('-', "");
        Ok(Self {
            launch: start.launch.clone(),
            id: format!("i-{}", &machine_id[..17]), // as long as EC2's
            machine_id,
            name: start.name().to_owned(),
            pool: start.pool.clone(),
            image: start.image.clone(),
            network,
            started: now(),
            ended: None,
        })
    }

    /// The instance as the protocol tells it.
    pub(crate) fn instance(self, alive: bool) -> Instance {
        let (state, reason) = match (self.ended, alive) {
            (None, true) => (State::Running, None),
            // Recorded as ended and still alive: its supervisor is just tidying up.
            (Some(reason), _) => (State::Ended, Some(reason)),
            (None, false) => (State::Ended, Some("its supervisor was killed, or the host was restarted".to_owned())),
        };
        Instance {
            launch: self.launch,
            id: self.id,
            name: self.name,
            pool: self.pool,
            state,
            reason,
            address: self.network.address(),
            host: self.network.host(),
            started: self.started,
        }
    }
}

/// This moment as RFC 3339 has it.
pub(crate) fn now() -> String {
    humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string()
}

/// The directory of all launches.
pub(crate) struct Store {
    directory: PathBuf,
}

impl Store {
    /// Opens the store, making it if this is the first time. Only root may look inside: roots and consoles of
    /// instances may hold secrets.
    pub(crate) fn open(directory: &Path) -> Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .with_context(|| directory.display().to_string())?;
        Ok(Self { directory: directory.to_owned() })
    }

    /// Waits for the store lock.
    pub(crate) async fn lock(&self) -> Result<Flock<File>> {
        let path = self.directory.join(".lock");
        let mut file = open_lock(&path)?;
        let begin = Instant::now();
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(lock),
                Err((_, errno)) if begin.elapsed() > LOCK_DEADLINE => {
                    bail!(
                        "{}: not free after {} s ({errno}): another `nspawn` hangs",
                        path.display(),
                        LOCK_DEADLINE.as_secs()
                    );
                }
                Err((unlocked, _)) => file = unlocked,
            }
            tokio::time::sleep(Duration::from_millis(20)).await; // flock has no wait with a deadline
        }
    }

    /// The directory of one launch.
    pub(crate) fn path(&self, launch: &LaunchId) -> PathBuf {
        self.directory.join(launch.as_str())
    }

    /// What is remembered of this launch, if there is such a one.
    pub(crate) fn read(&self, launch: &LaunchId) -> Result<Option<Record>> {
        let path = self.path(launch).join("instance.json");
        match fs::read(&path) {
            Ok(json) => Ok(Some(serde_json::from_slice(&json).with_context(|| path.display().to_string())?)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    /// Remembers a launch, whole or not at all.
    pub(crate) fn write(&self, record: &Record) -> Result<()> {
        let path = self.path(&record.launch).join("instance.json");
        replace(&path, &serde_json::to_vec_pretty(record)?).with_context(|| path.display().to_string())
    }

    /// Every launch that has a record.
    pub(crate) fn records(&self) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        for entry in fs::read_dir(&self.directory).with_context(|| self.directory.display().to_string())? {
            let name = entry?.file_name();
            if let Some(launch) = name.to_str().and_then(|name| name.parse().ok()) {
                records.extend(self.read(&launch)?);
            }
        }
        records.sort_by(|a, b| (&a.started, &a.launch).cmp(&(&b.started, &b.launch)));
        Ok(records)
    }

    /// Forgets a launch and deletes its files.
    pub(crate) fn remove(&self, launch: &LaunchId) -> Result<()> {
        let path = self.path(launch);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error).with_context(|| path.display().to_string()),
            _ => Ok(()),
        }
    }

    /// Takes the life lock, which lasts as long as the answer (and is lost if the file is opened and closed again).
    pub(crate) fn claim(&self, launch: &LaunchId) -> Result<File> {
        let path = self.path(launch).join("life.lock");
        let file = open_lock(&path)?;
        fcntl(&file, FcntlArg::F_SETLK(&whole_file(libc::F_WRLCK)))
            .with_context(|| format!("{}: another supervisor has it", path.display()))?;
        Ok(file)
    }

    /// The supervisor of this launch, if it lives.
    pub(crate) fn supervisor(&self, launch: &LaunchId) -> Result<Option<Pid>> {
        let path = self.path(launch).join("life.lock");
        if !path.exists() {
            return Ok(None);
        }
        let mut lock = whole_file(libc::F_WRLCK);
        fcntl(open_lock(&path)?, FcntlArg::F_GETLK(&mut lock)).with_context(|| path.display().to_string())?;
        Ok((i32::from(lock.l_type) != libc::F_UNLCK).then(|| Pid::from_raw(lock.l_pid)))
    }
}

fn open_lock(path: &Path) -> Result<File> {
    let options = OpenOptions::new().create(true).truncate(false).write(true).read(true).mode(0o600).clone();
    options.open(path).with_context(|| path.display().to_string())
}

fn whole_file(kind: i32) -> libc::flock {
    libc::flock { l_type: kind as _, l_whence: libc::SEEK_SET as _, l_start: 0, l_len: 0, l_pid: 0 }
}

/// Puts a file into its place by rename, so that nobody ever reads half of it; its directory is made if need be.
pub(crate) fn replace(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let directory = path.parent().unwrap_or(path);
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        (directory, store)
    }

    fn record(launch: &str) -> Record {
        let start = serde_json::json!({"launch": launch, "image": "/"});
        Record::new(&serde_json::from_value(start).unwrap(), Network::new(Default::default(), 1).unwrap()).unwrap()
    }

    #[test]
    fn a_record_is_read_back_and_removed() {
        let (_directory, store) = store();
        let record = record("one");
        store.write(&record).unwrap();
        assert_eq!(store.read(&record.launch).unwrap().unwrap().id, record.id);
        assert_eq!(store.records().unwrap().len(), 1);
        store.remove(&record.launch).unwrap();
        store.remove(&record.launch).unwrap();
        assert!(store.records().unwrap().is_empty());
    }

    #[test]
    fn a_half_made_launch_is_no_record() {
        let (_directory, store) = store();
        fs::create_dir(store.path(&"half".parse().unwrap())).unwrap();
        assert!(store.records().unwrap().is_empty());
    }

    #[test]
    fn a_torn_record_is_an_error_that_names_it() {
        let (_directory, store) = store();
        store.write(&record("torn")).unwrap();
        fs::write(store.path(&"torn".parse().unwrap()).join("instance.json"), "{").unwrap();
        let error = format!("{:#}", store.records().err().unwrap());
        assert!(error.contains("torn/instance.json"), "{error}");
    }

    #[test]
    fn without_a_supervisor_a_launch_has_ended_and_says_so() {
        let (_directory, store) = store();
        let record = record("dead");
        store.write(&record).unwrap();
        assert_eq!(store.supervisor(&record.launch).unwrap(), None);
        let instance = record.clone().instance(false);
        assert_eq!(instance.state, State::Ended);
        assert!(instance.reason.unwrap().contains("supervisor"));
        assert_eq!(record.instance(true).state, State::Running);
    }

    #[tokio::test]
    async fn the_store_lock_is_waited_for() {
        let (_directory, store) = store();
        let held = store.lock().await.unwrap();
        let waiting = store.lock();
        tokio::pin!(waiting);
        assert!(futures_poll(waiting.as_mut()).await);
        drop(held);
        waiting.await.unwrap();
    }

    /// Whether a future is still pending after one poll.
    async fn futures_poll<F: Future>(future: std::pin::Pin<&mut F>) -> bool {
        let mut future = future;
        std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context).is_pending())).await
    }
}
