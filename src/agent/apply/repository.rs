//! `repository`: made of files, each of which is checked and written as the type `file` is.

use std::fmt;

use anyhow::{Result, anyhow};
use loitsut_profile::names::{AbsPath, Mode, RepositoryWord, UserName};
use loitsut_profile::openpgp::{LARGEST_KEY, PublicKeys};
use loitsut_profile::resource::{Content, File, Key, Repository, RepositoryKind};

use super::file::FileDrift;
use super::{Context, Converge, Drift};
use crate::host::files::Kind;

/// The files that differ.
pub struct RepositoryDrift {
    files: Vec<(File, FileDrift)>,
    /// There is no key, or another one: it has to be downloaded.
    key: Option<String>,
}

impl fmt::Display for RepositoryDrift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = self.files.iter().map(|(file, drift)| format!("{} {drift}", file.path));
        f.write_str(&self.key.clone().into_iter().chain(files).collect::<Vec<_>>().join(", "))
    }
}

impl Drift for RepositoryDrift {
    fn diff(&self) -> Option<String> {
        let diffs: String = self.files.iter().filter_map(|(_, drift)| drift.diff()).collect();
        (!diffs.is_empty()).then_some(diffs)
    }
}

impl Converge for Repository {
    type Drift = RepositoryDrift;

    async fn check(&self, context: &Context<'_>) -> Result<Option<RepositoryDrift>> {
        let mut drift = RepositoryDrift { files: Vec::new(), key: key_drift(self, context)? };
        for file in files(self)? {
            if let Some(found) = file.check(context).await? {
                drift.files.push((file, found));
            }
        }
        Ok((drift.key.is_some() || !drift.files.is_empty()).then_some(drift))
    }

    async fn apply(&self, context: &Context<'_>, drift: RepositoryDrift) -> Result<()> {
        // The key first: without it, nobody could read the lists.
        if drift.key.is_some() {
            let file = key_file(self, &fetched_key(self, context).await?)?;
            if let Some(found) = file.check(context).await? {
                file.apply(context, found).await?;
            }
        }
        for (file, found) in drift.files {
            file.apply(context, found).await?;
        }
        context.packages.sources_changed();
        Ok(())
    }
}

/// How a key that is downloaded differs: not by its bytes, for they may have been signed anew since.
fn key_drift(repository: &Repository, context: &Context<'_>) -> Result<Option<String>> {
    let Some(Key::Url { fingerprints, .. }) = &repository.key else { return Ok(None) };
    let path = key_path(repository)?;
    let Some(stat) = context.host.stat(path.as_path())? else { return Ok(Some(format!("{path} is missing"))) };
    // Whoever owns it decides what is installed here.
    if stat.kind != Kind::File || (stat.mode, stat.uid, stat.gid) != (0o644, 0, 0) {
        return Ok(Some(format!("{path} is not a file of root's that all may read")));
    }
    let found = context.host.read(path.as_path())?.unwrap_or_default();
    let checked = PublicKeys::read(&found).and_then(|keys| keys.check(fingerprints));
    Ok(checked.err().map(|why| format!("{path} {why}")))
}

async fn fetched_key(repository: &Repository, context: &Context<'_>) -> Result<PublicKeys> {
    let Some(Key::Url { url, fingerprints }) = &repository.key else {
        return Err(anyhow!("the repository {} has no key to be downloaded", repository.name));
    };
    let bytes = context.downloads.get_unverified(url, LARGEST_KEY as u64).await?;
    let keys = PublicKeys::read(&bytes).and_then(|keys| keys.check(fingerprints).map(|()| keys));
    keys.map_err(|why| anyhow!("the key of the repository {}, {url}, {why}", repository.name))
}

/// All its files but a key that has to be downloaded.
fn files(repository: &Repository) -> Result<Vec<File>> {
    let key = match &repository.key {
        Some(Key::Bundled(keys)) => Some(key_file(repository, keys)?),
        _ => None,
    };
    let own = match &repository.kind {
        RepositoryKind::Apt { .. } => {
            let name = &repository.name;
            let sources = file(&format!("/etc/apt/sources.list.d/{name}.sources"), sources(repository)?.into_bytes())?;
            let pin =
                pin(repository).map(|text| file(&format!("/etc/apt/preferences.d/{name}.pref"), text.into_bytes()));
            [Some(sources), pin.transpose()?]
        }
        RepositoryKind::Dnf { baseurl } => {
            let path = format!("/etc/yum.repos.d/{}.repo", repository.name);
            [Some(file(&path, dnf_text(repository, baseurl)?.into_bytes())?), None]
        }
    };
    Ok(key.into_iter().chain(own.into_iter().flatten()).collect())
}

