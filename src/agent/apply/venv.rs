//! `venv`, by uv where it is there and by pip else.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use loitsut_profile::resource::Venv;
use loitsut_profile::sha256::Sha256;

use super::{Context, Converge};
use crate::host::Host;
use crate::host::files::{Attributes, Kind};
use crate::host::process::Program;
use crate::host::walk::Missing;

/// Written last: an environment without it is half made.
const MARKER: &str = ".loitsut";

/// A file for each environment that was ever begun, by the digest of its path: what is there may be removed.
const OURS: &str = "/var/lib/loitsut/venvs";

/// How long the installation may take.
const TIMEOUT: Duration = Duration::from_secs(1800);

/// The system's certificates; pip and uv bring their own, which know no private CA.
const CERTIFICATES: [&str; 2] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

impl Converge for Venv {
    type Drift = String;

    async fn check(&self, context: &Context<'_>) -> Result<Option<String>> {
        let host = context.host;
        let path = self.path.as_path();
        match host.stat(path)?.map(|stat| stat.kind) {
            None => return Ok(Some("is missing".into())),
            Some(Kind::Directory) => {}
            Some(_) => bail!("{} is there and not a directory: remove it, or name another path", self.path),
        }
        match host.read_text(&path.join(MARKER))? {
            None if is_ours(self, host)? => return Ok(Some("is half made".into())),
            None => bail!("{} is a directory with something else in it: remove it, or name another path", self.path),
            Some(marker) if marker != marker_of(self) => return Ok(Some("is made for other requirements".into())),
            Some(_) => {}
        }
        // The link to the interpreter dangles after the distribution has moved to another Python.
        if host.stat_through(&path.join("bin/python"))?.is_none() {
            return Ok(Some("has lost its interpreter".into()));
        }
        let installed = installed(host, path)?;
        let lacking: Vec<_> = pinned(&self.requirements).into_iter().filter(|pin| !installed.contains(pin)).collect();
        Ok((!lacking.is_empty()).then(|| format!("lacks {}", lacking.join(", "))))
    }

    async fn apply(&self, context: &Context<'_>, _drift: String) -> Result<()> {
        let host = context.host;
        // Python would follow a link on the way that somebody else planted; this refuses it.
        host.entry(self.path.as_path(), Missing::Create)?;
        host.write(&claim(self), format!("{}\n", self.path).as_bytes(), Attributes::PUBLIC)?;
        // From scratch: what is not among the requirements must not be there either.
        host.remove_tree(self.path.as_path())?;
        let requirements = PathBuf::from(format!("/run/loitsut/requirements-{}.txt", digest(self)));
        host.write(&requirements, self.requirements.as_bytes(), Attributes::PRIVATE)?;
        let made = self.make(host, &requirements.display().to_string()).await;
        host.remove(&requirements)?;
        made?;
        Ok(host.write(&self.path.as_path().join(MARKER), marker_of(self).as_bytes(), Attributes::PUBLIC)?)
    }
}

trait Make {
    async fn make(&self, host: &Host, requirements: &str) -> Result<()>;
}

impl Make for Venv {
    async fn make(&self, host: &Host, requirements: &str) -> Result<()> {
        let path = self.path.as_str();
        let python = format!("{path}/bin/python");
        let (create, install) = if host.has_program("uv") {
            (
                vec![
                    "uv",
                    "venv",
                    "--no-project",
                    "--no-managed-python",
                    "--no-python-downloads",
                    "--python",
                    &self.python,
                    path,
                ],
                vec!["uv", "pip", "install", "--python", &python, "--requirements", requirements],
            )
        } else {
            (
                vec![&*self.python, "-m", "venv", path],
                vec![&*python, "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "-r", requirements],
            )
        };
        host.run_checked(&prepared(host, Program::new(create)))
            .await
            .context("the environment cannot be made (on Debian, the package python3-venv is needed, or uv)")?;
        host.run_checked(&prepared(host, Program::new(install))).await?;
        Ok(())
    }
}

/// With the system's certificates, which may hold a private CA.
fn prepared(host: &Host, program: Program) -> Program {
    let program = program.timeout(TIMEOUT).env("UV_NATIVE_TLS", "true").env("UV_NO_PROGRESS", "1");
    let present = |path: &&&str| matches!(host.stat_through(Path::new(path)), Ok(Some(_)));
    match CERTIFICATES.iter().find(present) {
        Some(certificates) => program.env("PIP_CERT", *certificates).env("REQUESTS_CA_BUNDLE", *certificates),
        None => program,
    }
}

/// An environment, whoever made it, or what is left of one that was begun here, or nothing at all.
fn is_ours(venv: &Venv, host: &Host) -> Result<bool> {
    let path = venv.path.as_path();
    Ok(host.stat(&path.join("pyvenv.cfg"))?.is_some()
        || host.stat(&claim(venv))?.is_some()
        || host.list(path)?.is_empty())
}

fn claim(venv: &Venv) -> PathBuf {
    Path::new(OURS).join(digest(venv))
}

fn digest(venv: &Venv) -> String {
    Sha256::of(venv.path.as_str().as_bytes()).to_string()
}

fn marker_of(venv: &Venv) -> String {
    format!("{} {}\n", Sha256::of(venv.requirements.as_bytes()), venv.python)
}

/// `name==version` of every exact requirement, in the form of [`installed`]. What holds only under a marker (`; …`) is
/// left out.
fn pinned(requirements: &str) -> Vec<String> {
    let exact = |line: &str| {
        let line = line.split(" #").next()?.trim().trim_end_matches('\\').trim();
        if line.starts_with(['#', '-']) || line.contains(';') {
            return None;
        }
        let (name, version) = line.split_once("==")?;
        let name = name.split('[').next()?;
        let version = version.split_whitespace().next()?;
        (!version.contains('*')).then(|| format!("{}=={version}", normal(name)))
    };
    requirements.lines().filter_map(exact).collect()
}

/// `name==version` of everything in the environment, by the names of its dist-info directories.
fn installed(host: &Host, venv: &Path) -> Result<BTreeSet<String>> {
    let lib = venv.join("lib");
    let mut found = BTreeSet::new();
    for python in host.list(&lib)? {
        for name in host.list(&lib.join(python).join("site-packages"))? {
            if let Some((name, version)) = name.strip_suffix(".dist-info").and_then(|stem| stem.rsplit_once('-')) {
                found.insert(format!("{}=={version}", normal(name)));
            }
        }
    }
    Ok(found)
}

/// Names of distributions compare like this: https://packaging.python.org/en/latest/specifications/name-normalization/
fn normal(name: &str) -> String {
    let words: Vec<_> = name.trim().split(['-', '_', '.']).filter(|word| !word.is_empty()).collect();
    words.join("-").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_requirements_are_found_with_their_hashes_and_without_markers() {
        let text = "# words\nTwisted[tls]==24.7.0 \\\n    --hash=sha256:abc\nzope.interface==7.0\ncolorama==0.4 ; sys_platform == 'win32'\nsix>=1\n";
        assert_eq!(pinned(text), ["twisted==24.7.0", "zope-interface==7.0"]);
    }
}
