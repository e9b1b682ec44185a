//! Where profiles and layers are read from: one flat set of files, whatever brought them here.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::names::{BundlePath, LayerName};
use crate::source::SourceFile;

/// Gives the bytes of a file that is not text of the language, or `None` where there is none.
pub type Loader = Box<dyn Fn(&BundlePath) -> Result<Option<Vec<u8>>, String>>;

/// Profiles and layers, and the files that they name.
pub struct Library {
    texts: BTreeMap<String, Arc<SourceFile>>,
    loader: Loader,
}

impl Library {
    /// A library of TOML texts, each under its path relative to the root (`cpp.toml`, `layers/deps/boost.toml`), and a
    /// loader for all other files.
    pub fn new(texts: BTreeMap<String, Arc<SourceFile>>, loader: Loader) -> Self {
        Self { texts, loader }
    }

    /// The library that the `files` of a bundle are; it stands alone.
    pub fn of_bundle(files: &BTreeMap<String, String>) -> Self {
        let source = |(path, text): (&String, &String)| {
            let file = SourceFile { path: path.clone(), text: text.clone() };
            (path.clone(), Arc::new(file))
        };
        let texts = files.iter().filter(|(path, _)| path.ends_with(".toml")).map(source).collect();
        let files = files.clone();
        Self::new(texts, Box::new(move |path| Ok(files.get(path.as_str()).map(|text| text.clone().into_bytes()))))
    }

    /// The library that the files of a fetched bundle are; it stands alone.
    ///
    /// # Errors
    /// A file of the language is not text.
    pub fn of_files(files: BTreeMap<String, Vec<u8>>) -> Result<Self, String> {
        let mut texts = BTreeMap::new();
        for (path, content) in files.iter().filter(|(path, _)| path.ends_with(".toml")) {
            let text = String::from_utf8(content.clone()).map_err(|_| format!("{path} is not UTF-8 text"))?;
            texts.insert(path.clone(), Arc::new(SourceFile { path: path.clone(), text }));
        }
        Ok(Self::new(texts, Box::new(move |path| Ok(files.get(path.as_str()).cloned()))))
    }

    /// The file of a profile.
    pub(crate) fn profile(&self, name: &str) -> Option<&Arc<SourceFile>> {
        self.texts.get(&format!("{name}.toml"))
    }

    /// The file of a layer.
    pub(crate) fn layer(&self, name: &LayerName) -> Option<&Arc<SourceFile>> {
        self.texts.get(&format!("layers/{name}.toml"))
    }

    /// Names of all profiles; TOML files in folders are other things.
    pub fn profiles(&self) -> impl Iterator<Item = &str> {
        self.texts.keys().filter(|path| !path.contains('/')).filter_map(|path| path.strip_suffix(".toml"))
    }

    /// Names of all layers.
    pub fn layers(&self) -> impl Iterator<Item = &str> {
        self.texts.keys().filter_map(|path| path.strip_prefix("layers/")?.strip_suffix(".toml"))
    }

    /// The bytes of a bundled file, or why it cannot be had.
    pub(crate) fn load(&self, path: &BundlePath) -> Result<Vec<u8>, String> {
        if let Some(file) = self.texts.get(path.as_str()) {
            return Ok(file.text.clone().into_bytes());
        }
        (self.loader)(path)?.ok_or_else(|| format!("there is no file `{path}` beside the profiles"))
    }
}
