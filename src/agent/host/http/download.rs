//! Downloads: streamed to a file, with the digest made on the way.
#![allow(clippy::disallowed_methods)]

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use loitsut_profile::sha256::Sha256;
use nix::sys::statvfs::statvfs;
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE};
use reqwest::{Method, StatusCode};
use tokio::time::Instant;

use super::error::Mismatch;
use super::part::{self, Part};
use super::{Answer, GaveUp, Http, HttpError, Limits, Problem, Retry, Transient as _, Verdict};

/// No download may take longer, however steadily it drips.
const LONGEST: Duration = Duration::from_secs(6 * 3600);

/// What to download, and where to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Download<'a> {
    /// Where it is.
    pub url: &'a str,
    /// What it must be.
    pub sha256: Sha256,
    /// The temporary file it goes to. After a failure that may pass, what came is left there to be continued; after
    /// any other it is gone. Making it durable is for whoever renames it.
    pub to: &'a Path,
    /// How many bytes are taken.
    pub limit: u64,
    /// Where to count them.
    pub meter: &'a Meter,
}

/// How far a download is, for whoever wants to watch.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    received: AtomicU64,
    total: AtomicU64,
}

impl Meter {
    /// Bytes that are there.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Bytes in all, once the server has said so.
    pub(crate) fn total(&self) -> Option<u64> {
        Some(self.total.load(Ordering::Relaxed)).filter(|total| *total > 0)
    }

    fn set(&self, received: u64) {
        self.received.store(received, Ordering::Relaxed);
    }

    fn expect(&self, total: u64) {
        self.total.store(total, Ordering::Relaxed);
    }
}

impl Retry {
    /// For downloads: five minutes in which nothing more comes are the end.
    pub(crate) const DOWNLOAD: Self = Self {
        total: Duration::from_secs(300),
        each: LONGEST,
        first_pause: Duration::from_millis(500),
        longest_pause: Duration::from_secs(30),
        statuses: &[408..=408, 429..=429, 500..=599],
    };
}

impl Http {
    /// Downloads and verifies; the length in bytes. What is not what was wanted is not tried again: another copy of
    /// an error page would not be better. What broke off is continued, as long as each round brings more of it.
    pub(crate) async fn download(&self, wanted: &Download<'_>, retry: &Retry) -> Result<u64, GaveUp<HttpError>> {
        let deadline = Instant::now() + LONGEST;
        loop {
            let before = wanted.meter.received();
            let attempt = async |_| self.try_download(wanted, deadline.min(Instant::now() + retry.each)).await;
            let done = retry.start().run("a download", attempt).await;
            match &done {
                Err(gave_up) if gave_up.error.verdict(retry) != Verdict::Final => {
                    if wanted.meter.received() > before && Instant::now() < deadline {
                        continue;
                    }
                }
                Err(_) => part::discard(wanted.to).await,
                Ok(_) => {}
            }
            return done;
        }
    }

    async fn try_download(&self, wanted: &Download<'_>, until: Instant) -> Result<u64, HttpError> {
        let no_file = |source| self.cannot_write(wanted, source);
        let mut part = Part::open(wanted.to).await.map_err(no_file)?;
        wanted.meter.set(part.length);
        // All was there, and the agent ended before it could say so.
        if part.length == 0 || part.sha256() != wanted.sha256 {
            self.receive(wanted, &mut part, until).await?;
        }
        part::settle(wanted.to).await.map_err(no_file)?;
        Ok(part.length)
    }

