//! The store in one SQLite file.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use autoglm_spec::{Usage, Verdict};
use rusqlite::{Connection, OptionalExtension, Params, Row as SqlRow, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{RunId, RunInfo, RunStart, RunStatus, Store};
use crate::TaskError;
use crate::judge::Prior;
use crate::row::Row;

/// What brings a file from the version of its place to the next; files carry their version in
/// `user_version`. Entries are never changed once released, only added.
const MIGRATIONS: [&str; 9] = [
    include_str!("schema.sql"),
    include_str!("votes.sql"),
    include_str!("library.sql"),
    include_str!("strategies.sql"),
    include_str!("feedback.sql"),
    include_str!("calibrators.sql"),
    include_str!("evaluations.sql"),
    include_str!("selection.sql"),
    include_str!("routes.sql"),
];

/// How long a write waits for another process's: far longer than any of ours takes.
const BUSY_WAIT: Duration = Duration::from_secs(30);

const RUN_COLUMNS: &str =
    "id, run_key, spec, prior, created_ms, updated_ms, status, records, errors";

/// Runs in one SQLite file.
pub struct SqliteStore {
    pub(super) connection: Connection,
}

impl SqliteStore {
    /// Opens the file, which is made with its folder where it does not exist.
    ///
    /// # Errors
    /// When it cannot be made or opened, is no database, or comes from a later version.
    pub fn open(path: &Path) -> Result<Self, TaskError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|source| TaskError::StoreFolder {
                path: folder.display().to_string(),
                source,
            })?;
        }
        Self::prepare(Connection::open(path).map_err(failed("open"))?)
    }

    /// A store that lives as long as the value, for tests.
    ///
    /// # Errors
    /// When SQLite has no memory.
    pub fn in_memory() -> Result<Self, TaskError> {
        Self::prepare(Connection::open_in_memory().map_err(failed("open"))?)
    }

    fn prepare(mut connection: Connection) -> Result<Self, TaskError> {
        let settings = |connection: &Connection| -> rusqlite::Result<()> {
            connection.busy_timeout(BUSY_WAIT)?;
            // Readers and one writer at once; a committed row survives the end of the process.
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            connection.pragma_update(None, "foreign_keys", true)
        };
        settings(&connection).map_err(failed("open"))?;
        migrate(&mut connection)?;
        Ok(Self { connection })
    }

    /// The runs that a condition leaves, the latest first; a limit may stand behind it.
    pub(super) fn list_runs(
        &self,
        (condition, limit): (&str, &str),
        values: impl Params,
    ) -> Result<Vec<RunInfo>, TaskError> {
        let query = format!("SELECT {RUN_COLUMNS} FROM runs {condition} ORDER BY id DESC {limit}");
        let read = || -> rusqlite::Result<Vec<_>> {
            let mut statement = self.connection.prepare_cached(&query)?;
            let runs = statement.query_map(values, |row| Ok(read_run(row)))?;
            runs.collect()
        };
        let runs: Vec<Result<_, Unread>> = read().map_err(failed("list runs"))?;
        runs.into_iter()
            .map(|run| run.map_err(|e| e.explain("list runs")))
            .collect()
    }
}

fn migrate(connection: &mut Connection) -> Result<(), TaskError> {
    let transaction = connection
        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
        .map_err(failed("migrate"))?;
    let found: i64 = transaction
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(failed("migrate"))?;
    let known = MIGRATIONS.len() as i64;
    if found > known {
        return Err(TaskError::StoreVersion { found, known });
    }
    for migration in &MIGRATIONS[found.max(0) as usize..] {
        transaction
            .execute_batch(migration)
            .map_err(failed("migrate"))?;
    }
    transaction
        .pragma_update(None, "user_version", known)
        .map_err(failed("migrate"))?;
    transaction.commit().map_err(failed("migrate"))
}

impl Store for SqliteStore {
    fn begin(&mut self, start: &RunStart<'_>) -> Result<RunId, TaskError> {
        let at = millis(start.at);
        self.connection
            .execute(
                "INSERT INTO runs (task_name, run_key, spec, created_ms, updated_ms, status) \
                 VALUES (?1, ?2, ?3, ?4, ?4, ?5)",
                params![
                    start.spec.name,
                    json(start.key),
                    json(start.spec),
                    at,
                    json(&RunStatus::Unfinished)
                ],
            )
            .map_err(failed("begin a run"))?;
        Ok(RunId(self.connection.last_insert_rowid()))
    }

