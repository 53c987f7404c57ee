//! Versions of strategies and the optimiser's calls in the SQLite file.

use std::time::SystemTime;

use rusqlite::{OptionalExtension, Row as SqlRow, params};

use super::sqlite::{SqliteStore, Unread, failed, from_json, json, millis};
use super::{CallStore, StoredCall};
use crate::TaskError;
use crate::strategy::{
    NewStrategy, StrategyId, StrategyKey, StrategyState, StrategyStore, StrategyVersion,
};

const COLUMNS: &str = "s.id, s.task_name, s.subject, s.parent, s.strategy, s.changes, s.scores, \
     s.calls, s.usage, s.origin, s.model, s.made_for, s.created_ms, \
     (SELECT p.strategy = s.id FROM promotions p WHERE p.task_name = s.task_name \
      AND p.subject = s.subject AND p.undone = 0 ORDER BY p.id DESC LIMIT 1), \
     EXISTS (SELECT 1 FROM promotions p WHERE p.strategy = s.id)";

impl StrategyStore for SqliteStore {
    fn add_strategy(
        &mut self,
        strategy: &NewStrategy,
        at: SystemTime,
    ) -> Result<StrategyId, TaskError> {
        self.connection
            .query_row(
                "INSERT INTO strategies (task_name, subject, parent, hash, strategy, changes, \
                 scores, calls, usage, origin, model, made_for, created_ms) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) \
                 ON CONFLICT (task_name, subject, hash) DO UPDATE SET \
                 parent = excluded.parent, changes = excluded.changes, \
                 scores = coalesce(excluded.scores, scores), calls = excluded.calls, \
                 usage = excluded.usage, origin = excluded.origin, \
                 created_ms = excluded.created_ms RETURNING id",
                params![
                    strategy.key.task,
                    strategy.key.subject,
                    strategy.parent.map(|id| id.0),
                    strategy.identity(),
                    json(&strategy.strategy),
                    json(&strategy.changes),
                    strategy.scores.as_ref().map(json),
                    strategy.calls as i64,
                    json(&strategy.usage),
                    strategy.origin,
                    strategy.model,
                    strategy.made_for,
                    millis(at),
                ],
                |row| row.get(0).map(StrategyId),
            )
            .map_err(failed("add a strategy"))
    }

    fn strategy(&self, id: StrategyId) -> Result<StrategyVersion, TaskError> {
        let query = format!("SELECT {COLUMNS} FROM strategies s WHERE s.id = ?1");
        self.connection
            .query_row(&query, [id.0], |row| Ok(read(row)))
            .optional()
            .map_err(failed("read a strategy"))?
            .ok_or(TaskError::NoSuchStrategy { id: id.0 })?
            .map_err(|e| e.explain("read a strategy"))
    }

    fn strategies(&self, task: Option<&str>) -> Result<Vec<StrategyVersion>, TaskError> {
        let query = format!(
            "SELECT {COLUMNS} FROM strategies s WHERE ?1 IS NULL OR s.task_name = ?1 \
             ORDER BY s.id DESC"
        );
        let read_all = || -> rusqlite::Result<Vec<_>> {
            let mut statement = self.connection.prepare(&query)?;
            statement.query_map([task], |row| Ok(read(row)))?.collect()
        };
        let versions: Vec<Result<_, Unread>> = read_all().map_err(failed("list strategies"))?;
        versions
            .into_iter()
            .map(|version| version.map_err(|e| e.explain("list strategies")))
            .collect()
    }

    fn live_strategy(&self, key: &StrategyKey) -> Result<Option<StrategyVersion>, TaskError> {
        let last = self.last_promotion(key)?;
        last.and_then(|(_, strategy)| strategy)
            .map(|id| self.strategy(StrategyId(id)))
            .transpose()
    }

    fn promote(
        &mut self,
        key: &StrategyKey,
        id: Option<StrategyId>,
        at: SystemTime,
    ) -> Result<(), TaskError> {
        if let Some(id) = id {
            let version = self.strategy(id)?;
            if version.key != *key {
                return Err(TaskError::StrategyOfOther {
                    id: id.0,
                    task: version.key.task,
                });
            }
        }
        if let Some((_, live)) = self.last_promotion(key)?
            && live == id.map(|id| id.0)
        {
            return Ok(());
        }
        self.connection
            .execute(
                "INSERT INTO promotions (task_name, subject, strategy, at_ms) \
                 VALUES (?1, ?2, ?3, ?4)",
                params![key.task, key.subject, id.map(|id| id.0), millis(at)],
            )
            .map_err(failed("promote a strategy"))?;
        Ok(())
    }

