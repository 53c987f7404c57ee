//! Prompts of records to what the engine says to them.

use autoglm_spec::{
    AttentionPolicy, Cancel, Decoding, EngineError, Example, GenerateRequest, Normalise, Output,
    Record, ScoreRequest, Scoring, TaskSpec, Usage,
};
use sha2::{Digest, Sha256};

use super::choose::{Chooser, Choosing, Prompted};
use super::sample::Sampler;
use super::survey::hexadecimal;
use super::{Engine, Job, RunSettings, agreement_of, plan_of};
use crate::TaskError;
use crate::compose::{ComposeError, Composed, Composer};
use crate::row::Raw;

/// The least log-probability that is kept: e⁻¹⁰⁰⁰⁰ is nothing, and infinities have no JSON.
pub(crate) const LOGPROB_FLOOR: f32 = -1e4;

/// What the engine said to one record.
pub(crate) type Answer = Result<(Raw, Usage), EngineError>;

/// A record that the engine is asked for.
pub(super) struct Asked<'a> {
    /// Its place in the input.
    pub(super) index: u64,
    /// Its prompts, one a way to order the examples.
    pub(super) prompts: &'a [Composed],
}

/// Composes the prompts of one task and asks the engine.
pub(crate) struct Asker<'a> {
    engine: &'a dyn Engine,
    /// One a way to order the examples, at least one.
    composers: Vec<Composer>,
    /// Where each record has examples of its own.
    chooser: Option<Chooser<'a>>,
    sampler: Sampler<'a>,
    decoding: Decoding,
    stop: Vec<String>,
}

impl<'a> Asker<'a> {
    pub(crate) fn new(job: &Job<'a>) -> Result<Self, TaskError> {
        let mut asker = Self::of(job.spec, job.engine, &job.settings)?;
        asker.sampler.agreement = job.agreement();
        Ok(match &job.choosing {
            Some(choosing) => asker.choosing(choosing.clone()),
            None => asker,
        })
    }

    /// The asker with examples that are chosen for each record.
    pub(crate) fn choosing(mut self, choosing: Choosing<'a>) -> Self {
        self.chooser = Some(Chooser::new(choosing, self.engine));
        self
    }

    /// An asker for a task and the settings of its run.
    pub(crate) fn of(
        spec: &TaskSpec,
        engine: &'a dyn Engine,
        settings: &RunSettings,
    ) -> Result<Self, TaskError> {
        let composer =
            |spec: &TaskSpec| Composer::new(spec, engine.facts()).map_err(cannot_compose);
        let mut composers = vec![composer(spec)?];
        if uses_both_orders(spec, settings) {
            let mut reversed = spec.clone();
            reversed.examples.reverse();
            composers.push(composer(&reversed)?);
        }
        Ok(Self {
            engine,
            composers,
            chooser: None,
            sampler: Sampler {
                engine,
                plan: plan_of(spec, settings),
                agreement: agreement_of(spec, settings, None),
                sampling: settings.sampling,
                language: spec.language,
            },
            decoding: settings.decoding,
            stop: settings.stop.clone(),
        })
    }

    /// In how many ways examples are ordered, each a prompt of a record.
    pub(super) fn orders(&self) -> usize {
        self.composers.len()
    }

    /// Hash of all that determines the prompts.
    pub(super) fn task_hash(&self) -> &str {
        self.composers[0].version()
    }

    /// The record's prompts, one a way to order the examples, with the examples that were chosen for
    /// it where it has any of its own; its vector may take part in that.
    pub(crate) fn prompts(
        &self,
        record: &Record,
        vector: Option<&[f32]>,
    ) -> Result<Prompted, ComposeError> {
        match &self.chooser {
            Some(chooser) => chooser.prompts(self, record, vector),
            None => Ok(Prompted {
                prompts: self.prompts_behind(&[], record)?,
                examples: Vec::new(),
            }),
        }
    }

    /// The record's prompts, one a way to order the examples, behind examples of its own.
    pub(crate) fn prompts_behind(
        &self,
        examples: &[Example],
        record: &Record,
    ) -> Result<Vec<Composed>, ComposeError> {
        let reversed: Vec<Example> = examples.iter().rev().cloned().collect();
        let compose = |(order, composer): (usize, &Composer)| {
            let examples = if order == 0 { examples } else { &reversed };
            composer.compose_behind(examples, record)
        };
        self.composers.iter().enumerate().map(compose).collect()
    }

    /// The prompts of records without content, each with one a way to order the examples.
    pub(crate) fn content_free(&self) -> Vec<Vec<Composed>> {
        let by_order: Vec<Vec<Composed>> =
            self.composers.iter().map(Composer::content_free).collect();
        let blanks = by_order.first().map_or(0, Vec::len);
        let of_blank = |blank: usize| by_order.iter().map(|order| order[blank].clone()).collect();
        (0..blanks).map(of_blank).collect()
    }