fn file(path: &str, bytes: Vec<u8>) -> Result<File> {
    let (mode, owner, group) = (Mode(0o644), UserName::root(), UserName::root());
    Ok(File { path: path.parse()?, content: Content::Bytes(bytes), mode, owner, group, replace: true })
}

/// apt takes binary keys only by their suffix, rpm takes armored ones only.
fn key_path(repository: &Repository) -> Result<AbsPath> {
    let name = &repository.name;
    Ok(match repository.kind {
        RepositoryKind::Apt { .. } => format!("/etc/apt/keyrings/{name}.gpg").parse()?,
        RepositoryKind::Dnf { .. } => format!("/etc/pki/rpm-gpg/RPM-GPG-KEY-{name}").parse()?,
    })
}

fn key_file(repository: &Repository, keys: &PublicKeys) -> Result<File> {
    let bytes = match repository.kind {
        RepositoryKind::Apt { .. } => keys.binary().to_vec(),
        RepositoryKind::Dnf { .. } => keys.armored().into_bytes(),
    };
    file(key_path(repository)?.as_str(), bytes)
}

/// In the format of sources.list(5).
fn sources(repository: &Repository) -> Result<String> {
    let RepositoryKind::Apt { types, uris, suites, components, architectures } = &repository.kind else {
        return Ok(String::new());
    };
    let architectures: Vec<_> = architectures.iter().map(|name| name.as_str()).collect();
    let key = repository.key.as_ref().map(|_| key_path(repository)).transpose()?;
    let fields = [
        ("Types", words(types)),
        ("URIs", words(uris)),
        ("Suites", words(suites)),
        ("Components", words(components)),
        ("Architectures", architectures.join(" ")),
        ("Signed-By", key.map(|path| path.to_string()).unwrap_or_default()),
    ];
    let lines = fields.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| format!("{name}: {value}\n"));
    Ok(lines.collect())
}

/// apt ranks by where packages come from, and that is by host: see apt_preferences(5).
fn pin(repository: &Repository) -> Option<String> {
    let (RepositoryKind::Apt { uris, .. }, Some(priority)) = (&repository.kind, repository.priority) else {
        return None;
    };
    let mut hosts: Vec<&str> = uris.iter().map(|uri| host_of(uri.as_str())).collect();
    hosts.dedup();
    let pin = |host: &&str| format!("Package: *\nPin: origin \"{host}\"\nPin-Priority: {priority}\n");
    Some(hosts.iter().map(pin).collect::<Vec<_>>().join("\n"))
}

/// Empty for files.
fn host_of(uri: &str) -> &str {
    let after = uri.split_once("://").map_or("", |(_, rest)| rest);
    let authority = after.split('/').next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    host.rsplit_once(':').filter(|(_, port)| port.chars().all(|c| c.is_ascii_digit())).map_or(host, |(host, _)| host)
}

/// In the format of dnf.conf(5).
fn dnf_text(repository: &Repository, baseurl: &[RepositoryWord]) -> Result<String> {
    let name = &repository.name;
    let mut text = format!("[{name}]\nname={name}\nbaseurl={}\nenabled=1\ngpgcheck=1\n", words(baseurl));
    if repository.key.is_some() {
        text += &format!("gpgkey=file://{}\n", key_path(repository)?);
    }
    if let Some(priority) = repository.priority {
        text += &format!("priority={priority}\n");
    }
    Ok(text)
}

fn words(words: &[RepositoryWord]) -> String {
    words.iter().map(RepositoryWord::as_str).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_a_uri() {
        for (uri, host) in [
            ("https://deb.example.org/debian", "deb.example.org"),
            ("http://user:word@mirror:8080/x", "mirror"),
            ("file:/srv/archive", ""),
            ("http://[2001:db8::7]/x", "[2001:db8::7]"),
        ] {
            assert_eq!(host_of(uri), host);
        }
    }
}
