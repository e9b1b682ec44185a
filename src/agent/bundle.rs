//! A bundle that is fetched: read in memory, and taken only if its files have the digest that the user-data names.

use std::collections::BTreeMap;
use std::io::{Cursor, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use loitsut_profile::library::Library;
use loitsut_profile::names::BundlePath;
use loitsut_profile::sha256::Sha256;
use loitsut_profile::userdata::bundle;
use loitsut_profile::userdata::field::HttpUrl;
use loitsut_profile::userdata::{Document, Driver};
use tokio::time::Instant;

use crate::host::Host;
use crate::host::archive::{ArchiveError, MemberKind, for_each_entry};
use crate::host::files::Attributes;
use crate::host::http::{Http, Limits, Retry};
use crate::stop;

/// Bytes of a bundle, packed and unpacked alike: profiles are text, and scripts.
const LARGEST: u64 = 8 * 1024 * 1024;

/// Files and directories of a bundle.
const MOST: usize = 10_000;

type Files = BTreeMap<BundlePath, Vec<u8>>;

/// The library that a bundle with this digest is, from the cache or from its URL.
///
/// # Errors
/// It cannot be fetched, or is another one.
pub async fn fetch(host: &Host, document: &Document, url: &HttpUrl, sha256: Sha256) -> Result<Library> {
    // Kept, since an agent that is started again may find the driver gone.
    let kept = PathBuf::from(format!("/var/cache/loitsut/bundle-{sha256}.tar.gz"));
    let files = match host.read(&kept)?.map(|packed| unpacked(packed, sha256)) {
        Some(Ok(files)) => files,
        _ => fetched(host, document.driver.as_ref(), url, sha256, &kept).await.context("the bundle cannot be had")?,
    };
    let texts = files.into_iter().map(|(path, content)| (path.to_string(), content)).collect();
    Library::of_files(texts).map_err(anyhow::Error::msg)
}

async fn fetched(host: &Host, driver: Option<&Driver>, url: &HttpUrl, sha256: Sha256, kept: &Path) -> Result<Files> {
    // The token and the authority are for the driver, and for nobody that is merely on the same machine.
    let driver = driver.filter(|driver| driver.url.reveal().origin() == url.reveal().origin());
    let http = driver.map_or_else(Http::web, |driver| Http::driver(driver.ca.as_deref()))?;
    let token = driver.map(|driver| format!("Bearer {}", driver.token.reveal()));
    let headers: Vec<_> = token.iter().map(|token| ("authorization", token.as_str())).collect();
    let retry = Retry { each: Duration::from_secs(60), ..Retry::DOWNLOAD };
    let tries = retry.start();
    let attempt =
        async |until: Instant| http.get(url.reveal().as_str(), &headers, Limits { until, bytes: LARGEST }).await;
    let packed = stop::unless_requested(tries.run("the bundle", attempt)).await??;
    let files = unpacked(packed.clone(), sha256)?;
    host.write(kept, &packed, Attributes::PRIVATE)?;
    Ok(files)
}

fn unpacked(packed: Vec<u8>, sha256: Sha256) -> Result<Files> {
    let (mut files, mut left, mut entries) = (Files::new(), LARGEST, 0);
    for_each_entry(Box::new(Cursor::new(packed)), &mut |member, content| {
        let fail = |problem: String| Err(ArchiveError::entry(&member.name, problem));
        entries += 1;
        if member.size > left || entries > MOST {
            return fail(format!("is more than a bundle may have: {LARGEST} bytes, {MOST} files"));
        }
        match member.kind {
            MemberKind::Directory => return Ok(()),
            MemberKind::File => left -= member.size,
            _ => return fail("is a link, and a bundle has files only".into()),
        }
        let path = match member.name.parse::<BundlePath>() {
            Ok(path) => path,
            Err(error) => return fail(error.to_string()),
        };
        let mut bytes = Vec::new();
        if let Err(error) = content.take(member.size).read_to_end(&mut bytes) {
            return fail(format!("cannot be read: {error}"));
        }
        match files.insert(path, bytes) {
            None => Ok(()),
            Some(_) => fail("is there twice".into()),
        }
    })?;
    let found = bundle::digest(&files);
    if found != sha256 {
        bail!("its digest is {found}, and the user-data wants {sha256}: it is another bundle");
    }
    Ok(files)
}
