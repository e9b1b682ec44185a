//! The resource types: each one piece of wanted state, checked, with all its templates rendered.

mod archive;
mod command;
mod file;
mod git;
mod group;
mod mount;
mod one_or_many;
mod package;
mod reboot;
mod remote;
mod repository;
#[cfg(feature = "schema")]
pub(crate) mod schema;
mod service;
mod tree;
mod user;
mod venv;
mod worker;

pub use archive::Archive;
pub use command::{Action, Command};
pub use file::{Content, Directory, File, Symlink};
pub use git::{Git, Revision};
pub use group::Group;
pub use mount::Mount;
pub use package::{BuildDep, Manager, Packages, WantedPackage};
pub use reboot::Reboot;
pub use remote::Remote;
pub use repository::{Key, Repository, RepositoryKind};
pub use service::Service;
pub use user::User;
pub use venv::Venv;
pub use worker::{Ready, Restart, WorkerUnit};

pub(crate) use tree::{TableError, Tables, VERBATIM, for_each_text, typed};

use toml::Spanned;
use toml::de::DeTable;

/// One piece of wanted state.
#[derive(Clone, PartialEq, Eq)]
pub enum Resource {
    /// `packages`
    Packages(Packages),
    /// `repository`
    Repository(Repository),
    /// `file`
    File(File),
    /// `archive`
    Archive(Archive),
    /// `directory`
    Directory(Directory),
    /// `symlink`
    Symlink(Symlink),
    /// `group`
    Group(Group),
    /// `user`
    User(User),
    /// `git`
    Git(Git),
    /// `venv`
    Venv(Venv),
    /// `command`
    Command(Command),
    /// `service`
    Service(Service),
    /// `mount`
    Mount(Mount),
    /// `reboot`
    Reboot(Reboot),
}

/// What `type` can be.
pub(crate) const TYPES: [&str; 14] = [
    "packages",
    "repository",
    "file",
    "directory",
    "symlink",
    "archive",
    "group",
    "user",
    "git",
    "venv",
    "command",
    "service",
    "mount",
    "reboot",
];

/// One thing that a resource wants to be so: no other resource may want it otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    /// What it is about: `file /etc/hosts`, `package gcc`.
    pub(crate) subject: String,
    /// Which side of it: `mode`, `version`.
    pub(crate) aspect: &'static str,
    /// What it has to be.
    pub(crate) value: String,
}

/// Collects the claims about one subject.
pub(crate) struct Claims {
    subject: String,
    claims: Vec<Claim>,
}

impl Claims {
    pub(crate) fn about(subject: impl Into<String>) -> Self {
        Self { subject: subject.into(), claims: Vec::new() }
    }

    pub(crate) fn want(mut self, aspect: &'static str, value: impl ToString) -> Self {
        self.claims.push(Claim { subject: self.subject.clone(), aspect, value: value.to_string() });
        self
    }

    pub(crate) fn want_if(self, aspect: &'static str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.want(aspect, value),
            None => self,
        }
    }

    pub(crate) fn done(self) -> Vec<Claim> {
        self.claims
    }
}

/// Its title alone: anything else may hold a secret.
impl std::fmt::Debug for Resource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.title())
    }
}

impl Resource {
    /// Reads a resource of the type `kind`, one of [`TYPES`], from its rendered table.
    pub(crate) fn read(kind: &str, table: Spanned<DeTable<'_>>, tables: &Tables<'_>) -> Result<Self, TableError> {
        Ok(match kind {
            "packages" => Self::Packages(Packages::read(table, tables)?),
            "repository" => Self::Repository(Repository::read(table, tables)?),
            "file" => Self::File(File::read(table, tables)?),
            "directory" => Self::Directory(tree::typed(table)?),
            "symlink" => Self::Symlink(tree::typed(table)?),
            "archive" => Self::Archive(Archive::read(table, tables)?),
            "group" => Self::Group(tree::typed(table)?),
            "user" => Self::User(User::read(table)?),
            "git" => Self::Git(Git::read(table)?),
            "venv" => Self::Venv(Venv::read(table, tables)?),
            "command" => Self::Command(Command::read(table)?),
            "service" => Self::Service(Service::read(table)?),
            "mount" => Self::Mount(tree::typed(table)?),
            "reboot" => Self::Reboot(Reboot::read(table)?),
            other => return Err(TableError::about("type", format!("unknown resource type `{other}`"))),
        })
    }

    /// The `type` in its file.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Packages(_) => "packages",
            Self::Repository(_) => "repository",
            Self::File(_) => "file",
            Self::Directory(_) => "directory",
            Self::Symlink(_) => "symlink",
            Self::Archive(_) => "archive",
            Self::Group(_) => "group",
            Self::User(_) => "user",
            Self::Git(_) => "git",
            Self::Venv(_) => "venv",
            Self::Command(_) => "command",
            Self::Service(_) => "service",
            Self::Mount(_) => "mount",
            Self::Reboot(_) => "reboot",
        }
    }

    /// Type and name in a few words, for people: `file /etc/hosts`.
    pub fn title(&self) -> String {
        let name = match self {
            Self::Packages(packages) => packages.title(),
            Self::Repository(repository) => repository.name.to_string(),
            Self::File(file) => file.path.to_string(),
            Self::Directory(directory) => directory.path.to_string(),
            Self::Symlink(link) => link.path.to_string(),
            Self::Archive(archive) => archive.into.to_string(),
            Self::Group(group) => group.name.to_string(),
            Self::User(user) => user.name.to_string(),
            Self::Git(git) => git.path.to_string(),
            Self::Venv(venv) => venv.path.to_string(),
            Self::Command(command) => command.title(),
            Self::Service(service) => service.name.to_string(),
            Self::Mount(mount) => mount.path.to_string(),
            Self::Reboot(reboot) => reboot.title(),
        };
        format!("{} {name}", self.kind())
    }

    pub(crate) fn claims(&self) -> Vec<Claim> {
        match self {
            Self::Packages(packages) => packages.claims(),
            Self::Repository(repository) => repository.claims(),
            Self::File(file) => file.claims(),
            Self::Directory(directory) => directory.claims(),
            Self::Symlink(link) => link.claims(),
            Self::Archive(archive) => archive.claims(),
            Self::Group(group) => group.claims(),
            Self::User(user) => user.claims(),
            Self::Git(git) => git.claims(),
            Self::Venv(venv) => venv.claims(),
            Self::Command(_) | Self::Reboot(_) => Vec::new(),
            Self::Service(service) => service.claims(),
            Self::Mount(mount) => mount.claims(),
        }
    }
}
