//! Records asked and judged by an ensemble that labelled records have taught.

use autoglm_spec::{Cancel, Embed, EngineError, Output, Record, TaskSpec, Usage, Verdict};

use super::Engine;
use super::ask::Answer;
use crate::TaskError;
use crate::compose::{ComposeError, Composed};
use crate::ensemble::{Ensemble, Evidence, Panel, PromptEvidence};
use crate::library::record_text;
use crate::row::Raw;

/// An ensemble with the engine that makes the vectors of records.
#[derive(Clone, Copy)]
pub struct Taught<'a> {
    /// The judge.
    pub ensemble: &'a Ensemble,
    /// The model that makes vectors, where the ensemble has a view of them.
    pub embedder: Option<&'a dyn Embed>,
}

/// A record with its prompts.
pub(super) struct Question<'a> {
    pub(super) record: &'a Record,
    pub(super) prompts: &'a [Composed],
}

/// Asks the prompts of an ensemble and judges what comes back.
pub(super) struct TaughtAsker<'a> {
    spec: &'a TaskSpec,
    taught: Taught<'a>,
    panel: Panel<'a>,
}

impl<'a> TaughtAsker<'a> {
    pub(super) fn new(
        spec: &'a TaskSpec,
        engine: &'a dyn Engine,
        taught: Taught<'a>,
    ) -> Result<Self, TaskError> {
        Ok(Self {
            spec,
            taught,
            panel: Panel::new(spec, taught.ensemble.sets(), engine)?,
        })
    }

    pub(super) fn prompts(&self, record: &Record) -> Result<Vec<Composed>, ComposeError> {
        self.panel.prompts(record)
    }

    /// Asks for records, one prompt after the other, so that the prompts of a call share their
    /// long beginning.
    pub(super) fn ask(
        &self,
        questions: &[Question<'_>],
        cancel: &Cancel,
    ) -> Result<Vec<(Answer, Option<Verdict>)>, TaskError> {
        let mut evidence: Vec<Result<Vec<PromptEvidence>, EngineError>> =
            questions.iter().map(|_| Ok(Vec::new())).collect();
        for set in 0..self.taught.ensemble.sets().len() {
            let prompts: Vec<&Composed> = questions.iter().map(|q| &q.prompts[set]).collect();
            for (all, one) in evidence.iter_mut().zip(self.panel.ask(&prompts, cancel)?) {
                match (all.as_mut(), one) {
                    (Ok(all), Ok(one)) => all.push(one),
                    (Ok(_), Err(error)) => *all = Err(error),
                    (Err(_), _) => {}
                }
            }
        }
        let vectors = self.vectors(questions, cancel);
        let told = evidence.into_iter().zip(vectors);
        Ok(told
            .map(|(prompts, vector)| self.judged(prompts, vector))
            .collect())
    }

    /// The records' vectors, where the ensemble looks at them.
    fn vectors(
        &self,
        questions: &[Question<'_>],
        cancel: &Cancel,
    ) -> Vec<Result<Option<Vec<f32>>, EngineError>> {
        let embedder = self
            .taught
            .embedder
            .filter(|_| self.taught.ensemble.uses_vectors());
        let Some(embedder) = embedder else {
            return questions.iter().map(|_| Ok(None)).collect();
        };
        let text = |question: &Question<'_>| record_text(&self.spec.fields, question.record);
        let texts: Vec<String> = questions.iter().map(text).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let vectors = embedder.embed(&texts, cancel).into_iter();
        vectors
            .map(|result| result.map(|e| Some(e.vector)))
            .collect()
    }

    fn judged(
        &self,
        prompts: Result<Vec<PromptEvidence>, EngineError>,
        vector: Result<Option<Vec<f32>>, EngineError>,
    ) -> (Answer, Option<Verdict>) {
        let (prompts, vector) = match (prompts, vector) {
            (Ok(prompts), Ok(vector)) => (prompts, vector),
            (Err(error), _) | (_, Err(error)) => return (Err(error), None),
        };
        let mut usage = Usage::default();
        for evidence in &prompts {
            usage += evidence.usage;
        }
        let evidence = Evidence { prompts, vector };
        let verdict = match &self.spec.output {
            Output::Labels { labels } => self.taught.ensemble.verdict(labels, &evidence),
            Output::Json { .. } | Output::Text { .. } | Output::Code { .. } => {
                unreachable!("an ensemble is fitted to tasks with labels")
            }
        };
        let raw = Raw::Scores {
            logprobs: mean_scores(&evidence.prompts),
        };
        (Ok((raw, usage)), Some(verdict))
    }
}

/// The labels' mean log-probabilities over the prompts; none where labels were not scored.
fn mean_scores(prompts: &[PromptEvidence]) -> Vec<f32> {
    let labels = prompts
        .first()
        .map_or(0, |evidence| evidence.logprobs.len());
    let mean = |label: usize| {
        let sum: f32 = prompts
            .iter()
            .map(|evidence| evidence.logprobs[label])
            .sum();
        sum / prompts.len() as f32
    };
    (0..labels).map(mean).collect()
}
