//! How a task is doing, from all that the store holds of it: one set of facts, and a page that
//! shows them.

mod collect;
mod facts;
mod page;
mod records;
#[cfg(test)]
mod run_tests;
mod runs;
#[cfg(test)]
mod tests;

pub use collect::{Shelf, Wanted, collect};
pub use facts::{
    DataGroup, RecordFacts, RunFacts, StrategyFacts, TaskFacts, TaskReport, VersionScore,
};
pub use page::page;
pub use runs::{RunList, RunPage, RunScore, RunSummary, list_runs, open_run};
