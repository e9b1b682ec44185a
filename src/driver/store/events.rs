//! What was told, by number: the event stream and the transcripts of launches are both read from here.

use rusqlite::{Transaction, params};

use super::{Store, StoreError, in_transaction, json};
use crate::fleet::{Told, What};
use crate::model::{LaunchId, RequestId, Time};

/// How many bytes of reports one launch may fill: a boot's few hundred steps are some 100 KiB, and a build that has its
/// launch's token can send anything.
const TRANSCRIPT: i64 = 16 << 20;

/// What was told, with its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// Grows by each, over restarts too; not without gaps.
    pub number: u64,
    /// What.
    pub told: Told,
}

/// Which events; those that fit all that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of that owner.
    pub owner: Option<String>,
    /// About that request.
    pub request: Option<RequestId>,
    /// About that launch.
    pub launch: Option<LaunchId>,
}

impl Filter {
    /// Whether an event fits.
    pub fn fits(&self, told: &Told) -> bool {
        (self.owner.is_none() || self.owner == told.owner)
            && (self.request.is_none() || self.request == told.request)
            && (self.launch.is_none() || self.launch == told.launch)
    }
}

/// Which numbers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// All events with a greater number are there, or never were.
    pub after: u64,
    /// The last number that was given.
    pub last: u64,
}

impl Store {
    /// The events after a number, the oldest first, at most that many.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn events(&self, after: u64, filter: &Filter, most: usize) -> Result<Vec<Numbered>, StoreError> {
        let rows = self.event_rows(after, filter, most).map_err(|error| self.failed(error))?;
        rows.into_iter().map(|(number, text)| Ok(Numbered { number, told: self.parse(&text)? })).collect()
    }

    fn event_rows(&self, after: u64, filter: &Filter, most: usize) -> rusqlite::Result<Vec<(u64, String)>> {
        // The narrowest index first; a plan cannot be chosen by values that are null.
        let by = match filter {
            Filter { launch: Some(_), .. } => "launch = ?4 AND",
            Filter { request: Some(_), .. } => "request = ?3 AND",
            _ => "",
        };
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT number, told FROM events WHERE {by} number > ?1 AND (?2 IS NULL OR owner = ?2)
             AND (?3 IS NULL OR request = ?3) AND (?4 IS NULL OR launch = ?4) ORDER BY number LIMIT ?5"
        ))?;
        let request = filter.request.as_ref().map(RequestId::as_str);
        let launch = filter.launch.as_ref().map(LaunchId::as_str);
        let values = params![signed(after), filter.owner, request, launch, i64::try_from(most).unwrap_or(i64::MAX)];
        statement.query_map(values, |row| Ok((unsigned(row.get(0)?), row.get(1)?)))?.collect()
    }

    /// Which numbers there are: whoever asks for what came after an earlier one than `after` has missed some.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn kept(&self) -> Result<Kept, StoreError> {
        let read = || {
            let last = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0)";
            let last: i64 = self.connection.query_row(last, (), |row| row.get(0))?;
            let first: Option<i64> =
                self.connection.query_row("SELECT min(number) FROM events", (), |row| row.get(0))?;
            Ok(Kept { after: unsigned(first.map_or(last, |first| first - 1)), last: unsigned(last) })
        };
        read().map_err(|error| self.failed(error))
    }

    /// Drops the oldest events: those of before a time, and those beyond a number of events.
    ///
    /// # Errors
    /// Nothing was dropped.
    pub fn prune(&mut self, before: Time, most: u64) -> Result<(), StoreError> {
        let path = &self.path;
        let prune = |transaction: &Transaction| {
            // By numbers, so that there are no holes: times may have gone back.
            transaction.execute(
                "DELETE FROM events WHERE number < coalesce((SELECT min(number) FROM events WHERE at >= ?1), 1 << 62)
                 OR number <= (SELECT max(number) FROM events) - ?2",
                params![signed(before.0), signed(most)],
            )
        };
        in_transaction(&mut self.connection, prune).map(|_| ()).map_err(|error| StoreError::of(path, error))
    }
}

pub(super) fn write<'a>(transaction: &Transaction, told: &[&'a Told]) -> rusqlite::Result<Vec<(u64, &'a Told)>> {
    let mut insert = transaction
        .prepare_cached("INSERT INTO events (at, owner, request, launch, told) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    let mut numbered = Vec::with_capacity(told.len());
    for told in told {
        let text = json(told)?;
        if matches!(told.what, What::Report { .. }) && !has_room(transaction, told, &text)? {
            continue;
        }
        let request = told.request.as_ref().map(RequestId::as_str);
        let launch = told.launch.as_ref().map(LaunchId::as_str);
        insert.execute(params![signed(told.at.0), told.owner, request, launch, text])?;
        numbered.push((unsigned(transaction.last_insert_rowid()), *told));
    }
    Ok(numbered)
}

/// Counts a report against what its launch may fill.
fn has_room(transaction: &Transaction, told: &Told, text: &str) -> rusqlite::Result<bool> {
    let launch = told.launch.as_ref().map(LaunchId::as_str);
    let bytes = i64::try_from(text.len()).unwrap_or(i64::MAX);
    let mut count = transaction
        .prepare_cached("UPDATE launches SET transcript = transcript + ?2 WHERE id = ?1 AND transcript + ?2 <= ?3")?;
    Ok(count.execute(params![launch, bytes, TRANSCRIPT])? == 1)
}

/// SQLite's integers have a sign.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
