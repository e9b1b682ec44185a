//! Downloads: streamed to a file, with the digest made on the way.
#![allow(clippy::disallowed_methods)]

use std::io;
use std::path::Path;
use std::time::Duration;

use loitsut_profile::sha256::Sha256;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use sha2::Digest as _;
use tokio::fs::{File, OpenOptions, remove_file};
use tokio::io::{AsyncWriteExt as _, BufWriter};
use tokio::time::Instant;

use super::error::Mismatch;
use super::{Answer, GaveUp, Http, HttpError, Limits, Problem, Retry};

/// Tokio writes files on another thread; this many bytes go there at once.
const BUFFER: usize = 256 * 1024;

/// What a wrong answer is shown by: enough to recognise an error page.
const SHOWN: usize = 60;

/// What to download, and where to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Download<'a> {
    /// Where it is.
    pub url: &'a str,
    /// What it must be.
    pub sha256: Sha256,
    /// The temporary file it goes to. It is gone after a failure; making it durable is for whoever renames it.
    pub to: &'a Path,
    /// How many bytes are taken.
    pub limit: u64,
}

impl Retry {
    /// For downloads: as long as a big file may take, for a stall is noticed by itself.
    pub(crate) const DOWNLOAD: Self = Self {
        total: Duration::from_secs(30 * 60),
        each: Duration::from_secs(30 * 60),
        first_pause: Duration::from_millis(500),
        longest_pause: Duration::from_secs(30),
        statuses: &[408..=408, 429..=429, 500..=599],
    };
}

impl Http {
    /// Downloads and verifies; the length in bytes. What is not what was wanted is not tried again: another copy of
    /// an error page would not be better.
    pub(crate) async fn download(&self, wanted: &Download<'_>, retry: &Retry) -> Result<u64, GaveUp<HttpError>> {
        let tries = retry.start();
        let done = tries.run("a download", async |until| self.try_download(wanted, until).await).await;
        if done.is_err() {
            // What is left is of no use; the error to tell is the download's.
            let _ = remove_file(wanted.to).await;
        }
        done
    }

    async fn try_download(&self, wanted: &Download<'_>, until: Instant) -> Result<u64, HttpError> {
        let limits = Limits { until, bytes: wanted.limit };
        let mut answer = self.send(Method::GET, wanted.url, &[], limits).await?;
        let mut sink = match Sink::open(wanted.to).await {
            Ok(sink) => sink,
            Err(source) => return Err(answer.cannot_write(wanted.to, source)),
        };
        while let Some(chunk) = answer.chunk().await? {
            if let Err(source) = sink.write(&chunk).await {
                return Err(answer.cannot_write(wanted.to, source));
            }
        }
        if let Err(source) = sink.file.flush().await {
            return Err(answer.cannot_write(wanted.to, source));
        }
        let found = Sha256::from(<[u8; 32]>::from(sink.digest.finalize()));
        if found == wanted.sha256 {
            return Ok(answer.received);
        }
        let mismatch = Mismatch { wanted: wanted.sha256, found, what: answer.describe(&sink.start) };
        Err(answer.target.error(Box::new(mismatch).into()))
    }
}

/// The file, the digest of what went there, and how it begins.
struct Sink {
    file: BufWriter<File>,
    digest: sha2::Sha256,
    start: Vec<u8>,
}

impl Sink {
    async fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .custom_flags(nix::libc::O_NOFOLLOW)
            .open(path)
            .await?;
        Ok(Self { file: BufWriter::with_capacity(BUFFER, file), digest: sha2::Sha256::new(), start: Vec::new() })
    }

    async fn write(&mut self, chunk: &[u8]) -> io::Result<()> {
        let missing = SHOWN.saturating_sub(self.start.len());
        self.start.extend(chunk.iter().take(missing));
        self.digest.update(chunk);
        self.file.write_all(chunk).await
    }
}

impl Answer {
    fn cannot_write(&self, path: &Path, source: io::Error) -> HttpError {
        self.target.error(Problem::Write { path: path.to_owned(), source })
    }

    /// What came instead of what was wanted: the type, the length and, of a text, the beginning.
    fn describe(&self, start: &[u8]) -> String {
        let header = self.response.headers().get(CONTENT_TYPE);
        let kind = header.and_then(|value| value.to_str().ok());
        let told = format!("{}, {} bytes", kind.unwrap_or("no type"), self.received);
        match kind.is_some_and(|kind| kind.starts_with("text/")) {
            true => format!("{told}, starts with \"{}\"", start.escape_ascii()),
            false => told,
        }
    }
}
