//! One strategy on some labelled records: which requests it takes, and how good the answers are.

use std::sync::Arc;

use autoglm_spec::{Calibration, Example, Label, Output, TaskSpec};

use super::calls::{Caller, Halt, Outcome, Request};
use crate::TaskError;
use crate::compose::Composed;
use crate::eval::{Grade, Labelled, Worth};
use crate::judge::{Judge, Prior};
use crate::row::Raw;
use crate::run::ask::{Asker, score_request};
use crate::run::{Choosing, Engine, RunSettings};
use crate::select::{Selector, TokenCounter};
use crate::strategy::Strategy;

/// Parts of the records, each of which is judged by what the others teach.
const FOLDS: usize = 5;

/// What all trials of a search have in common.
#[derive(Clone, Copy)]
pub(super) struct Ground<'a> {
    pub(super) spec: &'a TaskSpec,
    pub(super) settings: &'a RunSettings,
    pub(super) engine: &'a dyn Engine,
    pub(super) worth: &'a Worth,
    /// What strategies may choose from that choose from the store.
    pub(super) library: &'a [Example],
    pub(super) tokens: &'a TokenCounter<'a>,
}

/// A strategy made ready to ask.
pub(super) struct Trial<'a> {
    ground: Ground<'a>,
    strategy: Strategy,
    spec: TaskSpec,
    asker: Asker<'a>,
}

/// The labels' log-probabilities of each record; none where it has no answer.
pub(super) type Scores = Vec<Option<Vec<f32>>>;

/// How good answers are.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Graded {
    /// One a record.
    pub(super) grades: Vec<Grade>,
    /// One a record, by whose mean strategies are ranked: for labels the mean of being right and of
    /// the probability given to the right label, which varies less than the first alone.
    pub(super) merits: Vec<f64>,
}

impl Graded {
    pub(super) fn merit(&self) -> f64 {
        mean_of(&self.merits)
    }

    /// Whether this is better on the same records by more than the standard error of the
    /// difference.
    pub(super) fn beats(&self, other: &Self) -> bool {
        let pairs = self.merits.iter().zip(&other.merits);
        let differences: Vec<f64> = pairs.map(|(a, b)| a - b).collect();
        let middle = mean_of(&differences);
        let squares: f64 = differences.iter().map(|d| (d - middle).powi(2)).sum();
        middle > squares.sqrt() / differences.len().max(1) as f64
    }
}

