//! Answers of a task as clients read them.

use std::time::Duration;

use autoglm_spec::{Calibration, Example, Knowledge, Output, TaskSpec, Usage, Verdict, Vote};
use autoglm_task::run::RunReport;
use autoglm_task::{Raw, Row};
use serde_json::{Map, Value, json};

use super::{RunHead, StageTimes, TaskAnswer};
use crate::ServerError;

/// Tells answers of one run.
#[derive(Clone, Copy)]
pub(super) struct Told<'a> {
    pub(super) spec: &'a TaskSpec,
    pub(super) head: &'a RunHead,
}

impl Told<'_> {
    /// A record's answer, or why there is none.
    pub(super) fn answer(self, answer: &TaskAnswer) -> Value {
        let row = &answer.row;
        let mut told = Map::new();
        let mut tell = |name: &str, value: Value| told.insert(name.to_owned(), value);
        tell("object", json!("task.answer"));
        tell("run", json!(self.head.run));
        tell("record", json!(row.index));
        if let Some(verdict) = &row.verdict {
            tell("answer", self.answer_value(row, verdict));
            tell("confidence", json!(rounded(verdict.confidence)));
            if let Some(reason) = &row.abstained {
                tell("withheld", json!(reason));
            }
            if !verdict.distribution.is_empty() {
                tell("labels", by_name(&verdict.distribution));
            }
            tell("how", self.how(verdict));
            if let Some(vote) = &verdict.vote {
                tell("samples", samples(vote));
            }
        } else {
            let message = row.error.as_deref().unwrap_or("the record has no answer");
            tell("answer", Value::Null);
            tell("error", json!({"message": message}));
        }
        if let Some(passages) = row
            .input
            .as_ref()
            .and_then(|input| input.get(Knowledge::FIELD))
            && self.spec.knowledge.is_some()
        {
            tell("knowledge", passages.clone());
        }
        tell("time_ms", times(answer.stages));
        tell("usage", usage(row.usage));
        if let Some(prompt) = &answer.prompt {
            tell("explain", self.explained(row, prompt));
        }
        Value::Object(told)
    }

    /// The answer, as JSON where the task gives JSON; null where it is withheld.
    fn answer_value(self, row: &Row, verdict: &Verdict) -> Value {
        if row.abstained.is_some() {
            return Value::Null;
        }
        let is_json = matches!(self.spec.output, Output::Json { .. });
        let parsed = is_json.then(|| serde_json::from_str(&verdict.answer).ok());
        parsed.flatten().unwrap_or_else(|| json!(verdict.answer))
    }

    /// How an answer was obtained.
    fn how(self, verdict: &Verdict) -> Value {
        let head = self.head;
        let is_batch = verdict.calibration == Calibration::Batch;
        let records = is_batch.then_some(head.calibration_records);
        let feedback = verdict.learnt.as_ref().map(|learnt| {
            let names = verdict.distribution.iter().map(|(name, _)| name.clone());
            let before: Vec<(String, f32)> = names.zip(learnt.before.iter().copied()).collect();
            json!({
                "rows": learnt.version.rows,
                "last": learnt.version.last,
                "labels_before": by_name(&before),
            })
        });
        json!({
            "model": head.model,
            "strategy": head.strategy,
            "calibration": verdict.calibration,
            "calibration_records": records,
            "taught_by": head.taught_by,
            "feedback": feedback,
        })
    }

    fn explained(self, row: &Row, prompt: &str) -> Value {
        let labels = self.spec.output.labels().iter();
        let scores = match &row.raw {
            Some(Raw::Scores { logprobs }) => {
                let names = labels.map(|label| label.name.clone());
                let scores: Vec<(String, f32)> = names.zip(logprobs.iter().copied()).collect();
                Some(by_name(&scores))
            }
            Some(Raw::Text { .. }) | None => None,
        };
        json!({
            "prompt": prompt,
            "logprobs": scores,
            "texts": row.raw.as_ref().map(Raw::samples).filter(|all| !all.is_empty()),
        })
    }
}

/// The answer to a record that came alone, with the examples of its prompt.
pub(super) fn single(
    spec: &TaskSpec,
    head: &RunHead,
    rows: Vec<Value>,
) -> Result<Value, ServerError> {
    let mut told = rows.into_iter().next().ok_or_else(|| ServerError::Bug {
        what: "a run ended without the answer to its record".to_owned(),
    })?;
    told["task"] = json!(spec.name);
    told["examples"] = examples(&head.examples);
    Ok(told)
}

/// The answers to a list of records.
pub(super) fn listed(
    spec: &TaskSpec,
    head: &RunHead,
    rows: Vec<Value>,
    report: &RunReport,
) -> Value {
    let mut told = summary(spec, head, report);
    told["object"] = json!("list");
    told["data"] = Value::Array(rows);
    told
}

/// What a run came to.
pub(super) fn summary(spec: &TaskSpec, head: &RunHead, report: &RunReport) -> Value {
    json!({
        "object": "task.run",
        "task": spec.name,
        "run": head.run,
        "model": head.model,
        "strategy": head.strategy,
        "taught_by": head.taught_by,
        "examples": examples(&head.examples),
        "records": report.written,
        "errors": report.errors,
        "withheld": report.abstained,
        "samples": report.samples,
        "time_ms": milliseconds(report.elapsed),
        "usage": usage(report.usage),
    })
}

fn examples(examples: &[Example]) -> Value {
    let one = |example: &Example| json!({"record": example.input, "answer": example.output});
    examples.iter().map(one).collect()
}

fn by_name(values: &[(String, f32)]) -> Value {
    let values = values.iter();
    values
        .map(|(name, value)| (name.clone(), json!(rounded(*value))))
        .collect::<Map<String, Value>>()
        .into()
}

fn samples(vote: &Vote) -> Value {
    let alternatives = vote.alternatives.iter();
    let alternatives =
        alternatives.map(|one| json!({"answer": one.answer, "share": rounded(one.share)}));
    json!({
        "taken": vote.samples,
        "agreed": vote.agreed,
        "stopped": vote.stopped,
        "entropy": rounded(vote.entropy),
        "unusable": vote.unusable,
        "repaired": vote.repaired,
        "alternatives": alternatives.collect::<Vec<Value>>(),
    })
}

fn times(stages: StageTimes) -> Value {
    json!({
        "compose": milliseconds(stages.compose),
        "model": milliseconds(stages.model),
        "judge": milliseconds(stages.judge),
        "feedback": milliseconds(stages.correct),
        "record": milliseconds(stages.record),
    })
}

/// A number of 32 bits to the sixth digit, which is about what it holds.
fn rounded(value: f32) -> f64 {
    (f64::from(value) * 1e6).round() / 1e6
}

/// Milliseconds to the hundredth.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e5).round() / 100.0
}

fn usage(usage: Usage) -> Value {
    json!({
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    })
}
