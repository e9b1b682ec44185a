//! `user`.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use loitsut_profile::resource::User;

use super::{Context, Converge, Drift};
use crate::host::Host;
use crate::host::accounts;
use crate::host::files::{Attributes, Kind};
use crate::host::process::Program;

/// A file for each user that is being made: useradd(8) writes six files, one after the other.
const BEGUN: &str = "/var/lib/loitsut/users";

/// What a new home gets a copy of.
const SKELETON: &str = "/etc/skel";

/// How a user differs.
#[derive(Default)]
pub struct UserDrift {
    words: Vec<String>,
    missing: bool,
    /// It is there, and useradd(8) came to an end before it was done.
    half_made: bool,
    /// Arguments of usermod(8) that make it right.
    modify: Vec<String>,
    home: bool,
    keys: bool,
}

impl fmt::Display for UserDrift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words.join(", "))
    }
}

impl Drift for UserDrift {}

impl UserDrift {
    fn note(&mut self, words: impl Into<String>) {
        self.words.push(words.into());
    }
}

impl Converge for User {
    type Drift = UserDrift;

    async fn check(&self, context: &Context<'_>) -> Result<Option<UserDrift>> {
        let host = context.host;
        let users = host.users()?;
        let mut drift = UserDrift::default();
        let Some(found) = users.iter().find(|user| user.name == self.name.as_str()) else {
            if let Some(other) = users.iter().find(|user| Some(user.uid) == self.uid) {
                bail!("the uid {} that `{}` is to have belongs to `{}`", other.uid, self.name, other.name);
            }
            drift.missing = true;
            drift.note("is missing");
            return Ok(Some(drift));
        };
        if host.stat(&begun(self))?.is_some() {
            drift.half_made = true;
            drift.note("is half made");
            return Ok(Some(drift));
        }
        check_entry(self, found, &mut drift)?;
        check_groups(self, host, found, &mut drift)?;
        check_home(self, host, found, &mut drift)?;
        Ok((!drift.words.is_empty()).then_some(drift))
    }

    async fn apply(&self, context: &Context<'_>, drift: UserDrift) -> Result<()> {
        let host = context.host;
        host.clear_account_locks()?;
        let anew = drift.missing || drift.half_made;
        if drift.half_made {
            remove(self, host).await?;
        }
        if anew {
            make(self, host).await?;
        } else if !drift.modify.is_empty() {
            let words = ["usermod".to_owned()].into_iter().chain(drift.modify).chain([self.name.to_string()]);
            host.run_checked(&Program::new(words)).await?;
        }
        let user = host.user(self.name.as_str())?;
        if drift.home || (anew && needs_home(self)) {
            make_home(host, &user)?;
        }
        if drift.keys || anew {
            write_keys(self, host, &user)?;
        }
        Ok(())
    }
}

fn check_entry(wanted: &User, found: &accounts::User, drift: &mut UserDrift) -> Result<()> {
    if let Some(uid) = wanted.uid.filter(|uid| *uid != found.uid) {
        bail!(
            "`{}` has the uid {}, not {uid}; files on this machine belong to it, so it is not changed",
            found.name,
            found.uid
        );
    }
    if let Some(home) = wanted.home.as_ref().filter(|home| home.as_str() != found.home) {
        drift.note(format!("home is {}, not {home}", found.home));
        drift.modify.extend(["--home".into(), home.to_string()]);
    }
    if let Some(shell) = wanted.shell.as_ref().filter(|shell| shell.as_str() != found.shell) {
        drift.note(format!("shell is {}, not {shell}", found.shell));
        drift.modify.extend(["--shell".into(), shell.to_string()]);
    }
    Ok(())
}

fn check_groups(wanted: &User, host: &Host, found: &accounts::User, drift: &mut UserDrift) -> Result<()> {
    let groups = host.groups()?;
    let is_member = |name: &str| {
        let group = groups.iter().find(|group| group.name == name);
        group.is_some_and(|group| group.gid == found.gid || group.members.contains(&found.name))
    };
    let lacking: Vec<String> = wanted.groups.iter().map(ToString::to_string).filter(|name| !is_member(name)).collect();
    if !lacking.is_empty() {
        drift.note(format!("is not in {}", lacking.join(", ")));
        drift.modify.extend(["--append".into(), "--groups".into(), lacking.join(",")]);
    }
    Ok(())
}

fn check_home(wanted: &User, host: &Host, found: &accounts::User, drift: &mut UserDrift) -> Result<()> {
    let home = wanted.home.as_ref().map_or(found.home.as_str(), |home| home.as_str());
    match host.stat_through(Path::new(home))?.map(|stat| stat.kind) {
        None if needs_home(wanted) => {
            drift.home = true;
            drift.note(format!("home {home} is missing"));
        }
        Some(kind) if kind != Kind::Directory && wanted.home.is_some() => bail!("the home {home} is not a directory"),
        _ => {}
    }
    if let Some(keys) = &wanted.ssh_authorized_keys
        && !has_keys(host, found, home, keys)?
    {
        drift.keys = true;
        drift.note("authorized_keys differs");
    }
    Ok(())
}

/// Keys lie in the home: made on the way to them it would be root's.
fn needs_home(user: &User) -> bool {
    user.home.is_some() || user.ssh_authorized_keys.is_some()
}

