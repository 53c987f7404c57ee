//! What enters the race: other wordings, other examples, other ways to run.

use std::collections::BTreeSet;

use autoglm_spec::{Calibration, Example, Output, Sampling};

use super::Search;
use super::calls::{Caller, Halt, Request};
use super::example_sets::{ExampleSet, example, example_sets, hard_set};
use super::race::Arm;
use super::rewrite::{self, Failure};
use super::trial::{Ground, Trial};
use super::wordings::{answer_titles, wordings};
use crate::eval::Labelled;
use crate::judge::{Judge, Prior};
use crate::library::{identity, record_text};
use crate::row::Raw;
use crate::run::Engine;
use crate::select::{Nearness, Pool, Selection};
use crate::strategy::{ExampleChoice, Strategy, check};

/// Records on which failures of the start are looked for, at least and at most.
const PROBE_RECORDS: usize = 8;
const MOST_PROBE_RECORDS: usize = 48;
/// The share of the model's context that a prompt may fill.
const CONTEXT_SHARE: f64 = 0.75;

/// Records that examples are chosen from for each record at most: they are kept with the strategy.
const MOST_POOL_RECORDS: usize = 500;
/// How many are chosen for each record that are tried.
const CHOSEN_COUNTS: [usize; 3] = [4, 2, 8];

/// Finds what enters the race.
pub(super) struct Candidates<'a> {
    pub(super) search: &'a Search<'a>,
    pub(super) ground: Ground<'a>,
    pub(super) propose: &'a [Labelled],
    /// What the smallest race costs.
    pub(super) least_race: f64,
    /// What of the budget is kept for the untouched records.
    pub(super) reserve: f64,
}

/// What enters the race.
pub(super) struct Gathered {
    /// The most promising first.
    pub(super) arms: Vec<Arm>,
    /// What the writer's instructions cost.
    pub(super) writing: f64,
}

