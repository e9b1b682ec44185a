//! Users and groups, from /etc/passwd and /etc/group: without NSS, which a static program cannot have.

use std::path::Path;

use super::Host;
use super::file_error::FileError;

/// The files of accounts; whoever changes one holds `FILE.lock`, with the id of its process in it.
const LOCKED: [&str; 6] = ["passwd", "shadow", "group", "gshadow", "subuid", "subgid"];

/// Who does. An id in a lock may be that of another program by now: its owner was killed, or the power went.
const LOCKERS: [&str; 14] = [
    "chage",
    "chpasswd",
    "gpasswd",
    "groupadd",
    "groupdel",
    "groupmems",
    "groupmod",
    "newusers",
    "passwd",
    "pwck",
    "useradd",
    "userdel",
    "usermod",
    "vipw",
];

/// A line of /etc/passwd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: String,
    /// Id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Home directory.
    pub home: String,
    /// Login shell.
    pub shell: String,
}

/// A line of /etc/group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Name.
    pub name: String,
    /// Id.
    pub gid: u32,
    /// Those for whom it is a supplementary group.
    pub members: Vec<String>,
}

/// A name that nobody has.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The files cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// No such user.
    #[error("there is no user `{0}` in /etc/passwd: a resource `user` before this one would make it")]
    NoUser(String),
    /// No such group.
    #[error("there is no group `{0}` in /etc/group")]
    NoGroup(String),
}

impl Host {
    /// All users.
    ///
    /// # Errors
    /// /etc/passwd cannot be read.
    pub fn users(&self) -> Result<Vec<User>, FileError> {
        let text = self.read_text(Path::new("/etc/passwd"))?.unwrap_or_default();
        Ok(text.lines().filter_map(user).collect())
    }

    /// All groups.
    ///
    /// # Errors
    /// /etc/group cannot be read.
    pub fn groups(&self) -> Result<Vec<Group>, FileError> {
        let text = self.read_text(Path::new("/etc/group"))?.unwrap_or_default();
        Ok(text.lines().filter_map(group).collect())
    }

    /// Removes the locks of the account files that nobody holds any more: useradd(8) and its like would not.
    ///
    /// # Errors
    /// A lock cannot be read or removed.
    pub fn clear_account_locks(&self) -> Result<(), FileError> {
        for name in LOCKED {
            let lock = Path::new("/etc").join(format!("{name}.lock"));
            let Some(text) = self.read_text(&lock)? else { continue };
            let id = text.trim_matches(|c: char| c == '\0' || c.is_whitespace());
            // A process that has ended, and is a zombie, has no such link.
            let program = self.link_target(&Path::new("/proc").join(id).join("exe"))?;
            let held = program.is_some_and(|path| LOCKERS.iter().any(|name| path.ends_with(name)));
            if !held {
                tracing::warn!("{} was left behind by process {id}: removed", lock.display());
                self.remove(&lock)?;
            }
        }
        Ok(())
    }

    /// Whether a group has no line in /etc/gshadow, where that exists; only root can tell.
    ///
    /// # Errors
    /// /etc/gshadow cannot be read.
    pub fn lacks_shadow(&self, group: &str) -> Result<bool, FileError> {
        if !nix::unistd::geteuid().is_root() {
            return Ok(false);
        }
        let text = self.read_text(Path::new("/etc/gshadow"))?;
        let is_there = |text: String| text.lines().any(|line| line.split(':').next() == Some(group));
        Ok(text.is_some_and(|text| !is_there(text)))
    }

    /// The user of that name.
    ///
    /// # Errors
    /// There is none.
    pub fn user(&self, name: &str) -> Result<User, AccountError> {
        let found = self.users()?.into_iter().find(|user| user.name == name);
        found.ok_or_else(|| AccountError::NoUser(name.to_owned()))
    }

    /// The id of the user of that name; root is 0 even where there is no /etc/passwd.
    ///
    /// # Errors
    /// There is none.
    pub fn uid(&self, name: &str) -> Result<u32, AccountError> {
        if name == "root" { Ok(0) } else { Ok(self.user(name)?.uid) }
    }

    /// The id of the group of that name; root is 0 even where there is no /etc/group.
    ///
    /// # Errors
    /// There is none.
    pub fn gid(&self, name: &str) -> Result<u32, AccountError> {
        if name == "root" {
            return Ok(0);
        }
        let found = self.groups()?.into_iter().find(|group| group.name == name);
        found.map(|group| group.gid).ok_or_else(|| AccountError::NoGroup(name.to_owned()))
    }
}

fn user(line: &str) -> Option<User> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, uid, gid, _, home, shell] = fields[..] else { return None };
    Some(User {
        name: name.to_owned(),
        uid: uid.parse().ok()?,
        gid: gid.parse().ok()?,
        home: home.to_owned(),
        shell: shell.to_owned(),
    })
}

fn group(line: &str) -> Option<Group> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, gid, members] = fields[..] else { return None };
    let members = members.split(',').filter(|member| !member.is_empty()).map(str::to_owned).collect();
    Some(Group { name: name.to_owned(), gid: gid.parse().ok()?, members })
}
