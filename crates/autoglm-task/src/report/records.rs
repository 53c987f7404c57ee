//! The costliest and the least sure records of a run, found in one pass that keeps few of them.

use std::cmp::Ordering;

use autoglm_spec::{Record, TaskSpec, Usage};
use serde_json::Value;

use super::facts::RecordFacts;
use crate::TaskError;
use crate::eval::{gold_text, known_answer};
use crate::row::Row;
use crate::store::{RunId, RunInfo, Store};
use crate::words::cut_to;

/// Records of a kind at most: more than anyone reads, few enough for a page.
const RECORDS: usize = 50;
/// Rows that are read from the store at once.
const CHUNK_ROWS: usize = 1000;
/// Characters of a text that are kept.
const TEXT_CHARACTERS: usize = 300;
/// Fields of a record that are kept.
const FIELDS: usize = 8;

/// The records of a run that are worth a look.
#[derive(Default)]
pub(super) struct Chosen {
    pub(super) costliest: Vec<RecordFacts>,
    pub(super) least_sure: Vec<RecordFacts>,
    /// What all records cost.
    pub(super) usage: Usage,
}

/// Looks through a run.
///
/// # Errors
/// When the store cannot be read.
pub(super) fn choose(
    store: &(impl Store + ?Sized),
    info: &RunInfo,
    gold_field: Option<&str>,
) -> Result<Chosen, TaskError> {
    let mut costliest = Best::by(is_answered, by_cost);
    let mut least_sure = Best::by(|row| row.verdict.is_some(), by_confidence);
    let mut usage = Usage::default();
    let mut next = 0;
    loop {
        let rows = store.rows(info.id, next, CHUNK_ROWS)?;
        let Some(last) = rows.last() else {
            break;
        };
        next = last.index + 1;
        for row in &rows {
            usage += row.usage;
            costliest.take(row);
            least_sure.take(row);
        }
    }
    let facts = |rows: Vec<Row>| -> Vec<RecordFacts> {
        let of = |row: &Row| RecordFacts::of(&info.spec, gold_field, info.id, row);
        rows.iter().map(of).collect()
    };
    Ok(Chosen {
        costliest: facts(costliest.rows),
        least_sure: facts(least_sure.rows),
        usage,
    })
}

/// Tokens that the model computed.
pub(super) fn computed_tokens(usage: &Usage) -> usize {
    usage.prompt_tokens.saturating_sub(usage.cached_tokens) + usage.completion_tokens
}

fn is_answered(row: &Row) -> bool {
    row.raw.is_some() || row.verdict.is_some()
}

fn confidence(row: &Row) -> Option<f32> {
    row.verdict.as_ref().map(|verdict| verdict.confidence)
}

fn by_cost(a: &Row, b: &Row) -> Ordering {
    let tokens = |row: &Row| computed_tokens(&row.usage);
    (tokens(b), b.usage.compute).cmp(&(tokens(a), a.usage.compute))
}

fn by_confidence(a: &Row, b: &Row) -> Ordering {
    let of = |row: &Row| confidence(row).unwrap_or(f32::INFINITY);
    of(a).total_cmp(&of(b))
}

/// The first rows of an order among those seen.
struct Best {
    counts: fn(&Row) -> bool,
    order: fn(&Row, &Row) -> Ordering,
    rows: Vec<Row>,
}

impl Best {
    fn by(counts: fn(&Row) -> bool, order: fn(&Row, &Row) -> Ordering) -> Self {
        Self {
            counts,
            order,
            rows: Vec::new(),
        }
    }

    fn take(&mut self, row: &Row) {
        if !(self.counts)(row) {
            return;
        }
        // Behind its equals, so that the earlier record comes first.
        let place = self
            .rows
            .partition_point(|known| (self.order)(known, row) != Ordering::Greater);
        if place < RECORDS {
            self.rows.insert(place, row.clone());
            self.rows.truncate(RECORDS);
        }
    }
}

impl RecordFacts {
    pub(super) fn of(spec: &TaskSpec, gold_field: Option<&str>, run: RunId, row: &Row) -> Self {
        let verdict = row.verdict.as_ref();
        let gold = row.input.as_ref().and_then(|input| {
            let text = gold_text(spec, gold_field, input)?;
            known_answer(spec, &text)
        });
        let is_closed = !spec.output.labels().is_empty();
        let is_right = verdict.zip(gold.as_ref()).filter(|_| is_closed);
        let runner_up = verdict.and_then(|verdict| verdict.distribution.get(1));
        Self {
            run,
            index: row.index,
            line: row.line,
            input: row.input.as_ref().map_or(Vec::new(), |i| fields(spec, i)),
            answer: verdict.map(|verdict| cut(&verdict.answer)),
            confidence: confidence(row),
            runner_up: runner_up.map(|(label, p)| (cut(label), *p)),
            is_right: is_right.map(|(verdict, gold)| verdict.answer == *gold),
            gold: gold.as_deref().map(cut),
            abstained: row.abstained.is_some(),
            error: row.error.as_deref().map(cut),
            usage: row.usage,
        }
    }
}

fn fields(spec: &TaskSpec, input: &Record) -> Vec<(String, String)> {
    let text = |value: &Value| match value {
        Value::String(text) => cut(text),
        value => cut(&value.to_string()),
    };
    let found = spec.fields.iter().filter_map(|field| {
        let value = input.get(&field.name)?;
        Some((cut(&field.title), text(value)))
    });
    found.take(FIELDS).collect()
}

/// A text, or the beginning of a long one.
pub(super) fn cut(text: &str) -> String {
    cut_to(TEXT_CHARACTERS, text)
}
