//! From what a user says to rows of feedback: on a record of a run, or on a record of a file.

use autoglm_spec::{Output, Record, TaskSpec, Verdict};
use serde_json::Value;

use crate::TaskError;
use crate::eval::known_answer;
use crate::library::{example_of, task_fields};
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
    /// When there is no such run or record, the run is one of another task, the record lacks a
    /// field of the task, the label is none of the task's, or there is no answer that could be
    /// good or bad.
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
        let input = task_fields(self.spec, &row.input.unwrap_or_default())
            .map_err(|reason| TaskError::UnusableFeedback { reason })?;
        Ok(NewFeedback {
            record: Some((run, index)),
            opinion: row.verdict.as_ref().and_then(opinion),
            given,
            ..self.row(input, judgement)
        })
    }

    /// Feedback from a line of a file: a reference to a stored record (`run`, `record`, and
    /// `correct`, `good` or `bad`), or a record with its right label.
    ///
    /// # Errors
    /// As for [`Giver::on_record`], and when the line is neither.
    pub fn from_line(&self, store: &dyn Store, line: &Record) -> Result<NewFeedback, TaskError> {
        let example = example_of(self.spec, self.gold_field, line);
        let (run, record) = (self.refers(line, "run"), self.refers(line, "record"));
        // Records of one's own may have a field of such a name.
        if run && record || (run || record) && example.is_err() {
            let run = whole_number(line, "run")?;
            let place = (RunId(run.cast_signed()), whole_number(line, "record")?);
            let judgement = judgement_of(line).ok_or(TaskError::NoJudgement)?;
            return self.on_record(store, place, judgement);
        }
        let example = example.map_err(|reason| TaskError::UnusableFeedback { reason })?;
        let judgement = self.judgement(Judgement::Correct(example.output))?;
        Ok(self.row(example.input, judgement))
    }

    /// Whether a line has a part of a reference; what the task reads is none, whatever it is
    /// called, nor is an empty cell of CSV.
    fn refers(&self, line: &Record, part: &str) -> bool {
        let is_read = self.spec.fields.iter().any(|field| field.name == part);
        let value = line.get(part).filter(|_| !is_read);
        value.is_some_and(|value| !value.is_null() && value.as_str() != Some(""))
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

/// A number of a reference, as JSON has it or as text, which is all that CSV knows.
fn whole_number(line: &Record, field: &'static str) -> Result<u64, TaskError> {
    let value = line.get(field).unwrap_or(&Value::Null);
    let number = match value {
        Value::String(text) => text.trim().parse().ok(),
        value => value.as_u64(),
    };
    // SQLite's numbers end where those of 64 bits with a sign do.
    let number = number.filter(|number| i64::try_from(*number).is_ok());
    number.ok_or_else(|| TaskError::BadReference {
        field,
        given: value.to_string(),
    })
}

/// What is said of a stored record; in CSV a cell without text says nothing.
fn judgement_of(line: &Record) -> Option<Judgement> {
    let is = |name: &str| match line.get(name) {
        Some(Value::Bool(said)) => *said,
        Some(Value::String(text)) => text.trim().eq_ignore_ascii_case("true"),
        _ => false,
    };
    match line.get("correct") {
        Some(Value::String(label)) if !label.trim().is_empty() => {
            Some(Judgement::Correct(label.clone()))
        }
        Some(label @ (Value::Number(_) | Value::Bool(_))) => {
            Some(Judgement::Correct(label.to_string()))
        }
        _ if is("good") => Some(Judgement::Good),
        _ if is("bad") => Some(Judgement::Bad),
        _ => None,
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
