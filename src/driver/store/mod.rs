//! What must outlive the driver: requests, launches, and what was told of them. SQLite, one file, one process.

mod error;
mod events;
mod schema;
#[cfg(test)]
mod tests;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use error::StoreError;
pub use events::{Filter, Kept, Numbered};

use crate::fleet::{Changes, Launch, Request, Told};
use crate::model::{LaunchId, RequestId};

/// How long somebody else's look into the file is waited for at the start.
const PATIENCE: Duration = Duration::from_secs(1);

/// The database.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    connection: Connection,
}

impl Store {
    /// Opens the database, and makes it if it is not there: for this process alone, readable for its user alone.
    ///
    /// # Errors
    /// It is in use, damaged, of a later version, of another program, or cannot be written.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        // SQLite gives the files beside it the same mode.
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
        file.map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
        let mut connection = Self::connect(path).map_err(|error| StoreError::of(path, error))?;
        schema::migrate(path, &mut connection)?;
        Ok(Self { path: path.to_owned(), connection })
    }

    fn connect(path: &Path) -> rusqlite::Result<Connection> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(PATIENCE)?;
        // Two drivers on one file would each start what the other has.
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        // Takes the lock, also where there is nothing to migrate.
        connection.execute_batch("BEGIN EXCLUSIVE; COMMIT")?;
        let verdict: String = connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0))?;
        if verdict == "ok" {
            return Ok(connection);
        }
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        Err(rusqlite::Error::SqliteFailure(code, Some(verdict)))
    }

    /// All that [`Fleet::restore`](crate::fleet::Fleet::restore) needs.
    ///
    /// # Errors
    /// It cannot be read, or a row is none of ours.
    pub fn load(&self) -> Result<(Vec<Request>, Vec<Launch>), StoreError> {
        Ok((self.rows("SELECT row FROM requests ORDER BY id")?, self.rows("SELECT row FROM launches ORDER BY id")?))
    }

    fn rows<T: DeserializeOwned>(&self, query: &str) -> Result<Vec<T>, StoreError> {
        let texts = self.texts(query).map_err(|error| self.failed(error))?;
        texts.iter().map(|text| self.parse(text)).collect()
    }

    fn texts(&self, query: &str) -> rusqlite::Result<Vec<String>> {
        let mut statement = self.connection.prepare_cached(query)?;
        statement.query_map((), |row| row.get(0))?.collect()
    }

    fn parse<T: DeserializeOwned>(&self, text: &str) -> Result<T, StoreError> {
        // Not the row itself: it may have secrets.
        let damaged = |error: serde_json::Error| StoreError::Damaged {
            path: self.path.clone(),
            what: format!("a row cannot be read: {error}"),
        };
        serde_json::from_str(text).map_err(damaged)
    }

    /// Stores rows and events, all or nothing, and answers the events' numbers, in their order. Reports beyond what a
    /// launch may fill have none, and are not stored.
    ///
    /// # Errors
    /// Nothing was stored; the same may be tried again.
    pub fn save<'a>(&mut self, changes: &Changes, told: &[&'a Told]) -> Result<Vec<(u64, &'a Told)>, StoreError> {
        let path = &self.path;
        let save = |transaction: &Transaction| {
            write_rows(transaction, changes)?;
            events::write(transaction, told)
        };
        in_transaction(&mut self.connection, save).map_err(|error| StoreError::of(path, error))
    }

    /// Stores the SHA-256 of a launch's token; the launch is already stored. A later one takes its place.
    ///
    /// # Errors
    /// It was not stored.
    pub fn keep_token(&mut self, launch: &LaunchId, sha256: &[u8; 32]) -> Result<(), StoreError> {
        let query = "UPDATE launches SET token = ?2 WHERE id = ?1";
        let done = self.connection.execute(query, params![launch.as_str(), sha256]);
        done.map(|_| ()).map_err(|error| self.failed(error))
    }

    /// The SHA-256 of a launch's token, if there is such a launch and it has one.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn token(&self, launch: &LaunchId) -> Result<Option<[u8; 32]>, StoreError> {
        let query = "SELECT token FROM launches WHERE id = ?1";
        let row = self.connection.query_row(query, [launch.as_str()], |row| row.get::<_, Option<[u8; 32]>>(0));
        Ok(row.optional().map_err(|error| self.failed(error))?.flatten())
    }

    fn failed(&self, error: rusqlite::Error) -> StoreError {
        StoreError::of(&self.path, error)
    }
}

fn in_transaction<T>(
    connection: &mut Connection,
    work: impl FnOnce(&Transaction) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let transaction = connection.transaction()?;
    let result = work(&transaction)?;
    transaction.commit()?;
    Ok(result)
}

fn write_rows(transaction: &Transaction, changes: &Changes) -> rusqlite::Result<()> {
    let mut request = transaction.prepare_cached(
        "INSERT INTO requests (id, row) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET row = excluded.row",
    )?;
    for row in &changes.requests {
        request.execute(params![row.id.as_str(), json(row)?])?;
    }
    let mut launch = transaction.prepare_cached(
        "INSERT INTO launches (id, request, row) VALUES (?1, ?2, ?3) ON CONFLICT (id) DO UPDATE SET row = excluded.row",
    )?;
    for row in &changes.launches {
        launch.execute(params![row.id.as_str(), row.request.as_str(), json(row)?])?;
    }
    changes.forgotten.iter().try_for_each(|id| forget(transaction, id))
}

fn forget(transaction: &Transaction, id: &RequestId) -> rusqlite::Result<()> {
    transaction.prepare_cached("DELETE FROM requests WHERE id = ?1")?.execute([id.as_str()])?;
    transaction.prepare_cached("DELETE FROM launches WHERE request = ?1")?.execute([id.as_str()])?;
    Ok(())
}

fn json<T: Serialize>(row: &T) -> rusqlite::Result<String> {
    serde_json::to_string(row).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}
