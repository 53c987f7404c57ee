//! What the server remembers, in one SQLite file: answers that may be given again to the same request
//! or to a question of the same meaning, responses that conversations go on from, and which versions
//! of models are live. All but the last are bounded; what was used longest ago goes first.

mod answers;
mod meanings;
mod responses;
mod versions;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;

use crate::ServerError;

pub(crate) use answers::AnswerKey;
pub(crate) use meanings::{Neighbour, Place};
pub(crate) use responses::StoredResponse;

/// What brings a file from the version of its place to the next. Entries are never changed once
/// released, only added.
const MIGRATIONS: [&str; 3] = [
    include_str!("schema.sql"),
    include_str!("versions.sql"),
    include_str!("meanings.sql"),
];

/// How long a write waits for another process's.
const BUSY_WAIT: Duration = Duration::from_secs(5);

/// Entries that go at once where there is no room.
const EVICTED_AT_ONCE: usize = 32;

/// How much is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreLimits {
    /// Bytes of answers; 0 remembers none.
    pub answer_bytes: u64,
    /// Bytes of responses.
    pub response_bytes: u64,
    /// Bytes of answers that may be given to questions of the same meaning.
    pub meaning_bytes: u64,
}

impl Default for StoreLimits {
    fn default() -> Self {
        Self {
            answer_bytes: 256 << 20,
            response_bytes: 64 << 20,
            meaning_bytes: 64 << 20,
        }
    }
}

/// The server's memory. Threads take turns; the longest that is done in a turn is to read the
/// questions of one place, of which there are some thousands at most.
pub struct ServerStore {
    state: Mutex<State>,
}

struct State {
    connection: Connection,
    /// Counts uses: a later one is a larger number.
    clock: i64,
    answers: Shelf,
    responses: Shelf,
    meanings: Shelf,
}

/// A table whose rows together take bounded room.
struct Shelf {
    table: &'static str,
    /// What its rows take.
    bytes: u64,
    limit: u64,
}

impl ServerStore {
    /// Opens the file, which is made with its folder where it does not exist.
    ///
    /// # Errors
    /// When it cannot be made or opened, is no database, or comes from a later version.
    pub fn open(path: &Path, limits: StoreLimits) -> Result<Self, ServerError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|source| ServerError::StoreFolder {
                folder: folder.display().to_string(),
                source,
            })?;
        }
        Self::prepare(Connection::open(path).map_err(failed)?, limits)
    }

    /// A memory that is gone with the value.
    ///
    /// # Errors
    /// When SQLite has no memory.
    pub fn in_memory(limits: StoreLimits) -> Result<Self, ServerError> {
        Self::prepare(Connection::open_in_memory().map_err(failed)?, limits)
    }

    fn prepare(mut connection: Connection, limits: StoreLimits) -> Result<Self, ServerError> {
        settings(&connection).map_err(failed)?;
        migrate(&mut connection)?;
        let state = State::read(connection, limits).map_err(failed)?;
        Ok(Self {
            state: Mutex::new(state),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic in between leaves a transaction that SQLite has taken back.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn settings(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_WAIT)?;
    // A committed row survives the end of the process.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")
}

fn migrate(connection: &mut Connection) -> Result<(), ServerError> {
    let known = MIGRATIONS.len() as i64;
    let found: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(failed)?;
    if found > known {
        return Err(ServerError::StoreVersion { found, known });
    }
    let transaction = connection.transaction().map_err(failed)?;
    for migration in &MIGRATIONS[found.max(0) as usize..] {
        transaction.execute_batch(migration).map_err(failed)?;
    }
    transaction
        .pragma_update(None, "user_version", known)
        .map_err(failed)?;
    transaction.commit().map_err(failed)
}

impl State {
    fn read(connection: Connection, limits: StoreLimits) -> rusqlite::Result<Self> {
        let clock = "SELECT max((SELECT coalesce(max(used), 0) FROM answers), \
                                (SELECT coalesce(max(used), 0) FROM responses), \
                                (SELECT coalesce(max(used), 0) FROM meanings))";
        Ok(Self {
            clock: connection.query_row(clock, [], |row| row.get(0))?,
            answers: Shelf::read(&connection, "answers", limits.answer_bytes)?,
            responses: Shelf::read(&connection, "responses", limits.response_bytes)?,
            meanings: Shelf::read(&connection, "meanings", limits.meaning_bytes)?,
            connection,
        })
    }

    /// The number of the next use.
    fn tick(&mut self) -> i64 {
        self.clock += 1;
        self.clock
    }
}

impl Shelf {
    fn read(connection: &Connection, table: &'static str, limit: u64) -> rusqlite::Result<Self> {
        let query = format!("SELECT coalesce(sum(size_bytes), 0) FROM {table}");
        let bytes: i64 = connection.query_row(&query, [], |row| row.get(0))?;
        Ok(Self {
            table,
            bytes: bytes.cast_unsigned(),
            limit,
        })
    }

    /// Forgets rows until there is room for one of so many bytes, or none is left.
    fn make_room(&mut self, connection: &Connection, size_bytes: u64) -> rusqlite::Result<()> {
        while self.bytes > 0 && self.bytes + size_bytes > self.limit {
            self.bytes = match self.evict(connection)? {
                // Another server on the same file has forgotten them.
                0 => 0,
                freed => self.bytes.saturating_sub(freed),
            };
        }
        Ok(())
    }

    /// Forgets the rows that were used longest ago; says how many bytes they had.
    fn evict(&self, connection: &Connection) -> rusqlite::Result<u64> {
        let table = self.table;
        let query = format!(
            "DELETE FROM {table} WHERE used IN \
             (SELECT used FROM {table} ORDER BY used LIMIT {EVICTED_AT_ONCE}) RETURNING size_bytes"
        );
        let mut statement = connection.prepare_cached(&query)?;
        let sizes = statement.query_map([], |row| row.get::<_, i64>(0))?;
        sizes.map(|size| size.map(i64::cast_unsigned)).sum()
    }
}

fn failed(source: rusqlite::Error) -> ServerError {
    ServerError::Store { source }
}

#[cfg(test)]
mod tests;
