//! What every route works with.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use autoglm_spec::Embed;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::ServerError;
use crate::admission::{Admission, AdmissionLimits};
use crate::backend::{Backend, Skill};
use crate::metrics::{Metrics, Source};
use crate::observe::{Observer, Telemetry, measured, note_model};
use crate::work::TimeLimits;

/// A model that is served.
#[derive(Clone)]
pub struct Served {
    /// The name that requests call it by.
    pub name: String,
    /// What tells its weights, settings and adapter apart from others'.
    pub identity: String,
    /// When it was loaded.
    pub loaded: SystemTime,
    /// What it can do.
    pub skill: Skill,
}

/// What the server takes from outside: the time and randomness.
#[derive(Clone)]
pub struct Surroundings {
    /// The time.
    pub now: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    /// A number that nobody can guess.
    pub random: Arc<dyn Fn() -> u64 + Send + Sync>,
}

/// How the server treats requests.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How many requests are taken on.
    pub admission: AdmissionLimits,
    /// How long they may take.
    pub times: TimeLimits,
    /// Bytes of a body at most.
    pub body_bytes: usize,
    /// Tokens of an answer at most, where the request does not say.
    pub answer_tokens: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            admission: AdmissionLimits::default(),
            times: TimeLimits::default(),
            body_bytes: 8 << 20,
            answer_tokens: 1_024,
        }
    }
}

/// What every route works with.
pub struct App {
    models: BTreeMap<String, Served>,
    /// The models that are used where a request names none, in the order in which they were given.
    order: Vec<String>,
    pub(crate) admission: Admission,
    pub(crate) settings: Settings,
    pub(crate) observer: Arc<Observer>,
    surroundings: Surroundings,
    stopping: AtomicBool,
}

/// A number for one request: what its answer is called, and its random seed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticket {
    number: u64,
    /// When it came.
    pub(crate) created: u64,
    pub(crate) deadline: Instant,
}

impl App {
    /// An application that serves models. Two of the same name are an error of the caller.
    pub fn new(models: Vec<Served>, settings: Settings, surroundings: Surroundings) -> Self {
        Self::observed(models, settings, surroundings, Telemetry::default())
    }

    /// The same, with what it observes sent where the caller wants it.
    pub fn observed(
        models: Vec<Served>,
        settings: Settings,
        surroundings: Surroundings,
        telemetry: Telemetry,
    ) -> Self {
        let order: Vec<String> = models.iter().map(|model| model.name.clone()).collect();
        let admission = Admission::new(settings.admission);
        let sources = models.iter().filter_map(Source::of).collect();
        let metrics = Arc::new(Metrics::new(&order, sources, admission.clone()));
        let observer = Observer::new(metrics, surroundings.clone(), telemetry);
        let observer = Arc::new(observer);
        let models = models.into_iter().map(|model| measured(model, &observer));
        Self {
            models: models.map(|model| (model.name.clone(), model)).collect(),
            order,
            admission,
            settings,
            observer,
            surroundings,
            stopping: AtomicBool::new(false),
        }
    }

    /// What is counted.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.observer.metrics
    }

    /// Sends what is observed and not sent yet, and then no more; the last thing before the
    /// process ends. Waits at most so long, and says whether that was enough.
    pub fn close_telemetry(&self, limit: Duration) -> bool {
        self.observer.close(limit)
    }

    /// The models in the order in which they were given.
    pub(crate) fn models(&self) -> impl Iterator<Item = &Served> {
        self.order.iter().filter_map(|name| self.models.get(name))
    }

    /// The model that a request names, or the first that fits.
    pub(crate) fn model(
        &self,
        name: Option<&str>,
        fits: impl Fn(&Served) -> bool,
    ) -> Result<&Served, ServerError> {
        let found = match name {
            Some(name) => self
                .models
                .get(name)
                .ok_or_else(|| ServerError::NoSuchModel {
                    name: name.to_owned(),
                }),
            None => self
                .models()
                .find(|model| fits(model))
                .ok_or_else(|| ServerError::Missing {
                    field: "model".to_owned(),
                }),
        };
        found.inspect(|model| note_model(&model.name))
    }

    /// A model that writes.
    pub(crate) fn writer(
        &self,
        name: Option<&str>,
    ) -> Result<(&Served, Arc<dyn Backend>), ServerError> {
        let served = self.model(name, |model| matches!(model.skill, Skill::Write(_)))?;
        match &served.skill {
            Skill::Write(backend) => Ok((served, Arc::clone(backend))),
            Skill::Embed(_) => Err(ServerError::CannotDo {
                model: served.name.clone(),
                what: "generate text",
            }),
        }
    }

    /// A model that makes vectors.
    pub(crate) fn embedder(
        &self,
        name: Option<&str>,
    ) -> Result<(&Served, Arc<dyn Embed>), ServerError> {
        let served = self.model(name, |model| matches!(model.skill, Skill::Embed(_)))?;
        match &served.skill {
            Skill::Embed(embedder) => Ok((served, Arc::clone(embedder))),
            Skill::Write(_) => Err(ServerError::CannotDo {
                model: served.name.clone(),
                what: "make vectors of texts",
            }),
        }
    }

    /// Tells the server that it is to stop: it is no longer ready, and ends what it has begun.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether it is to stop.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Tokens of an answer at most, behind a prompt of so many: what the request says, or what is
    /// usual here and fits.
    pub(crate) fn answer_tokens(
        &self,
        backend: &dyn Backend,
        prompt_tokens: usize,
        asked: Option<usize>,
    ) -> usize {
        let room = backend.facts().context_tokens.saturating_sub(prompt_tokens);
        asked.unwrap_or_else(|| self.settings.answer_tokens.min(room).max(1))
    }

    /// A ticket for a request that has just come.
    pub(crate) fn ticket(&self) -> Ticket {
        Ticket {
            number: (self.surroundings.random)(),
            created: seconds((self.surroundings.now)()),
            deadline: Instant::now() + self.settings.times.request,
        }
    }
}

impl Ticket {
    /// A name that begins with this.
    pub(crate) fn name(&self, prefix: &str) -> String {
        format!("{prefix}{}", hex(&self.number.to_le_bytes(), b"name"))
    }

    /// A name of a part of the answer.
    pub(crate) fn part_name(&self, prefix: &str, part: usize) -> String {
        let seed = [self.number.to_le_bytes(), (part as u64).to_le_bytes()].concat();
        format!("{prefix}{}", hex(&seed, b"part"))
    }

    /// The seed where the client gives none.
    pub(crate) fn seed(&self) -> u64 {
        self.number
    }
}

impl Served {
    /// What tells versions of the model apart, as answers tell it.
    pub(crate) fn fingerprint(&self) -> String {
        format!("fp_{}", &hex(self.identity.as_bytes(), b"model")[..12])
    }

    /// When it was loaded, in seconds since 1970.
    pub(crate) fn created(&self) -> u64 {
        seconds(self.loaded)
    }
}

/// 24 hexadecimal digits of a hash: names must not tell the numbers that they are made of.
fn hex(bytes: &[u8], purpose: &[u8]) -> String {
    let hash = Sha256::new().chain_update(purpose).chain_update(bytes);
    let hash = hash.finalize();
    hash.iter().take(12).map(|b| format!("{b:02x}")).collect()
}

fn seconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    since.as_secs()
}
