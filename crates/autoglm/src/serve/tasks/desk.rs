//! What the server asks of tasks, answered from the store and by what is ready.

use std::sync::Arc;

use anyhow::Context;
use autoglm_server::{
    FeedbackTaken, RunEvent, RunOrder, Said, ServerError, StrategyChoice, TaskDesk, TaskState,
};
use autoglm_spec::{Cancel, Example, TaskSpec};
use autoglm_task::TaskError;
use autoglm_task::learn::Giver;
use autoglm_task::library::{Added, Entry, Library, Source, labelled};
use autoglm_task::report::{RunList, RunPage, TaskReport, Wanted, collect, list_runs, open_run};
use autoglm_task::run::RunReport;
use autoglm_task::store::{FeedbackStore, NewFeedback, RunId, SqliteStore};
use autoglm_task::strategy::{StrategyId, StrategyKey, StrategyStore, StrategyVersion};

use super::served::{ServedTask, Workshop};
use crate::commands::task::TaskArgs;
use crate::engine::{EngineArgs, RemoteArgs};
use crate::serve::ModelPlan;
use crate::streams::now;

/// The tasks that are served.
pub(crate) struct Desk {
    tasks: Vec<Arc<ServedTask>>,
    workshop: Arc<Workshop>,
}

impl Desk {
    /// A desk for tasks, each given by its file or its words, with the live strategy of each ready.
    ///
    /// # Errors
    /// A task that cannot be used, two of the same name, a model that cannot be opened.
    pub(crate) fn open(tasks: &[String], plan: &ModelPlan) -> anyhow::Result<Self> {
        let engine = EngineArgs {
            local: plan.args.clone(),
            remote: RemoteArgs::default(),
        };
        let pool = Arc::clone(&plan.pool);
        let workshop = Arc::new(Workshop::new(plan.home.clone(), pool, engine));
        let mut desk = Self {
            tasks: Vec::new(),
            workshop,
        };
        for words in tasks {
            desk.add(words)
                .with_context(|| format!("cannot serve the task {words}"))?;
        }
        Ok(desk)
    }

    fn add(&mut self, words: &str) -> anyhow::Result<()> {
        let args = TaskArgs {
            task: words.to_owned(),
        };
        let file = args.load()?;
        let name = &file.spec.name;
        let is_there = self.tasks.iter().any(|task| task.spec.name == *name);
        anyhow::ensure!(!is_there, "two tasks are called {name}");
        let task = Arc::new(ServedTask::new(file, Arc::clone(&self.workshop)));
        task.ready(None)?;
        self.tasks.push(task);
        Ok(())
    }

    fn task(&self, name: &str) -> Result<&Arc<ServedTask>, ServerError> {
        let found = self.tasks.iter().find(|task| task.spec.name == name);
        found.ok_or_else(|| ServerError::NoSuchTask {
            name: name.to_owned(),
        })
    }

    fn with_store<T>(
        &self,
        work: impl FnOnce(&mut SqliteStore) -> Result<T, ServerError>,
    ) -> Result<T, ServerError> {
        self.workshop.with_store(work)
    }
}

impl TaskDesk for Desk {
    fn tasks(&self) -> Vec<Arc<TaskSpec>> {
        let specs = self.tasks.iter().map(|task| Arc::clone(&task.spec));
        specs.collect()
    }

    fn state(&self, task: &str) -> Result<TaskState, ServerError> {
        let key = StrategyKey::of(&self.task(task)?.spec);
        self.with_store(|store| {
            let stamp = store.stamp(task)?;
            let live = store.live_strategy(&key)?;
            Ok(TaskState {
                live_strategy: live.map(|version| version.id.0),
                examples: stamp.examples as usize,
                feedback: stamp.feedback as usize,
            })
        })
    }

    fn run(
        &self,
        order: &RunOrder,
        cancel: &Cancel,
        on_event: &mut dyn FnMut(RunEvent),
    ) -> Result<RunReport, ServerError> {
        if let Some(StrategyChoice::Number(id)) = order.strategy {
            self.strategy(&order.task, id)?;
        }
        let ready = self.task(&order.task)?.ready(order.strategy)?;
        self.with_store(|store| Ok(ready.run(order, store, cancel, on_event)?))
    }