    fn roll_back(&mut self, key: &StrategyKey) -> Result<Option<StrategyId>, TaskError> {
        let Some((last, _)) = self.last_promotion(key)? else {
            return Err(TaskError::NothingPromoted {
                task: key.task.clone(),
            });
        };
        self.connection
            .execute("UPDATE promotions SET undone = 1 WHERE id = ?1", [last])
            .map_err(failed("roll back"))?;
        let now = self.last_promotion(key)?;
        Ok(now.and_then(|(_, strategy)| strategy).map(StrategyId))
    }
}

impl SqliteStore {
    /// The number of the promotion that counts, and the strategy that it made live.
    fn last_promotion(&self, key: &StrategyKey) -> Result<Option<(i64, Option<i64>)>, TaskError> {
        self.connection
            .query_row(
                "SELECT id, strategy FROM promotions WHERE task_name = ?1 AND subject = ?2 \
                 AND undone = 0 ORDER BY id DESC LIMIT 1",
                params![key.task, key.subject],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()
            .map_err(failed("find the live strategy"))
    }
}

fn read(row: &SqlRow<'_>) -> Result<StrategyVersion, Unread> {
    let id: i64 = row.get(0)?;
    let text = |index: usize| row.get::<_, String>(index);
    let scores: Option<String> = row.get(6)?;
    let is_live: Option<bool> = row.get(13)?;
    let was_live: bool = row.get(14)?;
    Ok(StrategyVersion {
        id: StrategyId(id),
        key: StrategyKey {
            task: text(1)?,
            subject: text(2)?,
        },
        parent: row.get::<_, Option<i64>>(3)?.map(StrategyId),
        state: match (is_live, was_live) {
            (Some(true), _) => StrategyState::Live,
            (_, true) => StrategyState::Retired,
            (_, false) => StrategyState::Candidate,
        },
        strategy: from_json(&text(4)?, "strategy", id)?,
        changes: from_json(&text(5)?, "changes", id)?,
        scores: scores
            .map(|scores| from_json(&scores, "scores", id))
            .transpose()?,
        calls: row.get::<_, i64>(7)? as u64,
        usage: from_json(&text(8)?, "usage", id)?,
        origin: text(9)?,
        model: text(10)?,
        made_for: text(11)?,
        created_ms: row.get(12)?,
    })
}

impl CallStore for SqliteStore {
    fn call(&self, key: &str) -> Result<Option<StoredCall>, TaskError> {
        let read = |row: &SqlRow<'_>| -> rusqlite::Result<(String, String)> {
            Ok((row.get(0)?, row.get(1)?))
        };
        let found = self
            .connection
            .prepare_cached("SELECT outcome, usage FROM optimizer_calls WHERE key = ?1")
            .and_then(|mut statement| statement.query_row([key], read).optional())
            .map_err(failed("read a call"))?;
        let parse = |(outcome, usage): (String, String)| -> Result<StoredCall, Unread> {
            Ok(StoredCall {
                outcome: from_json(&outcome, "outcome", 0)?,
                usage: from_json(&usage, "usage", 0)?,
            })
        };
        found
            .map(|texts| parse(texts).map_err(|e| e.explain("read a call")))
            .transpose()
    }

    fn put_calls(
        &mut self,
        calls: &[(String, StoredCall)],
        at: SystemTime,
    ) -> Result<(), TaskError> {
        let mut write = || -> rusqlite::Result<()> {
            let transaction = self.connection.transaction()?;
            for (key, call) in calls {
                let mut statement = transaction.prepare_cached(
                    "INSERT OR REPLACE INTO optimizer_calls (key, outcome, usage, created_ms) \
                     VALUES (?1, ?2, ?3, ?4)",
                )?;
                let values = params![key, json(&call.outcome), json(&call.usage), millis(at)];
                statement.execute(values)?;
            }
            transaction.commit()
        };
        write().map_err(failed("write calls"))
    }
}
