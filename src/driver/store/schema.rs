//! The tables, and how older ones become them.

use std::path::Path;

use rusqlite::Connection;

use super::StoreError;

/// Says that a database is ours: `loit`.
const APPLICATION: i64 = 0x6c6f_6974;

/// Each leads from one format to the next; `user_version` counts them. What was released is never changed.
///
/// A row is a JSON document: the fleet reads all of them at its start, and nothing else ever looks for one by its content.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE requests (id TEXT PRIMARY KEY, row TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE launches (
        id TEXT PRIMARY KEY,
        request TEXT NOT NULL,
        row TEXT NOT NULL,
        token BLOB,                             -- SHA-256 of it
        transcript INTEGER NOT NULL DEFAULT 0   -- bytes of its events
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX launches_by_request ON launches (request);
    CREATE TABLE events (
        number INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice
        at INTEGER NOT NULL,
        owner TEXT,
        request TEXT,
        launch TEXT,
        told TEXT NOT NULL
    ) STRICT;
    CREATE INDEX events_by_launch ON events (launch, number);
    CREATE INDEX events_by_request ON events (request, number);
"];

/// Brings a database to the newest format; one that is newer is refused.
pub(super) fn migrate(path: &Path, connection: &mut Connection) -> Result<(), StoreError> {
    let failed = |error| StoreError::of(path, error);
    let pragma = |connection: &Connection, name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let found = pragma(connection, "user_version").map_err(failed)?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0)).map_err(failed)?;
    if pragma(connection, "application_id").map_err(failed)? != APPLICATION && (found, tables) != (0, 0) {
        return Err(StoreError::Foreign(path.to_owned()));
    }
    if found > known {
        return Err(StoreError::Newer { path: path.to_owned(), found, known });
    }
    let done = usize::try_from(found).unwrap_or(0);
    for (step, version) in MIGRATIONS.iter().zip(1_i64..).skip(done) {
        let transaction = connection.transaction().map_err(failed)?;
        transaction.execute_batch(step).map_err(failed)?;
        transaction.pragma_update(None, "application_id", APPLICATION).map_err(failed)?;
        transaction.pragma_update(None, "user_version", version).map_err(failed)?;
        transaction.commit().map_err(failed)?;
    }
    Ok(())
}
