//! Which strategy a task is run by: the live one, one by its number, or the task as it is written.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Context;
use autoglm_spec::TaskSpec;
use autoglm_task::strategy::{
    Strategy, StrategyId, StrategyKey, StrategyStore, StrategyVersion, check_soft_prompt,
};
use clap::Args;

use crate::engine::EngineArgs;

/// Which strategy runs.
#[derive(Debug, Clone, Copy, Args)]
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

/// The version that runs, which is told on standard error; none for the task as it is written.
///
/// # Errors
/// When there is no such strategy, it is another task's, or the store cannot be read.
pub(crate) fn choose(
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
            if let Some(live) = &live {
                tell_live(live);
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
fn tell_changes(version: &StrategyVersion, spec: &TaskSpec) {
    if version.strategy.instruction.is_some() && version.made_for != spec.instruction {
        eprintln!(
            "note: the task's instruction changed since strategy {} was made; the strategy's \
             wording runs",
            version.id.0
        );
    }
}