    fn give_feedback(&self, task: &str, said: &[Said]) -> Result<FeedbackTaken, ServerError> {
        let served = self.task(task)?;
        let taken = self.with_store(|store| {
            let rows: Result<Vec<NewFeedback>, ServerError> = said
                .iter()
                .enumerate()
                .map(|(index, said)| {
                    let row = feedback_row(&served.spec, said, store);
                    row.map_err(|error| in_item(said_place(index), error))
                })
                .collect();
            let rows = rows?;
            let batch = store.put_feedback(task, &rows, now())?;
            Ok(FeedbackTaken {
                batch,
                rows: rows.len(),
                total: store.stamp(task)?.feedback as usize,
            })
        })?;
        served.renew_or_tell();
        Ok(taken)
    }

    fn examples(&self, task: &str) -> Result<Vec<Entry>, ServerError> {
        self.with_store(|store| Ok(store.examples(task)?))
    }

    /// The judge that they teach is fitted meanwhile: that may take minutes.
    fn add_examples(&self, task: &str, examples: &[Example]) -> Result<Added, ServerError> {
        let spec = &self.task(task)?.spec;
        let checked: Result<Vec<Example>, ServerError> = examples
            .iter()
            .enumerate()
            .map(|(index, example)| {
                let known = labelled(spec, &example.input, &example.output);
                let refused = |reason| TaskError::UnusableFeedback { reason };
                known.map_err(|reason| in_item(said_place(index), refused(reason)))
            })
            .collect();
        let checked = checked?;
        self.with_store(|store| Ok(store.add_examples(task, &checked, Source::Added, now())?))
    }

    fn remove_example(&self, task: &str, id: i64) -> Result<(), ServerError> {
        self.with_store(|store| Ok(store.remove_examples(task, &[id])?))
    }

    fn strategies(&self, task: &str) -> Result<Vec<StrategyVersion>, ServerError> {
        let key = StrategyKey::of(&self.task(task)?.spec);
        let mut versions = self.with_store(|store| Ok(store.strategies(Some(task))?))?;
        versions.retain(|version| version.key == key);
        Ok(versions)
    }

    fn strategy(&self, task: &str, id: i64) -> Result<StrategyVersion, ServerError> {
        let key = StrategyKey::of(&self.task(task)?.spec);
        self.with_store(|store| {
            let version = store.strategy(StrategyId(id))?;
            if version.key != key {
                return Err(TaskError::NoSuchStrategy { id }.into());
            }
            Ok(version)
        })
    }

    fn promote(&self, task: &str, id: i64) -> Result<StrategyVersion, ServerError> {
        let served = self.task(task)?;
        let key = self.strategy(task, id)?.key;
        self.with_store(|store| Ok(store.promote(&key, Some(StrategyId(id)), now())?))?;
        if let Err(error) = served.renew() {
            self.with_store(|store| Ok(store.roll_back(&key)?))?;
            return Err(error);
        }
        self.strategy(task, id)
    }

    fn roll_back(&self, task: &str) -> Result<Option<i64>, ServerError> {
        let served = self.task(task)?;
        let key = StrategyKey::of(&served.spec);
        let live = self.with_store(|store| Ok(store.roll_back(&key)?))?;
        served.renew_or_tell();
        Ok(live.map(|id| id.0))
    }

    fn runs(&self, task: &str, count: usize) -> Result<RunList, ServerError> {
        let spec = &self.task(task)?.spec;
        self.with_store(|store| Ok(list_runs(store, spec, count)?))
    }

    fn open_run(
        &self,
        task: &str,
        run: i64,
        first: u64,
        count: usize,
    ) -> Result<RunPage, ServerError> {
        let spec = &self.task(task)?.spec;
        self.with_store(|store| Ok(open_run(store, spec, RunId(run), first, count)?))
    }

    fn report(&self, task: &str, run: Option<i64>) -> Result<TaskReport, ServerError> {
        let wanted = Wanted {
            spec: &self.task(task)?.spec,
            run: run.map(RunId),
            now: now(),
        };
        self.with_store(|store| Ok(collect(store, &wanted)?))
    }
}

fn feedback_row(
    spec: &TaskSpec,
    said: &Said,
    store: &SqliteStore,
) -> Result<NewFeedback, TaskError> {
    let giver = Giver {
        spec,
        gold_field: None,
        note: said.note.as_deref(),
        pinned: false,
    };
    let place = (RunId(said.run), said.record);
    giver.on_record(store, place, said.judgement.clone())
}

/// Where a value stands in a list of them.
fn said_place(index: usize) -> String {
    format!("[{index}]")
}

fn in_item(place: String, source: TaskError) -> ServerError {
    ServerError::Task {
        place,
        source: Box::new(source),
    }
}
