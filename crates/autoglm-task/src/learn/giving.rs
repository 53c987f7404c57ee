//! From what a user says to rows of feedback: on a record of a run, or on a record of a file.

use autoglm_spec::{Output, Record, TaskSpec, Verdict};
use serde_json::Value;

use crate::TaskError;
use crate::eval::{gold_text, known_answer};
use crate::store::{Judgement, NewFeedback, RunId, Store};

/// Makes rows of feedback for a task.
#[derive(Debug, Clone, Copy)]
pub struct Giver<'a> {
    /// The task.
    pub spec: &'a TaskSpec,
    /// The field of a file's record that holds the right label, as for evaluations.
    pub gold_field: Option<&'a str>,
    /// What is noted on every row.
    pub note: Option<&'a str>,
    /// Whether every record is pinned.
    pub pinned: bool,
}

impl Giver<'_> {
    /// Feedback on a stored record.
    ///
    /// # Errors
    /// When there is no such run or record, the run is one of another task, the label is none of
    /// the task's, or there is no answer that could be good or bad.
    pub fn on_record(
        &self,
        store: &dyn Store,
        (run, index): (RunId, u64),
        judgement: Judgement,
    ) -> Result<NewFeedback, TaskError> {
        let info = store.run(run)?;
        if info.spec.name != self.spec.name {
            return Err(TaskError::RunOfOtherTask {
                run: run.0,
                found: info.spec.name,
                wanted: self.spec.name.clone(),
            });
        }
        let row = store.rows(run, index, 1)?.pop();
        let row = row.filter(|row| row.index == index && row.input.is_some());
        let row = row.ok_or(TaskError::NoSuchRecord {
            run: run.0,
            index,
            records: info.records,
        })?;
        let judgement = self.judgement(judgement)?;
        let given = row.verdict.as_ref().map(|verdict| verdict.answer.clone());
        if given.is_none() && !matches!(judgement, Judgement::Correct(_)) {
            return Err(TaskError::NoAnswer { run: run.0, index });
        }
        Ok(NewFeedback {
            record: Some((run, index)),
            opinion: row.verdict.as_ref().and_then(opinion),
            given,
            ..self.row(row.input.unwrap_or_default(), judgement)
        })
    }

    /// Feedback from a line of a file: a reference to a stored record (`run`, `record`, and
    /// `correct`, `good` or `bad`), or a record with its right label.
    ///
    /// # Errors
    /// As for [`Giver::on_record`], and when there is no label.
    pub fn from_line(&self, store: &dyn Store, line: Record) -> Result<NewFeedback, TaskError> {
        let number = |name: &str| line.get(name).and_then(Value::as_i64);
        if let (Some(run), Some(index)) = (number("run"), number("record")) {
            let judgement = judgement_of(&line).ok_or(TaskError::NoJudgement)?;
            return self.on_record(store, (RunId(run), index.unsigned_abs()), judgement);
        }
        let label = gold_text(self.spec, self.gold_field, &line);
        let label = label.ok_or(TaskError::NoJudgement)?;
        let judgement = self.judgement(Judgement::Correct(label))?;
        Ok(self.row(line, judgement))
    }

    fn row(&self, input: Record, judgement: Judgement) -> NewFeedback {
        NewFeedback {
            record: None,
            input,
            opinion: None,
            given: None,
            judgement,
            note: self.note.map(str::to_owned),
            pinned: self.pinned,
        }
    }

    /// A judgement with the label as the task names it.
    fn judgement(&self, judgement: Judgement) -> Result<Judgement, TaskError> {
        let Output::Labels { labels } = &self.spec.output else {
            return Err(TaskError::NoLabels {
                operation: "feedback",
                task: self.spec.name.clone(),
            });
        };
        let Judgement::Correct(label) = judgement else {
            return Ok(judgement);
        };
        let known = known_answer(self.spec, &label).ok_or_else(|| TaskError::NoSuchLabel {
            label,
            labels: labels.iter().map(|label| label.name.clone()).collect(),
        })?;
        Ok(Judgement::Correct(known))
    }
}

fn judgement_of(line: &Record) -> Option<Judgement> {
    let is = |name: &str| line.get(name).and_then(Value::as_bool) == Some(true);
    match line.get("correct").and_then(Value::as_str) {
        Some(label) => Some(Judgement::Correct(label.to_owned())),
        None if is("good") => Some(Judgement::Good),
        None if is("bad") => Some(Judgement::Bad),
        None => None,
    }
}

/// The labels' probabilities as the model gave them before any feedback.
fn opinion(verdict: &Verdict) -> Option<Vec<(String, f32)>> {
    if verdict.distribution.is_empty() {
        return None;
    }
    let names = verdict.distribution.iter().map(|(name, _)| name.clone());
    Some(match &verdict.learnt {
        Some(learnt) => names.zip(learnt.before.iter().copied()).collect(),
        None => verdict.distribution.clone(),
    })
}
