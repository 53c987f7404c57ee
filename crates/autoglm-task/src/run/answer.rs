//! One window of records: composed, answered by the engine, made into rows.

use std::sync::Arc;

use autoglm_spec::{Blame, Blamed, Cancel, EngineError, Record, Verdict};

use super::ask::{Answer, Asked, Asker, prompt_hash};
use super::choose::{Choosing, Prompted};
use super::routed::{Routed, RoutedAsker};
use super::taught::{Question, TaughtAsker};
use super::{Hooks, Job, Step};
use crate::TaskError;
use crate::compose::{ComposeError, Composed};
use crate::records::{NumberedRecord, RecordError};
use crate::row::{Raw, Row};
use crate::strategy::RouteTaken;

/// Why work ends before the input does.
pub(super) enum Stop {
    /// The user wants it to.
    Cancelled,
    /// It cannot go on.
    Failed(TaskError),
}

impl From<TaskError> for Stop {
    fn from(error: TaskError) -> Self {
        Self::Failed(error)
    }
}

/// An item of the input with its place.
pub(super) struct Numbered {
    pub(super) index: u64,
    pub(super) item: Result<NumberedRecord, RecordError>,
}

/// Answers records of one task.
pub(super) struct Answerer<'a> {
    asker: Asker<'a>,
    /// Asks in place of it where labelled records have taught a judge.
    taught: Option<TaughtAsker<'a>>,
    /// Asks in place of it where each record is routed to one of several strategies.
    routed: Option<RoutedAsker<'a>>,
    choosing: Option<Choosing<'a>>,
    strict: bool,
}

impl<'a> Answerer<'a> {
    pub(super) fn new(job: &Job<'a>) -> Result<Self, TaskError> {
        let routed = job
            .route()
            .map(|route| RoutedAsker::new(job.spec, job.engine, &job.settings, Arc::clone(route)));
        Ok(Self {
            routed: routed.transpose()?,
            asker: Asker::new(job)?,
            taught: job
                .taught
                .map(|taught| TaughtAsker::new(job.spec, job.engine, taught))
                .transpose()?,
            choosing: job.choosing.clone(),
            strict: job.settings.strict,
        })
    }

    /// Hash of all that determines the prompts.
    pub(super) fn task_hash(&self) -> &str {
        self.asker.task_hash()
    }

    /// The scores of records without content.
    pub(super) fn content_free(&self, cancel: &Cancel) -> Result<Vec<Vec<f32>>, Stop> {
        let blanks = self.asker.content_free();
        let asked = |prompts| Asked { index: 0, prompts };
        let blanks: Vec<Asked<'_>> = blanks.iter().map(|blank| asked(blank.as_slice())).collect();
        let mut scores = Vec::new();
        for answer in self.asker.ask(&blanks, cancel)? {
            match answer {
                Ok((Raw::Scores { logprobs }, _)) => scores.push(logprobs),
                Ok((Raw::Text { .. }, _)) => {}
                Err(EngineError::Cancelled) => return Err(Stop::Cancelled),
                Err(source) => return Err(TaskError::Engine { line: 0, source }.into()),
            }
        }
        Ok(scores)
    }

    /// Rows for the items up to the one at which work ends, and why it ends there.
    pub(super) fn answer(
        &self,
        window: Vec<Numbered>,
        hooks: &Hooks<'_>,
    ) -> (Vec<Row>, Option<Stop>) {
        if hooks.cancel.is_cancelled() {
            return (Vec::new(), Some(Stop::Cancelled));
        }
        (hooks.step)(Step::Compose);
        let vectors = match self.vectors(&window, hooks.cancel) {
            Ok(vectors) => vectors,
            Err(stop) => return (Vec::new(), Some(stop)),
        };
        let window = window.into_iter().zip(&vectors);
        let drafts = window.map(|(n, vector)| self.draft(n, vector.as_deref()));
        let drafts: Vec<Draft> = drafts.collect();
        let asked = |draft: &Draft| !draft.prompts.is_empty();
        (hooks.step)(Step::Ask);
        let mut answers = match self.ask(&drafts, hooks.cancel) {
            Ok(answers) => answers.into_iter(),
            Err(error) => return (Vec::new(), Some(Stop::Failed(error))),
        };
        let mut rows = Vec::new();
        for draft in drafts {
            let answer = asked(&draft).then(|| answers.next()).flatten();
            match self.finish(draft.row, answer) {
                Ok(row) => rows.push(row),
                Err(stop) => return (rows, Some(stop)),
            }
        }
        (rows, None)
    }

    /// The answers to those drafts that have prompts.
    fn ask(&self, drafts: &[Draft], cancel: &Cancel) -> Result<Vec<Answered>, TaskError> {
        let questions = drafts.iter().filter_map(|draft| {
            let record = draft.row.input.as_ref()?;
            (!draft.prompts.is_empty()).then_some(Question {
                record,
                prompts: &draft.prompts,
            })
        });
        if let Some(taught) = &self.taught {
            let answers = taught.ask(&questions.collect::<Vec<_>>(), cancel)?;
            let told = answers.into_iter().map(|(answer, verdict)| Answered {
                verdict,
                ..Answered::of(answer)
            });
            return Ok(told.collect());
        }
        if let Some(routed) = &self.routed {
            let answers = routed.ask(&questions.collect::<Vec<_>>(), cancel)?;
            return Ok(answers.into_iter().map(Answered::from).collect());
        }
        let asked = drafts.iter().filter(|draft| !draft.prompts.is_empty());
        let asked = asked.map(|draft| Asked {
            index: draft.row.index,
            prompts: &draft.prompts,
        });
        let asked: Vec<Asked<'_>> = asked.collect();
        let answers = self.asker.ask(&asked, cancel)?.into_iter();
        Ok(answers.map(Answered::of).collect())
    }

