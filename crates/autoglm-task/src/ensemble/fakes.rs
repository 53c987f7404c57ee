//! A small task with engines that tell its labels in known ways.

use autoglm_spec::{
    Calibration, Cancel, Completion, EngineError, Example, Field, Generate, GenerateRequest, Label,
    Language, ModelFacts, OptionScore, Output, Record, Score, ScoreRequest, Scoring, TaskKind,
    TaskSpec, Usage,
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

/// Scores that lean to the first label whatever the record, and hidden states in which the label
/// shows beside much else. Prompts move both.
pub(super) struct Leaning {
    facts: ModelFacts,
    has_states: bool,
}

impl Leaning {
    pub(super) fn new(has_states: bool) -> Self {
        Self {
            facts: ModelFacts {
                name: "leaning".to_owned(),
                context_tokens: 1000,
                chat: false,
            },
            has_states,
        }
    }
}

impl Generate for Leaning {
    fn facts(&self) -> &ModelFacts {
        &self.facts
    }

    fn generate(
        &self,
        _: &[GenerateRequest],
        _: &Cancel,
        _: &mut dyn FnMut(usize, &str),
    ) -> Vec<Result<Completion, EngineError>> {
        unreachable!("labels are scored")
    }
}

impl Score for Leaning {
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
            let numbers = text.split('n').filter_map(|part| {
                let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
                digits.parse::<usize>().ok()
            });
            let number = numbers.into_iter().next_back().unwrap();
            let shift = text.len() as f32 / 100.0;
            let noise = |k: usize| ((number * 7919 + k * 104_729) % 101) as f32 / 101.0;
            let state = |k: usize| shift + noise(k) + if k % 8 == number % 3 { 1.5 } else { 0.0 };
            let logprob = |k: usize| {
                let right = if k == number % 3 { 0.4 } else { 0.0 };
                right + noise(k) - if k == 0 { 0.0 } else { 3.0 + shift }
            };
            Ok(Scoring {
                options: (0..request.options.len())
                    .map(|k| OptionScore {
                        logprob: logprob(k),
                        tokens: 1,
                    })
                    .collect(),
                state: self.has_states.then(|| (0..8).map(state).collect()),
                usage: Usage::default(),
            })
        };
        requests.iter().map(answer).collect()
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
        spec: &spec,
        engines: Engines {
            language: engine,
            embedder: None,
        },
        scope: "",
        settings,
        cancel,
        progress: &|_| (),
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
