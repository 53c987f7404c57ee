//! What voting brings and what stopping early would cost, on samples that were all taken: every
//! rule looks at the same samples, so that the comparison is paired.

use autoglm_spec::EngineError;
use sha2::{Digest, Sha256};

use super::report::{RuleQuality, SamplesQuality};
use crate::judge::agreement::{Agreement, Counted, SamplingPlan, StopRule, leader};
use crate::row::Sample;

/// Orders in which the samples behind the first could have been drawn.
const ORDERS: u64 = 5;

/// A row's samples and its right answer.
pub(super) struct Sampled {
    pub(super) samples: Vec<Sample>,
    pub(super) gold: String,
}

/// The measures; none where rows have one sample or were stopped early.
pub(super) fn quality(
    rows: &[Sampled],
    agreement: &Agreement,
    plan: SamplingPlan,
) -> Result<Option<SamplesQuality>, EngineError> {
    if plan.samples <= 1 || rows.is_empty() {
        return Ok(None);
    }
    let drawn: Vec<Vec<Sample>> = rows.iter().map(voters).collect();
    let taken: usize = drawn.iter().map(Vec::len).sum();
    let single = mean_right(rows, &drawn, agreement, &|_| Ok(1))?;
    let complete = drawn.iter().all(|samples| samples.len() == plan.samples);
    let mut rules = Vec::new();
    if complete {
        for stop in [StopRule::Fixed, StopRule::Adaptive, StopRule::Beta] {
            rules.push(rule_quality(
                rows,
                agreement,
                SamplingPlan { stop, ..plan },
            )?);
        }
    }
    Ok(Some(SamplesQuality {
        limit: plan.samples,
        mean_samples: taken as f64 / rows.len() as f64,
        first_accuracy: single,
        rules,
    }))
}

/// The samples that voted, without the one that was told what is wrong.
fn voters(row: &Sampled) -> Vec<Sample> {
    row.samples
        .iter()
        .filter(|sample| !sample.repair)
        .cloned()
        .collect()
}

fn rule_quality(
    rows: &[Sampled],
    agreement: &Agreement,
    plan: SamplingPlan,
) -> Result<RuleQuality, EngineError> {
    let (mut accuracies, mut samples) = (Vec::new(), Vec::new());
    for order in 0..ORDERS {
        let turned: Vec<Vec<Sample>> = rows
            .iter()
            .enumerate()
            .map(|(place, row)| reordered(voters(row), order, place))
            .collect();
        let taken = std::cell::Cell::new(0);
        let stopped = |samples: &[Sample]| {
            let some = until_stopped(samples, agreement, plan)?;
            taken.set(taken.get() + some);
            Ok(some)
        };
        accuracies.push(mean_right(rows, &turned, agreement, &stopped)?);
        samples.push(taken.get() as f64 / rows.len() as f64);
    }
    let (accuracy, accuracy_deviation) = mean_and_deviation(&accuracies);
    let (mean_samples, samples_deviation) = mean_and_deviation(&samples);
    Ok(RuleQuality {
        rule: plan.stop,
        orders: ORDERS as usize,
        accuracy,
        accuracy_deviation,
        mean_samples,
        samples_deviation,
    })
}

/// How many samples a plan would have taken.
fn until_stopped(
    samples: &[Sample],
    agreement: &Agreement,
    plan: SamplingPlan,
) -> Result<usize, EngineError> {
    for taken in 1..samples.len() {
        if plan
            .decide(&agreement.count(&samples[..taken])?.ballot)
            .is_some()
        {
            return Ok(taken);
        }
    }
    Ok(samples.len())
}

/// The first sample, and the others in an order that follows a number; 0 is the order as drawn.
fn reordered(mut samples: Vec<Sample>, order: u64, row: usize) -> Vec<Sample> {
    if order == 0 {
        return samples;
    }
    let mut rest: Vec<([u8; 32], Sample)> = samples
        .drain(1..)
        .enumerate()
        .map(|(place, sample)| {
            (
                Sha256::digest(format!("{order}\n{row}\n{place}")).into(),
                sample,
            )
        })
        .collect();
    rest.sort_by_key(|(ticket, _)| *ticket);
    samples.extend(rest.into_iter().map(|(_, sample)| sample));
    samples
}

/// The share of rows whose vote over as many samples as `take` says gives the right answer.
fn mean_right(
    rows: &[Sampled],
    drawn: &[Vec<Sample>],
    agreement: &Agreement,
    take: &dyn Fn(&[Sample]) -> Result<usize, EngineError>,
) -> Result<f64, EngineError> {
    let mut right = 0;
    for (row, samples) in rows.iter().zip(drawn) {
        let taken = take(samples)?;
        if let Some(answer) = winner(&agreement.count(&samples[..taken])?) {
            right += usize::from(agreement.same(&answer, &row.gold)?);
        }
    }
    Ok(right as f64 / rows.len() as f64)
}

fn winner(counted: &Counted) -> Option<String> {
    let winner = leader(&counted.ballot.counts)?;
    counted
        .alternatives(winner)
        .into_iter()
        .next()
        .map(|alternative| alternative.answer)
}

/// Mean and sample standard deviation.
fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (values.len() - 1) as f64).sqrt())
}