    /// Asks for what is missing, and takes it in.
    async fn receive(&self, wanted: &Download<'_>, part: &mut Part, until: Instant) -> Result<(), HttpError> {
        let continued = part.headers();
        let headers: Vec<(&str, &str)> = continued.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let limits = Limits { until, bytes: wanted.limit };
        let answered = self.send(Method::GET, wanted.url, &headers, limits).await;
        if let Err(error) = &answered
            && error.status() == Some(StatusCode::RANGE_NOT_SATISFIABLE.as_u16())
        {
            return Err(self.begin_anew(wanted, "there is less of it than before").await);
        }
        let mut answer = answered?;
        let resumed = answer.response.status() == StatusCode::PARTIAL_CONTENT;
        if resumed && !answer.continues(part.length) {
            return Err(self.begin_anew(wanted, "another part came than was asked for").await);
        }
        if !resumed {
            let headers = answer.response.headers();
            part.start_over(Some(headers)).await.map_err(|source| self.cannot_write(wanted, source))?;
        }
        answer.received = part.length;
        self.check_room(wanted, &answer)?;
        self.take_in(wanted, part, &mut answer).await?;
        let found = part.sha256();
        if found == wanted.sha256 {
            return Ok(());
        }
        if resumed {
            return Err(self.begin_anew(wanted, "what was continued does not fit together").await);
        }
        let mismatch = Mismatch { wanted: wanted.sha256, found, what: answer.describe(&part.start) };
        Err(answer.target.error(Box::new(mismatch).into()))
    }

    async fn take_in(&self, wanted: &Download<'_>, part: &mut Part, answer: &mut Answer) -> Result<(), HttpError> {
        loop {
            let chunk = match answer.chunk().await {
                Ok(Some(chunk)) => chunk,
                end => {
                    // Also of a body that broke off: the next try continues behind it.
                    part.flush().await.map_err(|source| self.cannot_write(wanted, source))?;
                    return end.map(|_| ());
                }
            };
            part.write(&chunk).await.map_err(|source| self.cannot_write(wanted, source))?;
            wanted.meter.set(part.length);
        }
    }

    /// A disk that will be full is told of at once, and not after an hour.
    fn check_room(&self, wanted: &Download<'_>, answer: &Answer) -> Result<(), HttpError> {
        let Some(missing) = answer.response.content_length() else { return Ok(()) };
        wanted.meter.expect(answer.received + missing);
        let Ok(disk) = statvfs(wanted.to.parent().unwrap_or(Path::new("/"))) else { return Ok(()) };
        let free = disk.blocks_available().saturating_mul(disk.fragment_size());
        if missing <= free {
            return Ok(());
        }
        let problem = format!("{missing} bytes are to come, and the disk has room for {free}");
        Err(self.cannot_write(wanted, io::Error::new(io::ErrorKind::StorageFull, problem)))
    }

    async fn begin_anew(&self, wanted: &Download<'_>, why: &str) -> HttpError {
        part::discard(wanted.to).await;
        HttpError::about(wanted.url, Problem::Broken(format!("{why}: begun anew")))
    }

    fn cannot_write(&self, wanted: &Download<'_>, source: io::Error) -> HttpError {
        HttpError::about(wanted.url, Problem::Write { path: wanted.to.to_owned(), source })
    }
}

impl Answer {
    /// Whether the part that comes is the one behind `length` bytes.
    fn continues(&self, length: u64) -> bool {
        let range = self.response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
        range.is_some_and(|range| range.starts_with(&format!("bytes {length}-")))
    }

    /// What came instead of what was wanted: the type, the length and, of a text, the beginning.
    fn describe(&self, start: &[u8]) -> String {
        let header = self.response.headers().get(CONTENT_TYPE);
        let kind = header.and_then(|value| value.to_str().ok()).unwrap_or("no type");
        let mut told = format!("{kind}, {} bytes", self.received);
        let begins = String::from_utf8_lossy(start).trim_start().to_lowercase();
        let is_html =
            kind.starts_with("text/html") || ["<!doctype html", "<html"].iter().any(|tag| begins.starts_with(tag));
        if is_html {
            told += ", looks like an HTML page (of a login, or of an error?)";
        }
        if is_html || kind.starts_with("text/") {
            told += &format!(", starts with \"{}\"", start.escape_ascii());
        }
        told
    }
}
