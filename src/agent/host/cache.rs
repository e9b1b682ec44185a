//! Downloads, kept by what they are: a file is fetched once, whoever asks for it and from wherever.
//!
//! They go on while resources are applied, which blocks for long: so they have a thread of their own.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use loitsut_profile::resource::Remote;
use loitsut_profile::sha256::Sha256;
use loitsut_profile::userdata::field::HttpUrl;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::Instant;

use super::Host;
use super::file_error::FileError;
use super::http::{Download, GaveUp, Http, HttpError, Limits, Meter, Retry, SetupError, shown};
use super::walk::Missing;
use crate::stop::{self, Stopped};

const CACHE: &str = "/var/cache/loitsut";

/// No single file of a build environment is larger.
const LARGEST: u64 = 16 * 1024 * 1024 * 1024;

/// How long a file that nobody asks for is kept.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// So many downloads at once fill any link, and are no attack on a server.
const AT_ONCE: usize = 8;

/// Why a file could not be had.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub(crate) enum CacheError {
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error(transparent)]
    Download(Box<GaveUp<HttpError>>),
    #[error(transparent)]
    File(#[from] FileError),
    #[error("the thread for downloads: {0}")]
    Thread(#[from] io::Error),
    #[error("the thread for downloads has ended")]
    Gone,
    #[error(transparent)]
    Stopped(#[from] Stopped),
    #[error(transparent)]
    Shared(#[from] Arc<CacheError>),
}

impl From<GaveUp<HttpError>> for CacheError {
    fn from(error: GaveUp<HttpError>) -> Self {
        Self::Download(Box::new(error))
    }
}

/// A download as it is seen from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Its URL without what may be secret in it.
    pub url: String,
    /// Bytes that are there, also from an earlier run.
    pub received: u64,
    /// Bytes in all, once the server has said so.
    pub total: Option<u64>,
    /// How it ended; `None` while it goes on.
    pub ended: Option<Ended>,
}

/// How a download ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// It is there, and what was wanted.
    Verified,
    /// Whoever waits for it is told why.
    Failed,
}

/// The downloads of one run.
pub struct Downloads<'a> {
    host: &'a Host,
    thread: OnceCell<mpsc::UnboundedSender<Job>>,
    begun: RefCell<Begun>,
    /// What was last told of them.
    told: RefCell<Vec<Transfer>>,
}

/// All that were begun, in that order, and which of them is for a digest now.
#[derive(Default)]
struct Begun {
    all: Vec<Handle>,
    by_digest: BTreeMap<Sha256, usize>,
}

/// One download: what is known of it here.
#[derive(Clone)]
struct Handle {
    remote: Remote,
    meter: Arc<Meter>,
    end: watch::Receiver<End>,
}

/// How a download ended, if it has.
type End = Option<Result<(), Arc<CacheError>>>;

/// One download, on its way to the thread.
struct Job {
    remote: Remote,
    meter: Arc<Meter>,
    end: watch::Sender<End>,
}

impl<'a> Downloads<'a> {
    /// None yet. The thread comes with the first one.
    pub(crate) fn new(host: &'a Host) -> Self {
        Self { host, thread: OnceCell::new(), begun: RefCell::default(), told: RefCell::default() }
    }

    /// Begins a download, unless the same file is on its way already. What goes wrong is told to whoever asks for it.
    pub(crate) fn start(&self, remote: &Remote) {
        self.handle(remote);
    }

    /// The path of a verified copy.
    ///
    /// # Errors
    /// It cannot be downloaded, or is something else.
    pub(crate) async fn get(&self, remote: &Remote) -> Result<PathBuf, CacheError> {
        let mut end = self.handle(remote).end;
        let ended = stop::unless_requested(end.wait_for(Option::is_some)).await?.map(|end| end.clone());
        match ended {
            Ok(Some(Ok(()))) => Ok(path_of(remote.sha256)),
            Ok(Some(Err(error))) => Err(error.into()),
            Ok(None) | Err(_) => Err(CacheError::Gone),
        }
    }

    /// The content of a small file whose digest nobody knows ahead, such as a key that is known by its fingerprint:
    /// at most `limit` bytes, not kept, and for the caller to verify.
    ///
    /// # Errors
    /// It cannot be downloaded, or is larger.
    pub(crate) async fn get_unverified(&self, url: &HttpUrl, limit: u64) -> Result<Vec<u8>, CacheError> {
        let http = Http::web()?;
        let retry = Retry { each: Duration::from_secs(60), ..Retry::DOWNLOAD };
        let tries = retry.start();
        let attempt = async |until: Instant| http.get(url.reveal().as_str(), &[], Limits { until, bytes: limit }).await;
        Ok(stop::unless_requested(tries.run("a download", attempt)).await??)
    }

    /// All downloads, if one of them has come further since this was last told.
    pub(crate) fn news(&self) -> Option<Vec<Transfer>> {
        let now: Vec<_> = self.begun.borrow().all.iter().map(Handle::transfer).collect();
        let is_news = now != *self.told.borrow();
        is_news.then(|| {
            self.told.replace(now.clone());
            now
        })
    }

