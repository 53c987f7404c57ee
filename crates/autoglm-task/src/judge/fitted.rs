//! The model's bias towards labels, learnt from records whose right answers are known.

use autoglm_spec::Calibration;

use super::prior::{Prior, centred, narrow, probabilities};
use crate::numeric::{log_softmax, softmax};

/// Weight of the square of each label's bias beside the records: biases are thought to be normal
/// with a standard deviation of 2 nats, which is how far small models lean.
const BIAS_WEIGHT: f64 = 0.25;

/// What scores may be multiplied by: powers of the root of 2 from 1/8 to 4; their logarithm is
/// thought to be normal with a standard deviation of 1.
const SCALES: std::ops::RangeInclusive<i32> = -6..=4;

/// Steps of the descent. With 300 records its error falls by e every 25 steps.
const STEPS: usize = 300;

impl Prior {
    /// What makes the right labels of records most likely, given that biases are rather small:
    /// `softmax(a · log p − b)` with b one number a label and a one number, at the most of
    /// `Σ log p(right) − λ/2 Σ b² − ½ (ln a)²`. It needs no even mixture of labels, and does not
    /// depend on which records a run has. Records are the labels' log-probabilities, `golds` the
    /// places of the right labels.
    ///
    /// # Panics
    /// If there are not as many right labels as records, or one is no label's place.
    ///
    /// # Source
    /// Guo et al. 2017, On Calibration of Modern Neural Networks, section 4.2, bias-corrected
    /// temperature scaling as in Alexandari et al. 2020, here with a normal prior; accelerated
    /// gradient descent by Nesterov 2018, Lectures on Convex Optimization, (2.2.22).
    pub fn fitted(records: &[Vec<f32>], golds: &[usize]) -> Self {
        assert_eq!(records.len(), golds.len(), "a right label for each record");
        let scores: Vec<Vec<f64>> = probabilities(records)
            .into_iter()
            .map(|record| centred(record.into_iter().map(f64::ln).collect()))
            .collect();
        let fits = SCALES.map(|half| {
            let scale = 2.0_f64.powf(f64::from(half) / 2.0);
            let bias = bias_at(scale, &scores, golds);
            let loss = loss_of(scale, &bias, &scores, golds);
            (loss, scale, bias)
        });
        let best = fits.min_by(|a, b| a.0.total_cmp(&b.0));
        let (_, scale, bias) = best.expect("there are scales");
        let lean: Vec<f64> = bias.iter().map(|b| b / scale).collect();
        Self {
            calibration: Calibration::Fitted,
            logprobs: narrow(&lean),
            temperature: (1.0 / scale) as f32,
            records: records.len(),
        }
    }
}

/// The best bias where scores are multiplied by `scale`.
fn bias_at(scale: f64, scores: &[Vec<f64>], golds: &[usize]) -> Vec<f64> {
    let labels = scores.first().map_or(0, Vec::len);
    // The second derivatives of a softmax are at most one half.
    let steepest = 0.5 * scores.len() as f64 + BIAS_WEIGHT;
    let (root, least) = (steepest.sqrt(), BIAS_WEIGHT.sqrt());
    let momentum = (root - least) / (root + least);
    let mut bias = vec![0.0; labels];
    let mut ahead = bias.clone();
    for _ in 0..STEPS {
        let slopes = slopes_of(scale, &ahead, scores, golds);
        let next: Vec<f64> = ahead
            .iter()
            .zip(&slopes)
            .map(|(at, slope)| at - slope / steepest)
            .collect();
        ahead = next
            .iter()
            .zip(&bias)
            .map(|(next, before)| next + momentum * (next - before))
            .collect();
        bias = next;
    }
    bias
}

/// The derivatives of the loss by each label's bias.
fn slopes_of(scale: f64, bias: &[f64], scores: &[Vec<f64>], golds: &[usize]) -> Vec<f64> {
    let mut slopes: Vec<f64> = bias.iter().map(|b| BIAS_WEIGHT * b).collect();
    for (record, &gold) in scores.iter().zip(golds) {
        let given = softmax(&shifted(scale, bias, record));
        slopes.iter_mut().zip(given).for_each(|(s, p)| *s -= p);
        slopes[gold] += 1.0;
    }
    slopes
}

