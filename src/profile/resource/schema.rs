//! The tables of the resource types, as JSON Schema. A new type has its line here, and derives `schemars::JsonSchema`.

use schemars::{JsonSchema as _, Schema, SchemaGenerator};

use super::archive::ArchiveTable;
use super::command::CommandTable;
use super::file::{Directory, FileTable, Symlink};
use super::git::Git;
use super::group::Group;
use super::mount::Mount;
use super::package::PackagesTable;
use super::reboot::Reboot;
use super::repository::RepositoryTable;
use super::service::Service;
use super::user::User;
use super::venv::VenvTable;
use super::worker::WorkerTable;

/// The keys of a resource type beside those that every resource has.
pub(crate) fn table(kind: &str, generator: &mut SchemaGenerator) -> Option<Schema> {
    Some(match kind {
        "packages" => PackagesTable::json_schema(generator),
        "repository" => RepositoryTable::json_schema(generator),
        "file" => FileTable::json_schema(generator),
        "directory" => Directory::json_schema(generator),
        "symlink" => Symlink::json_schema(generator),
        "archive" => ArchiveTable::json_schema(generator),
        "group" => Group::json_schema(generator),
        "user" => User::json_schema(generator),
        "git" => Git::json_schema(generator),
        "venv" => VenvTable::json_schema(generator),
        "command" => CommandTable::json_schema(generator),
        "service" => Service::json_schema(generator),
        "mount" => Mount::json_schema(generator),
        "reboot" => Reboot::json_schema(generator),
        _ => return None,
    })
}

/// The same of the worker.
pub(crate) fn worker(generator: &mut SchemaGenerator) -> Schema {
    WorkerTable::json_schema(generator)
}
