//! Which state what a task has been taught is in, so that whoever keeps something made of it
//! notices when it is another one.

use rusqlite::Row as SqlRow;

use super::sqlite::{SqliteStore, failed};
use crate::TaskError;

const QUERY: &str = "SELECT \
     (SELECT count(*) FROM examples WHERE task = ?1), \
     (SELECT coalesce(max(id), 0) FROM examples WHERE task = ?1), \
     (SELECT coalesce(sum(added_ms), 0) FROM examples WHERE task = ?1), \
     (SELECT count(*) FROM feedback WHERE task_name = ?1 AND withdrawn_ms IS NULL), \
     (SELECT coalesce(max(id), 0) FROM feedback WHERE task_name = ?1), \
     (SELECT coalesce(max(id), 0) FROM promotions WHERE task_name = ?1), \
     (SELECT coalesce(sum(undone), 0) FROM promotions WHERE task_name = ?1)";

/// A state of the labelled records, the feedback and the live strategy of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskStamp {
    /// Labelled records.
    pub examples: u64,
    /// Rows of feedback that are not withdrawn.
    pub feedback: u64,
    /// The last labelled record, and when all of them came.
    examples_last: (i64, i64),
    feedback_last: i64,
    /// The last promotion, and how many were taken back.
    promotions: (i64, i64),
}

impl SqliteStore {
    /// The state that a task is in.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn stamp(&self, task: &str) -> Result<TaskStamp, TaskError> {
        let read = |row: &SqlRow<'_>| {
            Ok(TaskStamp {
                examples: row.get::<_, i64>(0)?.cast_unsigned(),
                feedback: row.get::<_, i64>(3)?.cast_unsigned(),
                examples_last: (row.get(1)?, row.get(2)?),
                feedback_last: row.get(4)?,
                promotions: (row.get(5)?, row.get(6)?),
            })
        };
        let stamp = self
            .connection
            .prepare_cached(QUERY)
            .and_then(|mut statement| statement.query_row([task], read));
        stamp.map_err(failed("read what a task was taught"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use autoglm_spec::Example;
    use serde_json::json;

    use super::*;
    use crate::library::{Library, Source};
    use crate::scripted::record;
    use crate::store::{FeedbackStore, Judgement, NewFeedback, Withdrawal};

    #[test]
    fn whatever_teaches_a_task_changes_its_stamp_and_no_other_task_s() {
        let mut store = SqliteStore::in_memory().unwrap();
        let mut stamps = vec![store.stamp("t").unwrap()];
        let other = store.stamp("u").unwrap();
        let input = record(&json!({"text": "a"}));
        for (second, answer) in [(1, "yes"), (2, "no")] {
            let example = Example {
                input: input.clone(),
                output: answer.to_owned(),
            };
            let at = UNIX_EPOCH + Duration::from_secs(second);
            store
                .add_examples("t", &[example], Source::Added, at)
                .unwrap();
            stamps.push(store.stamp("t").unwrap());
        }
        store.remove_examples("t", &[1]).unwrap();
        stamps.push(store.stamp("t").unwrap());
        let said = NewFeedback {
            record: None,
            input,
            opinion: None,
            given: None,
            judgement: Judgement::Good,
            note: None,
            pinned: false,
        };
        let batch = store.put_feedback("t", &[said], UNIX_EPOCH).unwrap();
        stamps.push(store.stamp("t").unwrap());
        store
            .withdraw("t", Withdrawal::Batch(batch), UNIX_EPOCH)
            .unwrap();
        stamps.push(store.stamp("t").unwrap());
        for (place, pair) in stamps.windows(2).enumerate() {
            assert_ne!(pair[0], pair[1], "{place}");
        }
        assert_eq!(store.stamp("u").unwrap(), other);
    }
}