fn loss_of(scale: f64, bias: &[f64], scores: &[Vec<f64>], golds: &[usize]) -> f64 {
    let of_records = scores.iter().zip(golds).map(|(record, &gold)| {
        let logs = log_softmax(&shifted(scale, bias, record));
        -logs[gold]
    });
    let of_bias: f64 = bias.iter().map(|b| b * b).sum();
    of_records.sum::<f64>() + 0.5 * BIAS_WEIGHT * of_bias + 0.5 * scale.ln().powi(2)
}

fn shifted(scale: f64, bias: &[f64], record: &[f64]) -> Vec<f64> {
    let pairs = record.iter().zip(bias);
    pairs.map(|(score, bias)| scale * score - bias).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::Chance;

    /// Records of three labels, of which the first is likeliest to the model whatever is right, and
    /// the last is right in one of ten.
    fn leaning(count: usize) -> (Vec<Vec<f32>>, Vec<usize>) {
        let mut chance = Chance::new(7);
        let mut one = |place: usize| {
            let gold = match place % 10 {
                0 => 2,
                even if even % 2 == 0 => 0,
                _ => 1,
            };
            let mut scores: Vec<f32> = (0..3).map(|_| chance.below(100) as f32 / 50.0).collect();
            scores[gold] += 1.5;
            scores[0] += 4.0;
            (scores, gold)
        };
        (0..count).map(&mut one).unzip()
    }

    fn right(prior: &Prior, (records, golds): &(Vec<Vec<f32>>, Vec<usize>)) -> usize {
        let is_right = |(record, gold): &(&Vec<f32>, &usize)| {
            let given = prior.divide_out(record);
            (0..given.len()).all(|k| given[k] <= given[**gold])
        };
        records.iter().zip(golds).filter(is_right).count()
    }

    #[test]
    fn a_lean_is_taken_off_new_records() {
        let (records, golds) = leaning(200);
        let split = |from: usize, to: usize| (records[from..to].to_vec(), golds[from..to].to_vec());
        let (teach, test) = (split(0, 60), split(60, 200));
        let fitted = Prior::fitted(&teach.0, &teach.1);
        let before = right(&Prior::none(), &test);
        let batch = right(&Prior::batch(&test.0, false), &test);
        let after = right(&fitted, &test);
        assert!(
            after > before + 50 && after > batch,
            "{before} {batch} {after}"
        );
        assert_eq!(
            (fitted.calibration, fitted.records),
            (Calibration::Fitted, 60)
        );
    }

    #[test]
    fn the_descent_ends_where_nothing_is_steep() {
        let (records, golds) = leaning(120);
        let fitted = Prior::fitted(&records, &golds);
        let scale = 1.0 / f64::from(fitted.temperature);
        let bias: Vec<f64> = fitted
            .logprobs
            .iter()
            .map(|b| f64::from(*b) * scale)
            .collect();
        let scores: Vec<Vec<f64>> = probabilities(&records)
            .into_iter()
            .map(|record| centred(record.into_iter().map(f64::ln).collect()))
            .collect();
        let slopes = slopes_of(scale, &bias, &scores, &golds);
        assert!(slopes.iter().all(|slope| slope.abs() < 1e-3), "{slopes:?}");
        // The slopes are those of the loss.
        let step = 1e-5;
        for label in 0..3 {
            let at = |by: f64| {
                let mut moved = bias.clone();
                moved[label] += by;
                loss_of(scale, &moved, &scores, &golds)
            };
            let slope = (at(0.3 + step) - at(0.3 - step)) / (2.0 * step);
            let mut moved = bias.clone();
            moved[label] += 0.3;
            let told = slopes_of(scale, &moved, &scores, &golds)[label];
            assert!((slope - told).abs() < 1e-4, "{slope} {told}");
        }
    }

    #[test]
    fn labels_that_never_were_right_and_no_records_at_all_are_no_trouble() {
        let records = vec![vec![-1.0, -2.0, -3.0, -20.0]; 12];
        let fitted = Prior::fitted(&records, &[1; 12]);
        let given = fitted.divide_out(&records[0]);
        assert!(
            given[1] > 0.5 && given.iter().all(|p| p.is_finite()),
            "{given:?}"
        );
        let none = Prior::fitted(&[], &[]);
        assert_eq!((none.logprobs.len(), none.temperature), (0, 1.0));
    }
}