    /// The download of a file, begun if need be. One that failed is not tried again from the same URL in one run.
    fn handle(&self, remote: &Remote) -> Handle {
        let mut begun = self.begun.borrow_mut();
        if let Some(handle) = begun.by_digest.get(&remote.sha256).and_then(|index| begun.all.get(*index))
            && !(handle.has_failed() && handle.remote.url != remote.url)
        {
            return handle.clone();
        }
        let (sender, end) = watch::channel(None);
        let handle = Handle { remote: remote.clone(), meter: Arc::default(), end };
        match self.thread() {
            // A thread that is gone drops the job, which is told to whoever waits for it.
            Ok(thread) => {
                let _ = thread.send(Job { remote: remote.clone(), meter: handle.meter.clone(), end: sender });
            }
            Err(error) => {
                sender.send_replace(Some(Err(Arc::new(error))));
            }
        }
        let index = begun.all.len();
        begun.by_digest.insert(remote.sha256, index);
        begun.all.push(handle.clone());
        handle
    }

    fn thread(&self) -> Result<&mpsc::UnboundedSender<Job>, CacheError> {
        if let Some(thread) = self.thread.get() {
            return Ok(thread);
        }
        let thread = self.host.downloader()?;
        Ok(self.thread.get_or_init(|| thread))
    }
}

impl Handle {
    fn has_failed(&self) -> bool {
        matches!(*self.end.borrow(), Some(Err(_)))
    }

    fn transfer(&self) -> Transfer {
        let ended = self.end.borrow().as_ref().map(|end| if end.is_ok() { Ended::Verified } else { Ended::Failed });
        let url = shown(self.remote.url.reveal());
        Transfer { url, received: self.meter.received(), total: self.meter.total(), ended }
    }
}

impl Host {
    /// A thread that does what it is sent, as long as somebody may send more.
    fn downloader(&self) -> Result<mpsc::UnboundedSender<Job>, CacheError> {
        let _directory = self.directory(Path::new(CACHE), Missing::Create)?;
        let host = Host::at(&self.root);
        let http = Http::web()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (sender, mut jobs) = mpsc::unbounded_channel();
        std::thread::Builder::new().name("downloads".into()).spawn(move || {
            let host = Rc::new(host);
            LocalSet::new().block_on(&runtime, async {
                let slots = Rc::new(Semaphore::new(AT_ONCE));
                while let Some(job) = jobs.recv().await {
                    spawn_local(run(job, host.clone(), http.clone(), slots.clone()));
                }
            });
        })?;
        Ok(sender)
    }
}

async fn run(job: Job, host: Rc<Host>, http: Http, slots: Rc<Semaphore>) {
    // Closed it never is; without a slot there would merely be one more at once.
    let _slot = slots.acquire().await;
    let fetched = host.fetch(&job, &http).await;
    job.end.send_replace(Some(fetched.map_err(Arc::new)));
}

impl Host {
    async fn fetch(&self, job: &Job, http: &Http) -> Result<(), CacheError> {
        let Remote { url, sha256 } = &job.remote;
        let path = path_of(*sha256);
        // A cache can rot, and what rots in it is used by root: verified every time.
        if self.digest(&path)? == Some(*sha256) {
            return Ok(self.touch(&path)?);
        }
        self.remove_unused().unwrap_or_else(|error| tracing::warn!("old downloads cannot be removed: {error}"));
        let partial = path.with_extension("part");
        let to = &self.rooted(&partial);
        let download = Download { url: url.reveal().as_str(), sha256: *sha256, to, limit: LARGEST, meter: &job.meter };
        http.download(&download, &Retry::DOWNLOAD).await?;
        // Not synced, for the same reason: what a power cut leaves of it is seen, and fetched anew.
        Ok(self.rename(&partial, &path)?)
    }
}

impl Host {
    /// Removes what nobody has asked for in a long time, also of downloads that were given up. Done before one more is
    /// stored: a machine that lives for years would fill its disk otherwise.
    fn remove_unused(&self) -> Result<(), FileError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        for name in self.list(Path::new(CACHE))?.iter().filter(|name| is_download(name)) {
            let path = Path::new(CACHE).join(name);
            let used = self.modified(&path)?.and_then(|(seconds, _)| u64::try_from(seconds).ok());
            if used.is_some_and(|used| now.saturating_sub(Duration::from_secs(used)) > KEPT) {
                tracing::info!("removing {}: not used in {} days", path.display(), KEPT.as_secs() / 86_400);
                self.remove(&path)?;
            }
        }
        Ok(())
    }
}

/// A file or bundle by its digest, whole or not; others may keep something there too.
fn is_download(name: &str) -> bool {
    let digest = name.strip_prefix("bundle-").unwrap_or(name).split('.').next().unwrap_or_default();
    digest.parse::<Sha256>().is_ok()
}

fn path_of(sha256: Sha256) -> PathBuf {
    Path::new(CACHE).join(sha256.to_string())
}