    fn put_rows(&mut self, run: RunId, rows: &[Row]) -> Result<(), TaskError> {
        let write = |connection: &mut Connection| -> rusqlite::Result<()> {
            let transaction = connection.transaction()?;
            for row in rows {
                put_row(&transaction, run, row)?;
            }
            count_rows(&transaction, run, rows)?;
            transaction.commit()
        };
        write(&mut self.connection).map_err(failed("write rows"))
    }

    fn put_prior(&mut self, run: RunId, prior: &Prior) -> Result<(), TaskError> {
        self.connection
            .execute(
                "UPDATE runs SET prior = ?2 WHERE id = ?1",
                params![run.0, json(prior)],
            )
            .map_err(failed("write a prior"))?;
        Ok(())
    }

    fn put_status(
        &mut self,
        run: RunId,
        status: RunStatus,
        at: SystemTime,
    ) -> Result<(), TaskError> {
        self.connection
            .execute(
                "UPDATE runs SET status = ?2, updated_ms = ?3 WHERE id = ?1",
                params![run.0, json(&status), millis(at)],
            )
            .map_err(failed("write a status"))?;
        Ok(())
    }

    fn runs(&self) -> Result<Vec<RunInfo>, TaskError> {
        self.list_runs(("", ""), [])
    }

    fn run(&self, run: RunId) -> Result<RunInfo, TaskError> {
        let query = format!("SELECT {RUN_COLUMNS} FROM runs WHERE id = ?1");
        self.connection
            .query_row(&query, [run.0], |row| Ok(read_run(row)))
            .optional()
            .map_err(failed("read a run"))?
            .ok_or(TaskError::NoSuchRun { run: run.0 })?
            .map_err(|e| e.explain("read a run"))
    }

    fn rows(&self, run: RunId, first: u64, count: usize) -> Result<Vec<Row>, TaskError> {
        let read = || -> rusqlite::Result<Vec<_>> {
            let mut statement = self.connection.prepare_cached(
                "SELECT idx, line, input, prompt_hash, raw, answer, confidence, distribution, \
                 calibration, error, prompt_tokens, cached_tokens, completion_tokens, compute_us, \
                 vote, abstained, learnt, examples, route \
                 FROM records WHERE run = ?1 AND idx >= ?2 ORDER BY idx LIMIT ?3",
            )?;
            let bounds = params![run.0, first as i64, count as i64];
            let rows = statement.query_map(bounds, |row| Ok(read_row(row, run)))?;
            rows.collect()
        };
        let rows: Vec<Result<Row, Unread>> = read().map_err(failed("read rows"))?;
        rows.into_iter()
            .map(|row| row.map_err(|e| e.explain("read rows")))
            .collect()
    }
}

fn put_row(connection: &Connection, run: RunId, row: &Row) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT OR REPLACE INTO records (run, idx, line, input, prompt_hash, raw, answer, \
         confidence, distribution, calibration, error, prompt_tokens, cached_tokens, \
         completion_tokens, compute_us, vote, abstained, learnt, examples, route) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, \
         ?19, ?20)",
    )?;
    let verdict = row.verdict.as_ref();
    statement.execute(params![
        run.0,
        row.index as i64,
        row.line as i64,
        row.input.as_ref().map(json),
        row.prompt_hash,
        row.raw.as_ref().map(json),
        verdict.map(|v| &v.answer),
        verdict.map(|v| f64::from(v.confidence)),
        verdict.map(|v| json(&v.distribution)),
        verdict.map(|v| json(&v.calibration)),
        row.error,
        row.usage.prompt_tokens as i64,
        row.usage.cached_tokens as i64,
        row.usage.completion_tokens as i64,
        row.usage.compute.as_micros() as i64,
        verdict.and_then(|v| v.vote.as_ref()).map(json),
        row.abstained,
        verdict.and_then(|v| v.learnt.as_ref()).map(json),
        (!row.examples.is_empty()).then(|| json(&row.examples)),
        row.route.as_ref().map(json),
    ])?;
    Ok(())
}

