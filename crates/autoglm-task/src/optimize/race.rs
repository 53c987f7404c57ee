//! Successive halving: many strategies on few records, then ever fewer on ever more.
//!
//! # Source
//! Karnin, Koren, Somekh 2013, Almost Optimal Exploration in Multi-Armed Bandits, algorithm 1;
//! Jamieson, Talwalkar 2016, Non-stochastic Best Arm Identification. Each rung gets an equal share
//! of the budget and its better half goes on; here all of a rung are compared on the same records,
//! answers of earlier rungs are used again, and the best parts are put together after each rung.

use std::collections::BTreeSet;

use autoglm_spec::{Calibration, Output};
use serde::{Deserialize, Serialize};

use super::calls::{Caller, Halt, Request, Survivors};
use super::trial::{Graded, Ground, Trial};
use crate::TaskError;
use crate::eval::{Labelled, wilson_interval};
use crate::run::RunSettings;
use crate::run::ask::uses_both_orders;
use crate::select::Selection;
use crate::strategy::{ExampleChoice, Measured, Strategy, content_hash};

/// A rung with fewer records says nothing.
pub(super) const LEAST_RUNG_RECORDS: usize = 12;
/// So many reach the last rung.
const FINALISTS: usize = 3;
/// Records by which a rung grows.
const BLOCK_RECORDS: usize = 4;
/// Wordings and sets of examples that are put together, the best of each.
const RECOMBINED: usize = 2;

/// A strategy in the race.
#[derive(Debug, Clone)]
pub(super) struct Arm {
    pub(super) strategy: Strategy,
    pub(super) about: String,
    pub(super) graded: Option<Graded>,
}

impl Arm {
    pub(super) fn new(strategy: Strategy, about: String) -> Self {
        Self {
            strategy,
            about,
            graded: None,
        }
    }

    fn merit(&self) -> f64 {
        self.graded.as_ref().map_or(0.0, Graded::merit)
    }
}

/// The examples that a strategy shows, in all prompts and for each record.
#[derive(PartialEq)]
struct Shown {
    examples: ExampleChoice,
    selection: Option<Selection>,
}

impl Shown {
    fn by(strategy: &Strategy) -> Self {
        Self {
            examples: strategy.examples.clone(),
            selection: strategy.selection.clone(),
        }
    }
}

/// What a rung came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rung {
    /// Strategies that were compared.
    pub strategies: usize,
    /// Records that each answered.
    pub records: usize,
    /// The best one.
    pub best: String,
    /// Its value on these records.
    pub best_value: f64,
    /// The start's.
    pub start_value: f64,
}

/// The strategies that are still in the race. The first is the start, and never leaves.
pub(super) struct Race<'a> {
    ground: Ground<'a>,
    select: &'a [Labelled],
    arms: Vec<Arm>,
    tried: BTreeSet<String>,
    pub(super) rungs: Vec<Rung>,
    used: usize,
    /// What the last whole rung left, best first.
    ranking: Vec<Arm>,
}

impl<'a> Race<'a> {
    /// A race of the start against as many others, in their order, as `budget` can compare.
    pub(super) fn new(
        ground: Ground<'a>,
        select: &'a [Labelled],
        start: Arm,
        others: Vec<Arm>,
    ) -> Self {
        let mut race = Self {
            ground,
            select,
            ranking: vec![start.clone()],
            tried: BTreeSet::new(),
            arms: vec![start],
            rungs: Vec::new(),
            used: 0,
        };
        for arm in others {
            race.enter(arm);
        }
        race
    }

    fn enter(&mut self, arm: Arm) {
        let is_start = self.ways(&arm.strategy).is_empty();
        if !is_start && self.tried.insert(self.identity(&arm.strategy)) {
            self.arms.push(arm);
        }
    }

    /// What a strategy asks, by whatever way it is said, and how it is calibrated where the race
    /// does not choose that.
    fn identity(&self, strategy: &Strategy) -> String {
        let (spec, settings) = strategy.apply(self.ground.spec, self.ground.settings);
        let is_contextual = settings.calibration == Calibration::Contextual;
        let both_orders = uses_both_orders(&spec, &settings);
        content_hash(&(
            spec,
            settings.selection,
            both_orders,
            settings.sampling,
            &strategy.soft_prompt,
            is_contextual,
        ))
    }