/// Whether the keys are there, in files that sshd takes for the user's own.
fn has_keys(host: &Host, user: &accounts::User, home: &str, keys: &[String]) -> Result<bool> {
    let folder = Path::new(home).join(".ssh");
    let is_own = |path: &Path, mode: u32| -> Result<bool> {
        Ok(host.stat(path)?.is_some_and(|stat| (stat.uid, stat.mode) == (user.uid, mode)))
    };
    let file = folder.join("authorized_keys");
    let own = is_own(&folder, 0o700)? && is_own(&file, 0o600)?;
    Ok(own && host.read_text(&file)?.as_deref() == Some(&keys_file(keys)))
}

fn begun(user: &User) -> PathBuf {
    Path::new(BEGUN).join(user.name.as_str())
}

async fn make(user: &User, host: &Host) -> Result<()> {
    let useradd = Program::new(add(user, host)?);
    host.write(&begun(user), b"", Attributes::PUBLIC)?;
    let made = host.run_checked(&useradd).await;
    // What it said no to it has not begun either.
    if made.is_ok() || !host.users()?.iter().any(|found| found.name == user.name.as_str()) {
        host.remove(&begun(user))?;
    }
    made?;
    Ok(())
}

/// Takes back what useradd(8) has begun. Nothing can belong to the user yet; its group may be older, and keeps its id.
async fn remove(user: &User, host: &Host) -> Result<()> {
    let groups = host.groups()?;
    let group = groups.iter().find(|group| group.name == user.name.as_str());
    host.run_checked(&Program::new(["userdel", user.name.as_str()])).await?;
    let left = host.groups()?.iter().any(|group| group.name == user.name.as_str());
    if let (Some(group), false) = (group, left) {
        let words = ["groupadd".to_owned(), "--gid".into(), group.gid.to_string(), group.name.clone()];
        host.run_checked(&Program::new(words)).await?;
    }
    Ok(())
}

fn add(user: &User, host: &Host) -> Result<Vec<String>> {
    let mut words = vec!["useradd".to_owned(), "--no-create-home".into()];
    // A group of its name may be there already: useradd would not make the user with another one.
    let has_group = host.groups()?.iter().any(|group| group.name == user.name.as_str());
    words.extend((!has_group).then(|| "--user-group".to_owned()));
    let mut option =
        |name: &str, value: Option<String>| words.extend(value.into_iter().flat_map(|v| [name.to_owned(), v]));
    option("--gid", has_group.then(|| user.name.to_string()));
    option("--uid", user.uid.map(|uid| uid.to_string()));
    option("--home-dir", user.home.as_ref().map(ToString::to_string));
    option("--shell", user.shell.as_ref().map(ToString::to_string));
    let groups: Vec<_> = user.groups.iter().map(ToString::to_string).collect();
    option("--groups", (!groups.is_empty()).then(|| groups.join(",")));
    words.extend(user.system.then(|| "--system".to_owned()));
    words.push(user.name.to_string());
    Ok(words)
}

/// A home as useradd(8) would make it: the user's own, for nobody else to write, with what /etc/skel has. Under another
/// name until it is whole.
fn make_home(host: &Host, user: &accounts::User) -> Result<()> {
    let home = PathBuf::from(&user.home);
    if host.stat(&home)?.is_some() {
        return Ok(());
    }
    let fresh = host.beside(&home);
    host.remove_tree(&fresh)?;
    host.make_directory(&fresh, Attributes { mode: 0o700, uid: 0, gid: 0 })?;
    copy_skeleton(host, Path::new(SKELETON), &fresh, user)?;
    host.set_attributes(&fresh, Attributes { mode: 0o755, uid: user.uid, gid: user.gid })?;
    Ok(host.put_in_place(&fresh, &home)?)
}

/// Files and directories; whoever puts a fifo there has no home in mind.
fn copy_skeleton(host: &Host, from: &Path, to: &Path, user: &accounts::User) -> Result<()> {
    for name in host.list(from)? {
        let (source, target) = (from.join(&name), to.join(&name));
        let Some(stat) = host.stat(&source)? else { continue };
        let own = Attributes { mode: stat.mode, uid: user.uid, gid: user.gid };
        match stat.kind {
            Kind::File => host.copy(&source, &target, own)?,
            Kind::Directory => {
                host.make_directory(&target, own)?;
                copy_skeleton(host, &source, &target, user)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn write_keys(wanted: &User, host: &Host, user: &accounts::User) -> Result<()> {
    let Some(keys) = &wanted.ssh_authorized_keys else { return Ok(()) };
    let own = |mode| Attributes { mode, uid: user.uid, gid: user.gid };
    let folder = PathBuf::from(&user.home).join(".ssh");
    match host.stat(&folder)?.map(|stat| stat.kind) {
        None => host.make_directory(&folder, own(0o700))?,
        Some(Kind::Directory) => host.set_attributes(&folder, own(0o700))?,
        // Writing below it says whose it is, and refuses.
        Some(Kind::Symlink) => {}
        Some(_) => bail!("{} is not a directory", folder.display()),
    }
    host.write(&folder.join("authorized_keys"), keys_file(keys).as_bytes(), own(0o600))
        .context("sshd would not know the keys")
}

fn keys_file(keys: &[String]) -> String {
    keys.iter().map(|key| format!("{}\n", key.trim_end())).collect()
}
