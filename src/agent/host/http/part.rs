//! What there is of a download: it is kept over broken connections and over a restart of the agent, and continued where
//! the server can tell that it still has the same object.
#![allow(clippy::disallowed_methods)]

use std::io;
use std::path::{Path, PathBuf};

use loitsut_profile::sha256::Sha256;
use reqwest::header::{ETAG, HeaderMap, IF_RANGE, LAST_MODIFIED, RANGE};
use sha2::Digest as _;
use tokio::fs::{File, OpenOptions, read_to_string, remove_file, write};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _, BufWriter};

/// Tokio writes files on another thread; this many bytes go there at once.
const BUFFER: usize = 256 * 1024;

/// What a wrong answer is shown by: enough to recognise an error page.
const SHOWN: usize = 60;

/// A file that grows, the digest of what is in it, and how it begins.
pub(super) struct Part {
    path: PathBuf,
    file: BufWriter<File>,
    digest: sha2::Sha256,
    /// Bytes so far.
    pub(super) length: u64,
    /// How the body begins, if it began in this try.
    pub(super) start: Vec<u8>,
    /// What the server knows the object by; without it, nothing can be continued.
    validator: Option<String>,
}

impl Part {
    /// What an earlier try has left at `path`, if it can be continued; else an empty file.
    pub(super) async fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(nix::libc::O_NOFOLLOW);
        let file = BufWriter::with_capacity(BUFFER, options.open(path).await?);
        let validator = read_to_string(validator_of(path)).await.ok().filter(|validator| !validator.is_empty());
        let mut part =
            Self { path: path.to_owned(), file, digest: sha2::Sha256::new(), length: 0, start: Vec::new(), validator };
        match part.validator {
            Some(_) => part.read_on().await?,
            None => part.start_over(None).await?,
        }
        Ok(part)
    }

    /// Takes what is there into the digest.
    async fn read_on(&mut self) -> io::Result<()> {
        let mut chunk = vec![0; BUFFER];
        loop {
            match self.file.get_mut().read(&mut chunk).await? {
                0 => return Ok(()),
                read => {
                    self.digest.update(&chunk[..read]);
                    self.length += read as u64;
                }
            }
        }
    }

    /// The headers that ask for the rest, if the object is still the same.
    pub(super) fn headers(&self) -> Vec<(&'static str, String)> {
        match &self.validator {
            Some(validator) if self.length > 0 => {
                vec![(RANGE.as_str(), format!("bytes={}-", self.length)), (IF_RANGE.as_str(), validator.clone())]
            }
            _ => Vec::new(),
        }
    }

    /// Empties it, for the object that an answer with these headers brings.
    pub(super) async fn start_over(&mut self, headers: Option<&HeaderMap>) -> io::Result<()> {
        // First the content, then what it is said to belong to: a kill in between leaves nothing wrong to continue.
        self.file.get_mut().set_len(0).await?;
        self.file.rewind().await?;
        (self.digest, self.length, self.start) = (sha2::Sha256::new(), 0, Vec::new());
        self.validator = headers.and_then(validator);
        let beside = validator_of(&self.path);
        match &self.validator {
            Some(validator) => write(beside, validator).await,
            None => remove_if_there(&beside).await,
        }
    }

    pub(super) async fn write(&mut self, chunk: &[u8]) -> io::Result<()> {
        let missing = SHOWN.saturating_sub(self.start.len());
        self.start.extend(chunk.iter().take(missing));
        self.digest.update(chunk);
        self.length += chunk.len() as u64;
        self.file.write_all(chunk).await
    }

    pub(super) async fn flush(&mut self) -> io::Result<()> {
        self.file.flush().await
    }

    /// The digest of what is there.
    pub(super) fn sha256(&self) -> Sha256 {
        Sha256::from(<[u8; 32]>::from(self.digest.clone().finalize()))
    }
}

/// Removes what is left of a download that will not be continued.
pub(super) async fn discard(path: &Path) {
    for leftover in [path, &validator_of(path)] {
        if let Err(error) = remove_if_there(leftover).await {
            tracing::warn!("{} is of no use and cannot be removed: {error}", leftover.display());
        }
    }
}

/// Removes what a download needs beside its file only until it is whole.
pub(super) async fn settle(path: &Path) -> io::Result<()> {
    remove_if_there(&validator_of(path)).await
}

async fn remove_if_there(path: &Path) -> io::Result<()> {
    match remove_file(path).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn validator_of(path: &Path) -> PathBuf {
    path.with_extension("validator")
}

/// What tells this object from every other one at the same URL. A weak ETag does not: RFC 9110 forbids it in If-Range.
fn validator(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    text(ETAG).filter(|etag| etag.starts_with('"')).or_else(|| text(LAST_MODIFIED))
}