    /// How many of the records to choose by the race has asked for.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// How many strategies are in the race.
    pub(super) fn size(&self) -> usize {
        self.arms.len()
    }

    /// Leaves out the last of the strategies until `budget` suffices for the others. `spent` is
    /// what of the whole budget must be spent before, whatever it is.
    pub(super) fn fit(&mut self, caller: &Caller<'_>, budget: f64, spent: f64) -> Result<(), Halt> {
        let mut counted = BTreeSet::new();
        let price = |arm: &Arm| rung_price(self.ground, self.select, (arm, &mut counted), caller);
        let prices: Vec<f64> = self.arms.iter().map(price).collect::<Result<_, _>>()?;
        let fits = |count: &usize| {
            let first: f64 = prices[..*count].iter().sum();
            first * (rungs(*count) + 1) as f64 <= budget
        };
        let Some(count) = (2..=self.arms.len()).rev().find(fits) else {
            let wanted: f64 = prices.iter().take(2).sum();
            return Err(Halt::TooLittle(2.0 * wanted + spent));
        };
        self.arms.truncate(count);
        Ok(())
    }

    /// Runs all rungs within `budget`.
    ///
    /// # Errors
    /// As asking does; what the last whole rung found stays.
    pub(super) fn run(
        &mut self,
        caller: &mut Caller<'_>,
        budget: f64,
        told: &dyn Fn(&Caller<'_>, &Self, usize),
    ) -> Result<(), Halt> {
        // The last one is for ways to run the finalists.
        let all = rungs(self.arms.len()) + 1;
        let reserve = caller.left() - budget;
        for rung in 0..all {
            let share = (caller.left() - reserve) / (all - rung) as f64;
            let records = self.affordable(caller, share)?;
            self.compare(caller, records, told)?;
            if rung + 2 < all {
                self.keep(caller, kept(self.arms.len()))?;
                self.recombine();
            } else if rung + 1 < all {
                self.keep(caller, FINALISTS + 1)?;
                self.enter_variants();
            }
        }
        Ok(())
    }

    /// The most records on which all can be compared for `share`, and the fewest that say anything
    /// where that is less.
    fn affordable(&self, caller: &Caller<'_>, share: f64) -> Result<&'a [Labelled], TaskError> {
        let trials: Vec<Trial<'_>> = self
            .arms
            .iter()
            .map(|arm| Trial::new(self.ground, &arm.strategy))
            .collect::<Result<_, _>>()?;
        let mut counted = BTreeSet::new();
        let mut price = 0.0;
        let mut records = 0;
        for block in self.select.chunks(BLOCK_RECORDS) {
            let requests = trials.iter().flat_map(|trial| trial.all_requests(block));
            let requests: Vec<Request> = requests.collect();
            price += caller.price_beyond(&requests, self.ground.engine.facts(), &mut counted);
            if price > share && records >= LEAST_RUNG_RECORDS {
                break;
            }
            records += block.len();
        }
        Ok(&self.select[..records])
    }

    fn compare(
        &mut self,
        caller: &mut Caller<'_>,
        records: &[Labelled],
        told: &dyn Fn(&Caller<'_>, &Self, usize),
    ) -> Result<(), Halt> {
        self.used = self.used.max(records.len());
        let mut compared = Vec::new();
        for (place, arm) in self.arms.iter().enumerate() {
            told(caller, self, records.len());
            let of_start = place == 0;
            compared.push(self.graded(caller, arm, records, of_start)?);
        }
        self.arms = compared;
        self.ranking = self.ranked();
        let (best, start) = (&self.ranking[0], &self.arms[0]);
        self.rungs.push(Rung {
            strategies: self.arms.len(),
            records: records.len(),
            best: best.about.clone(),
            best_value: value(best),
            start_value: value(start),
        });
        Ok(())
    }

    /// How another strategy than the start may be calibrated: what asks the same as the start must
    /// not be calibrated as it is, or it would be the start again.
    fn ways(&self, strategy: &Strategy) -> Vec<Calibration> {
        let start = &self.arms[0].strategy;
        let is_twin = self.identity(strategy) == self.identity(start);
        let is_open = !matches!(self.ground.spec.output, Output::Labels { .. });
        let ways: &[Calibration] = match strategy.calibration {
            // Open answers are not calibrated.
            _ if is_open => &[start.calibration],
            Calibration::Contextual => &[Calibration::Contextual],
            Calibration::Batch | Calibration::None | Calibration::Fitted => {
                &[Calibration::Batch, Calibration::None, Calibration::Fitted]
            }
        };
        // What labelled records teach depends on the records.
        let differs = |way: &&Calibration| {
            !is_twin || **way != start.calibration || **way == Calibration::Fitted
        };
        ways.iter().filter(differs).copied().collect()
    }

    /// The arm with its answers graded. How it is calibrated is decided here, for that takes no
    /// request: by the batch, unless it is better without or by the right labels by more than
    /// chance, for a rung is a small batch and runs have larger ones. The start stays as it is.
    fn graded(
        &self,
        caller: &mut Caller<'_>,
        arm: &Arm,
        records: &[Labelled],
        of_start: bool,
    ) -> Result<Arm, Halt> {
        if of_start {
            let graded = Trial::new(self.ground, &arm.strategy)?.run(caller, records)?;
            return Ok(Arm {
                graded: Some(graded),
                ..arm.clone()
            });
        }
        let mut best: Option<Arm> = None;
        for calibration in self.ways(&arm.strategy) {
            let (strategy, graded) =
                self.calibrated(caller, &arm.strategy, calibration, records)?;
            let before = best.as_ref().and_then(|best| best.graded.as_ref());
            if before.is_none_or(|before| graded.beats(before)) {
                best = Some(Arm {
                    strategy,
                    about: arm.about.clone(),
                    graded: Some(graded),
                });
            }
        }
        Ok(best.expect("there is at least one way"))
    }

    /// The strategy calibrated so, with its answers graded.
    fn calibrated(
        &self,
        caller: &mut Caller<'_>,
        strategy: &Strategy,
        calibration: Calibration,
        records: &[Labelled],
    ) -> Result<(Strategy, Graded), Halt> {
        let mut strategy = Strategy {
            calibration,
            prior: None,
            ..strategy.clone()
        };
        let trial = Trial::new(self.ground, &strategy)?;
        if calibration != Calibration::Fitted {
            return Ok((strategy, trial.run(caller, records)?));
        }
        let (graded, prior) = trial.run_fitted(caller, records)?;
        strategy.prior = Some(prior);
        Ok((strategy, graded))
    }

    /// The arms by merit; of equals the earlier first, so that the start stays where nothing beats
    /// it.
    fn ranked(&self) -> Vec<Arm> {
        let mut ranked = self.arms.clone();
        ranked.sort_by(|a, b| b.merit().total_cmp(&a.merit()));
        ranked
    }

    /// Keeps the best, the start among them.
    fn keep(&mut self, caller: &Caller<'_>, keep: usize) -> Result<(), Halt> {
        let start = self.arms[0].clone();
        if let Some(survivors) = caller.survivors() {
            let others = self.arms[1..].iter().collect();
            self.ranking = self.likely_survivors(caller, survivors, (others, keep))?;
        }
        let hash = start.strategy.hash();
        let others = self.ranking.iter().filter(|a| a.strategy.hash() != hash);
        let others = others.take(keep - 1).cloned();
        self.arms = std::iter::once(start).chain(others).collect();
        Ok(())
    }

    /// What may be left, for an estimate.
    fn likely_survivors(
        &self,
        caller: &Caller<'_>,
        survivors: Survivors,
        (arms, keep): (Vec<&Arm>, usize),
    ) -> Result<Vec<Arm>, Halt> {
        let mut priced = Vec::new();
        for arm in arms {
            let requests = Trial::new(self.ground, &arm.strategy)?.all_requests(&self.select[..1]);
            let tokens = caller.likely_tokens_of(&requests);
            priced.push((tokens, arm.clone()));
        }
        priced.sort_by_key(|(tokens, _)| *tokens);
        let wanted = (keep - 1).min(priced.len());
        let place = |i: usize| match survivors {
            Survivors::Shortest => i,
            Survivors::Mixed => (2 * i + 1) * priced.len() / (2 * wanted),
            Survivors::Longest => priced.len() - 1 - i,
        };
        Ok((0..wanted).map(|i| priced[place(i)].1.clone()).collect())
    }

    /// Puts the best wordings together with the best sets of examples.
    fn recombine(&mut self) {
        let mut wordings: Vec<Strategy> = Vec::new();
        let mut sets: Vec<Shown> = Vec::new();
        for arm in &self.ranking {
            let same = |other: &Strategy| {
                other.instruction == arm.strategy.instruction
                    && other.answer_title == arm.strategy.answer_title
            };
            if wordings.len() < RECOMBINED && !wordings.iter().any(same) {
                wordings.push(arm.strategy.clone());
            }
            let shown = Shown::by(&arm.strategy);
            if sets.len() < RECOMBINED && !sets.contains(&shown) {
                sets.push(shown);
            }
        }
        for wording in &wordings {
            for set in &sets {
                let strategy = Strategy {
                    examples: set.examples.clone(),
                    selection: set.selection.clone(),
                    ..wording.clone()
                };
                let about = self.about_both(wording, set);
                self.enter(Arm::new(strategy, about));
            }
        }
    }

    fn about_both(&self, wording: &Strategy, set: &Shown) -> String {
        let part = |is_it: &dyn Fn(&Strategy) -> bool| {
            let arm = self.ranking.iter().find(|arm| is_it(&arm.strategy));
            arm.map(|arm| arm.about.clone()).unwrap_or_default()
        };
        let (words, examples) = (
            part(&|s| {
                s.instruction == wording.instruction && s.answer_title == wording.answer_title
            }),
            part(&|s| Shown::by(s) == *set),
        );
        format!("[{words}] with the examples of [{examples}]")
    }

    /// Other ways to run the finalists: both orders of the examples, and contextual calibration.
    fn enter_variants(&mut self) {
        if !matches!(self.ground.spec.output, Output::Labels { .. }) {
            return;
        }
        let finalists: Vec<Arm> = self.arms[1..].to_vec();
        for arm in finalists {
            let (applied, settings) = arm.strategy.apply(self.ground.spec, self.ground.settings);
            let mut enter = |about: &str, strategy: Strategy| {
                self.enter(Arm::new(strategy, format!("{}, {about}", arm.about)));
            };
            let both = RunSettings {
                both_orders: true,
                ..settings
            };
            if uses_both_orders(&applied, &both) && !arm.strategy.both_orders {
                let strategy = Strategy {
                    both_orders: true,
                    ..arm.strategy.clone()
                };
                enter("in both orders", strategy);
            }
            let strategy = Strategy {
                calibration: Calibration::Contextual,
                ..arm.strategy.clone()
            };
            enter("calibrated by context", strategy);
        }
    }

    /// A strategy that costs what the winner may be expected to, for an estimate.
    pub(super) fn likely_winner(
        &self,
        caller: &Caller<'_>,
        survivors: Survivors,
    ) -> Result<Arm, Halt> {
        // Of a finalist and its variants most often the finalist: they cost more and bring little.
        let is_plain = |arm: &&Arm| {
            !arm.strategy.both_orders && arm.strategy.calibration != Calibration::Contextual
        };
        let others = self.arms[1..].iter();
        let mut likely: Vec<&Arm> = others.clone().filter(is_plain).collect();
        if likely.is_empty() {
            likely = others.collect();
        }
        let middle = self.likely_survivors(caller, survivors, (likely, 2))?;
        Ok(middle
            .into_iter()
            .next()
            .unwrap_or_else(|| self.arms[0].clone()))
    }

    /// The best strategy so far, and the start, each with its value on the last rung's records.
    pub(super) fn winner(&self) -> (&Arm, &Arm) {
        let start = self.arms.first().expect("the start never leaves");
        (&self.ranking[0], start)
    }
}

/// What the smallest race costs: of the start and one like it, over two rungs.
pub(super) fn least(
    ground: Ground<'_>,
    select: &[Labelled],
    start: &Arm,
    caller: &Caller<'_>,
) -> Result<f64, TaskError> {
    Ok(4.0 * rung_price(ground, select, (start, &mut BTreeSet::new()), caller)?)
}

/// What a strategy costs in the smallest rung, beyond what is counted already.
fn rung_price(
    ground: Ground<'_>,
    select: &[Labelled],
    (arm, counted): (&Arm, &mut BTreeSet<String>),
    caller: &Caller<'_>,
) -> Result<f64, TaskError> {
    let block = &select[..BLOCK_RECORDS.min(select.len())];
    let requests = Trial::new(ground, &arm.strategy)?.all_requests(block);
    let price = caller.price_beyond(&requests, ground.engine.facts(), counted);
    Ok(price * LEAST_RUNG_RECORDS as f64 / block.len() as f64)
}

/// How many rungs a race of so many has.
fn rungs(strategies: usize) -> usize {
    let mut left = strategies;
    let mut rungs = 1;
    while left > FINALISTS + 1 {
        left = kept(left);
        rungs += 1;
    }
    rungs
}

/// How many of a rung go on, the start among them.
fn kept(strategies: usize) -> usize {
    strategies.div_ceil(2).max(FINALISTS + 1)
}

fn value(arm: &Arm) -> f64 {
    measured(arm).map_or(0.0, |measured| measured.value)
}

/// An arm's value on the records it was compared on, with its interval: that of a share, which is
/// too wide rather than too narrow for other values in [0, 1].
pub(super) fn measured(arm: &Arm) -> Option<Measured> {
    let grades = &arm.graded.as_ref()?.grades;
    let sum: f64 = grades.iter().map(|grade| grade.value).sum();
    Some(Measured {
        value: sum / grades.len().max(1) as f64,
        interval: wilson_interval(sum.round() as usize, grades.len()),
        rows: grades.len(),
    })
}

#[cfg(test)]
mod tests {
    use autoglm_spec::Example;

    use super::*;
    use crate::eval::Worth;
    use crate::run::agreement_of;
    use crate::scripted::{Script, Scripted, record, review_task};

    #[test]
    fn no_twin_of_the_start_enters_a_race_of_open_answers() {
        let (spec, settings) = (
            crate::select::tests::question_task(),
            RunSettings::default(),
        );
        let agreement = agreement_of(&spec, &settings, None);
        let ground = Ground {
            spec: &spec,
            settings: &settings,
            engine: &Scripted::new(Script::default()),
            worth: &Worth::new(&spec.output, agreement, []),
            library: &[],
            tokens: &|_| None,
        };
        let start = Strategy::as_written(&settings);
        let twin = Strategy {
            examples: ExampleChoice::Fixed(Vec::new()),
            calibration: Calibration::None,
            both_orders: false,
            ..start.clone()
        };
        let arm = |strategy: Strategy| Arm::new(strategy, String::new());
        let race = Race::new(ground, &[], arm(start), vec![arm(twin)]);
        assert_eq!(race.size(), 1);
    }

    #[test]
    fn no_twin_of_a_strategy_enters_the_race() {
        let (spec, settings) = (review_task(), RunSettings::default());
        let (engine, agreement) = (
            Scripted::new(Script::default()),
            agreement_of(&spec, &settings, None),
        );
        let worth = Worth::new(&spec.output, agreement, []);
        let ground = Ground {
            spec: &spec,
            settings: &settings,
            engine: &engine,
            worth: &worth,
            library: &[],
            tokens: &|_| None,
        };
        let start = Strategy::as_written(&settings);
        let example = Example {
            input: record(&serde_json::json!({"text": "fine"})),
            output: "positive".to_owned(),
        };
        let shown = Strategy {
            examples: ExampleChoice::Fixed(vec![example]),
            both_orders: false,
            ..start.clone()
        };
        let none = Strategy {
            examples: ExampleChoice::Fixed(Vec::new()),
            both_orders: false,
            ..start.clone()
        };
        let by_task = Strategy {
            examples: ExampleChoice::Task,
            ..none.clone()
        };
        let arm = |strategy: &Strategy| Arm::new(strategy.clone(), String::new());
        let others = vec![arm(&shown), arm(&none), arm(&by_task), arm(&start)];
        let mut race = Race::new(ground, &[], arm(&start), others);
        assert_eq!(race.size(), 3);
        // What asks the same as the start is calibrated otherwise.
        let (batch, off, fitted) = (Calibration::Batch, Calibration::None, Calibration::Fitted);
        assert_eq!(race.ways(&none), [off, fitted]);
        assert_eq!(race.ways(&shown), [batch, off, fitted]);
        // A rung has chosen not to calibrate these two.
        let chosen = |strategy: &Strategy| {
            arm(&Strategy {
                calibration: Calibration::None,
                ..strategy.clone()
            })
        };
        race.ranking = vec![chosen(&shown), chosen(&none), arm(&start)];
        race.recombine();
        assert_eq!(race.size(), 3);
    }
}
