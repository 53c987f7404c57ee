//! What is counted, under the names that dashboards of vLLM use and under names of our own.
//!
//! One set of instruments feeds both ways out: text for Prometheus, and OTLP. Labels take values
//! from bounded sets alone: routes as they are declared, names of models and collections that are served, reasons
//! from the table of errors.

mod buckets;
mod catalogue;
mod engine;
mod model;
mod server;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::proto::MetricFamily;
use prometheus::{Gauge, Registry, TextEncoder};

use crate::admission::Admission;
use crate::models::{Models, Version};

use catalogue::Catalogue;
use engine::EngineFamilies;
use model::ModelFamilies;

pub(crate) use engine::Source;
pub(crate) use model::{Answered, Finish, ModelMetrics};
pub(crate) use server::{OpenConnection, ServerMetrics};

/// A cache of whole answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerCache {
    /// The same request.
    Exact,
    /// A request that means the same.
    Semantic,
}

/// What is counted.
pub struct Metrics {
    registry: Registry,
    #[cfg(test)]
    described: Vec<catalogue::Described>,
    /// Held while gauges are set and read, so that what is read belongs together.
    reading: Mutex<()>,
    /// The server itself.
    pub(crate) server: ServerMetrics,
    engine: EngineFamilies,
    vllm: ModelFamilies,
    served: Arc<Models>,
    admission: Admission,
    models: BTreeMap<String, Arc<ModelMetrics>>,
}

impl Metrics {
    /// Instruments for these models, whose live versions tell how busy they are.
    pub(crate) fn new(served: Arc<Models>, admission: Admission) -> Self {
        let live = served.live();
        let sources = live.iter().filter_map(|version| Source::of(version));
        let contexts = sources.map(|source| source.backend.facts().context_tokens);
        let most_tokens = contexts.max();
        let mut made = Catalogue::default();
        let vllm = ModelFamilies::new(&mut made, most_tokens.unwrap_or(1));
        let server = ServerMetrics::new(&mut made);
        let engine = EngineFamilies::new(&mut made);
        let build = made.gauge(BUILD, &["version"]);
        build
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1.0);
        let one = |version: &Arc<Version>| (version.name.clone(), Arc::new(vllm.of(&version.name)));
        Self {
            models: live.iter().map(one).collect(),
            registry: made.registry,
            #[cfg(test)]
            described: made.described,
            reading: Mutex::default(),
            server,
            engine,
            vllm,
            served,
            admission,
        }
    }

    /// The instruments of a model that is served.
    pub(crate) fn model(&self, name: &str) -> Option<&Arc<ModelMetrics>> {
        self.models.get(name)
    }

    /// How many requests for a model are in the server's queue.
    pub(crate) fn queued(&self, model: &str) -> Gauge {
        self.engine.queued(model)
    }

    /// A cache had an answer, which saved so much time.
    pub fn cache_hit(&self, cache: AnswerCache, saved: Duration) {
        let labels = [cache.name()];
        self.server.cache_hits.with_label_values(&labels).inc();
        let counter = self.server.cache_saved.with_label_values(&labels);
        counter.inc_by(saved.as_secs_f64());
    }

    /// A cache was asked for an answer and had none.
    pub fn cache_miss(&self, cache: AnswerCache) {
        let labels = [cache.name()];
        self.server.cache_misses.with_label_values(&labels).inc();
    }

    /// A question was answered by the model although one of the same meaning was remembered, and that
    /// one's answer would have been right or not.
    pub(crate) fn explored(&self, is_right: bool) {
        let outcome = if is_right { "right" } else { "wrong" };
        self.server.explored.with_label_values(&[outcome]).inc();
    }

    /// A served collection of documents was searched.
    pub(crate) fn searched(&self, collection: &str) {
        let labels = [collection];
        self.server.searches.with_label_values(&labels).inc();
    }

    /// A served collection of documents was asked.
    pub(crate) fn asked(&self, collection: &str, outcome: &str) {
        let labels = [collection, outcome];
        self.server.questions.with_label_values(&labels).inc();
    }

    /// All that is counted, as it is now. Waits for the models to tell how busy they are.
    pub(crate) fn families(&self) -> Vec<MetricFamily> {
        let _reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let live = self.served.live();
        for source in live.iter().filter_map(|version| Source::of(version)) {
            self.engine.read(&source, &self.vllm);
        }
        self.engine.read_admission(&self.admission);
        self.registry.gather()
    }

    /// All that is counted, in Prometheus' text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string fails only for names that registration has refused.
        let _ = TextEncoder::new().encode_utf8(&self.families(), &mut text);
        text
    }
}

impl AnswerCache {
    fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Semantic => "semantic",
        }
    }
}

const BUILD: catalogue::Named = (
    "autoglm_build_info",
    "Always 1; the label tells the version.",
);
