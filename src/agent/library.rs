//! Profiles and layers found: in the user-data, on the image, or in a folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use loitsut_profile::library::Library;
use loitsut_profile::source::SourceFile;
use loitsut_profile::userdata::Document;
use loitsut_profile::userdata::bundle::Bundle;

use crate::bundle;
use crate::host::Host;
use crate::host::files::Kind;

/// Where an image has its profiles; the admin's come before the shipped ones.
const ON_IMAGE: [&str; 2] = ["/etc/loitsut/profiles", "/usr/share/loitsut/profiles"];

/// Layers are named by paths, but nobody nests them deeper.
const DEEPEST: usize = 8;

/// More files in one folder are not a folder of profiles.
const MOST: usize = 10_000;

/// The library that a document means: its bundle, or else the image's.
///
/// # Errors
/// Files cannot be read, or the bundle cannot be had.
pub async fn of_document(host: Rc<Host>, document: &Document) -> Result<Library> {
    match &document.bundle {
        Some(Bundle::Files { files, .. }) => {
            Ok(Library::of_bundle(&files.iter().map(|(path, text)| (path.to_string(), text.clone())).collect()))
        }
        Some(Bundle::Url { url, sha256 }) => bundle::fetch(&host, document, url, *sha256).await,
        None => on_image(host),
    }
}

/// The library of the image.
///
/// # Errors
/// Files cannot be read.
pub fn on_image(host: Rc<Host>) -> Result<Library> {
    in_folders(host, ON_IMAGE.iter().map(PathBuf::from).collect())
}

/// The library that a folder is; it stands alone.
///
/// # Errors
/// It is no folder, or its files cannot be read.
pub fn in_folder(host: Rc<Host>, folder: &Path) -> Result<Library> {
    let folder = std::path::absolute(folder)?;
    if host.stat_through(&folder)?.is_none_or(|stat| stat.kind != Kind::Directory) {
        bail!("{} is not a folder of profiles", folder.display());
    }
    in_folders(host, vec![folder])
}

fn in_folders(host: Rc<Host>, folders: Vec<PathBuf>) -> Result<Library> {
    let mut texts = BTreeMap::new();
    // The first folder wins, so it is read last.
    for folder in folders.iter().rev() {
        read_texts(&host, folder, "", DEEPEST, &mut texts)?;
    }
    let load = move |path: &loitsut_profile::names::BundlePath| {
        for folder in &folders {
            if let Some(bytes) = host.read(&folder.join(path.as_str())).map_err(|error| error.to_string())? {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    };
    Ok(Library::new(texts, Box::new(load)))
}

fn read_texts(
    host: &Host,
    folder: &Path,
    below: &str,
    depth: usize,
    texts: &mut BTreeMap<String, Arc<SourceFile>>,
) -> Result<()> {
    for name in host.list(&folder.join(below))? {
        let relative = if below.is_empty() { name } else { format!("{below}/{name}") };
        let path = folder.join(&relative);
        match host.stat_through(&path)?.map(|stat| stat.kind) {
            Some(Kind::Directory) if depth > 0 => read_texts(host, folder, &relative, depth - 1, texts)?,
            Some(Kind::File) if relative.ends_with(".toml") => {
                let bytes = host.read(&path)?.unwrap_or_default();
                let text = String::from_utf8(bytes).with_context(|| format!("{} is not UTF-8 text", path.display()))?;
                texts.insert(relative, Arc::new(SourceFile { path: shown(&path), text }));
            }
            _ => {}
        }
        if texts.len() > MOST {
            bail!("{} has more than {MOST} files: is that a folder of profiles?", folder.display());
        }
    }
    Ok(())
}

/// A path as somebody would type it here.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().ok().filter(|here| here != Path::new("/"));
    let near = here.and_then(|here| path.strip_prefix(here).ok().map(Path::to_owned));
    near.unwrap_or_else(|| path.to_owned()).display().to_string()
}
