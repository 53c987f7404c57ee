//! Teaches a route between strategies on labelled records, and promotes it where it is better than
//! what is live on records that have taught nothing.

use std::collections::BTreeSet;

use autoglm_spec::{Calibration, Output, TaskSpec};
use serde::{Deserialize, Serialize};

use super::calls::{Caller, Halt, Outside, Source};
use super::trial::{Ground, Scores, Trial};
use super::{Budget, Decision, SearchHooks, SearchProgress, Spent, Split, decide};
use crate::TaskError;
use crate::eval::{Compared, Grade, Labelled, Worth};
use crate::judge::ranked;
use crate::learn::Gate;
use crate::library::identity;
use crate::run::{Engine, RunSettings, agreement_of};
use crate::store::CallStore;
use crate::strategy::{
    Branch, ExampleChoice, NewStrategy, Route, RouteLesson, Strategy, StrategyId, StrategyKey,
    StrategyScores, StrategyStore, branch_name, changes,
};

/// What is routed, and what teaches it.
pub struct Routing<'a> {
    /// The task as it is written.
    pub spec: &'a TaskSpec,
    /// How it is run, as far as no strategy says so.
    pub settings: &'a RunSettings,
    /// What is live, which the route has to beat.
    pub live: Candidate,
    /// The strategies, at least two.
    pub branches: Vec<Candidate>,
    /// The engine that answers.
    pub engine: &'a dyn Engine,
    /// The labelled records: two thirds of them teach, and the rest tells whether the route is
    /// better.
    pub records: Vec<Labelled>,
    /// Records of feedback, which teach besides. Users correct mistakes of what is live more often
    /// than they confirm it, so that nothing is measured on these.
    pub told: Vec<Labelled>,
    /// Decides how records are parted.
    pub seed: u64,
    /// What else than model and request determines an engine's answer, such as a server's address.
    pub scope: &'a str,
    /// How the route was asked for, for the version that it makes.
    pub origin: &'a str,
    /// Why the route stays a candidate whatever its scores; none where it may go live.
    pub hold: Option<&'a str>,
}

/// A strategy with its version.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The version; none for the task as it is written.
    pub version: Option<StrategyId>,
    /// What it is.
    pub strategy: Strategy,
}

/// How a branch does, on the untouched records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BranchReport {
    /// The version; none for the task as it is written.
    pub version: Option<StrategyId>,
    /// Its accuracy where it answers all of them.
    pub accuracy: f64,
    /// Its mean probability.
    pub share: f64,
    /// The share of the records that it answers alone.
    pub only: f64,
}

/// What came of a route.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RouteReport {
    /// The task's name.
    pub task: String,
    /// The model's name.
    pub model: String,
    /// Records that taught it, those of feedback among them, and those of feedback.
    pub lessons: [usize; 2],
    /// The branches.
    pub branches: Vec<BranchReport>,
    /// What is live; none for the task as it is written.
    pub live: Option<StrategyId>,
    /// The route beside what is live, on the untouched records.
    pub untouched: Compared,
    /// Branches that a record is asked of, on average.
    pub asked: f64,
    /// The route's version.
    pub version: StrategyId,
    /// What was decided.
    pub decision: Decision,
    /// What was spent.
    pub spent: Spent,
    /// What a user should know besides.
    pub notes: Vec<String>,
}

/// Teaches a route, keeps it as a version, and makes it live where it is better; nothing where the
/// user stopped it. Every finished request is kept at once, so that the same call goes on.
///
/// # Errors
/// When the task has no labels, a branch cannot be routed to, there are too few records, or engine
/// or store fail.
pub fn route<S: StrategyStore + CallStore>(
    routing: &Routing<'_>,
    store: &mut S,
    hooks: SearchHooks<'_>,
) -> Result<Option<RouteReport>, TaskError> {
    let course = Course::new(routing)?;
    let outside = Outside {
        now: hooks.now,
        cancel: hooks.cancel,
        tokens: hooks.tokens,
        scope: routing.scope,
    };
    let mut caller = Caller::new(Source::Engine(store), Budget::Calls(u64::MAX), outside);
    let ended = course.go(&mut caller, &hooks);
    let spent = caller.spent();
    drop(caller);
    match ended {
        Ok(found) => course.keep(store, found, spent, &hooks).map(Some),
        Err(Halt::Cancelled) => Ok(None),
        Err(Halt::Failed(error)) => Err(error),
        Err(Halt::Budget | Halt::TooLittle(_)) => {
            unreachable!("nobody asks so often")
        }
    }
}

