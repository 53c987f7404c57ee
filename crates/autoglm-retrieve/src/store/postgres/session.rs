//! A connection to one collection, with the statements that it has prepared.

use std::collections::HashMap;
use std::error::Error;
use std::io;

use postgres::error::{DbError, Severity, SqlState};
use postgres::types::ToSql;
use postgres::{Client, NoTls, Row, Statement};
use sha2::{Digest, Sha256};

use super::{PostgresAddress, failed};
use crate::RetrieveError;

/// What brings a collection from the version of its place to the next; its version is the fact
/// `version`. Entries are never changed once released, only added.
const MIGRATIONS: [&str; 1] = [include_str!("schema.sql")];

/// The first pgvector whose index goes on searching where a filter has left too little.
const VECTOR_VERSION: (u32, u32) = (0, 8);

/// Bytes of a name in PostgreSQL; longer ones are cut, which could make one of two.
const NAME_BYTES: usize = 63;

/// Statements that are kept prepared: those of searches differ with their filters.
const MOST_STATEMENTS: usize = 64;

/// An error of the client, or of what was read.
pub(super) type Fallible<T> = Result<T, postgres::Error>;

/// The values of a statement.
pub(super) type Values<'a> = &'a [&'a (dyn ToSql + Sync)];

/// Keeps others from indexing into a collection as long as it lives.
pub struct PostgresLock {
    /// The lock goes with the connection, however that ends.
    _client: Client,
}

impl PostgresLock {
    /// Takes the lock; none where another has it.
    ///
    /// # Errors
    /// A database that cannot be reached.
    pub fn take(
        address: &PostgresAddress,
        collection: &str,
    ) -> Result<Option<Self>, RetrieveError> {
        let connected = address.config.connect(NoTls);
        let mut client = connected.map_err(failed("connect to PostgreSQL"))?;
        let number = lock_number(&format!("autoglm index {collection}"));
        let row = client.query_one("SELECT pg_try_advisory_lock($1)", &[&number]);
        let is_ours: bool = row.map_err(failed("lock"))?.get(0);
        Ok(is_ours.then_some(Self { _client: client }))
    }
}

/// A connection that is in the schema of its collection.
pub(super) struct Session {
    client: Client,
    statements: HashMap<String, Statement>,
    /// The number of the lock that writes share and that work on the whole collection takes alone.
    lock: i64,
}

impl Session {
    /// Connects; none where the collection is not there and shall not be made.
    pub(super) fn open(
        address: &PostgresAddress,
        collection: &str,
        make: bool,
    ) -> Result<Option<Self>, RetrieveError> {
        let schema = format!("autoglm_{collection}");
        if schema.len() > NAME_BYTES || schema.contains('\0') {
            return Err(RetrieveError::CollectionName {
                given: collection.to_owned(),
                limit_bytes: NAME_BYTES - "autoglm_".len(),
            });
        }
        let connected = address.config.connect(NoTls);
        let mut client = connected.map_err(failed("connect to PostgreSQL"))?;
        let found = version(&mut client, &schema).map_err(failed("open"))?;
        let known = MIGRATIONS.len() as i64;
        if found == 0 && !make {
            return Ok(None);
        }
        if found > known {
            return Err(RetrieveError::StoreVersion { found, known });
        }
        if found < known {
            migrate(&mut client, &schema)?;
        }
        enter(&mut client, &schema).map_err(failed("open"))?;
        Ok(Some(Self {
            client,
            statements: HashMap::new(),
            lock: lock_number(&schema),
        }))
    }

    pub(super) fn query(&mut self, sql: &str, values: Values<'_>) -> Fallible<Vec<Row>> {
        let statement = self.prepared(sql)?;
        self.client.query(&statement, values)
    }

    pub(super) fn query_one(&mut self, sql: &str, values: Values<'_>) -> Fallible<Row> {
        let statement = self.prepared(sql)?;
        self.client.query_one(&statement, values)
    }

    pub(super) fn execute(&mut self, sql: &str, values: Values<'_>) -> Fallible<u64> {
        let statement = self.prepared(sql)?;
        self.client.execute(&statement, values)
    }

    pub(super) fn batch(&mut self, sql: &str) -> Fallible<()> {
        self.client.batch_execute(sql)
    }

    fn prepared(&mut self, sql: &str) -> Fallible<Statement> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql)?;
        if self.statements.len() >= MOST_STATEMENTS {
            self.statements.clear();
        }
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// Reads one state of the collection with several statements.
    pub(super) fn reading<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, RetrieveError>,
    ) -> Result<T, RetrieveError> {
        self.within("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", work)
    }

    /// Writes all of something, or nothing, beside others that write.
    pub(super) fn writing<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, RetrieveError>,
    ) -> Result<T, RetrieveError> {
        let begin = format!("BEGIN; SELECT pg_advisory_xact_lock_shared({})", self.lock);
        self.within(&begin, work)
    }

    /// The same while nobody else writes.
    pub(super) fn writing_alone<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, RetrieveError>,
    ) -> Result<T, RetrieveError> {
        let begin = format!("BEGIN; SELECT pg_advisory_xact_lock({})", self.lock);
        self.within(&begin, work)
    }

    fn within<T>(
        &mut self,
        begin: &str,
        work: impl FnOnce(&mut Self) -> Result<T, RetrieveError>,
    ) -> Result<T, RetrieveError> {
        let begun = self.batch(begin).map_err(failed("begin"));
        match begun.and_then(|()| work(self)) {
            Ok(value) => {
                self.batch("COMMIT").map_err(failed("commit"))?;
                Ok(value)
            }
            Err(error) => {
                // A connection that is gone has rolled back already.
                let _ = self.batch("ROLLBACK");
                Err(error)
            }
        }
    }
}

