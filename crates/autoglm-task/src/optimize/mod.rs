//! The search for a better strategy, within a budget, on labelled records in three parts: one to
//! propose from, one to choose by, one to tell at the end whether the winner is better than the
//! start. Only then it goes live. `docs/optimize.md` says what is searched and why.

mod budget;
mod calls;
mod candidates;
#[cfg(test)]
mod cost_tests;
mod describe;
mod example_sets;
mod race;
mod render;
mod report;
mod rewrite;
mod route;
#[cfg(test)]
mod route_tests;
mod split;
#[cfg(test)]
mod tests;
mod trial;
mod untouched;
mod wordings;

use std::sync::Arc;
use std::time::SystemTime;

use autoglm_spec::{Cancel, Example, TaskSpec};

use crate::TaskError;
use crate::eval::{Compared, Labelled, Worth};
use crate::judge::agreement::Similar;
use crate::run::{Engine, RunSettings, agreement_of};
use crate::select::TokenCounter;
use crate::store::CallStore;
use crate::strategy::{
    NewStrategy, Strategy, StrategyId, StrategyKey, StrategyScores, StrategyStore, changes,
};
use calls::{Caller, Halt, Outside, Source, Survivors};
use candidates::{Candidates, Gathered};
use race::{Arm, Race};
use trial::Ground;

pub use budget::{Budget, Spent};
pub use race::Rung;
pub use report::{Decision, Ended, Estimate, Found, SearchReport};
pub use route::{BranchReport, Candidate, RouteReport, Routing, route};
pub use split::{LEAST_RECORDS, Split};

/// The share of the budget that is kept for the comparison on the untouched records.
const UNTOUCHED_SHARE: f64 = 0.5;
/// The share that finding failures of the start may take.
const FAILURES_SHARE: f64 = 0.05;
/// Fewer untouched records than this decide nothing: what is surely better on them is a matter of
/// five records.
pub const LEAST_UNTOUCHED: usize = 20;

/// What is searched for, and with what.
pub struct Search<'a> {
    /// The task as it is written.
    pub spec: &'a TaskSpec,
    /// How it is run, as far as no strategy says so.
    pub settings: &'a RunSettings,
    /// Where the search starts: what is live.
    pub start: &'a Strategy,
    /// Its version; none where it is the task as written.
    pub parent: Option<StrategyId>,
    /// The engine that answers.
    pub engine: &'a dyn Engine,
    /// Who writes instructions; none where no model can.
    pub writer: Option<Writer<'a>>,
    /// The labelled records.
    pub records: Vec<Labelled>,
    /// The labelled examples that the task has in the store, for strategies that choose from them.
    pub library: &'a [Example],
    /// The cap on what is spent.
    pub budget: Budget,
    /// Decides all that is random.
    pub seed: u64,
    /// What else than model and request determines an engine's answer, such as a server's address.
    pub scope: &'a str,
    /// How the search was asked for, for the version that it makes.
    pub origin: &'a str,
    /// How near texts are, where they are compared by meaning; by their words where none is given.
    pub similar: Option<Arc<dyn Similar>>,
    /// Why the winner stays a candidate whatever its scores; none where it may go live.
    pub hold: Option<&'a str>,
}

/// A model that writes instructions.
#[derive(Clone, Copy)]
pub struct Writer<'a> {
    /// The engine.
    pub engine: &'a dyn Engine,
    /// What else than model and request determines its answer.
    pub scope: &'a str,
}

impl Search<'_> {
    /// The error for a budget of which writing and the race need this much.
    fn too_little(&self, least: f64) -> TaskError {
        let wanted = least / (1.0 - UNTOUCHED_SHARE - FAILURES_SHARE);
        TaskError::BudgetTooSmall {
            given: self.budget.to_string(),
            wanted: self.budget.amount(wanted.ceil()),
        }
    }
}

/// What a search asks of its surroundings.
#[derive(Clone, Copy)]
pub struct SearchHooks<'a> {
    /// The time.
    pub now: &'a dyn Fn() -> SystemTime,
    /// Raised to end the search early.
    pub cancel: &'a Cancel,
    /// Counts the tokens of a prompt, where the engine can.
    pub tokens: &'a TokenCounter<'a>,
    /// Called whenever a strategy begins to answer.
    pub progress: &'a dyn Fn(&SearchProgress),
}

/// How far a search has come.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchProgress {
    /// What is done next, such as `rung 2`.
    pub stage: String,
    /// Strategies that are compared.
    pub strategies: usize,
    /// Records on which they are.
    pub records: usize,
    /// The best value so far.
    pub best: Option<f64>,
    /// What was spent.
    pub spent: Spent,
    /// The share of the budget that this is.
    pub share: f64,
}

