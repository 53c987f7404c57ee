//! What confidences are worth: how often answers of a confidence are right, and how much better
//! answers get when the least sure are withheld. Formulas stand in `docs/evaluation.md`.

use super::paired::Paired;
use super::report::{ConfidenceBin, ConfidenceQuality, RiskPoint};
use crate::judge::Calibrator;
use crate::store::FittedConfidence;

/// Equal-width bins of confidence for the calibration error.
const BINS: usize = 15;

/// Seed of the samples that tell whether a calibrator is better.
const SEED: u64 = 1;

/// Shares of the rows, the surest first, whose error is told.
const COVERAGES: [f64; 5] = [1.0, 0.9, 0.8, 0.7, 0.5];

/// Points of the error's curve at most: more than a picture on a telephone can show apart.
const CURVE_POINTS: usize = 50;

/// A row with an answer or without one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim {
    /// How sure the answer is; none where there is none.
    pub(super) confidence: Option<f32>,
    /// Whether it is right.
    pub(super) right: bool,
    /// Whether it is withheld.
    pub(super) abstained: bool,
}

pub(super) fn quality(claims: &[Claim]) -> ConfidenceQuality {
    let answered = claims
        .iter()
        .filter(|claim| !claim.abstained && claim.confidence.is_some());
    let (answers, right) = answered.fold((0, 0), |(answers, right), claim| {
        (answers + 1, right + usize::from(claim.right))
    });
    let pairs = pairs(claims);
    let curve = risks(claims);
    let at = |coverage: f64| {
        let rows = ((coverage * claims.len() as f64).ceil() as usize).max(1);
        RiskPoint {
            coverage,
            error: curve.get(rows - 1).copied().unwrap_or(0.0),
        }
    };
    ConfidenceQuality {
        coverage: share(answers, claims.len()),
        answered_accuracy: share(right, answers),
        calibration_error: calibration_error(&pairs),
        fitted_calibration_error: fitted_calibration_error(&pairs),
        risks: COVERAGES.map(at).to_vec(),
        aurc: curve.iter().sum::<f64>() / curve.len().max(1) as f64,
        bins: bins(&pairs),
        curve: thinned(&curve),
    }
}

/// Points of the curve at even distances, the last row's always among them.
fn thinned(curve: &[f64]) -> Vec<RiskPoint> {
    let points = curve.len().min(CURVE_POINTS);
    let point = |place: usize| {
        let rows = (place * curve.len()).div_ceil(points);
        RiskPoint {
            coverage: rows as f64 / curve.len() as f64,
            error: curve[rows - 1],
        }
    };
    (1..=points).map(point).collect()
}

/// Σ over bins of |right − mean confidence|, weighted by the bin's share of the rows.
pub(super) fn calibration_error(pairs: &[(f32, bool)]) -> f64 {
    let gap = |bin: &ConfidenceBin| (bin.right as f64 - bin.confidence * bin.rows as f64).abs();
    bins(pairs).iter().map(gap).sum::<f64>() / pairs.len().max(1) as f64
}

