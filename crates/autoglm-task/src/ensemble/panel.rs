//! The prompts of an ensemble, and what the engines say to records under them.

use autoglm_spec::{
    Blame, Blamed, Cancel, Embed, EngineError, Example, Normalise, Record, Score, ScoreRequest,
    Scoring, TaskSpec, Usage,
};

use crate::TaskError;
use crate::compose::{ComposeError, Composed, Composer};
use crate::run::{Engine, LOGPROB_FLOOR, cannot_compose};

/// Labels that are scored at most. More cost more than their scores tell beside the hidden state.
const SCORED_LABELS: usize = 20;

/// A hidden state that no probe can look at.
#[derive(Debug, thiserror::Error)]
#[error("the model's hidden state behind the prompt is not finite")]
struct NotFinite;

impl Blamed for NotFinite {
    fn blame(&self) -> Blame {
        Blame::Data
    }
}

/// The engines that an ensemble asks.
#[derive(Clone, Copy)]
pub struct Engines<'a> {
    /// The model that reads prompts.
    pub language: &'a dyn Engine,
    /// The model that makes vectors of records; none where there is none for their language.
    pub embedder: Option<&'a dyn Embed>,
}

/// What a model says to a record behind one prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct PromptEvidence {
    /// The labels' log-probabilities; empty where there are too many labels to score.
    pub logprobs: Vec<f32>,
    /// The hidden states behind the prompt, one a depth, where the engine tells.
    pub states: Vec<Vec<f32>>,
    /// What it cost.
    pub usage: Usage,
}

/// All that is known of a record.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// One a prompt, in the prompts' order.
    pub prompts: Vec<PromptEvidence>,
    /// The record's vector, where there is an embedder.
    pub vector: Option<Vec<f32>>,
}

/// One prompt a set of examples.
pub(crate) struct Panel<'a> {
    engine: &'a dyn Engine,
    composers: Vec<Composer>,
    scores_labels: bool,
}

impl<'a> Panel<'a> {
    /// Prepares the prompts.
    ///
    /// # Errors
    /// A task that cannot be turned into a prompt.
    pub(crate) fn new(
        spec: &TaskSpec,
        sets: &[Vec<Example>],
        engine: &'a dyn Engine,
    ) -> Result<Self, TaskError> {
        let composer = |examples: &Vec<Example>| {
            let spec = TaskSpec {
                examples: examples.clone(),
                ..spec.clone()
            };
            Composer::new(&spec, engine.facts()).map_err(cannot_compose)
        };
        Ok(Self {
            engine,
            composers: sets.iter().map(composer).collect::<Result<_, _>>()?,
            scores_labels: spec.output.labels().len() <= SCORED_LABELS,
        })
    }

    /// The record's prompt behind each set of examples.
    ///
    /// # Errors
    /// A record that lacks a field.
    pub(crate) fn prompts(&self, record: &Record) -> Result<Vec<Composed>, ComposeError> {
        self.composers.iter().map(|c| c.compose(record)).collect()
    }

    /// The record's prompt behind one set of examples.
    pub(super) fn prompt(&self, set: usize, record: &Record) -> Result<Composed, ComposeError> {
        self.composers[set].compose(record)
    }

    /// What the engine says behind prompts that share their beginning.
    ///
    /// # Errors
    /// An engine that breaks its contract.
    pub(crate) fn ask(
        &self,
        prompts: &[&Composed],
        cancel: &Cancel,
    ) -> Result<Vec<Result<PromptEvidence, EngineError>>, TaskError> {
        let requests: Vec<ScoreRequest> = prompts.iter().map(|p| self.request(p)).collect();
        let results = Score::score(self.engine, &requests, cancel);
        if results.len() != requests.len() {
            return Err(TaskError::ResultCount {
                given: results.len(),
                wanted: requests.len(),
            });
        }
        let evidence =
            |result: Result<Scoring, _>| result.and_then(|scoring| self.evidence(scoring));
        Ok(results.into_iter().map(evidence).collect())
    }

    fn request(&self, composed: &Composed) -> ScoreRequest {
        let mut options = composed.options.clone().unwrap_or_default();
        if !self.scores_labels {
            options.truncate(1);
        }
        ScoreRequest {
            prompt: composed.prompt.clone(),
            options,
            normalise: Normalise::Options,
            states: true,
            adapter: None,
        }
    }

    fn evidence(&self, scoring: Scoring) -> Result<PromptEvidence, EngineError> {
        if scoring.states.iter().flatten().any(|x| !x.is_finite()) {
            return Err(EngineError::engine(NotFinite));
        }
        let options = scoring.options.iter();
        let mut logprobs: Vec<f32> = options.map(|o| o.logprob.max(LOGPROB_FLOOR)).collect();
        if !self.scores_labels {
            logprobs.clear();
        }
        Ok(PromptEvidence {
            logprobs,
            states: scoring.states,
            usage: scoring.usage,
        })
    }
}