/// What was learnt and measured.
struct Taught {
    route: Route,
    branches: Vec<BranchReport>,
    untouched: Compared,
    asked: f64,
}

struct Course<'a> {
    routing: &'a Routing<'a>,
    worth: Worth,
    /// The records that teach, those of `told` last.
    lessons: Vec<Labelled>,
    /// How many of them are of feedback.
    told: usize,
    untouched: Vec<Labelled>,
}

impl<'a> Course<'a> {
    fn new(routing: &'a Routing<'a>) -> Result<Self, TaskError> {
        check(routing)?;
        let golds = routing
            .records
            .iter()
            .map(|labelled| labelled.gold.as_str());
        let agreement = agreement_of(routing.spec, routing.settings, None);
        let worth = Worth::new(&routing.spec.output, agreement, golds);
        let mut shown = routing.spec.clone();
        let all = routing.branches.iter().chain([&routing.live]);
        shown
            .examples
            .extend(all.flat_map(|c| examples(&c.strategy)));
        let split = Split::of(&shown, routing.records.clone(), routing.seed)?;
        let told = fresh(&shown, routing);
        let mut lessons = split.propose;
        lessons.extend(split.select);
        let count = told.len();
        lessons.extend(told);
        Ok(Self {
            routing,
            worth,
            lessons,
            told: count,
            untouched: split.untouched,
        })
    }

    fn ground<'g>(&'g self, hooks: &SearchHooks<'g>) -> Ground<'g> {
        Ground {
            spec: self.routing.spec,
            settings: self.routing.settings,
            engine: self.routing.engine,
            worth: &self.worth,
            library: &[],
            tokens: hooks.tokens,
        }
    }

    fn go(&self, caller: &mut Caller<'_>, hooks: &SearchHooks<'_>) -> Result<Taught, Halt> {
        let mut branches = Vec::new();
        let mut taught = Vec::new();
        let mut tested = Vec::new();
        for (place, candidate) in self.routing.branches.iter().enumerate() {
            self.tell(caller, hooks, &branch_name(candidate.version), place);
            let trial = Trial::new(self.ground(hooks), &candidate.strategy)?;
            let split = self.lessons.len() - self.told;
            let (mut scores, prior) = trial.scores(caller, &self.lessons[..split])?;
            scores.extend(trial.scores(caller, &self.lessons[split..])?.0);
            taught.push(scores);
            tested.push(trial.scores(caller, &self.untouched)?.0);
            branches.push(Branch {
                version: candidate.version,
                strategy: candidate.strategy.clone(),
                prior,
            });
        }
        let lessons = self.learnt(&branches, &taught);
        let route = Route { branches, lessons };
        self.tell(caller, hooks, "what is live", self.routing.branches.len());
        let live = self.grades(caller, hooks, &self.routing.live.strategy)?;
        Ok(self.measured(route, &tested, &live)?)
    }

    fn tell(&self, caller: &Caller<'_>, hooks: &SearchHooks<'_>, stage: &str, done: usize) {
        let all = self.routing.branches.len() + 1;
        (hooks.progress)(&SearchProgress {
            stage: stage.to_owned(),
            strategies: all - 1,
            records: self.lessons.len() + self.untouched.len(),
            best: None,
            spent: caller.spent(),
            share: done as f64 / all as f64,
        });
    }

