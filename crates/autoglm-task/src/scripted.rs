//! A scripted engine and small tasks for the tests of this crate.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use autoglm_spec::{
    Cancel, Completion, Delta, EngineError, Field, FinishReason, Generate, GenerateRequest, Label,
    Language, ModelFacts, OptionScore, Output, Record, Sampling, Score, ScoreRequest, Scoring,
    TaskKind, TaskSpec, Usage,
};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Answers by the prompt's hash, so that every prompt has an answer of its own, always the same.
pub(crate) struct Scripted {
    facts: ModelFacts,
    asked: Mutex<BTreeMap<String, usize>>,
    script: Script,
}

/// What goes wrong.
#[derive(Debug, Clone, Default)]
pub(crate) struct Script {
    /// After so many requests the engine is broken.
    pub(crate) broken_after: Option<usize>,
    /// After so many requests the flag is raised.
    pub(crate) cancel_after: Option<usize>,
    /// After so many requests the flag is raised, and what is generated then is cut.
    pub(crate) cut_after: Option<usize>,
    /// Prompts that contain this do not fit into the context.
    pub(crate) too_long: Option<&'static str>,
    /// The text that is generated; an echo of the hash where there is none.
    pub(crate) text: Option<&'static str>,
    /// What is generated behind a prompt; as the others say where it does not.
    pub(crate) says: Option<fn(&str) -> Option<String>>,
    /// How many different texts samples of a prompt may be; the one text of the prompt where 0.
    pub(crate) variety: u8,
    /// Which option is the most likely behind a prompt; by the hash where it does not say.
    pub(crate) prefers: Option<fn(&str) -> Option<usize>>,
    /// Whether a prompt has a token for every four bytes; ten whatever its length otherwise.
    pub(crate) counts_tokens: bool,
    /// Whether the model has a chat template.
    pub(crate) chat: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("the scripted engine is broken")]
struct Broken;

impl autoglm_spec::Blamed for Broken {
    fn blame(&self) -> autoglm_spec::Blame {
        autoglm_spec::Blame::Capacity
    }
}

impl Scripted {
    pub(crate) fn new(script: Script) -> Self {
        Self {
            facts: ModelFacts {
                name: "scripted".to_owned(),
                context_tokens: 1000,
                chat: script.chat,
            },
            asked: Mutex::default(),
            script,
        }
    }

    /// How often prompts were asked, each with its number of times.
    pub(crate) fn asked(&self) -> BTreeMap<String, usize> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn requests(&self) -> usize {
        self.asked().values().sum()
    }

    fn admit(&self, text: &str, cancel: &Cancel) -> Result<[u8; 32], EngineError> {
        let mut asked = self.asked.lock().unwrap();
        let before: usize = asked.values().sum();
        if self
            .script
            .cancel_after
            .is_some_and(|limit| before >= limit)
        {
            cancel.cancel();
        }
        if cancel.is_cancelled() {
            return Err(EngineError::Cancelled);
        }
        if self
            .script
            .broken_after
            .is_some_and(|limit| before >= limit)
        {
            return Err(EngineError::engine(Broken));
        }
        if self.script.too_long.is_some_and(|part| text.contains(part)) {
            return Err(EngineError::ContextExceeded {
                prompt_tokens: 2000,
                reserved_tokens: 1,
                limit_tokens: 1000,
            });
        }
        *asked.entry(text.to_owned()).or_default() += 1;
        Ok(Sha256::digest(text).into())
    }
}

/// A text that depends on the seed where there is a temperature.
fn sampled_text(prompt: &str, sampling: &Sampling, variety: u8) -> String {
    let seed = if sampling.temperature > 0.0 {
        sampling.seed
    } else {
        0
    };
    let hash = Sha256::digest(format!("{seed}\n{prompt}"));
    // Some prompts are easy: every sample says the same.
    let easy = Sha256::digest(prompt)[0] < 64;
    format!("text {}", if easy { 0 } else { hash[0] % variety })
}

fn usage(script: &Script, text: &str) -> Usage {
    let prompt_tokens = if script.counts_tokens {
        text.len().div_ceil(4)
    } else {
        10
    };
    Usage {
        prompt_tokens,
        cached_tokens: 8,
        completion_tokens: 1,
        compute: Duration::from_micros(50),
    }
}

impl Generate for Scripted {
    fn facts(&self) -> &ModelFacts {
        &self.facts
    }

    fn generate(
        &self,
        requests: &[GenerateRequest],
        cancel: &Cancel,
        on_delta: &mut dyn FnMut(usize, &Delta),
    ) -> Vec<Result<Completion, EngineError>> {
        let mut answer = |(index, request): (usize, &GenerateRequest)| {
            let prompt = request.prompt.display_text();
            let hash = self.admit(&prompt, cancel)?;
            let is_cut = self.script.cut_after.is_some_and(|n| self.requests() > n);
            if is_cut {
                cancel.cancel();
            }
            let said = self.script.says.and_then(|says| says(&prompt));
            let text = match (said, self.script.text, self.script.variety) {
                (Some(said), ..) => said,
                (None, Some(text), _) => text.to_owned(),
                (None, None, 0) => format!("text {}", hash[0]),
                (None, None, variety) => sampled_text(&prompt, &request.sampling, variety),
            };
            on_delta(index, &Delta::of_text(text.as_str()));
            Ok(Completion {
                text,
                tokens: Vec::new(),
                logprobs: vec![-f32::from(hash[1]) / 255.0; 4],
                top: Vec::new(),
                finish: if is_cut {
                    FinishReason::Cancelled
                } else {
                    FinishReason::Stop
                },
                usage: usage(&self.script, &prompt),
            })
        };
        requests.iter().enumerate().map(&mut answer).collect()
    }
}

impl Score for Scripted {
    fn score(
        &self,
        requests: &[ScoreRequest],
        cancel: &Cancel,
    ) -> Vec<Result<Scoring, EngineError>> {
        let answer = |request: &ScoreRequest| {
            let prompt = request.prompt.display_text();
            let hash = self.admit(&prompt, cancel)?;
            let mut weights: Vec<f32> = request
                .options
                .iter()
                .zip(hash)
                .map(|(_, byte)| f32::from(byte) + 1.0)
                .collect();
            if let Some(place) = self.script.prefers.and_then(|prefers| prefers(&prompt)) {
                weights[place] += 1000.0;
            }
            let sum: f32 = weights.iter().sum();
            let score = |weight: &f32| OptionScore {
                logprob: (weight / sum).ln(),
                tokens: 1,
            };
            Ok(Scoring {
                options: weights.iter().map(score).collect(),
                states: Vec::new(),
                usage: usage(&self.script, &prompt),
            })
        };
        requests.iter().map(answer).collect()
    }
}

/// A record from a JSON object.
pub(crate) fn record(value: &Value) -> Record {
    value.as_object().expect("a record is an object").clone()
}

/// A task with two labels on the field `text`.
pub(crate) fn review_task() -> TaskSpec {
    let label = |name: &str| Label {
        name: name.to_owned(),
        word: name.to_owned(),
    };
    TaskSpec {
        name: "reviews".to_owned(),
        kind: TaskKind::Classification,
        instruction: "Tell whether the review is positive or negative.".to_owned(),
        language: Language::English,
        fields: vec![Field {
            name: "text".to_owned(),
            title: "Review".to_owned(),
        }],
        answer_title: "Sentiment".to_owned(),
        output: Output::Labels {
            labels: vec![label("positive"), label("negative")],
        },
        constraints: Vec::new(),
        examples: Vec::new(),
        knowledge: None,
    }
}
