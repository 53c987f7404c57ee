//! One task that is served, and how what it has been taught takes effect while requests go on.
//!
//! What answers is made ready once and kept. When the store says that the task has been taught
//! something since, it is made ready anew beside the one that answers, which goes on until the new
//! one is there; a request ends with the one that it began with.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use autoglm_server::{ServerError, StrategyChoice};
use autoglm_spec::{Cancel, EngineError, TaskSpec};
use autoglm_task::TaskError;
use autoglm_task::file::TaskFile;
use autoglm_task::store::{SqliteStore, TaskStamp};

use super::ready::Ready;
use crate::commands::choice::{StrategyArgs, StrategyName};
use crate::commands::learning::LearningArgs;
use crate::commands::run::CalibrationArgs;
use crate::commands::task::store_path;
use crate::commands::teach::TeachArgs;
use crate::commands::workbench::{Site, Wishes, Workbench};
use crate::engine::{EngineArgs, Pool};

/// Strategies besides the live one that are kept ready.
const MOST_OTHERS: usize = 4;

/// What runs a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Which {
    /// The strategy that is live, whichever that is.
    Live,
    /// The task as it is written.
    Written,
    /// The strategy with this number.
    Number(i64),
}

impl Which {
    fn of(choice: Option<StrategyChoice>) -> Self {
        match choice {
            None => Self::Live,
            Some(StrategyChoice::None) => Self::Written,
            Some(StrategyChoice::Number(number)) => Self::Number(number),
        }
    }

    fn args(self) -> StrategyArgs {
        let strategy = match self {
            Self::Live => None,
            Self::Written => Some(StrategyName::None),
            Self::Number(number) => Some(StrategyName::Number(number)),
        };
        StrategyArgs { strategy }
    }
}

/// What tasks are worked on with.
pub(super) struct Workshop {
    pub(super) home: PathBuf,
    pub(super) pool: Arc<Pool>,
    pub(super) engine: EngineArgs,
    /// Connections to the store that nobody uses just now.
    idle: Mutex<Vec<SqliteStore>>,
}

/// A task that is served.
pub(super) struct ServedTask {
    pub(super) file: TaskFile,
    pub(super) spec: Arc<TaskSpec>,
    workshop: Arc<Workshop>,
    ready: Mutex<BTreeMap<Which, Arc<Ready>>>,
    /// Held while something is made ready.
    making: Mutex<()>,
    /// What could not be made ready: it is not tried again before something has changed.
    failed: Mutex<Option<(Which, TaskStamp)>>,
}

impl Workshop {
    pub(super) fn new(home: PathBuf, pool: Arc<Pool>, engine: EngineArgs) -> Self {
        Self {
            home,
            pool,
            engine,
            idle: Mutex::default(),
        }
    }

    /// Works with the store on a connection of its own.
    pub(super) fn with_store<T>(
        &self,
        work: impl FnOnce(&mut SqliteStore) -> Result<T, ServerError>,
    ) -> Result<T, ServerError> {
        let idle = lock(&self.idle).pop();
        let mut store = match idle {
            Some(store) => store,
            None => SqliteStore::open(&store_path(&self.home))?,
        };
        let done = work(&mut store);
        lock(&self.idle).push(store);
        done
    }
}

impl ServedTask {
    pub(super) fn new(file: TaskFile, workshop: Arc<Workshop>) -> Self {
        Self {
            spec: Arc::new(file.spec.clone()),
            file,
            workshop,
            ready: Mutex::default(),
            making: Mutex::default(),
            failed: Mutex::default(),
        }
    }

    /// What answers by a strategy, the live one where none is named.
    ///
    /// # Errors
    /// A strategy, model or store that cannot be used.
    pub(super) fn ready(
        self: &Arc<Self>,
        choice: Option<StrategyChoice>,
    ) -> Result<Arc<Ready>, ServerError> {
        let which = Which::of(choice);
        let known = lock(&self.ready).get(&which).cloned();
        let Some(known) = known else {
            return self.make(which);
        };
        let stamp = self.stamp()?;
        let has_failed = *lock(&self.failed) == Some((which, stamp));
        if known.stamp != stamp && !has_failed {
            self.make_meanwhile(which);
        }
        Ok(known)
    }

    /// Has what was taught take effect before this returns.
    ///
    /// # Errors
    /// As for [`ServedTask::ready`].
    pub(super) fn renew(&self) -> Result<(), ServerError> {
        self.make(Which::Live).map(|_| ())
    }

    /// The same where what was asked for is done already: that it has no effect yet is told to
    /// whoever runs the server.
    pub(super) fn renew_or_tell(&self) {
        if let Err(error) = self.renew() {
            self.tell_unchanged(&error);
        }
    }

    fn tell_unchanged(&self, error: &ServerError) {
        tell(&format!(
            "the task {} goes on as it was: {error}",
            self.spec.name
        ));
    }

    fn stamp(&self) -> Result<TaskStamp, ServerError> {
        let name = &self.spec.name;
        self.workshop.with_store(|store| Ok(store.stamp(name)?))
    }

    /// Makes it ready on a thread of its own, unless another is at it.
    fn make_meanwhile(self: &Arc<Self>, which: Which) {
        let task = Arc::clone(self);
        if self.making.try_lock().is_err() {
            return;
        }
        std::thread::spawn(move || {
            if let Err(error) = task.make(which) {
                task.tell_unchanged(&error);
            }
        });
    }

    fn make(&self, which: Which) -> Result<Arc<Ready>, ServerError> {
        let _turn = lock(&self.making);
        let stamp = self.stamp()?;
        let known = lock(&self.ready).get(&which).cloned();
        if let Some(known) = known.filter(|known| known.stamp == stamp) {
            return Ok(known);
        }
        let opened = self.workshop.with_store(|store| {
            let bench = self.open(which, store).map_err(|error| self.told(error))?;
            Ok(Ready::new(bench, stamp, store)?)
        });
        *lock(&self.failed) = opened.is_err().then_some((which, stamp));
        let opened = Arc::new(opened?);
        let mut ready = lock(&self.ready);
        if which != Which::Live && ready.len() > MOST_OTHERS {
            ready.retain(|which, _| *which == Which::Live);
        }
        ready.insert(which, Arc::clone(&opened));
        Ok(opened)
    }

    fn open(&self, which: Which, store: &mut SqliteStore) -> anyhow::Result<Workbench> {
        let wishes = Wishes {
            engine: &self.workshop.engine,
            strategy: which.args(),
            calibration: &CalibrationArgs::default(),
            teach: &TeachArgs::default(),
            learning: LearningArgs::default(),
        };
        let site = Site {
            home: &self.workshop.home,
            pool: &self.workshop.pool,
            cancel: &Cancel::default(),
        };
        Workbench::open(&self.file, wishes, site, store)
    }

    /// An error as the server tells it.
    fn told(&self, error: anyhow::Error) -> ServerError {
        let error = match error.downcast::<TaskError>() {
            Ok(error) => return error.into(),
            Err(error) => error,
        };
        match error.downcast::<EngineError>() {
            Ok(error) => error.into(),
            Err(error) => ServerError::TaskUnready {
                task: self.spec.name.clone(),
                why: format!("{error:#}"),
            },
        }
    }
}

/// Nothing that is done under these locks leaves what they guard half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(
    clippy::print_stderr,
    reason = "talk to the user goes to standard error"
)]
fn tell(text: &str) {
    eprintln!("{text}");
}
