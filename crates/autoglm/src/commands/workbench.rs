//! All that answers the records of a task: its model, its strategy, the judge that labelled records
//! have taught, and what feedback has taught. The commands and the server run tasks by it.

use std::path::Path;
use std::sync::Arc;

use autoglm_engine::LocalEngine;
use autoglm_spec::{Cancel, Embed, TaskSpec};
use autoglm_task::ensemble::Ensemble;
use autoglm_task::file::TaskFile;
use autoglm_task::judge::agreement::Similar;
use autoglm_task::run::{Choosing, Job, Resume, RunSettings, Taught};
use autoglm_task::select::Selector;
use autoglm_task::store::SqliteStore;
use autoglm_task::strategy::StrategyVersion;

use super::choice::StrategyArgs;
use super::confidence::Confidence;
use super::knowledge::passages::Passages;
use super::learning::{Learning, LearningArgs, Purpose};
use super::run::CalibrationArgs;
use super::select::{Library, open_selector};
use super::teach::{Lesson, TeachArgs, Teacher};
use crate::engine::{Counter, EngineArgs, OpenEngine, Pool};

/// Where tasks are worked on.
#[derive(Clone, Copy)]
pub(crate) struct Site<'a> {
    /// The data folder.
    pub(crate) home: &'a Path,
    /// Engines that are open.
    pub(crate) pool: &'a Pool,
    /// Raised to stop.
    pub(crate) cancel: &'a Cancel,
}

/// How a task shall be run, as far as that is said besides the task.
#[derive(Clone, Copy)]
pub(crate) struct Wishes<'a> {
    pub(crate) engine: &'a EngineArgs,
    pub(crate) strategy: StrategyArgs,
    pub(crate) calibration: &'a CalibrationArgs,
    pub(crate) teach: &'a TeachArgs,
    pub(crate) learning: LearningArgs,
}

/// What answers the records of a task.
pub(crate) struct Workbench {
    /// The task with what its strategy changes.
    pub(crate) spec: TaskSpec,
    pub(crate) settings: RunSettings,
    pub(crate) engine: OpenEngine,
    /// The version of its strategy; none where the task runs as it is written.
    pub(crate) version: Option<StrategyVersion>,
    /// The judge that labelled records have taught.
    pub(crate) ensemble: Option<Ensemble>,
    /// What makes the vectors that the judge looks at.
    embedder: Option<Arc<LocalEngine>>,
    learning: Option<Learning>,
    similar: Option<Arc<dyn Similar>>,
    /// Chooses examples for each record.
    selector: Option<Arc<Selector>>,
    /// Counts the tokens of prompts.
    tokens: Box<Counter>,
    /// Finds passages for records, where the task names collections of documents.
    pub(crate) passages: Option<Passages>,
}

impl Workbench {
    /// Opens the engine and brings together what the store holds of the task.
    ///
    /// # Errors
    /// A strategy, model or store that cannot be used, labelled records that cannot be learnt from.
    pub(crate) fn open(
        task: &TaskFile,
        wishes: Wishes<'_>,
        site: Site<'_>,
        store: &mut SqliteStore,
    ) -> anyhow::Result<Self> {
        let place = (site.pool, site.home);
        let strategy = wishes.strategy;
        let chosen = strategy.open_shared(wishes.engine, task, store, place)?;
        let strategy = chosen.version.as_ref().map(|version| &version.strategy);
        let (spec, settings) = wishes.calibration.plan(task, strategy);
        wishes.calibration.check(&settings)?;
        let threads = wishes.engine.local.threads;
        let mut bench = Self {
            passages: Passages::open(&spec, threads, site.home)?,
            spec,
            settings,
            tokens: chosen.engine.counter(),
            selector: None,
            engine: chosen.engine,
            version: chosen.version,
            ensemble: None,
            embedder: None,
            learning: None,
            similar: None,
        };
        let args = &chosen.engine_args;
        bench.find_confidence(task, wishes, (args, site.home), store)?;
        bench.be_taught(task, wishes, (args, site), store)?;
        let purpose = Purpose {
            spec: &task.spec,
            args,
            engine: &bench.engine,
            ensemble: bench.ensemble.as_ref(),
            held_out: &[],
            site,
        };
        bench.learning = wishes.learning.open(&purpose, store)?;
        Ok(bench)
    }

    /// How sure open answers are: by what they are compared, and what corrects that.
    fn find_confidence(
        &mut self,
        task: &TaskFile,
        wishes: Wishes<'_>,
        (engine_args, home): (&EngineArgs, &Path),
        store: &SqliteStore,
    ) -> anyhow::Result<()> {
        if self.settings.plan.samples > 1 {
            self.similar = wishes.calibration.similar(home, task, &self.settings)?;
        }
        let confidence = Confidence {
            spec: &self.spec,
            engine: &self.engine,
            engine_args,
            home,
            settings: &self.settings,
            similar: self.similar.as_deref(),
        };
        self.settings.calibrator = confidence.stored(wishes.teach, store)?;
        Ok(())
    }

    /// Has the judge taught by the labelled records in the store and in the task.
    fn be_taught(
        &mut self,
        task: &TaskFile,
        wishes: Wishes<'_>,
        (engine_args, site): (&EngineArgs, Site<'_>),
        store: &mut SqliteStore,
    ) -> anyhow::Result<()> {
        let spec = TaskSpec {
            examples: task.spec.examples.clone(),
            ..self.spec.clone()
        };
        let is_routed = self.settings.route.is_some();
        let is_off = is_routed || wishes.teach.is_off() || wishes.calibration.is_given();
        let lesson = if is_off {
            Lesson::none(spec)
        } else {
            Lesson::stored(spec, store, &[])?
        };
        let teacher = Teacher::new(&self.engine, engine_args, site);
        self.ensemble = teacher.teach(&lesson, wishes.teach.settings(), store)?;
        if self.ensemble.is_none() {
            let library = Library::Stored(&[]);
            self.selector = open_selector(&self.spec, &self.settings, &library, &teacher, store)?;
        }
        self.embedder = teacher.into_embedder();
        Ok(())
    }

    /// A job on records from a place to a place.
    pub(crate) fn job(&self, source: String, output: String) -> Job<'_> {
        let embedder = self.embedder.as_deref().map(|e| e as &dyn Embed);
        Job {
            spec: &self.spec,
            engine: &self.engine,
            taught: self
                .ensemble
                .as_ref()
                .map(|ensemble| Taught { ensemble, embedder }),
            choosing: self.selector.as_ref().map(|selector| Choosing {
                selector: Arc::clone(selector),
                embedder,
                tokens: Some(&*self.tokens),
            }),
            settings: self.settings.clone(),
            similar: self.similar.clone(),
            source,
            survey: None,
            output,
            resume: Resume::No,
            correction: self.learning.as_ref().map(Learning::correction),
        }
    }
}
