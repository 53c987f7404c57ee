//! What every route works with.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use autoglm_spec::Embed;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::ServerError;
use crate::admission::{Admission, AdmissionLimits, Occupancy};
use crate::backend::{Backend, Skill};
use crate::hex::hex as digits;
use crate::knowledge::KnowledgeDesk;
use crate::meaning::{MeaningSettings, Meanings};
use crate::metrics::Metrics;
use crate::models::{HealthLimits, Loader, Models, Version};
use crate::observe::{Observer, Telemetry, measured, note_model};
use crate::store::ServerStore;
use crate::tasks::TaskDesk;
use crate::work::TimeLimits;

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
    /// How far a new version of a model may be from the one whose place it takes.
    pub health: HealthLimits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            admission: AdmissionLimits::default(),
            times: TimeLimits::default(),
            body_bytes: 8 << 20,
            answer_tokens: 1_024,
            health: HealthLimits::default(),
        }
    }
}

/// What every route works with.
pub struct App {
    pub(crate) models: Arc<Models>,
    /// Loads versions; without it there are no updates.
    pub(crate) loader: Option<Arc<Loader>>,
    /// Held while a version is loaded.
    pub(crate) updating: Mutex<()>,
    pub(crate) admission: Admission,
    pub(crate) settings: Settings,
    pub(crate) observer: Arc<Observer>,
    surroundings: Surroundings,
    stopping: AtomicBool,
    /// What is remembered, if anything is.
    pub(crate) store: Option<Arc<ServerStore>>,
    /// Gives answers to questions of the same meaning, where that is asked for.
    pub(crate) meanings: Option<Meanings>,
    /// Where tasks are worked on, if any are served.
    pub(crate) tasks: Option<Arc<dyn TaskDesk>>,
    /// Where collections of documents are kept, if any are served.
    pub(crate) knowledge: Option<Arc<dyn KnowledgeDesk>>,
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
    /// An application that serves models. Where a request names none, the first that fits answers;
    /// of two with the same name the later one is served.
    pub fn new(models: Vec<Version>, settings: Settings, surroundings: Surroundings) -> Self {
        Self::observed(models, settings, surroundings, Telemetry::default())
    }

    /// The same, with what it observes sent where the caller wants it.
    pub fn observed(
        models: Vec<Version>,
        settings: Settings,
        surroundings: Surroundings,
        telemetry: Telemetry,
    ) -> Self {
        let models = Arc::new(Models::new(models));
        let admission = Admission::new(settings.admission);
        let metrics = Arc::new(Metrics::new(Arc::clone(&models), admission.clone()));
        let observer = Arc::new(Observer::new(metrics, surroundings.clone(), telemetry));
        Self {
            models,
            loader: None,
            updating: Mutex::new(()),
            admission,
            settings,
            observer,
            surroundings,
            stopping: AtomicBool::new(false),
            store: None,
            meanings: None,
            tasks: None,
            knowledge: None,
        }
    }

    /// The application with a memory for answers and responses.
    #[must_use]
    pub fn remembering(mut self, store: ServerStore) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// The application with answers that are given to questions of the same meaning. They are kept
    /// in the memory, and need a model that makes vectors.
    ///
    /// # Errors
    /// [`ServerError::Missing`] where there is no such model.
    pub fn answering_by_meaning(mut self, settings: MeaningSettings) -> Result<Self, ServerError> {
        let live = self.models.live();
        if !live.iter().any(|v| matches!(v.skill, Skill::Embed(_))) {
            return Err(ServerError::Missing {
                field: "a model that makes vectors".to_owned(),
            });
        }
        self.meanings = Some(Meanings::new(settings));
        Ok(self)
    }

    /// The application with tasks.
    #[must_use]
    pub fn with_tasks(mut self, desk: Arc<dyn TaskDesk>) -> Self {
        self.tasks = Some(desk);
        self
    }

    /// The application with collections of documents.
    #[must_use]
    pub fn with_knowledge(mut self, desk: Arc<dyn KnowledgeDesk>) -> Self {
        self.knowledge = Some(desk);
        self
    }

    /// The application with a loader of new versions.
    #[must_use]
    pub fn loading(mut self, loader: Arc<Loader>) -> Self {
        self.loader = Some(loader);
        self
    }

    /// Goes on with the versions that were live when the server ended before, and says what of it
    /// a user should know. The last step before requests come; blocks while models are loaded.
    ///
    /// # Errors
    /// A memory that cannot be read.
    pub fn resume(&self) -> Result<Vec<String>, ServerError> {
        match (&self.store, &self.loader) {
            (Some(store), Some(loader)) => self.models.resume(store, &**loader),
            _ => Ok(Vec::new()),
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

    /// What a version can do, with every call observed.
    pub(crate) fn skill(&self, version: &Version) -> Skill {
        measured(version, &self.observer)
    }

    /// The version that answers a request: of the model that it names, or of the first that fits.
    pub(crate) fn version(
        &self,
        name: Option<&str>,
        fits: impl Fn(&Version) -> bool,
    ) -> Result<Arc<Version>, ServerError> {
        let first = || {
            let live = self.models.live();
            let first = live.iter().find(|version| fits(version));
            first.map(|version| version.name.clone())
        };
        let name = name.map(str::to_owned).or_else(first);
        let name = name.ok_or_else(|| ServerError::Missing {
            field: "model".to_owned(),
        })?;
        let version = self.models.pick(&name)?;
        note_model(&version.name);
        Ok(version)
    }

    /// A model that writes.
    pub(crate) fn writer(
        &self,
        name: Option<&str>,
    ) -> Result<(Arc<Version>, Arc<dyn Backend>), ServerError> {
        let writes = |version: &Version| matches!(version.skill, Skill::Write(_));
        let version = self.version(name, writes)?;
        match self.skill(&version) {
            Skill::Write(backend) => Ok((version, backend)),
            Skill::Embed(_) => Err(ServerError::CannotDo {
                model: version.name.clone(),
                what: "generate text",
            }),
        }
    }

    /// A model that makes vectors.
    pub(crate) fn embedder(
        &self,
        name: Option<&str>,
    ) -> Result<(Arc<Version>, Arc<dyn Embed>), ServerError> {
        let embeds = |version: &Version| matches!(version.skill, Skill::Embed(_));
        let version = self.version(name, embeds)?;
        match self.skill(&version) {
            Skill::Embed(embedder) => Ok((version, embedder)),
            Skill::Write(_) => Err(ServerError::CannotDo {
                model: version.name.clone(),
                what: "make vectors of texts",
            }),
        }
    }

    /// A number from 0 to 1, without the latter.
    pub(crate) fn chance(&self) -> f64 {
        const STEPS: u64 = 1 << 53;
        ((self.surroundings.random)() % STEPS) as f64 / STEPS as f64
    }

    /// The time.
    pub(crate) fn now(&self) -> SystemTime {
        (self.surroundings.now)()
    }

    /// How many requests are being worked on and wait.
    pub fn occupancy(&self) -> Occupancy {
        self.admission.occupancy()
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
            created: seconds(self.now()),
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

/// 24 hexadecimal digits of a hash: names must not tell the numbers that they are made of.
pub(crate) fn hex(bytes: &[u8], purpose: &[u8]) -> String {
    let hash = Sha256::new().chain_update(purpose).chain_update(bytes);
    let hash = hash.finalize();
    digits(&hash[..12])
}

fn seconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    since.as_secs()
}
