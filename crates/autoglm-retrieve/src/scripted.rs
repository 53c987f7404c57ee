//! Passages and engines for the tests of this crate.

use std::sync::Mutex;

use autoglm_spec::{
    Cancel, Completion, Delta, Embed, Embedding, EmbeddingSpace, EngineError, FinishReason,
    Generate, GenerateRequest, ModelFacts, OptionScore, Score, ScoreRequest, Scoring, Similarity,
    Usage,
};

use crate::dense::dot;
use crate::passage::{Document, DocumentState, Passage, PassageId, Place, Within};
use crate::text::{TextLanguage, terms};

/// Numbers of a vector.
pub(crate) const WIDTH: usize = 32;

/// A bag of words: each word has a direction of its own.
pub(crate) struct Words {
    space: EmbeddingSpace,
    /// Texts that were embedded.
    pub(crate) asked: Mutex<usize>,
    /// After so many texts the engine is broken.
    pub(crate) broken_after: Option<usize>,
}

impl Words {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            space: EmbeddingSpace {
                name: name.to_owned(),
                dimensions: WIDTH,
                max_tokens: 128,
                similarity: Similarity::Cosine,
            },
            asked: Mutex::new(0),
            broken_after: None,
        }
    }

    pub(crate) fn vector(text: &str) -> Vec<f32> {
        let mut vector = [0.01; WIDTH];
        for word in terms(text) {
            let place = word.bytes().fold(7_usize, |hash, byte| {
                hash.wrapping_mul(31) + usize::from(byte)
            });
            vector[place % WIDTH] += 1.0;
        }
        let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        vector.iter().map(|x| x / length).collect()
    }
}

impl Embed for Words {
    fn space(&self) -> &EmbeddingSpace {
        &self.space
    }

    fn embed(&self, texts: &[&str], _: &Cancel) -> Vec<Result<Embedding, EngineError>> {
        let mut asked = self.asked.lock().unwrap();
        let mut results = Vec::new();
        for text in texts {
            *asked += 1;
            results.push(if self.broken_after.is_some_and(|limit| *asked > limit) {
                Err(EngineError::BadRequest {
                    field: "text",
                    given: "too many".to_owned(),
                    wanted: "fewer",
                })
            } else {
                Ok(Embedding {
                    vector: Self::vector(text),
                    tokens: terms(text).len(),
                    cut_tokens: 0,
                })
            });
        }
        results
    }
}

/// Writes what it is told to, and finds options likely whose words stand in the prompt.
pub(crate) struct Writer {
    facts: ModelFacts,
    text: String,
    /// Prompts that it was given.
    pub(crate) prompts: Mutex<Vec<String>>,
}

impl Writer {
    pub(crate) fn new(text: &str) -> Self {
        Self {
            facts: ModelFacts {
                name: "writer".to_owned(),
                context_tokens: 1_000,
                chat: true,
            },
            text: text.to_owned(),
            prompts: Mutex::new(Vec::new()),
        }
    }
}

impl Generate for Writer {
    fn facts(&self) -> &ModelFacts {
        &self.facts
    }

    fn generate(
        &self,
        requests: &[GenerateRequest],
        _: &Cancel,
        _: &mut dyn FnMut(usize, &Delta),
    ) -> Vec<Result<Completion, EngineError>> {
        let mut prompts = self.prompts.lock().unwrap();
        let answer = |request: &GenerateRequest| {
            prompts.push(request.prompt.display_text());
            Ok(Completion {
                text: self.text.clone(),
                tokens: Vec::new(),
                logprobs: Vec::new(),
                top: Vec::new(),
                finish: FinishReason::Stop,
                usage: Usage::default(),
            })
        };
        requests.iter().map(answer).collect()
    }
}

impl Score for Writer {
    fn score(&self, requests: &[ScoreRequest], _: &Cancel) -> Vec<Result<Scoring, EngineError>> {
        let score = |request: &ScoreRequest| {
            let said = terms(&request.prompt.display_text());
            let option = |option: &String| {
                let words = terms(option);
                let new = words.iter().filter(|word| !said.contains(word)).count();
                OptionScore {
                    logprob: -(new as f32) - 0.1 * words.len() as f32,
                    tokens: words.len().max(1),
                }
            };
            Ok(Scoring {
                options: request.options.iter().map(option).collect(),
                states: Vec::new(),
                usage: Usage::default(),
            })
        };
        requests.iter().map(score).collect()
    }
}

/// A passage of a text.
pub(crate) fn passage(titles: &[&str], text: &str) -> Passage {
    Passage {
        id: PassageId(0),
        document: String::new(),
        titles: titles.iter().map(|title| (*title).to_owned()).collect(),
        record: None,
        place: Place {
            start: 0,
            end: text.len(),
            within: Within::File,
            line: Some(1),
            page: None,
        },
        language: TextLanguage::of(text),
        meta: serde_json::Map::new(),
        tokens: terms(text).len(),
        text: text.to_owned(),
    }
}

/// A document of passages.
pub(crate) fn document(path: &str, passages: Vec<Passage>) -> Document {
    Document {
        path: path.to_owned(),
        state: DocumentState {
            hash: [passages.len() as u8; 32],
            size_bytes: 10,
            modified_ns: Some(5),
        },
        format: "text".to_owned(),
        passages,
    }
}

/// Vectors around some directions, as those of texts are.
pub(crate) fn bundles(count: usize) -> Vec<Vec<f32>> {
    let vector = |n: usize| -> Vec<f32> {
        let (bundle, within) = ((n * 7919 % 40) as f32, n as f32);
        let numbers: Vec<f32> = (0..96)
            .map(|d| {
                let d = d as f32;
                (bundle * 1.7 + d * 2.3).sin() + 0.5 * (within * 0.37 * (1.0 + d * 0.01) + d).sin()
            })
            .collect();
        let length = dot(&numbers, &numbers).sqrt();
        numbers.into_iter().map(|x| x / length).collect()
    };
    (0..count).map(vector).collect()
}