/// Whether what failed is the connection: what was asked for may be asked again of another one.
pub(super) fn is_lost(error: &RetrieveError) -> bool {
    let RetrieveError::Postgres { source, .. } = error else {
        return false;
    };
    let is_fatal = |error: &DbError| {
        matches!(
            error.parsed_severity(),
            Some(Severity::Fatal | Severity::Panic)
        )
    };
    source.is_closed()
        || source.as_db_error().is_some_and(is_fatal)
        || source.source().is_some_and(<dyn Error>::is::<io::Error>)
}

/// Numbers of locks are those of a whole database.
fn lock_number(name: &str) -> i64 {
    let hash: [u8; 32] = Sha256::digest(name.as_bytes()).into();
    let (first, _) = hash
        .split_first_chunk::<8>()
        .expect("a hash has eight bytes");
    i64::from_be_bytes(*first)
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The version of a collection; 0 where it is not there.
fn version(client: &mut Client, schema: &str) -> Fallible<i64> {
    let sql = format!(
        "SELECT value::bigint FROM {}.facts WHERE name = 'version'",
        quoted(schema)
    );
    match client.query_opt(&sql, &[]) {
        Ok(row) => row.map_or(Ok(0), |row| row.try_get(0)),
        Err(error) if is_missing(&error) => Ok(0),
        Err(error) => Err(error),
    }
}

fn is_missing(error: &postgres::Error) -> bool {
    let missing = [&SqlState::UNDEFINED_TABLE, &SqlState::INVALID_SCHEMA_NAME];
    error.code().is_some_and(|code| missing.contains(&code))
}

/// Makes the collection, or brings it to the version that is known. Whoever comes second waits, and
/// finds it done.
fn migrate(client: &mut Client, schema: &str) -> Result<(), RetrieveError> {
    let work = |client: &mut Client| -> Result<(), RetrieveError> {
        let lock = format!(
            "BEGIN; SELECT pg_advisory_xact_lock({}); \
             CREATE EXTENSION IF NOT EXISTS vector; CREATE SCHEMA IF NOT EXISTS {}",
            lock_number("autoglm migrations"),
            quoted(schema)
        );
        client.batch_execute(&lock).map_err(failed("migrate"))?;
        check_extension(client)?;
        // Asked for as a table that is there: an error would end the transaction.
        let facts = format!("{}.facts", quoted(schema));
        let is_there = client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&facts]);
        let is_there: bool = is_there.map_err(failed("migrate"))?.get(0);
        let found = if is_there {
            version(client, schema).map_err(failed("migrate"))?
        } else {
            0
        };
        apply(client, schema, found).map_err(failed("migrate"))
    };
    let done = work(client);
    if done.is_err() {
        // What failed is told, not that the transaction is over.
        let _ = client.batch_execute("ROLLBACK");
    }
    done
}

fn apply(client: &mut Client, schema: &str, found: i64) -> Fallible<()> {
    enter(client, schema)?;
    for migration in MIGRATIONS.iter().skip(found.max(0) as usize) {
        client.batch_execute(migration)?;
    }
    client.execute(
        "INSERT INTO facts VALUES ('version', $1) \
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        &[&MIGRATIONS.len().to_string()],
    )?;
    client.batch_execute("COMMIT")
}

/// Names are those of the collection, and of the schema in which pgvector is.
fn enter(client: &mut Client, schema: &str) -> Fallible<()> {
    let vector = client.query_opt(
        "SELECT n.nspname::text FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace \
         WHERE e.extname = 'vector'",
        &[],
    )?;
    let vector: String = vector.map_or(Ok("public".to_owned()), |row| row.try_get(0))?;
    client.batch_execute(&format!(
        "SET search_path TO {}, {}",
        quoted(schema),
        quoted(&vector)
    ))
}

fn check_extension(client: &mut Client) -> Result<(), RetrieveError> {
    let row = client.query_one(
        "SELECT extversion FROM pg_extension WHERE extname = 'vector'",
        &[],
    );
    let found: String = row.map_err(failed("migrate"))?.get(0);
    let mut parts = found.split('.').map(|part| part.parse().unwrap_or(0));
    let numbers = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if numbers < VECTOR_VERSION {
        return Err(RetrieveError::Pgvector { found });
    }
    Ok(())
}
