//! One window of records: composed, answered by the engine, made into rows.

use autoglm_spec::{
    Blame, Blamed, Cancel, Completion, EngineError, GenerateRequest, Normalise, Record, Sampling,
    ScoreRequest, Scoring, Usage,
};
use sha2::{Digest, Sha256};

use super::survey::hexadecimal;
use super::{Engine, Job};
use crate::TaskError;
use crate::compose::{Composed, Composer};
use crate::judge::mean_logprob;
use crate::records::{NumberedRecord, RecordError};
use crate::row::{Raw, Row};

/// The least log-probability that is kept: e⁻¹⁰⁰⁰⁰ is nothing, and infinities have no JSON.
const LOGPROB_FLOOR: f32 = -1e4;

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
    engine: &'a dyn Engine,
    composer: Composer,
    sampling: Sampling,
    stop: Vec<String>,
    strict: bool,
}

/// What the engine said to one request.
type Answer = Result<(Raw, Usage), EngineError>;

impl<'a> Answerer<'a> {
    pub(super) fn new(job: &Job<'a>) -> Result<Self, TaskError> {
        let composer =
            Composer::new(job.spec, job.engine.facts()).map_err(|error| TaskError::Compose {
                source: Box::new(error),
            })?;
        Ok(Self {
            engine: job.engine,
            composer,
            sampling: job.settings.sampling,
            stop: job.settings.stop.clone(),
            strict: job.settings.strict,
        })
    }

    /// Hash of all that determines the prompts.
    pub(super) fn task_hash(&self) -> &str {
        self.composer.version()
    }

    /// The scores of records without content.
    pub(super) fn content_free(&self, cancel: &Cancel) -> Result<Vec<Vec<f32>>, Stop> {
        let prompts = self.composer.content_free();
        let prompts: Vec<&Composed> = prompts.iter().collect();
        let mut scores = Vec::new();
        for answer in self.ask(&prompts, cancel)? {
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
        cancel: &Cancel,
    ) -> (Vec<Row>, Option<Stop>) {
        if cancel.is_cancelled() {
            return (Vec::new(), Some(Stop::Cancelled));
        }
        let drafts: Vec<Draft> = window.into_iter().map(|n| self.draft(n)).collect();
        let prompts: Vec<&Composed> = drafts.iter().filter_map(|d| d.composed.as_ref()).collect();
        let mut answers = match self.ask(&prompts, cancel) {
            Ok(answers) => answers.into_iter(),
            Err(error) => return (Vec::new(), Some(Stop::Failed(error))),
        };
        let mut rows = Vec::new();
        for draft in drafts {
            let answer = draft.composed.is_some().then(|| answers.next()).flatten();
            match self.finish(draft.row, answer) {
                Ok(row) => rows.push(row),
                Err(stop) => return (rows, Some(stop)),
            }
        }
        (rows, None)
    }

    fn draft(&self, numbered: Numbered) -> Draft {
        let Numbered { index, item } = numbered;
        let NumberedRecord { line, record } = match item {
            Ok(record) => record,
            Err(error) => {
                let message = without_line(&error);
                return Draft::failed(Row::failed(index, error.line(), None, message));
            }
        };
        match self.composer.compose(&record) {
            Err(error) => Draft::failed(Row::failed(index, line, Some(record), chain(&error))),
            Ok(composed) => Draft {
                row: Row {
                    prompt_hash: Some(prompt_hash(&composed)),
                    error: None,
                    ..Row::failed(index, line, Some(record), String::new())
                },
                composed: Some(composed),
            },
        }
    }

    /// A draft's row with the engine's answer in it.
    fn finish(&self, mut row: Row, answer: Option<Answer>) -> Result<Row, Stop> {
        match answer {
            None => {}
            Some(Ok((raw, usage))) => {
                row.raw = Some(raw);
                row.usage = usage;
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

    /// Asks the engine; closed sets are scored, everything else is generated.
    pub(super) fn ask(
        &self,
        prompts: &[&Composed],
        cancel: &Cancel,
    ) -> Result<Vec<Answer>, TaskError> {
        let Some(first) = prompts.first() else {
            return Ok(Vec::new());
        };
        let answers: Vec<Answer> = if first.options.is_some() {
            let requests: Vec<ScoreRequest> = prompts.iter().map(|c| score_request(c)).collect();
            let results = self.engine.score(&requests, cancel);
            results.into_iter().map(|r| r.map(scored)).collect()
        } else {
            let requests: Vec<GenerateRequest> =
                prompts.iter().map(|c| self.generate_request(c)).collect();
            let results = self.engine.generate(&requests, cancel, &mut |_, _| {});
            results.into_iter().map(|r| r.and_then(generated)).collect()
        };
        if answers.len() == prompts.len() {
            Ok(answers)
        } else {
            Err(TaskError::ResultCount {
                given: answers.len(),
                wanted: prompts.len(),
            })
        }
    }

    fn generate_request(&self, composed: &Composed) -> GenerateRequest {
        let stop = composed.stop.iter().chain(&self.stop).cloned();
        GenerateRequest {
            prompt: composed.prompt.clone(),
            max_tokens: composed.max_tokens,
            sampling: self.sampling,
            stop: stop.collect(),
            constraint: composed.constraint.clone(),
        }
    }

    /// The prompt and request of a record.
    pub(super) fn compose(&self, record: &Record) -> Result<Composed, TaskError> {
        self.composer
            .compose(record)
            .map_err(|error| TaskError::Compose {
                source: Box::new(error),
            })
    }
}

/// A row on its way, with its prompt where it has one.
struct Draft {
    row: Row,
    composed: Option<Composed>,
}

impl Draft {
    fn failed(row: Row) -> Self {
        Self {
            row,
            composed: None,
        }
    }
}

fn score_request(composed: &Composed) -> ScoreRequest {
    ScoreRequest {
        prompt: composed.prompt.clone(),
        options: composed.options.clone().unwrap_or_default(),
        normalise: Normalise::Options,
    }
}

fn scored(scoring: Scoring) -> (Raw, Usage) {
    let options = scoring.options.iter();
    let logprobs = options.map(|o| o.logprob.max(LOGPROB_FLOOR)).collect();
    (Raw::Scores { logprobs }, scoring.usage)
}

/// A completion that a cancellation has cut is no answer.
fn generated(completion: Completion) -> Answer {
    if completion.finish == autoglm_spec::FinishReason::Cancelled {
        return Err(EngineError::Cancelled);
    }
    let raw = Raw::Text {
        mean_logprob: mean_logprob(&completion.logprobs).max(LOGPROB_FLOOR),
        tokens: completion.logprobs.len(),
        text: completion.text,
        finish: completion.finish,
    };
    Ok((raw, completion.usage))
}

/// The first 128 bits of the prompt's SHA-256, enough to tell prompts apart.
pub(super) fn prompt_hash(composed: &Composed) -> String {
    let hash = Sha256::digest(composed.prompt.display_text());
    hexadecimal(&hash[..16])
}

/// A record's error without the line, which stands in a field of its own.
fn without_line(error: &RecordError) -> String {
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