/// Searches, keeps the winner as a version, and makes it live where it is better.
///
/// Every finished request is kept at once, so that a search that was stopped or killed goes on, when
/// it is started again, without making one twice.
///
/// # Errors
/// When there are too few records, the budget is too small, or engine or store fail.
pub fn optimize<S: StrategyStore + CallStore>(
    search: &Search<'_>,
    store: &mut S,
    hooks: SearchHooks<'_>,
) -> Result<SearchReport, TaskError> {
    let course = Course::new(search)?;
    let mut caller = Caller::new(
        Source::Engine(store),
        search.budget,
        outside(search, &hooks),
    );
    let mut report = course.empty_report();
    let ended = course.go(&mut caller, &hooks, &mut report);
    report.spent = caller.spent();
    drop(caller);
    match ended {
        Ok(Some(winner)) => {
            let found = course.keep(store, winner, &report, (hooks.now)())?;
            report.found = Some(found);
        }
        Ok(None) => {}
        Err(Halt::Budget) => report.ended = Ended::BudgetSpent,
        Err(Halt::Cancelled) => report.ended = Ended::Interrupted,
        Err(Halt::TooLittle(wanted)) => return Err(search.too_little(wanted)),
        Err(Halt::Failed(error)) => return Err(error),
    }
    Ok(report)
}

/// What a search would cost: all of it but the requests.
///
/// Which strategies survive a rung is not known beforehand; every second one by the length of its
/// prompts is taken, and the shortest and longest for the tokens at least and at most.
///
/// # Errors
/// As for [`optimize`], but for engine and store; for a budget of time, for only asking tells how
/// long a request takes.
pub fn estimate(search: &Search<'_>, hooks: SearchHooks<'_>) -> Result<Estimate, TaskError> {
    if let Budget::Time(_) = search.budget {
        return Err(TaskError::TimeNotEstimated {
            given: search.budget.to_string(),
        });
    }
    let mut found = estimate_with(search, &hooks, Survivors::Mixed)?;
    let [mut least, mut most] = [found.tokens; 2];
    for survivors in [Survivors::Shortest, Survivors::Longest] {
        let tokens = estimate_with(search, &hooks, survivors)?.tokens;
        (least, most) = (least.min(tokens), most.max(tokens));
    }
    found.tokens_between = [least, most];
    Ok(found)
}

fn estimate_with(
    search: &Search<'_>,
    hooks: &SearchHooks<'_>,
    survivors: Survivors,
) -> Result<Estimate, TaskError> {
    let course = Course::new(search)?;
    let source = Source::Nowhere(survivors);
    let mut caller = Caller::new(source, search.budget, outside(search, hooks));
    let mut report = course.empty_report();
    match course.go(&mut caller, hooks, &mut report) {
        Ok(_) | Err(Halt::Budget | Halt::Cancelled) => {}
        Err(Halt::TooLittle(wanted)) => return Err(search.too_little(wanted)),
        Err(Halt::Failed(error)) => return Err(error),
    }
    let spent = caller.spent();
    let size = |rung: &Rung| [rung.strategies, rung.records];
    Ok(Estimate {
        calls: spent.calls,
        tokens: spent.tokens(),
        tokens_between: [spent.tokens(); 2],
        parts: report.parts,
        strategies: report.strategies,
        rungs: report.rungs.iter().map(size).collect(),
        notes: report.notes,
    })
}

fn outside<'a>(search: &Search<'a>, hooks: &SearchHooks<'a>) -> Outside<'a> {
    Outside {
        now: hooks.now,
        cancel: hooks.cancel,
        tokens: hooks.tokens,
        scope: search.scope,
    }
}

/// The winner with its scores.
struct Winner {
    strategy: Strategy,
    scores: StrategyScores,
}

/// The course of one search.
struct Course<'a> {
    search: &'a Search<'a>,
    split: Split,
    worth: Worth,
}

impl<'a> Course<'a> {
    fn new(search: &'a Search<'a>) -> Result<Self, TaskError> {
        let golds = search.records.iter().map(|labelled| labelled.gold.as_str());
        let agreement = agreement_of(search.spec, search.settings, search.similar.as_ref());
        let worth = Worth::new(&search.spec.output, agreement, golds);
        let shown = with_all_examples(search);
        let split = Split::of(&shown, search.records.clone(), search.seed)?;
        Ok(Self {
            search,
            split,
            worth,
        })
    }

    fn ground<'g>(&'g self, hooks: &SearchHooks<'g>) -> Ground<'g> {
        Ground {
            spec: self.search.spec,
            settings: self.search.settings,
            engine: self.search.engine,
            worth: &self.worth,
            library: self.search.library,
            tokens: hooks.tokens,
        }
    }

    fn empty_report(&self) -> SearchReport {
        SearchReport {
            task: self.search.spec.name.clone(),
            model: self.search.engine.facts().name.clone(),
            ended: Ended::Finished,
            measure: self.worth.measure(),
            parts: self.split.sizes(),
            strategies: 0,
            rungs: Vec::new(),
            found: None,
            spent: Spent::default(),
            budget: self.search.budget.to_string(),
            notes: self.search.hold.map(str::to_owned).into_iter().collect(),
        }
    }