    /// The vector of each record, where examples are chosen by them.
    fn vectors(&self, window: &[Numbered], cancel: &Cancel) -> Result<Vec<Option<Vec<f32>>>, Stop> {
        let Some(choosing) = self.choosing.as_ref().filter(|_| self.taught.is_none()) else {
            return Ok(vec![None; window.len()]);
        };
        let read = window.iter().filter_map(|n| n.item.as_ref().ok());
        let records: Vec<&Record> = read.map(|item| &item.record).collect();
        let made = choosing.vectors(&records, cancel).map_err(stop_of)?;
        let mut made = made.into_iter();
        let of_item = |n: &Numbered| n.item.as_ref().ok().and_then(|_| made.next().flatten());
        Ok(window.iter().map(of_item).collect())
    }

    fn prompts(&self, record: &Record, vector: Option<&[f32]>) -> Result<Prompted, ComposeError> {
        let prompts = match (&self.taught, &self.routed) {
            (Some(taught), _) => taught.prompts(record)?,
            (None, Some(routed)) => routed.prompts(record)?,
            (None, None) => return self.asker.prompts(record, vector),
        };
        Ok(Prompted {
            prompts,
            examples: Vec::new(),
        })
    }

    fn draft(&self, numbered: Numbered, vector: Option<&[f32]>) -> Draft {
        let Numbered { index, item } = numbered;
        let NumberedRecord { line, record } = match item {
            Ok(record) => record,
            Err(error) => {
                let message = without_line(&error);
                return Draft::failed(Row::failed(index, error.line(), None, message));
            }
        };
        match self.prompts(&record, vector) {
            Err(error) => Draft::failed(Row::failed(index, line, Some(record), chain(&error))),
            Ok(Prompted { prompts, examples }) => Draft {
                row: Row {
                    prompt_hash: prompts.first().map(prompt_hash),
                    examples,
                    error: None,
                    ..Row::failed(index, line, Some(record), String::new())
                },
                prompts,
            },
        }
    }

    /// A draft's row with the engine's answer in it, and the verdict where there is one.
    fn finish(&self, mut row: Row, answered: Option<Answered>) -> Result<Row, Stop> {
        let (answer, verdict) = match answered {
            None => (None, None),
            Some(answered) => {
                row.route = answered.route;
                (Some(answered.answer), answered.verdict)
            }
        };
        match answer {
            None => {}
            Some(Ok((raw, usage))) => {
                row.raw = Some(raw);
                row.usage = usage;
                row.verdict = verdict;
            }
            Some(Err(EngineError::Cancelled)) => return Err(Stop::Cancelled),
            Some(Err(error)) if error.blame() == Blame::Data => row.error = Some(chain(&error)),
            Some(Err(source)) => {
                let line = row.line;
                return Err(TaskError::Engine { line, source }.into());
            }
        }
        match row.error {
            Some(message) if self.strict => Err(TaskError::Unanswered {
                line: row.line,
                message,
            }
            .into()),
            _ => Ok(row),
        }
    }
}

/// An engine's failure as the end of the work.
fn stop_of(error: EngineError) -> Stop {
    match error {
        EngineError::Cancelled => Stop::Cancelled,
        source => Stop::Failed(TaskError::Engine { line: 0, source }),
    }
}

/// What was said of one record.
struct Answered {
    answer: Answer,
    /// That of a judge that has looked at more than the answer.
    verdict: Option<Verdict>,
    route: Option<RouteTaken>,
}

impl Answered {
    fn of(answer: Answer) -> Self {
        Self {
            answer,
            verdict: None,
            route: None,
        }
    }
}

impl From<Routed> for Answered {
    fn from(routed: Routed) -> Self {
        Self {
            answer: routed.answer,
            verdict: routed.verdict,
            route: Some(routed.taken),
        }
    }
}

/// A row on its way, with its prompts where it has any.
struct Draft {
    row: Row,
    prompts: Vec<Composed>,
}

impl Draft {
    fn failed(row: Row) -> Self {
        Self {
            row,
            prompts: Vec::new(),
        }
    }
}

/// A record's error without the line, which stands in a field of its own.
pub(crate) fn without_line(error: &RecordError) -> String {
    let message = chain(error);
    let prefix = format!("line {}: ", error.line());
    match message.strip_prefix(&prefix) {
        Some(rest) => rest.to_owned(),
        None => message,
    }
}

/// An error with its causes, as one line without hints.
fn chain(error: &dyn std::error::Error) -> String {
    let mut parts = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        let first_line = text.lines().next().unwrap_or_default().to_owned();
        if !parts
            .iter()
            .any(|part: &String| part.ends_with(&first_line))
        {
            parts.push(first_line);
        }
        next = error.source();
    }
    parts.join(": ")
}