impl Candidates<'_> {
    /// The strategies to compare with the start, the most promising first.
    pub(super) fn gather(
        &self,
        caller: &mut Caller<'_>,
        failures_budget: f64,
        notes: &mut Vec<String>,
    ) -> Result<Gathered, Halt> {
        let failures = self.failures(caller, failures_budget)?;
        let seed = self.search.seed;
        let mut sets = example_sets(self.search.spec, self.propose, seed);
        let wrong: BTreeSet<String> = failures
            .iter()
            .map(|f| identity(&self.search.spec.fields, &f.labelled.record))
            .collect();
        if let Some(hard) = hard_set(self.search.spec, self.propose, &wrong, seed) {
            sets.insert(2.min(sets.len()), hard);
        }
        let (written, writing) = self.written(caller, &failures, notes)?;
        let mut by_sets = self.by_sets(&sets);
        let behind = 1.min(by_sets.len());
        by_sets.splice(behind..behind, self.by_selection());
        let by_wordings = self.by_wordings(&sets, written);
        let mut arms = vec![self.twin()];
        let (mut one, mut other) = (by_sets.into_iter(), by_wordings.into_iter());
        loop {
            let pair: Vec<Arm> = one.next().into_iter().chain(other.next()).collect();
            if pair.is_empty() {
                break;
            }
            arms.extend(pair);
        }
        arms.extend(self.by_titles(&sets));
        arms.extend(self.by_sampling(&sets));
        Ok(Gathered {
            arms: self.usable(caller, arms, notes),
            writing,
        })
    }

    /// What the start answers wrongly.
    fn failures(&self, caller: &mut Caller<'_>, budget: f64) -> Result<Vec<Failure>, Halt> {
        let trial = Trial::new(self.ground, self.search.start)?;
        let model = self.ground.engine.facts();
        let price = |caller: &Caller<'_>, count: usize| {
            caller.price(&trial.all_requests(&self.propose[..count]), model)
        };
        let all = MOST_PROBE_RECORDS.min(self.propose.len());
        let first = PROBE_RECORDS.min(all);
        if price(caller, first) > budget {
            return Ok(Vec::new());
        }
        // The first few tell the time that a request takes.
        trial.run(caller, &self.propose[..first])?;
        let affordable = |count: &usize| price(caller, *count) <= budget;
        let count = (first..=all).rev().find(affordable).unwrap_or(first);
        let probe = &self.propose[..count];
        let graded = trial.run(caller, probe)?;
        let requests = trial.all_requests(probe);
        let mut failures = Vec::new();
        for (place, labelled) in probe.iter().enumerate() {
            if graded.grades[place].value < 0.5 {
                let answer = caller.ask(self.ground.engine, &requests[place..=place])?;
                let given = answer.first().and_then(|outcome| outcome.as_ref().ok());
                failures.push(Failure {
                    labelled: labelled.clone(),
                    given: given.map_or(String::new(), |raw| self.given(raw)),
                });
            }
        }
        Ok(failures)
    }

    fn given(&self, raw: &Raw) -> String {
        let judge = Judge::new(&self.search.spec.output, Prior::none());
        judge.verdict(raw).map_or_else(|e| e, |v| v.answer)
    }

    /// Instructions that the writer gives, where there is one, and what they cost.
    fn written(
        &self,
        caller: &mut Caller<'_>,
        failures: &[Failure],
        notes: &mut Vec<String>,
    ) -> Result<(Vec<String>, f64), Halt> {
        let Some(writer) = self.search.writer else {
            notes.push(
                "no model wrote instructions: this one has no chat template and cannot; \
                 --teacher-engine URL names one that does"
                    .to_owned(),
            );
            return Ok((Vec::new(), 0.0));
        };
        // What the start says was answered wrongly with its own wording.
        let (spec, _) = (self.search.start).apply(self.search.spec, self.search.settings);
        let (spec, seed) = (&spec, self.search.seed);
        let mut requests = rewrite::requests(spec, self.propose, &[], seed);
        if !failures.is_empty() {
            requests.extend(rewrite::requests(spec, self.propose, failures, seed));
        }
        caller.with_writer(writer.scope, |caller| {
            self.read_written(caller, (writer.engine, &requests), notes)
        })
    }

    /// What a writer answers, as far as the rest of the search can do without what that costs.
    fn read_written(
        &self,
        caller: &mut Caller<'_>,
        (writer, requests): (&dyn Engine, &[Request]),
        notes: &mut Vec<String>,
    ) -> Result<(Vec<String>, f64), Halt> {
        let cost = caller.price(requests, writer.facts());
        let kept = self.reserve + self.least_race;
        if caller.left() - kept < cost {
            return Err(Halt::TooLittle(self.least_race + cost));
        }
        let mut outcomes = Vec::new();
        while outcomes.len() < requests.len() {
            let rest = &requests[outcomes.len()..];
            let count = caller.count_within(caller.left() - kept, rest, writer.facts());
            if count == 0 {
                notes.push(format!(
                    "{} of {} instructions were written: more would have taken what the \
                     comparisons need",
                    outcomes.len(),
                    requests.len()
                ));
                break;
            }
            outcomes.extend(caller.ask(writer, &rest[..count])?);
        }
        if caller.is_dry() {
            let own = (self.search.start)
                .apply(self.search.spec, self.search.settings)
                .0;
            let likely = |i: usize| format!("{} ({i})", own.instruction);
            return Ok(((0..outcomes.len()).map(likely).collect(), cost));
        }
        let texts = outcomes.iter().filter_map(|outcome| match outcome {
            Ok(Raw::Text { text, .. }) => rewrite::read(text),
            Ok(Raw::Scores { .. }) | Err(_) => None,
        });
        Ok((texts.collect(), cost))
    }

    /// The start with its label bias removed in another way, which takes no further requests.
    fn twin(&self) -> Arm {
        let strategy = Strategy {
            both_orders: self.search.start.both_orders,
            ..self.ground_strategy()
        };
        Arm::new(strategy, "the start, calibrated otherwise".to_owned())
    }

    /// What candidates have in common: the start with one order of the examples, which takes half
    /// the requests; finalists are tried with both.
    fn ground_strategy(&self) -> Strategy {
        Strategy {
            both_orders: false,
            calibration: Calibration::Batch,
            prior: None,
            ..self.search.start.clone()
        }
    }

    /// The examples that wordings are compared with: the start's, or the first set that is tried.
    /// Models that follow turns are asked without any where the start has none.
    fn reference(&self, sets: &[ExampleSet]) -> ExampleChoice {
        let (spec, _) = self
            .search
            .start
            .apply(self.search.spec, self.search.settings);
        let own = self.search.start.examples.clone();
        match sets.first() {
            _ if !spec.examples.is_empty() || self.ground.engine.facts().chat => own,
            Some(set) => ExampleChoice::Fixed(set.examples.clone()),
            None => own,
        }
    }

    fn by_sets(&self, sets: &[ExampleSet]) -> Vec<Arm> {
        let arm = |set: &ExampleSet| {
            let strategy = Strategy {
                examples: ExampleChoice::Fixed(set.examples.clone()),
                selection: None,
                ..self.ground_strategy()
            };
            Arm::new(strategy, set.about.clone())
        };
        sets.iter().map(arm).collect()
    }

    /// Examples chosen for each record, for open answers.
    fn by_selection(&self) -> Vec<Arm> {
        if matches!(self.search.spec.output, Output::Labels { .. }) {
            return Vec::new();
        }
        let pool = self.propose.iter().take(MOST_POOL_RECORDS);
        let pool: Vec<Example> = pool.map(example).collect();
        let arm = |count: usize| {
            let strategy = Strategy {
                examples: ExampleChoice::Fixed(Vec::new()),
                selection: Some(Selection {
                    by: Nearness::Words,
                    count,
                    tokens: None,
                    pool: Pool::Fixed(pool.clone()),
                }),
                ..self.ground_strategy()
            };
            Arm::new(strategy, format!("the {count} nearest by words"))
        };
        CHOSEN_COUNTS.into_iter().map(arm).collect()
    }

    fn by_wordings(&self, sets: &[ExampleSet], written: Vec<String>) -> Vec<Arm> {
        let examples = self.reference(sets);
        let built_in = wordings(self.search.spec, self.propose).into_iter();
        let built_in = built_in.map(|text| ("wording", text));
        let texts = written.into_iter().map(|text| ("written", text));
        let (mut one, mut other) = (built_in, texts);
        let mut mixed = Vec::new();
        loop {
            let pair: Vec<_> = one.next().into_iter().chain(other.next()).collect();
            if pair.is_empty() {
                break;
            }
            mixed.extend(pair);
        }
        let arm = |(number, (kind, text)): (usize, (&str, String))| {
            let strategy = Strategy {
                instruction: Some(text),
                examples: examples.clone(),
                ..self.ground_strategy()
            };
            Arm::new(strategy, format!("{kind} {}", number + 1))
        };
        mixed.into_iter().enumerate().map(arm).collect()
    }

    fn by_titles(&self, sets: &[ExampleSet]) -> Vec<Arm> {
        let arm = |title: String| {
            let about = format!("the answer called {title}");
            let strategy = Strategy {
                answer_title: Some(title),
                examples: self.reference(sets),
                ..self.ground_strategy()
            };
            Arm::new(strategy, about)
        };
        let titles = answer_titles(self.search.spec).into_iter().take(1);
        titles.map(arm).collect()
    }

    /// Other ways to choose tokens, for open answers.
    fn by_sampling(&self, sets: &[ExampleSet]) -> Vec<Arm> {
        if matches!(self.search.spec.output, Output::Labels { .. }) {
            return Vec::new();
        }
        let penalty = Sampling {
            repetition_penalty: 1.1,
            ..self.search.start.sampling
        };
        let warm = Sampling {
            temperature: 0.3,
            top_p: 0.9,
            seed: self.search.seed,
            ..self.search.start.sampling
        };
        let ways = [
            ("repetition penalty 1.1", penalty),
            ("temperature 0.3", warm),
        ];
        ways.into_iter()
            .map(|(about, sampling)| {
                let strategy = Strategy {
                    sampling,
                    examples: self.reference(sets),
                    ..self.ground_strategy()
                };
                Arm::new(strategy, about.to_owned())
            })
            .collect()
    }

    /// The arms whose prompts name all labels and rules, and fit into the model's context.
    fn usable(&self, caller: &Caller<'_>, arms: Vec<Arm>, notes: &mut Vec<String>) -> Vec<Arm> {
        let model = self.ground.engine.facts();
        let longest = self
            .propose
            .iter()
            .max_by_key(|l| record_text(&self.search.spec.fields, &l.record).len());
        let room = model.context_tokens as f64 * CONTEXT_SHARE;
        let (mut unsafe_ones, mut long_ones) = (0, 0);
        let mut kept = Vec::new();
        for arm in arms {
            if check(&arm.strategy, self.search.spec, model).is_err() {
                unsafe_ones += 1;
                continue;
            }
            let fits = longest.is_none_or(|record| {
                let trial = Trial::new(self.ground, &arm.strategy);
                trial.is_ok_and(|trial| {
                    let requests: Vec<Request> = trial.all_requests(std::slice::from_ref(record));
                    caller.likely_tokens_of(&requests[..1]) as f64 <= room
                })
            });
            if fits {
                kept.push(arm);
            } else {
                long_ones += 1;
            }
        }
        for (count, why) in [
            (unsafe_ones, "they lose a label or a rule of the task"),
            (long_ones, "their prompts are too long for the model"),
        ] {
            if count > 0 {
                notes.push(format!("{count} strategies left out: {why}"));
            }
        }
        kept
    }
}
