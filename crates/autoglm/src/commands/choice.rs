//! Which strategy a task is run by: the live one, one by its number, or the task as it is written.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Context;
use autoglm_spec::{Generate as _, TaskSpec};
use autoglm_task::file::TaskFile;
use autoglm_task::strategy::{
    Strategy, StrategyId, StrategyKey, StrategyStore, StrategyVersion, check_soft_prompt,
};
use clap::Args;

use super::task::{engine_args, need};
use crate::engine::{EngineArgs, OpenEngine, Pool};

/// Which strategy runs.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct StrategyArgs {
    /// Run the task by the strategy with this number, or as it is written (none), in place of the
    /// one that is live.
    #[arg(long, value_name = "N|none")]
    pub(crate) strategy: Option<StrategyName>,
}

/// A strategy by what a user calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StrategyName {
    /// The task as it is written.
    None,
    /// The version with this number.
    Number(i64),
}

impl FromStr for StrategyName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match (text, text.parse()) {
            ("none", _) => Ok(Self::None),
            (_, Ok(number)) => Ok(Self::Number(number)),
            (_, Err(_)) => Err(
                "want a strategy's number, as `autoglm strategy list` shows it, or none".to_owned(),
            ),
        }
    }
}

/// What runs a task.
pub(crate) struct Chosen {
    /// The version of its strategy; none for the task as it is written.
    pub(crate) version: Option<StrategyVersion>,
    /// The engine with what it was asked for by.
    pub(crate) engine_args: EngineArgs,
    pub(crate) engine: OpenEngine,
}

impl StrategyArgs {
    /// Opens the engine with the strategy that runs, which is told on standard error.
    ///
    /// # Errors
    /// A strategy that does not exist or is another task's, a store or engine that cannot be used.
    pub(crate) fn open(
        self,
        engine: &EngineArgs,
        task: &TaskFile,
        store: &dyn StrategyStore,
        home: &Path,
    ) -> anyhow::Result<Chosen> {
        self.open_shared(engine, task, store, (&Pool::default(), home))
    }

    /// The same with an engine that may be open already.
    ///
    /// # Errors
    /// As for [`StrategyArgs::open`].
    pub(crate) fn open_shared(
        self,
        engine: &EngineArgs,
        task: &TaskFile,
        store: &dyn StrategyStore,
        (pool, home): (&Pool, &Path),
    ) -> anyhow::Result<Chosen> {
        let version = choose(self.strategy, &task.spec, store)?;
        let strategy = version.as_ref().map(|version| &version.strategy);
        let engine_args = with_soft_prompt(engine_args(engine, task), strategy)?;
        let engine = engine_args.open_shared(pool, home, need(&task.spec))?;
        Ok(Chosen {
            version: self.suited(version, &engine.facts().name),
            engine_args,
            engine,
        })
    }

    /// The version where it suits the model, which is told; the task runs as it is written by any
    /// other than the model that its live version was found with. A soft prompt is bound to its
    /// model by its size, and what was added by hand need not name one.
    fn suited(self, version: Option<StrategyVersion>, model: &str) -> Option<StrategyVersion> {
        let version = version?;
        if self.strategy.is_some() {
            return Some(version);
        }
        let is_any_models = version.model.is_empty();
        if is_any_models || version.model == model || version.strategy.soft_prompt.is_some() {
            tell_live(&version);
            return Some(version);
        }
        tell_unused(
            &version,
            &format!("found with the model {}, not {model}", version.model),
        );
        None
    }
}

/// The version that runs, if it suits the model; none for the task as it is written, and where the
/// live version, which is told, was made for another instruction.
///
/// # Errors
/// When there is no such strategy, it is another task's, or the store cannot be read.
fn choose(
    name: Option<StrategyName>,
    spec: &TaskSpec,
    store: &dyn StrategyStore,
) -> anyhow::Result<Option<StrategyVersion>> {
    let key = StrategyKey::of(spec);
    let version = match name {
        Some(StrategyName::None) => None,
        Some(StrategyName::Number(id)) => Some(numbered(id, &key, store)?),
        None => {
            let live = store.live_strategy(&key)?;
            let stale = live.as_ref().filter(|v| v.made_for != spec.instruction);
            if let Some(version) = stale {
                tell_unused(version, "made for another instruction of the task");
                return Ok(None);
            }
            live
        }
    };
    if let Some(version) = &version {
        tell_changes(version, spec);
    }
    Ok(version)
}

/// A version of a task by its number.
///
/// # Errors
/// When there is no such strategy, or it is another task's.
pub(crate) fn numbered(
    id: i64,
    key: &StrategyKey,
    store: &dyn StrategyStore,
) -> anyhow::Result<StrategyVersion> {
    let version = store.strategy(StrategyId(id))?;
    anyhow::ensure!(
        version.key == *key,
        "strategy {id} was made for the task {:?}{}",
        version.key.task,
        if version.key.task == key.task {
            " with other labels or fields"
        } else {
            ""
        }
    );
    Ok(version)
}

/// The engine with the soft prompt of the strategy that runs.
///
/// # Errors
/// A folder that changed since, or a soft prompt for a server.
pub(crate) fn with_soft_prompt(
    mut engine: EngineArgs,
    strategy: Option<&Strategy>,
) -> anyhow::Result<EngineArgs> {
    let Some(soft) = strategy.and_then(|strategy| strategy.soft_prompt.as_ref()) else {
        return Ok(engine);
    };
    anyhow::ensure!(
        !engine.remote.asks_for_server(),
        "the strategy has a soft prompt, which a server's model cannot be given\n\
         hint: --strategy none runs the task as it is written"
    );
    check_soft_prompt(soft).context("the strategy's soft prompt cannot be used")?;
    engine.local.adapter = Some(PathBuf::from(&soft.folder));
    Ok(engine)
}

#[expect(
    clippy::print_stderr,
    reason = "talk to the user goes to standard error"
)]
fn tell_live(version: &StrategyVersion) {
    eprintln!(
        "strategy {} of {} is live (--strategy none runs the task as it is written)",
        version.id.0, version.key.task
    );
}

#[expect(
    clippy::print_stderr,
    reason = "talk to the user goes to standard error"
)]
fn tell_unused(version: &StrategyVersion, why: &str) {
    eprintln!(
        "note: strategy {0} of {1} is live but not used: it was {why}\n\
         hint: `autoglm optimize` looks for one that suits, --strategy {0} runs it all the same",
        version.id.0, version.key.task
    );
}

#[expect(
    clippy::print_stderr,
    reason = "talk to the user goes to standard error"
)]
fn tell_changes(version: &StrategyVersion, spec: &TaskSpec) {
    if version.strategy.instruction.is_some() && version.made_for != spec.instruction {
        eprintln!(
            "note: the task's instruction changed since strategy {} was made; the strategy's \
             wording runs",
            version.id.0
        );
    }
}
