//! A small task with engines that tell its labels in known ways.

use std::hash::{DefaultHasher, Hash, Hasher};

use autoglm_spec::{
    Calibration, Cancel, Completion, Embed, Embedding, EmbeddingSpace, EngineError, Example, Field,
    Generate, GenerateRequest, Label, Language, ModelFacts, OptionScore, Output, Record, Score,
    ScoreRequest, Scoring, Similarity, TaskKind, TaskSpec, Usage,
};
use serde_json::Value;

use super::{Engines, Ensemble, Evidence, FitSettings, Fitting, Panel, fit};
use crate::TaskError;
use crate::run::Engine;

/// Labels of the small task; a record is a number, its label the remainder by their count.
pub(super) const LABELS: [&str; 3] = ["red", "green", "blue"];

pub(super) fn spec() -> TaskSpec {
    let label = |name: &&str| Label {
        name: (*name).to_owned(),
        word: (*name).to_owned(),
    };
    TaskSpec {
        name: "colours".to_owned(),
        kind: TaskKind::Classification,
        instruction: "Name the colour.".to_owned(),
        language: Language::English,
        fields: vec![Field {
            name: "text".to_owned(),
            title: "Number".to_owned(),
        }],
        answer_title: "Colour".to_owned(),
        output: Output::Labels {
            labels: LABELS.iter().map(label).collect(),
        },
        constraints: Vec::new(),
        examples: Vec::new(),
        knowledge: None,
    }
}

pub(super) fn record(number: usize) -> Record {
    Record::from_iter([("text".to_owned(), Value::from(format!("n{number}")))])
}

pub(super) fn rows(numbers: std::ops::Range<usize>) -> Vec<Example> {
    let row = |number: usize| Example {
        input: record(number),
        output: LABELS[number % 3].to_owned(),
    };
    numbers.map(row).collect()
}

/// A prompt as an engine reads it.
pub(super) struct Heard<'a> {
    /// What stands before the record: the examples, among others.
    pub(super) before: &'a str,
    /// The record's number.
    pub(super) number: usize,
    /// Labels that are scored.
    pub(super) labels: usize,
}

impl<'a> Heard<'a> {
    fn of(text: &'a str, labels: usize) -> Self {
        let at = text.rfind("Number: n").unwrap();
        let digits = text[at + "Number: n".len()..].chars();
        let digits: String = digits.take_while(char::is_ascii_digit).collect();
        Self {
            before: &text[..at],
            number: digits.parse().unwrap(),
            labels,
        }
    }

    /// How many examples stand before the record.
    pub(super) fn shown(&self) -> usize {
        self.before.matches("Number: n").count()
    }

    /// A number in [0, 1) that depends on the record and the place alone.
    pub(super) fn noise(&self, place: usize) -> f32 {
        noise(self.number, place)
    }
}

/// A number in [0, 1) that seems to be drawn by chance.
pub(super) fn noise(number: usize, place: usize) -> f32 {
    let mut hasher = DefaultHasher::new();
    (number, place).hash(&mut hasher);
    (hasher.finish() >> 40) as f32 / (1 << 24) as f32
}

/// What an engine says to a prompt.
pub(super) struct Said {
    pub(super) logprobs: Vec<f32>,
    /// One a depth.
    pub(super) states: Vec<Vec<f32>>,
}

type Say = dyn Fn(&Heard<'_>) -> Result<Said, EngineError> + Send + Sync;

/// An engine that says what a function says.
pub(super) struct Fake {
    facts: ModelFacts,
    say: Box<Say>,
}

impl Fake {
    pub(super) fn new(
        say: impl Fn(&Heard<'_>) -> Result<Said, EngineError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            facts: ModelFacts {
                name: "fake".to_owned(),
                context_tokens: 1000,
                chat: false,
            },
            say: Box::new(say),
        }
    }

    /// Scores that lean to the first label whatever the record, and hidden states in which the
    /// label shows beside much else. Prompts move both.
    pub(super) fn leaning(has_states: bool) -> Self {
        Self::new(move |heard| {
            let shift = heard.before.len() as f32 / 100.0;
            let label = heard.number % 3;
            let logprob = |k: usize| {
                let right = if k == label { 0.4 } else { 0.0 };
                right + heard.noise(k) - if k == 0 { 0.0 } else { 3.0 + shift }
            };
            let state = |k: usize| shift + heard.noise(k) + if k == label { 1.5 } else { 0.0 };
            Ok(Said {
                logprobs: (0..heard.labels).map(logprob).collect(),
                states: Vec::from_iter(has_states.then(|| (0..8).map(state).collect())),
            })
        })
    }
}

