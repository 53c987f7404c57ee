//! Models that measure every call, whoever makes it.

use std::sync::Arc;

use autoglm_spec::{
    Cancel, Completion, Delta, Embed, Embedding, EmbeddingSpace, EngineError, Generate,
    GenerateRequest, ModelFacts, Prompt, Score, ScoreRequest, Scoring,
};
use autoglm_token::{Message, TokenId};
use serde_json::{Value, json};

use super::Observer;
use super::call::{Measured, Operation};
use super::current::note_input;
use crate::backend::{Backend, Load, Reading, Skill, Talk};
use crate::models::Version;

/// A language model that measures its calls.
struct MeasuredBackend {
    backend: Arc<dyn Backend>,
    measured: Measured,
}

/// A model of vectors that measures its calls.
struct MeasuredEmbedder {
    embedder: Arc<dyn Embed>,
    measured: Measured,
}

/// What a version can do, with every call measured.
pub(crate) fn measured(version: &Version, observer: &Arc<Observer>) -> Skill {
    let Some(metrics) = observer.metrics.model(&version.name) else {
        return version.skill.clone();
    };
    let measured = |weights: &str| Measured {
        observer: Arc::clone(observer),
        model: version.name.clone(),
        weights: weights.to_owned(),
        metrics: Arc::clone(metrics),
    };
    match &version.skill {
        Skill::Write(backend) => Skill::Write(Arc::new(MeasuredBackend {
            measured: measured(&backend.facts().name),
            backend: Arc::clone(backend),
        })),
        Skill::Embed(embedder) => Skill::Embed(Arc::new(MeasuredEmbedder {
            measured: measured(&embedder.space().name),
            embedder: Arc::clone(embedder),
        })),
    }
}

impl Generate for MeasuredBackend {
    fn facts(&self) -> &ModelFacts {
        self.backend.facts()
    }

    fn generate(
        &self,
        requests: &[GenerateRequest],
        cancel: &Cancel,
        on_delta: &mut dyn FnMut(usize, &Delta),
    ) -> Vec<Result<Completion, EngineError>> {
        let mut meter = self.measured.begin(Operation::Generate, requests.len());
        let mut measure = |index: usize, delta: &Delta| {
            meter.piece(index, delta);
            on_delta(index, delta);
        };
        let results = self.backend.generate(requests, cancel, &mut measure);
        meter.generated(requests, &results);
        results
    }
}

impl Score for MeasuredBackend {
    fn score(
        &self,
        requests: &[ScoreRequest],
        cancel: &Cancel,
    ) -> Vec<Result<Scoring, EngineError>> {
        let meter = self.measured.begin(Operation::Score, requests.len());
        let results = self.backend.score(requests, cancel);
        meter.scored(&results);
        results
    }
}

impl Backend for MeasuredBackend {
    fn read(&self, talk: &Talk) -> Result<Reading, EngineError> {
        note_input(|| talk.messages.iter().map(told).collect());
        self.backend.read(talk)
    }

    fn encode(&self, prompt: &Prompt) -> Result<Vec<TokenId>, EngineError> {
        note_input(|| {
            let text = prompt.display_text();
            json!([{"role": "user", "parts": [{"type": "text", "content": text}]}])
        });
        self.backend.encode(prompt)
    }

    fn encode_text(&self, text: &str) -> Vec<TokenId> {
        self.backend.encode_text(text)
    }

    fn token_bytes(&self, token: TokenId) -> Vec<u8> {
        self.backend.token_bytes(token)
    }

    fn load(&self) -> Load {
        self.backend.load()
    }
}

/// A message as the conventions for generative AI have it.
fn told(message: &Message) -> Value {
    let mut parts = vec![json!({"type": "text", "content": message.content})];
    parts.extend(
        message.tool_calls.iter().map(
            |call| json!({"type": "tool_call", "name": call.name, "arguments": call.arguments}),
        ),
    );
    json!({"role": message.role, "parts": parts})
}

impl Embed for MeasuredEmbedder {
    fn space(&self) -> &EmbeddingSpace {
        self.embedder.space()
    }

    fn embed(&self, texts: &[&str], cancel: &Cancel) -> Vec<Result<Embedding, EngineError>> {
        let meter = self.measured.begin(Operation::Embed, texts.len());
        let results = self.embedder.embed(texts, cancel);
        meter.embedded(&results);
        results
    }
}