/// The bins that have answers, least sure first.
fn bins(pairs: &[(f32, bool)]) -> Vec<ConfidenceBin> {
    let mut sums = [(0, 0, 0.0); BINS];
    for &(confidence, is_right) in pairs {
        let confidence = f64::from(confidence);
        let bin = ((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1;
        let (rows, right, sum) = &mut sums[bin];
        *rows += 1;
        *right += usize::from(is_right);
        *sum += confidence;
    }
    let filled = sums.iter().filter(|(rows, _, _)| *rows > 0);
    filled
        .map(|&(rows, right, sum)| ConfidenceBin {
            rows,
            right,
            confidence: sum / rows as f64,
        })
        .collect()
}

/// Confidences beside whether the answers are right, where there is one.
fn pairs(claims: &[Claim]) -> Vec<(f32, bool)> {
    let pair = |claim: &Claim| Some((claim.confidence?, claim.right));
    claims.iter().filter_map(pair).collect()
}

/// The calibration error once confidences are fitted.
fn fitted_calibration_error(pairs: &[(f32, bool)]) -> Option<f64> {
    cross_fitted(pairs).map(|fitted| calibration_error(&fitted))
}

/// The pairs with fitted confidences: each half of the rows by what the other half teaches, so that
/// no row judges itself. None where halves are too small to fit.
fn cross_fitted(pairs: &[(f32, bool)]) -> Option<Vec<(f32, bool)>> {
    let half = |parity: usize| -> Vec<(f32, bool)> {
        pairs.iter().skip(parity).step_by(2).copied().collect()
    };
    let fit = |half: &[(f32, bool)]| Calibrator::fit_as_for(pairs.len(), half);
    let fits = [fit(&half(1))?, fit(&half(0))?];
    let numbered = pairs.iter().enumerate();
    let fitted = numbered.map(|(place, (p, right))| (fits[place % 2].apply(*p), *right));
    Some(fitted.collect())
}

/// A calibrator for the claims' confidences, and what it brings on rows that it has not seen, beside
/// what corrects them now.
pub(super) fn fitted(claims: &[Claim], now: Option<&Calibrator>) -> Option<FittedConfidence> {
    let pairs = pairs(claims);
    let corrected = |&(p, right): &(f32, bool)| (now.map_or(p, |now| now.apply(p)), right);
    let before: Vec<(f32, bool)> = pairs.iter().map(corrected).collect();
    let by_others = cross_fitted(&pairs)?;
    let merits = |pairs: &[(f32, bool)]| -> Vec<f64> {
        let merit =
            |&(p, right): &(f32, bool)| 1.0 - (f64::from(u8::from(right)) - f64::from(p)).powi(2);
        pairs.iter().map(merit).collect()
    };
    Some(FittedConfidence {
        calibrator: Calibrator::fit(&pairs)?,
        rows: pairs.len(),
        gain: Paired::of(&merits(&before), &merits(&by_others), SEED),
        calibration_error: [calibration_error(&before), calibration_error(&by_others)],
    })
}

/// The error among the k surest rows for each k; rows without an answer come last and are wrong.
/// Rows of one confidence count as if in random order.
fn risks(claims: &[Claim]) -> Vec<f64> {
    let mut sorted: Vec<(f32, bool)> = claims
        .iter()
        .map(|claim| (claim.confidence.unwrap_or(-1.0), claim.right))
        .collect();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut curve = Vec::new();
    let mut wrong = 0.0;
    for group in sorted.chunk_by(|a, b| a.0 == b.0) {
        let wrong_ones = group.iter().filter(|(_, right)| !right).count();
        let rate = wrong_ones as f64 / group.len() as f64;
        for _ in group {
            wrong += rate;
            curve.push(wrong / (curve.len() + 1) as f64);
        }
    }
    curve
}

/// A part of a whole; 0 of nothing.
fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    part as f64 / whole as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(rows: &[(f32, bool)]) -> Vec<Claim> {
        let claim = |&(confidence, right): &(f32, bool)| Claim {
            confidence: Some(confidence),
            right,
            abstained: confidence < 0.5,
        };
        rows.iter().map(claim).collect()
    }

    #[test]
    fn withholding_the_least_sure_lowers_the_error() {
        let rows = [
            (0.9, true),
            (0.8, true),
            (0.7, false),
            (0.4, true),
            (0.3, false),
        ];
        let quality = quality(&claims(&rows));
        assert!((quality.coverage - 0.6).abs() < 1e-12);
        assert!((quality.answered_accuracy - 2.0 / 3.0).abs() < 1e-12);
        let errors: Vec<f64> = quality.risks.iter().map(|point| point.error).collect();
        // 5, 5, 4, 4 and 3 rows.
        let wanted = [0.4, 0.4, 0.25, 0.25, 1.0 / 3.0];
        for (error, wanted) in errors.iter().zip(wanted) {
            assert!((error - wanted).abs() < 1e-12, "{errors:?}");
        }
        let aurc = (0.0 + 0.0 + 1.0 / 3.0 + 0.25 + 0.4) / 5.0;
        assert!((quality.aurc - aurc).abs() < 1e-12);
        assert_eq!(quality.fitted_calibration_error, None);
    }

    #[test]
    fn equal_confidences_know_nothing() {
        let mut rows = vec![(0.5, true); 50];
        rows.extend(vec![(0.5, false); 50]);
        let quality = quality(&claims(&rows));
        assert!(
            quality
                .risks
                .iter()
                .all(|point| (point.error - 0.5).abs() < 1e-9)
        );
        assert!((quality.aurc - 0.5).abs() < 1e-9);
        assert!(quality.calibration_error < 1e-9);
    }

    #[test]
    fn a_fit_on_the_other_half_corrects_overconfidence() {
        let row = |i: usize| ([0.9f32, 0.6][i / 2 % 2], i % 5 < 2);
        let rows: Vec<(f32, bool)> = (0..400).map(row).collect();
        let quality = quality(&claims(&rows));
        assert!(quality.calibration_error > 0.3);
        assert!(quality.fitted_calibration_error.unwrap() < 0.05);
    }

    #[test]
    fn bins_hold_every_answer_and_the_curve_ends_at_all_rows() {
        let rows: Vec<(f32, bool)> = (0..173).map(|i| (i as f32 / 172.0, i % 3 == 0)).collect();
        let quality = quality(&claims(&rows));
        let sums = quality.bins.iter().fold((0, 0, 0.0), |sum, bin| {
            let confidence = bin.confidence * bin.rows as f64;
            (sum.0 + bin.rows, sum.1 + bin.right, sum.2 + confidence)
        });
        assert_eq!((sums.0, sums.1, quality.bins.len()), (173, 58, BINS));
        assert!((sums.2 - 86.5).abs() < 1e-3, "{sums:?}");
        assert_eq!(quality.curve.len(), CURVE_POINTS);
        assert!(quality.curve.is_sorted_by(|a, b| a.coverage < b.coverage));
        assert_eq!(
            quality
                .curve
                .last()
                .map(|point| (point.coverage, point.error)),
            Some((1.0, quality.risks[0].error))
        );
    }

    #[test]
    fn a_calibrator_is_better_where_confidences_are_wrong_only() {
        // Of each confidence so many of ten are right, five times.
        let fit = |tenths: &[(f32, usize)]| {
            let of_ten = |&(p, right): &(f32, usize)| (0..10).map(move |i| (p, i < right));
            let rows: Vec<(f32, bool)> = tenths.iter().flat_map(of_ten).collect();
            fitted(&claims(&rows.repeat(5)), None)
        };
        let boastful = fit(&[(0.95, 6), (0.8, 2)]).unwrap();
        assert!(boastful.gain.is_better(), "{}", boastful.gain);
        let [before, after] = boastful.calibration_error;
        assert!(before > 0.4 && after < 0.1, "{before} {after}");
        assert!((boastful.calibrator.apply(0.95) - 0.6).abs() < 0.1);
        let honest = fit(&[(0.9, 9), (0.5, 5)]).unwrap();
        assert!(!honest.gain.is_better(), "{}", honest.gain);
        assert_eq!(fitted(&claims(&[(0.9, true); 39]), None), None);
    }

    /// Of 0.95 six of ten are right, of 0.8 two.
    fn boastful(times: usize) -> Vec<Claim> {
        let of_ten = |(p, right): (f32, usize)| (0..10).map(move |i| (p, i < right));
        let rows: Vec<(f32, bool)> = [(0.95, 6), (0.8, 2)].into_iter().flat_map(of_ten).collect();
        claims(&rows.repeat(times))
    }

    #[test]
    fn a_calibrator_is_compared_with_the_one_that_corrects_now() {
        let first = fitted(&boastful(10), None).unwrap();
        assert!(first.gain.is_better(), "{}", first.gain);
        let second = fitted(&boastful(12), Some(&first.calibrator)).unwrap();
        assert!(!second.gain.is_better(), "{}", second.gain);
        let [before, after] = second.calibration_error;
        assert!(before < 0.1 && after < 0.1, "{before} {after}");
        // One that corrects the wrong way is replaced.
        let wrong = Calibrator::Logistic {
            slope: 1.0,
            offset: 4.0,
        };
        let third = fitted(&boastful(10), Some(&wrong)).unwrap();
        assert!(third.gain.is_better(), "{}", third.gain);
    }

    #[test]
    fn what_is_tested_on_halves_is_of_the_kind_that_is_kept() {
        // 400 rows keep a staircase; of a hump no slope and offset can tell anything.
        let row = |i: usize| {
            let p = [0.2f32, 0.5, 0.8][i % 3];
            let right = if i.is_multiple_of(3) { 1 } else { 6 };
            (p, i % 10 < right)
        };
        let rows: Vec<(f32, bool)> = (0..400).map(row).collect();
        let found = fitted(&claims(&rows), None).unwrap();
        assert!(matches!(found.calibrator, Calibrator::Isotonic { .. }));
        let half: Vec<(f32, bool)> = rows.iter().skip(1).step_by(2).copied().collect();
        let staircase = Calibrator::isotonic(&half).unwrap();
        let tested = cross_fitted(&rows).unwrap();
        assert_eq!(tested[0].0, staircase.apply(rows[0].0));
    }

    #[test]
    fn rows_without_an_answer_are_wrong_and_last() {
        let mut rows = claims(&[(0.1, true)]);
        rows.push(Claim {
            confidence: None,
            right: false,
            abstained: false,
        });
        let quality = quality(&rows);
        assert!((quality.coverage - 0.0).abs() < 1e-12);
        assert!((quality.risks[0].error - 0.5).abs() < 1e-12);
        assert!(quality.risks[4].error.abs() < 1e-12);
    }
}