    /// All stages; the winner, where something beat the start.
    fn go(
        &self,
        caller: &mut Caller<'_>,
        hooks: &SearchHooks<'_>,
        report: &mut SearchReport,
    ) -> Result<Option<Winner>, Halt> {
        let limit = caller.budget().limit();
        self.tell(caller, hooks, "failures of the start", &[1, 0], None);
        let reserve = UNTOUCHED_SHARE * limit;
        let start = Arm::new(self.search.start.clone(), "the start".to_owned());
        let candidates = Candidates {
            search: self.search,
            ground: self.ground(hooks),
            propose: &self.split.propose,
            least_race: race::least(self.ground(hooks), &self.split.select, &start, caller)?,
            reserve,
        };
        let Gathered { arms, writing } =
            candidates.gather(caller, FAILURES_SHARE * limit, &mut report.notes)?;
        let mut race = Race::new(self.ground(hooks), &self.split.select, start, arms);
        let budget = caller.left() - reserve;
        race.fit(caller, budget, writing)?;
        report.strategies = race.size();
        let told = |caller: &Caller<'_>, race: &Race<'_>, records: usize| {
            let stage = format!("rung {}", race.rungs.len() + 1);
            let best = race.rungs.last().map(|rung| rung.best_value);
            self.tell(caller, hooks, &stage, &[race.size(), records], best);
        };
        let raced = race.run(caller, budget, &told);
        report.rungs = race.rungs.clone();
        match raced {
            Ok(()) => {}
            // What is reserved for the untouched records still tells whether the best so far is
            // better.
            Err(Halt::Budget) => report.ended = Ended::BudgetSpent,
            Err(halt) => return Err(halt),
        }
        self.finish(caller, hooks, &race)
    }

    fn tell(
        &self,
        caller: &Caller<'_>,
        hooks: &SearchHooks<'_>,
        stage: &str,
        sizes: &[usize; 2],
        best: Option<f64>,
    ) {
        let spent = caller.spent();
        let budget = self.search.budget;
        (hooks.progress)(&SearchProgress {
            stage: stage.to_owned(),
            strategies: sizes[0],
            records: sizes[1],
            best,
            spent,
            share: budget.spent(&spent) / budget.limit().max(1.0),
        });
    }

    /// Keeps the winner as a version, and promotes it where it is better.
    fn keep<S: StrategyStore>(
        &self,
        store: &mut S,
        winner: Winner,
        report: &SearchReport,
        at: SystemTime,
    ) -> Result<Found, TaskError> {
        let key = StrategyKey::of(self.search.spec);
        let changes = changes(self.search.start, &winner.strategy);
        let version = store.add_strategy(
            &NewStrategy {
                key: key.clone(),
                parent: self.search.parent,
                strategy: winner.strategy.clone(),
                changes: changes.clone(),
                scores: Some(winner.scores.clone()),
                calls: report.spent.calls,
                usage: report.spent.usage,
                origin: self.search.origin.to_owned(),
                model: report.model.clone(),
                made_for: self.search.spec.instruction.clone(),
            },
            at,
        )?;
        let rival = self.uncompared(store, &key, version)?;
        let held = if self.search.hold.is_some() {
            Some(Decision::Held)
        } else {
            rival.map(|_| Decision::NotCompared)
        };
        let decision = decide(winner.scores.untouched.as_ref(), held);
        if decision == Decision::Promoted {
            store.promote(&key, Some(version), at)?;
        }
        Ok(Found {
            version,
            strategy: winner.strategy,
            changes,
            scores: winner.scores,
            decision,
            live: rival.filter(|_| decision == Decision::NotCompared),
        })
    }

    /// The live version, where the search did not start from it and runs of some model use it with
    /// the task's instruction: nobody knows whether the winner is better than that.
    fn uncompared<S: StrategyStore>(
        &self,
        store: &S,
        key: &StrategyKey,
        winner: StrategyId,
    ) -> Result<Option<StrategyId>, TaskError> {
        let Some(live) = store.live_strategy(key)? else {
            return Ok(None);
        };
        let is_start = Some(live.id) == self.search.parent;
        let is_used = live.made_for == self.search.spec.instruction;
        let is_rival = is_used && !is_start && live.id != winner;
        Ok(is_rival.then_some(live.id))
    }
}

/// The task with its own examples and the start's: what stands in all prompts must not be measured on.
/// What is chosen for each record never is the record itself.
fn with_all_examples(search: &Search<'_>) -> TaskSpec {
    let (mut all, _) = search.start.apply(search.spec, search.settings);
    all.examples.extend_from_slice(&search.spec.examples);
    all
}

/// The rule of promotion; `held` is what becomes of a winner that may not go live.
fn decide(untouched: Option<&Compared>, held: Option<Decision>) -> Decision {
    match untouched.filter(|compared| compared.worth.rows >= LEAST_UNTOUCHED) {
        None => Decision::TooFewRecords,
        Some(compared) if !compared.is_better() => Decision::NotBetter,
        Some(_) => held.unwrap_or(Decision::Promoted),
    }
}
