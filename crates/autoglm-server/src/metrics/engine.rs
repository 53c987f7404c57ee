//! How busy models and the queue are, read when somebody asks.

use std::sync::Arc;

use prometheus::{GaugeVec, IntCounterVec};

use super::catalogue::{Catalogue, Named};
use super::model::{ENGINE, ModelFamilies};
use crate::admission::Admission;
use crate::backend::{Backend, Load, Skill};
use crate::models::Version;

/// A model that tells how busy it is.
pub(crate) struct Source {
    /// Its name.
    pub(crate) model: String,
    /// The model.
    pub(crate) backend: Arc<dyn Backend>,
}

impl Source {
    /// A model that writes; others have no cache and no queue to tell of.
    pub(crate) fn of(version: &Version) -> Option<Self> {
        let Skill::Write(backend) = &version.skill else {
            return None;
        };
        Some(Self {
            model: version.name.clone(),
            backend: Arc::clone(backend),
        })
    }
}

/// The instruments that are read from elsewhere.
pub(super) struct EngineFamilies {
    requests: GaugeVec,
    positions: GaugeVec,
    prompt_tokens: IntCounterVec,
    cached_tokens: IntCounterVec,
    generated_tokens: IntCounterVec,
    passes: IntCounterVec,
    admission: GaugeVec,
    limits: GaugeVec,
    queued: GaugeVec,
}

impl EngineFamilies {
    /// Makes the instruments.
    pub(super) fn new(made: &mut Catalogue) -> Self {
        const MODEL: &[&str] = &["model_name"];
        Self {
            requests: made.gauge(REQUESTS, &["model_name", "state"]),
            positions: made.gauge(POSITIONS, &["model_name", "state"]),
            prompt_tokens: made.counter(PROMPT_TOKENS, MODEL),
            cached_tokens: made.counter(CACHED_TOKENS, MODEL),
            generated_tokens: made.counter(GENERATED_TOKENS, MODEL),
            passes: made.counter(PASSES, MODEL),
            admission: made.gauge(ADMISSION, &["state"]),
            limits: made.gauge(LIMITS, &["state"]),
            queued: made.gauge(QUEUED, MODEL),
        }
    }

    /// The requests in the server's queue that are for a model.
    pub(super) fn queued(&self, model: &str) -> prometheus::Gauge {
        self.queued.with_label_values(&[model])
    }

    /// Sets what a model tells.
    pub(super) fn read(&self, source: &Source, vllm: &ModelFamilies) {
        let model = source.model.as_str();
        let load = source.backend.load();
        let set = |family: &GaugeVec, labels: &[&str], value: usize| {
            family.with_label_values(labels).set(value as f64);
        };
        set(&self.requests, &[model, "running"], load.running);
        set(&self.requests, &[model, "waiting"], load.waiting);
        set(&self.positions, &[model, "used"], load.used_positions);
        set(&self.positions, &[model, "kept"], load.kept_positions);
        set(&self.positions, &[model, "free"], free(&load));
        // Two that ask at once must not find a counter at nought.
        let count = |family: &IntCounterVec, value: u64| {
            let counter = family.with_label_values(&[model]);
            let before = counter.get();
            if value < before {
                counter.reset();
            }
            counter.inc_by(value - counter.get());
        };
        count(&self.prompt_tokens, load.prompt_tokens);
        count(&self.cached_tokens, load.cached_tokens);
        count(&self.generated_tokens, load.generated_tokens);
        count(&self.passes, load.passes);
        let queued = self.queued(model).get() as usize;
        set(&vllm.running, &[model, ENGINE], load.running);
        set(&vllm.waiting, &[model, ENGINE], load.waiting + queued);
        let full = load.used_positions as f64 / load.positions.max(1) as f64;
        vllm.cache_usage
            .with_label_values(&[model, ENGINE])
            .set(full);
    }

    /// Sets what the queue tells.
    pub(super) fn read_admission(&self, admission: &Admission) {
        let (now, limits) = (admission.occupancy(), admission.limits());
        let states = [
            ("running", now.running, limits.running),
            ("waiting", now.waiting, limits.waiting),
        ];
        for (state, value, limit) in states {
            self.admission.with_label_values(&[state]).set(value as f64);
            self.limits.with_label_values(&[state]).set(limit as f64);
        }
    }
}

fn free(load: &Load) -> usize {
    let taken = load.used_positions + load.kept_positions;
    load.positions.saturating_sub(taken)
}

const REQUESTS: Named = (
    "autoglm_engine_requests",
    "Requests in the engine: running, or waiting for room in its cache.",
);
const POSITIONS: Named = (
    "autoglm_engine_cache_positions",
    "Positions of the key/value cache: used by requests, kept because they may be shared, or free.",
);
const PROMPT_TOKENS: Named = (
    "autoglm_engine_prompt_tokens_total",
    "Tokens of prompts that the engine has read or found in its cache.",
);
const CACHED_TOKENS: Named = (
    "autoglm_engine_cached_tokens_total",
    "Of these, tokens that it found in its cache.",
);
const GENERATED_TOKENS: Named = (
    "autoglm_engine_generated_tokens_total",
    "Tokens that the engine has generated.",
);
const PASSES: Named = (
    "autoglm_engine_passes_total",
    "Passes through the model; tokens by passes is the mean batch.",
);
const ADMISSION: Named = (
    "autoglm_admission_requests",
    "Requests that have leave to run, and requests that wait for it.",
);
const LIMITS: Named = (
    "autoglm_admission_limit",
    "How many requests may run and wait; beyond it they are refused with 429.",
);
const QUEUED: Named = (
    "autoglm_admission_queued",
    "Requests that wait for leave to run, by the model that they are for.",
);