    /// The lessons of records that all branches have answered.
    fn learnt(&self, branches: &[Branch], scores: &[Scores]) -> Vec<RouteLesson> {
        let lesson = |(place, labelled): (usize, &Labelled)| {
            let gold = self.label(&labelled.gold)?;
            let merit = |(branch, scores): (&Branch, &Scores)| {
                let probabilities = branch.prior.divide_out(scores[place].as_ref()?);
                probabilities.get(gold).copied()
            };
            Some(RouteLesson {
                input: labelled.record.clone(),
                merits: branches
                    .iter()
                    .zip(scores)
                    .map(merit)
                    .collect::<Option<_>>()?,
            })
        };
        self.lessons.iter().enumerate().filter_map(lesson).collect()
    }

    fn label(&self, name: &str) -> Option<usize> {
        let labels = self.routing.spec.output.labels();
        labels.iter().position(|label| label.name == name)
    }

    /// How good a strategy's answers to the untouched records are.
    fn grades(
        &self,
        caller: &mut Caller<'_>,
        hooks: &SearchHooks<'_>,
        strategy: &Strategy,
    ) -> Result<Vec<Grade>, Halt> {
        let Some(route) = &strategy.route else {
            let trial = Trial::new(self.ground(hooks), strategy)?;
            return Ok(trial.run(caller, &self.untouched)?.grades);
        };
        let mut scores = Vec::new();
        for branch in &route.branches {
            let trial = Trial::new(self.ground(hooks), &branch.strategy)?;
            scores.push(trial.scores(caller, &self.untouched)?.0);
        }
        let gate = Gate::of(route, &self.routing.spec.fields);
        let weights = |labelled: &Labelled| gate.branches(&labelled.record).weights();
        Ok(self.mixed(route, &scores, weights)?)
    }

    /// How good the answers to the untouched records are that branches give together, weighed so.
    fn mixed(
        &self,
        route: &Route,
        scores: &[Scores],
        weights: impl Fn(&Labelled) -> Vec<f32>,
    ) -> Result<Vec<Grade>, TaskError> {
        let labels = self.routing.spec.output.labels();
        let grade = |(place, labelled): (usize, &Labelled)| {
            let weights = weights(labelled);
            let of_branch = |(scores, weight): (&Scores, &f32)| {
                let asked = *weight > 0.0;
                if asked {
                    scores[place].clone()
                } else {
                    Some(Vec::new())
                }
            };
            let said: Option<Vec<Vec<f32>>> = scores.iter().zip(&weights).map(of_branch).collect();
            let verdict = said.map(|said| {
                let (_, probabilities) = route.mix(&weights, &said);
                ranked(labels, probabilities, Calibration::Fitted)
            });
            self.worth.grade(verdict.as_ref(), &labelled.gold)
        };
        self.untouched.iter().enumerate().map(grade).collect()
    }

    fn measured(
        &self,
        route: Route,
        tested: &[Scores],
        live: &[Grade],
    ) -> Result<Taught, TaskError> {
        let gate = Gate::of(&route, &self.routing.spec.fields);
        let ways = self.untouched.iter().map(|l| gate.branches(&l.record));
        let ways: Vec<_> = ways.collect();
        let weights = |labelled: &Labelled| gate.branches(&labelled.record).weights();
        let routed = self.mixed(&route, tested, weights)?;
        let count = ways.len().max(1) as f64;
        let mut branches = Vec::new();
        for (place, branch) in route.branches.iter().enumerate() {
            let alone: Vec<f32> = (0..route.branches.len())
                .map(|other| f32::from(u8::from(other == place)))
                .collect();
            let grades = self.mixed(&route, tested, |_| alone.clone())?;
            let share = ways.iter().map(|way| f64::from(way.probabilities[place]));
            branches.push(BranchReport {
                version: branch.version,
                accuracy: grades.iter().map(|grade| grade.value).sum::<f64>() / count,
                share: share.sum::<f64>() / count,
                only: ways.iter().filter(|way| way.only == Some(place)).count() as f64 / count,
            });
        }
        let asked = ways.iter().map(|way| match way.only {
            Some(_) => 1,
            None => route.branches.len(),
        });
        Ok(Taught {
            asked: asked.sum::<usize>() as f64 / count,
            untouched: Compared::of(live, &routed, self.routing.seed),
            route,
            branches,
        })
    }