fn mean_of(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

impl<'a> Trial<'a> {
    pub(super) fn new(ground: Ground<'a>, strategy: &Strategy) -> Result<Self, TaskError> {
        let (spec, settings) = strategy.apply(ground.spec, ground.settings);
        let asker = Asker::of(&spec, ground.engine, &settings)?;
        let asker = match &settings.selection {
            Some(selection) => asker.choosing(Choosing {
                selector: Arc::new(Selector::new(&spec, selection, ground.library)),
                embedder: None,
                tokens: Some(ground.tokens),
            }),
            None => asker,
        };
        Ok(Self {
            ground,
            strategy: strategy.clone(),
            spec,
            asker,
        })
    }

    /// The requests for a record, one an order of the examples.
    fn requests(&self, labelled: &Labelled) -> Vec<Request> {
        let prompted = self.asker.prompts(&labelled.record, None);
        let prompted = prompted.expect("the records of a search have the task's fields");
        prompted.prompts.iter().map(|p| self.request(p)).collect()
    }

    fn request(&self, composed: &Composed) -> Request {
        match composed.options {
            Some(_) => Request::Score(score_request(composed)),
            None => Request::Generate(Box::new(self.asker.generate_request(composed))),
        }
    }

    /// The requests for records, one order of the examples after the other, so that neighbours
    /// share their prefix.
    pub(super) fn all_requests(&self, records: &[Labelled]) -> Vec<Request> {
        let by_record: Vec<Vec<Request>> = records.iter().map(|r| self.requests(r)).collect();
        let orders = by_record.first().map_or(0, Vec::len);
        let of_order = |order: usize| by_record.iter().map(move |r| r[order].clone());
        let mut all: Vec<Request> = (0..orders).flat_map(of_order).collect();
        if self.strategy.calibration == Calibration::Contextual {
            all.extend(self.blank_requests());
        }
        all
    }

    fn blank_requests(&self) -> Vec<Request> {
        let blanks = self.asker.content_free();
        blanks.iter().flatten().map(|p| self.request(p)).collect()
    }

    /// Asks for records and grades the answers.
    pub(super) fn run(
        &self,
        caller: &mut Caller<'_>,
        records: &[Labelled],
    ) -> Result<Graded, Halt> {
        let outcomes = caller.ask(self.ground.engine, &self.all_requests(records))?;
        let (answers, blanks) = self.gathered(&outcomes, records.len());
        let judge = self.judge(self.prior(&answers, &blanks));
        let judges = vec![&judge; records.len()];
        Ok(self.graded(&answers, records, &judges)?)
    }

    /// Asks for records whose answers are judged by what their right labels teach: the grades of each
    /// by what the others have taught, and what all of them teach.
    pub(super) fn run_fitted(
        &self,
        caller: &mut Caller<'_>,
        records: &[Labelled],
    ) -> Result<(Graded, Prior), Halt> {
        let outcomes = caller.ask(self.ground.engine, &self.all_requests(records))?;
        let (answers, _) = self.gathered(&outcomes, records.len());
        let without = |fold| self.judge(self.fitted(&answers, records, Some(fold)));
        let folds: Vec<Judge> = (0..FOLDS).map(without).collect();
        let judges: Vec<&Judge> = (0..records.len()).map(|i| &folds[i % FOLDS]).collect();
        let graded = self.graded(&answers, records, &judges)?;
        Ok((graded, self.fitted(&answers, records, None)))
    }

    /// What the right labels of records teach, those of one fold left out.
    fn fitted(&self, answers: &[Outcome], records: &[Labelled], without: Option<usize>) -> Prior {
        let labels = self.spec.output.labels();
        let lesson = |(place, (answer, labelled)): (usize, (&Outcome, &Labelled))| {
            let is_gold = |label: &Label| label.name == labelled.gold;
            let gold = labels.iter().position(is_gold)?;
            match answer {
                Ok(Raw::Scores { logprobs }) if logprobs.len() == labels.len() => {
                    (without != Some(place % FOLDS)).then(|| (logprobs.clone(), gold))
                }
                Ok(_) | Err(_) => None,
            }
        };
        let pairs = answers.iter().zip(records).enumerate();
        let (scores, golds): (Vec<_>, Vec<_>) = pairs.filter_map(lesson).unzip();
        Prior::fitted(&scores, &golds)
    }

    fn judge(&self, prior: Prior) -> Judge {
        Judge::new(&self.spec.output, prior)
    }

    /// Asks for records: their scores, and what is divided out of them.
    pub(super) fn scores(
        &self,
        caller: &mut Caller<'_>,
        records: &[Labelled],
    ) -> Result<(Scores, Prior), Halt> {
        let outcomes = caller.ask(self.ground.engine, &self.all_requests(records))?;
        let (answers, blanks) = self.gathered(&outcomes, records.len());
        let prior = self.prior(&answers, &blanks);
        let scores = answers.into_iter().map(|answer| match answer {
            Ok(Raw::Scores { logprobs }) => Some(logprobs),
            Ok(Raw::Text { .. }) | Err(_) => None,
        });
        Ok((scores.collect(), prior))
    }

    /// The mean over the orders of each record, and of each blank one.
    fn gathered(&self, outcomes: &[Outcome], records: usize) -> (Vec<Outcome>, Vec<Outcome>) {
        let blanks = match self.strategy.calibration {
            Calibration::Contextual => self.asker.content_free().len(),
            Calibration::None | Calibration::Batch | Calibration::Fitted => 0,
        };
        let orders = outcomes.len() / (records + blanks).max(1);
        let of_record = |record: usize| -> Outcome {
            mean((0..orders).map(|order| &outcomes[order * records + record]))
        };
        let behind = orders * records;
        let of_blank = |blank: usize| -> Outcome {
            let first = behind + blank * orders;
            mean(outcomes[first..first + orders].iter())
        };
        (
            (0..records).map(of_record).collect(),
            (0..blanks).map(of_blank).collect(),
        )
    }

    fn graded(
        &self,
        answers: &[Outcome],
        records: &[Labelled],
        judges: &[&Judge],
    ) -> Result<Graded, TaskError> {
        let mut grades = Vec::new();
        let mut merits = Vec::new();
        for ((answer, labelled), judge) in answers.iter().zip(records).zip(judges) {
            let verdict = answer.as_ref().ok().and_then(|raw| judge.verdict(raw).ok());
            let worth = self.ground.worth;
            let grade = worth.grade(verdict.as_ref(), &labelled.gold)?;
            merits.push(match &grade.odds {
                Some(odds) => f64::midpoint(grade.value, odds.gold),
                None => grade.value,
            });
            grades.push(grade);
        }
        Ok(Graded { grades, merits })
    }

    fn prior(&self, answers: &[Outcome], blanks: &[Outcome]) -> Prior {
        let scores = |outcomes: &[Outcome]| -> Vec<Vec<f32>> {
            let answered = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok());
            answered
                .filter_map(|raw| match raw {
                    Raw::Scores { logprobs } => Some(logprobs.clone()),
                    Raw::Text { .. } => None,
                })
                .collect()
        };
        let closed = matches!(self.spec.output, Output::Labels { .. });
        match self.strategy.calibration {
            Calibration::Batch if closed => {
                let has_own = self.strategy.selection.is_some();
                let has_examples = has_own || !self.spec.examples.is_empty();
                Prior::batch(&scores(answers), has_examples)
            }
            Calibration::Contextual if closed => Prior::contextual(&scores(blanks)),
            Calibration::Fitted => self.strategy.prior.clone().unwrap_or_else(Prior::none),
            Calibration::None | Calibration::Batch | Calibration::Contextual => Prior::none(),
        }
    }
}

/// The mean of scores, the first of texts, or the first error.
fn mean<'o>(outcomes: impl Iterator<Item = &'o Outcome>) -> Outcome {
    let mut sums: Vec<f32> = Vec::new();
    let mut count = 0.0;
    for outcome in outcomes {
        match outcome {
            Err(error) => return Err(error.clone()),
            Ok(Raw::Scores { logprobs }) => {
                sums.resize(logprobs.len(), 0.0);
                sums.iter_mut().zip(logprobs).for_each(|(s, p)| *s += p);
                count += 1.0;
            }
            Ok(text @ Raw::Text { .. }) => return Ok(text.clone()),
        }
    }
    let logprobs = sums.into_iter().map(|sum| sum / count).collect();
    Ok(Raw::Scores { logprobs })
}