impl Generate for Fake {
    fn facts(&self) -> &ModelFacts {
        &self.facts
    }

    fn generate(
        &self,
        _: &[GenerateRequest],
        _: &Cancel,
        _: &mut dyn FnMut(usize, &autoglm_spec::Delta),
    ) -> Vec<Result<Completion, EngineError>> {
        unreachable!("labels are scored")
    }
}

impl Score for Fake {
    fn score(
        &self,
        requests: &[ScoreRequest],
        cancel: &Cancel,
    ) -> Vec<Result<Scoring, EngineError>> {
        let answer = |request: &ScoreRequest| {
            if cancel.is_cancelled() {
                return Err(EngineError::Cancelled);
            }
            let text = request.prompt.display_text();
            let said = (self.say)(&Heard::of(&text, request.options.len()))?;
            let option = |logprob: f32| OptionScore { logprob, tokens: 1 };
            Ok(Scoring {
                options: said.logprobs.into_iter().map(option).collect(),
                states: said.states,
                usage: Usage::default(),
            })
        };
        requests.iter().map(answer).collect()
    }
}

/// An embedder in whose vectors the label of a record shows.
pub(super) struct FakeEmbedder {
    space: EmbeddingSpace,
}

impl FakeEmbedder {
    pub(super) fn new() -> Self {
        Self {
            space: EmbeddingSpace {
                name: "fake".to_owned(),
                dimensions: 8,
                max_tokens: 100,
                similarity: Similarity::Cosine,
            },
        }
    }
}

impl Embed for FakeEmbedder {
    fn space(&self) -> &EmbeddingSpace {
        &self.space
    }

    fn embed(&self, texts: &[&str], _: &Cancel) -> Vec<Result<Embedding, EngineError>> {
        let embedding = |text: &&str| {
            let number: usize = text.trim_start_matches('n').parse().unwrap();
            let part = |k: usize| noise(number, k) + if k == number % 3 { 1.5 } else { 0.0 };
            let vector: Vec<f32> = (0..8).map(part).collect();
            let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
            Ok(Embedding {
                vector: vector.iter().map(|x| x / length).collect(),
                tokens: 1,
                cut_tokens: 0,
            })
        };
        texts.iter().map(embedding).collect()
    }
}

/// All that a fit to the small task's rows is given, with all views.
pub(super) fn fitting<'a>(
    spec: &'a TaskSpec,
    engine: &'a dyn Engine,
    cancel: &'a Cancel,
) -> Fitting<'a> {
    Fitting {
        spec,
        engines: Engines {
            language: engine,
            embedder: None,
        },
        scope: "",
        settings: FitSettings::default(),
        cancel,
        progress: &|_| (),
    }
}

/// The ensemble that rows teach.
pub(super) fn try_fit(
    engine: &dyn Engine,
    rows: &[Example],
    settings: FitSettings,
    cancel: &Cancel,
) -> Result<Option<Ensemble>, TaskError> {
    let spec = spec();
    let fitting = Fitting {
        settings,
        ..fitting(&spec, engine, cancel)
    };
    fit(&fitting, rows)
}

/// The ensemble that rows teach, where nothing goes wrong.
pub(super) fn fitted(
    engine: &dyn Engine,
    rows: &[Example],
    settings: FitSettings,
) -> Option<Ensemble> {
    try_fit(engine, rows, settings, &Cancel::default()).unwrap()
}

/// The share of records 1000 to 1199 that an ensemble gets right.
pub(super) fn share_right(engine: &dyn Engine, ensemble: &Ensemble) -> f64 {
    let spec = spec();
    let panel = Panel::new(&spec, ensemble.sets(), engine).unwrap();
    let is_right = |number: &usize| {
        let prompts = panel.prompts(&record(*number)).unwrap();
        let prompts: Vec<_> = prompts.iter().collect();
        let told = panel.ask(&prompts, &Cancel::default()).unwrap();
        let evidence = Evidence {
            prompts: told.into_iter().map(Result::unwrap).collect(),
            vector: None,
        };
        let verdict = ensemble.verdict(spec.output.labels(), &evidence);
        assert_eq!(verdict.calibration, Calibration::Fitted);
        verdict.answer == LABELS[number % 3]
    };
    (1000..1200).filter(is_right).count() as f64 / 200.0
}