    fn keep<S: StrategyStore>(
        &self,
        store: &mut S,
        taught: Taught,
        spent: Spent,
        hooks: &SearchHooks<'_>,
    ) -> Result<RouteReport, TaskError> {
        let routing = self.routing;
        let at = (hooks.now)();
        let key = StrategyKey::of(routing.spec);
        let lessons = [taught.route.lessons.len(), self.told];
        let strategy = Strategy {
            route: Some(Box::new(taught.route)),
            ..Strategy::as_written(routing.settings)
        };
        let model = routing.engine.facts().name.clone();
        let version = store.add_strategy(
            &NewStrategy {
                key: key.clone(),
                parent: routing.live.version,
                changes: changes(&routing.live.strategy, &strategy),
                strategy,
                scores: Some(StrategyScores {
                    measure: self.worth.measure().to_string(),
                    chosen_on: None,
                    start_on: None,
                    untouched: Some(taught.untouched),
                }),
                calls: spent.calls,
                usage: spent.usage,
                origin: routing.origin.to_owned(),
                model: model.clone(),
                made_for: routing.spec.instruction.clone(),
            },
            at,
        )?;
        let held = routing.hold.map(|_| Decision::Held);
        let decision = decide(Some(&taught.untouched), held);
        if decision == Decision::Promoted {
            store.promote(&key, Some(version), at)?;
        }
        Ok(RouteReport {
            task: routing.spec.name.clone(),
            model,
            lessons,
            branches: taught.branches,
            live: routing.live.version,
            untouched: taught.untouched,
            asked: taught.asked,
            version,
            decision,
            spent,
            notes: routing.hold.map(str::to_owned).into_iter().collect(),
        })
    }
}

/// Whether the task and the strategies can be routed.
fn check(routing: &Routing<'_>) -> Result<(), TaskError> {
    if !matches!(routing.spec.output, Output::Labels { .. }) {
        return Err(TaskError::NoLabels {
            operation: "a route",
            task: routing.spec.name.clone(),
        });
    }
    let mut seen = BTreeSet::new();
    for candidate in &routing.branches {
        let strategy = &candidate.strategy;
        let why = if strategy.route.is_some() {
            "it is a route itself"
        } else if strategy.selection.is_some() {
            "it chooses examples for each record"
        } else if strategy.soft_prompt.is_some() {
            "it has a soft prompt or an adapter, with which the model would be another"
        } else if !seen.insert(strategy.hash()) {
            "it does what another of them does"
        } else {
            continue;
        };
        return Err(TaskError::NotRouted {
            strategy: branch_name(candidate.version),
            why,
        });
    }
    if seen.len() < 2 {
        return Err(TaskError::TooFewBranches { given: seen.len() });
    }
    Ok(())
}

/// The examples that stand in a strategy's prompts besides the task's own, and those of the
/// branches that it routes to.
fn examples(strategy: &Strategy) -> Vec<autoglm_spec::Example> {
    let own = match &strategy.examples {
        ExampleChoice::Task => Vec::new(),
        ExampleChoice::Fixed(examples) => examples.clone(),
    };
    let branches = strategy.route.iter().flat_map(|route| &route.branches);
    let theirs = branches.flat_map(|branch| examples(&branch.strategy));
    own.into_iter().chain(theirs).collect()
}

/// The records of feedback that are neither labelled records nor examples.
fn fresh(shown: &TaskSpec, routing: &Routing<'_>) -> Vec<Labelled> {
    let of = |record: &autoglm_spec::Record| identity(&shown.fields, record);
    let labelled = routing.records.iter().map(|l| of(&l.record));
    let mut seen: BTreeSet<String> = labelled.collect();
    seen.extend(shown.examples.iter().map(|e| of(&e.input)));
    let mut told = routing.told.clone();
    told.retain(|labelled| seen.insert(of(&labelled.record)));
    told
}
