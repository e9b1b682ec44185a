//! Downloads, kept by what they are: a file is fetched once, whoever asks for it and from wherever.

use std::path::{Path, PathBuf};

use loitsut_profile::sha256::Sha256;
use tokio::sync::OnceCell;

use super::Host;
use super::file_error::FileError;
use super::http::{Download, GaveUp, Http, HttpError, Retry, SetupError};
use super::walk::Missing;
use crate::stop::{self, Stopped};

const CACHE: &str = "/var/cache/loitsut";

/// No single file of a build environment is larger.
const LARGEST: u64 = 16 * 1024 * 1024 * 1024;

/// The client for downloads, made when the first one is asked for.
#[derive(Default)]
pub(crate) struct Downloads {
    http: OnceCell<Http>,
}

/// Why a file could not be had.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub(crate) enum CacheError {
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error(transparent)]
    Download(#[from] GaveUp<HttpError>),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl Host {
    /// The path of a verified copy of what `url` gives.
    pub(crate) async fn cached(&self, downloads: &Downloads, url: &str, sha256: Sha256) -> Result<PathBuf, CacheError> {
        let path = Path::new(CACHE).join(sha256.to_string());
        // A cache can rot, and what rots in it is used by root: verified every time.
        if self.digest(&path)? == Some(sha256) {
            return Ok(path);
        }
        let _directory = self.directory(Path::new(CACHE), Missing::Create)?;
        let http = downloads.http.get_or_try_init(async || Http::web()).await?;
        let partial = Path::new(CACHE).join(format!("{sha256}.part"));
        let download = Download { url, sha256, to: &self.rooted(&partial), limit: LARGEST };
        stop::unless_requested(http.download(&download, &Retry::DOWNLOAD)).await??;
        self.rename(&partial, &path)?;
        Ok(path)
    }
}