/// Brings a run's counts up to date; rows that replace others were counted when they came first.
fn count_rows(connection: &Connection, run: RunId, rows: &[Row]) -> rusqlite::Result<()> {
    let counted: i64 =
        connection.query_row("SELECT records FROM runs WHERE id = ?1", [run.0], |row| {
            row.get(0)
        })?;
    let fresh = rows.iter().filter(|row| row.index as i64 >= counted);
    let (records, errors) = fresh.fold((0i64, 0i64), |(records, errors), row| {
        (records + 1, errors + i64::from(row.error.is_some()))
    });
    connection.execute(
        "UPDATE runs SET records = records + ?2, errors = errors + ?3 WHERE id = ?1",
        [run.0, records, errors],
    )?;
    Ok(())
}

fn read_run(row: &SqlRow<'_>) -> Result<RunInfo, Unread> {
    let id = row.get(0)?;
    Ok(RunInfo {
        id: RunId(id),
        key: required(row, 1, "run_key", id)?,
        spec: required(row, 2, "spec", id)?,
        prior: parsed(row, 3, "prior", id)?,
        created_ms: row.get(4)?,
        updated_ms: row.get(5)?,
        status: required(row, 6, "status", id)?,
        records: row.get::<_, i64>(7)? as u64,
        errors: row.get::<_, i64>(8)? as u64,
    })
}

fn read_row(row: &SqlRow<'_>, run: RunId) -> Result<Row, Unread> {
    Ok(Row {
        index: row.get::<_, i64>(0)? as u64,
        line: row.get::<_, i64>(1)? as u64,
        input: parsed(row, 2, "input", run.0)?,
        prompt_hash: row.get(3)?,
        examples: parsed(row, 17, "examples", run.0)?.unwrap_or_default(),
        route: parsed(row, 18, "route", run.0)?,
        raw: parsed(row, 4, "raw", run.0)?,
        verdict: read_verdict(row, run)?,
        error: row.get(9)?,
        abstained: row.get(15)?,
        usage: Usage {
            prompt_tokens: row.get::<_, i64>(10)? as usize,
            cached_tokens: row.get::<_, i64>(11)? as usize,
            completion_tokens: row.get::<_, i64>(12)? as usize,
            compute: Duration::from_micros(row.get::<_, i64>(13)? as u64),
        },
    })
}

fn read_verdict(row: &SqlRow<'_>, run: RunId) -> Result<Option<Verdict>, Unread> {
    let Some(answer) = row.get(5)? else {
        return Ok(None);
    };
    Ok(Some(Verdict {
        answer,
        confidence: row.get::<_, f64>(6)? as f32,
        distribution: required(row, 7, "distribution", run.0)?,
        calibration: required(row, 8, "calibration", run.0)?,
        vote: parsed(row, 14, "vote", run.0)?,
        learnt: parsed(row, 16, "learnt", run.0)?,
    }))
}

/// Why a stored row was not understood.
pub(super) enum Unread {
    Sql(rusqlite::Error),
    Json(TaskError),
}

impl From<rusqlite::Error> for Unread {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl Unread {
    pub(super) fn explain(self, action: &'static str) -> TaskError {
        match self {
            Self::Sql(source) => TaskError::Store { action, source },
            Self::Json(error) => error,
        }
    }
}

pub(super) fn required<T: DeserializeOwned>(
    row: &SqlRow<'_>,
    index: usize,
    column: &'static str,
    run: i64,
) -> Result<T, Unread> {
    let text: String = row.get(index)?;
    from_json(&text, column, run)
}

pub(super) fn parsed<T: DeserializeOwned>(
    row: &SqlRow<'_>,
    index: usize,
    column: &'static str,
    run: i64,
) -> Result<Option<T>, Unread> {
    let text: Option<String> = row.get(index)?;
    text.map(|text| from_json(&text, column, run)).transpose()
}

pub(super) fn from_json<T: DeserializeOwned>(
    text: &str,
    column: &'static str,
    run: i64,
) -> Result<T, Unread> {
    serde_json::from_str(text).map_err(|source| {
        Unread::Json(TaskError::StoreContent {
            run,
            column,
            source,
        })
    })
}

pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("stored types have string keys and no failing serialiser")
}

pub(super) fn millis(at: SystemTime) -> i64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as i64
}

pub(super) fn failed(action: &'static str) -> impl Fn(rusqlite::Error) -> TaskError {
    move |source| TaskError::Store { action, source }
}