    /// Asks the engine for records, each with its prompts; closed sets are scored, everything
    /// else is generated. Scores are the mean over the prompts of a record.
    pub(super) fn ask(
        &self,
        records: &[Asked<'_>],
        cancel: &Cancel,
    ) -> Result<Vec<Answer>, TaskError> {
        let Some(first) = records.first().and_then(|asked| asked.prompts.first()) else {
            return Ok(Vec::new());
        };
        if first.options.is_none() {
            let request = |asked: &Asked<'_>| self.generate_request(&asked.prompts[0]);
            return self.sampler.ask(records, &request, cancel);
        }
        // One order after the other, so that the prompts of a call share their long prefix.
        let mut all = self.score(records, 0, cancel)?;
        for order in 1..self.composers.len() {
            let more = self.score(records, order, cancel)?;
            all = all
                .into_iter()
                .zip(more)
                .map(|(a, b)| added(a, b))
                .collect();
        }
        let orders = self.composers.len() as f32;
        let mean = |answer: Answer| answer.map(|(raw, usage)| (divided(raw, orders), usage));
        Ok(all.into_iter().map(mean).collect())
    }

    fn score(
        &self,
        records: &[Asked<'_>],
        order: usize,
        cancel: &Cancel,
    ) -> Result<Vec<Answer>, TaskError> {
        let requests: Vec<ScoreRequest> = records
            .iter()
            .map(|asked| score_request(&asked.prompts[order]))
            .collect();
        let results = self.engine.score(&requests, cancel);
        let answers = results.into_iter().map(|r| r.map(|s| scored(&s)));
        counted(answers.collect(), requests.len())
    }

    /// The request for a composed prompt whose answer is generated.
    pub(crate) fn generate_request(&self, composed: &Composed) -> GenerateRequest {
        let stop = composed.stop.iter().chain(&self.stop).cloned();
        GenerateRequest {
            prompt: composed.prompt.clone(),
            max_tokens: composed.max_tokens,
            sampling: self.sampler.sampling,
            logit_bias: Vec::new(),
            stop: stop.collect(),
            constraint: composed.constraint.clone(),
            decoding: self.decoding,
            attention: AttentionPolicy::Full,
            adapter: None,
        }
    }
}

/// Whether records are scored twice.
pub(crate) fn uses_both_orders(spec: &TaskSpec, settings: &RunSettings) -> bool {
    let closed = matches!(spec.output, Output::Labels { .. });
    let chosen = settings.selection.as_ref().map_or(0, |s| s.count);
    settings.both_orders && closed && spec.examples.len() + chosen >= 2
}

/// A composer's error as this crate's.
pub(crate) fn cannot_compose(error: ComposeError) -> TaskError {
    TaskError::Compose {
        source: Box::new(error),
    }
}

/// The first 128 bits of the prompt's SHA-256, enough to tell prompts apart.
pub(super) fn prompt_hash(composed: &Composed) -> String {
    let hash = Sha256::digest(composed.prompt.display_text());
    hexadecimal(&hash[..16])
}

/// The answers, where there is one a request.
fn counted(answers: Vec<Answer>, wanted: usize) -> Result<Vec<Answer>, TaskError> {
    let given = answers.len();
    if given == wanted {
        Ok(answers)
    } else {
        Err(TaskError::ResultCount { given, wanted })
    }
}

/// The request for a composed prompt whose options are scored.
pub(crate) fn score_request(composed: &Composed) -> ScoreRequest {
    ScoreRequest {
        prompt: composed.prompt.clone(),
        options: composed.options.clone().unwrap_or_default(),
        normalise: Normalise::Options,
        states: false,
        adapter: None,
    }
}

/// What is kept of scores.
pub(crate) fn scored(scoring: &Scoring) -> (Raw, Usage) {
    let options = scoring.options.iter();
    let logprobs = options.map(|o| o.logprob.max(LOGPROB_FLOOR)).collect();
    (Raw::Scores { logprobs }, scoring.usage)
}

/// Two orders' scores of a record added up, or the first error.
fn added(one: Answer, other: Answer) -> Answer {
    let ((one, mut usage), (other, more)) = (one?, other?);
    let raw = match (one, other) {
        (Raw::Scores { logprobs: a }, Raw::Scores { logprobs: b }) => Raw::Scores {
            logprobs: a.iter().zip(b).map(|(a, b)| a + b).collect(),
        },
        (one, _) => one,
    };
    usage += more;
    Ok((raw, usage))
}

fn divided(raw: Raw, by: f32) -> Raw {
    match raw {
        Raw::Scores { logprobs } => Raw::Scores {
            logprobs: logprobs.into_iter().map(|p| p / by).collect(),
        },
        text @ Raw::Text { .. } => text,
    }
}
