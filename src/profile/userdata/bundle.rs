//! The bundle of a document: the files of one profile, named by their digest.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::field::HttpUrl;
use super::shape::unique_map;
use crate::names::BundlePath;
use crate::sha256::Sha256;

/// The files of a profile and everything it needs, checked.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "AsWritten", untagged)]
pub enum Bundle {
    /// They are in the document itself.
    Files {
        /// Their digest; computed where the document names none.
        sha256: Sha256,
        /// Their contents.
        #[serde(serialize_with = "by_path")]
        files: BTreeMap<BundlePath, String>,
    },
    /// They are fetched.
    Url {
        /// The digest that they must have.
        sha256: Sha256,
        /// From where.
        url: HttpUrl,
    },
}

/// The digest of a bundle: the SHA-256 of the sorted lines `<sha256 of file>  <path>\n`, which is what
/// `sha256sum … | LC_ALL=C sort | sha256sum` prints for the same files.
pub fn digest<C: AsRef<[u8]>>(files: &BTreeMap<BundlePath, C>) -> Sha256 {
    let line = |(path, content): (&BundlePath, &C)| format!("{}  {path}\n", Sha256::of(content.as_ref()));
    let mut lines: Vec<String> = files.iter().map(line).collect();
    lines.sort_unstable();
    Sha256::of(lines.concat().as_bytes())
}

/// The files of a profile and everything it needs: `files`, or `url` with `sha256`.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct AsWritten {
    /// The SHA-256 of the sorted lines `<sha256 of file>  <path>`; what does not fit is refused.
    sha256: Option<Sha256>,
    /// Their contents by their paths.
    #[serde(default, deserialize_with = "files_or_none")]
    files: Option<BTreeMap<BundlePath, String>>,
    /// A tar.gz of them.
    url: Option<HttpUrl>,
}

fn files_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<BTreeMap<BundlePath, String>>, D::Error> {
    unique_map(deserializer).map(Some)
}

/// A bundle that breaks a rule; completes "`bundle`: …".
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// Neither or both of the forms.
    #[error("give exactly one of `files` and `url`")]
    Form,
    /// Nothing to tell a right download from a wrong one.
    #[error("`url` needs `sha256`")]
    NoDigest,
    /// One file would be a directory.
    #[error("`{0}` is a file, and `{1}` needs it to be a directory")]
    FileAsDirectory(BundlePath, BundlePath),
    /// It is not the bundle that was meant.
    #[error("`sha256` is {wanted}, but the digest of `files` is {found}; a file was changed, or left out, on the way")]
    Mismatch {
        /// The digest in the document.
        wanted: Sha256,
        /// The digest of its files.
        found: Sha256,
    },
}

impl TryFrom<AsWritten> for Bundle {
    type Error = BundleError;

    fn try_from(written: AsWritten) -> Result<Self, BundleError> {
        match (written.files, written.url) {
            (Some(files), None) => Self::of_files(files, written.sha256),
            (None, Some(url)) => written.sha256.map(|sha256| Self::Url { sha256, url }).ok_or(BundleError::NoDigest),
            _ => Err(BundleError::Form),
        }
    }
}

impl Bundle {
    fn of_files(files: BTreeMap<BundlePath, String>, wanted: Option<Sha256>) -> Result<Self, BundleError> {
        for path in files.keys() {
            if let Some((parent, _)) = ancestors(path).find_map(|parent| files.get_key_value(parent)) {
                return Err(BundleError::FileAsDirectory(parent.clone(), path.clone()));
            }
        }
        let found = digest(&files);
        match wanted {
            Some(wanted) if wanted != found => Err(BundleError::Mismatch { wanted, found }),
            _ => Ok(Self::Files { sha256: found, files }),
        }
    }
}

/// The directories that a path needs.
fn ancestors(path: &BundlePath) -> impl Iterator<Item = &str> {
    let path = path.as_str();
    path.match_indices('/').map(move |(slash, _)| &path[..slash])
}

fn by_path<S: Serializer>(files: &BTreeMap<BundlePath, String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(files.iter().map(|(path, content)| (path.as_str(), content)))
}
