//! Several opinions of one record, and one that rests on all of them.

use serde::{Deserialize, Serialize};

use super::view::View;
use crate::numeric::{log_softmax, place_of_max, softmax};

/// How much rows must say before weights leave what is expected of them: as much as this many
/// rows, each worth the square of the difference.
const PRIOR_ROWS: f64 = 16.0;
/// The same between two labels, where few rows cannot tell what a probe knows beyond the scores.
const PRIOR_ROWS_OF_TWO: f64 = 128.0;
/// How much more log loss over all rows a view has that is expected to weigh less by a factor of e.
const LOSS_OF_A_FACTOR: f64 = 8.0;
/// How much more the scores weigh at first between two labels, in natural logarithms: a probe knows
/// little beyond them there. A view at chance is flat at its best scale, so that its weight does not
/// matter.
const SCORES_OF_TWO: f64 = 4.0;
/// Steps of the search for weights; it settles within some dozens.
const STEPS: usize = 300;
/// A step that brings less than this in log loss is the last.
const SETTLED: f64 = 1e-7;
/// Scales of a view that are tried, as powers of the ratio: from flat to sharp. A probe on few
/// rows of many numbers is off by thousands.
const SCALES: std::ops::RangeInclusive<i32> = -60..=8;
/// The ratio of one scale to the next.
const SCALE_STEP: f64 = 1.25;

/// The opinions of one view on all rows: `[n, K]` log-probabilities.
pub(super) type Opinions = Vec<Vec<f64>>;

/// A logarithmic opinion pool: `softmax(Σ weight · scale · opinion + bias)`.
///
/// # Source
/// Genest and Zidek 1986, Combining probability distributions, section 3; Wolpert 1992, Stacked
/// generalization, for weights found on opinions about rows that a view was not fitted to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Pool {
    /// One a view.
    pub(super) weights: Vec<f64>,
    /// What each view's opinions are multiplied with before they are weighed.
    scales: Vec<f64>,
    /// One a label.
    bias: Vec<f64>,
}

impl Pool {
    /// Finds the weights with the least log loss. Each view is first brought to the scale at which
    /// it alone has the least; then weights that differ from those that are expected of it cost,
    /// the less the more rows there are.
    ///
    /// # Shapes
    /// `kinds`: V; `views`: V of n of K; `labels`: n.
    pub(super) fn fit(kinds: &[View], views: &[Opinions], labels: &[usize]) -> Self {
        let label_count = views.first().and_then(|v| v.first()).map_or(0, Vec::len);
        let targets = targets(labels, label_count);
        let scales: Vec<f64> = views
            .iter()
            .map(|view| best_scale(view, &targets))
            .collect();
        let scaled: Vec<Opinions> = views
            .iter()
            .zip(&scales)
            .map(|(view, scale)| view.iter().map(|row| times(row, *scale)).collect())
            .collect();
        let expected = expected_weights(kinds, &scaled, &targets);
        let search = Search {
            views: &scaled,
            targets: &targets,
            expected: &expected,
        };
        let pool = search.descend(Self {
            weights: expected.clone(),
            scales: vec![1.0; views.len()],
            bias: vec![0.0; label_count],
        });
        Self { scales, ..pool }
    }

    /// The pooled log-probabilities of one row, from one opinion a view.
    pub(super) fn log_probabilities<'a>(
        &self,
        opinions: impl IntoIterator<Item = &'a Vec<f64>>,
    ) -> Vec<f64> {
        let mut sum = self.bias.clone();
        let weights = self.weights.iter().zip(&self.scales);
        for ((weight, scale), opinion) in weights.zip(opinions) {
            for (sum, log) in sum.iter_mut().zip(opinion) {
                *sum += weight * scale * log;
            }
        }
        log_softmax(&sum)
    }

    /// The pooled log-probabilities of all rows.
    pub(super) fn opinions(&self, views: &[Opinions]) -> Opinions {
        let rows = views.first().map_or(0, Vec::len);
        (0..rows)
            .map(|row| self.log_probabilities(views.iter().map(|view| &view[row])))
            .collect()
    }
}

/// The negative log-probability of each row's right label.
pub(super) fn losses(opinions: &Opinions, labels: &[usize]) -> Vec<f64> {
    let rows = opinions.iter().zip(labels);
    rows.map(|(row, &label)| -row[label]).collect()
}

/// The share of rows whose most likely label is the right one.
pub(super) fn accuracy(opinions: &Opinions, labels: &[usize]) -> f64 {
    let right = |(row, label): (&Vec<f64>, &usize)| place_of_max(row) == Some(*label);
    let count = opinions
        .iter()
        .zip(labels)
        .filter(|&pair| right(pair))
        .count();
    count as f64 / labels.len().max(1) as f64
}

fn times(row: &[f64], scale: f64) -> Vec<f64> {
    row.iter().map(|log| log * scale).collect()
}

/// What each row should be given: its label (n + 1)/(n + 2) with n rows, the others the rest in
/// equal parts. Few rows that are all right are no proof of certainty.
///
/// # Source
/// Platt 1999, Probabilistic outputs for support vector machines, section 2.2.
fn targets(labels: &[usize], label_count: usize) -> Opinions {
    let rows = labels.len() as f64;
    let right = (rows + 1.0) / (rows + 2.0);
    let wrong = (1.0 - right) / (label_count as f64 - 1.0);
    let of_row = |&label: &usize| {
        let mut target = vec![wrong; label_count];
        target[label] = right;
        target
    };
    labels.iter().map(of_row).collect()
}

/// The weights that are expected of views: the same for kinds of views that do equally well, less
/// for one whose log loss on all rows is higher, by a factor of e for every eight, and more for the scores
/// of two labels. Views of one kind share what is its.
fn expected_weights(kinds: &[View], views: &[Opinions], targets: &Opinions) -> Vec<f64> {
    let of_view = |(kind, view): (&View, &Opinions)| -> f64 {
        let of_kind = kinds.iter().filter(|other| *other == kind).count();
        let rows = view.iter().zip(targets);
        let loss: f64 = rows
            .map(|(row, target)| cross_entropy(target, &log_softmax(row)))
            .sum();
        let is_favoured = *kind == View::Scores && targets.first().is_some_and(|t| t.len() == 2);
        let favour = if is_favoured { SCORES_OF_TWO } else { 0.0 };
        favour - loss / LOSS_OF_A_FACTOR - (of_kind as f64).ln()
    };
    softmax(&kinds.iter().zip(views).map(of_view).collect::<Vec<f64>>())
}

/// The log loss of one view at its best scale.
pub(super) fn scaled_loss(view: &Opinions, labels: &[usize]) -> f64 {
    let label_count = view.first().map_or(0, Vec::len);
    least_loss(view, &targets(labels, label_count)).0
}

/// What log-probabilities are multiplied with for the least log loss.
fn best_scale(view: &Opinions, targets: &Opinions) -> f64 {
    least_loss(view, targets).1
}

/// The least log loss over all rows, and what log-probabilities are multiplied with for it.
fn least_loss(view: &Opinions, targets: &Opinions) -> (f64, f64) {
    let loss = |scale: f64| -> f64 {
        let rows = view.iter().zip(targets);
        let of_row = |(row, target): (&Vec<f64>, &Vec<f64>)| {
            cross_entropy(target, &log_softmax(&times(row, scale)))
        };
        rows.map(of_row).sum()
    };
    let scales = SCALES.map(|step| SCALE_STEP.powi(step));
    let tried = scales.map(|scale| (loss(scale), scale));
    let best = tried.reduce(|best, next| if next.0 < best.0 { next } else { best });
    best.unwrap_or((f64::INFINITY, 1.0))
}

fn cross_entropy(target: &[f64], logs: &[f64]) -> f64 {
    -target.iter().zip(logs).map(|(t, log)| t * log).sum::<f64>()
}

/// The search for weights and biases: both enter linearly, so that there is one minimum.
struct Search<'a> {
    views: &'a [Opinions],
    targets: &'a Opinions,
    expected: &'a [f64],
}

impl Search<'_> {
    /// Descends along the gradient; weights stay at 0 or above.
    fn descend(&self, mut at: Pool) -> Pool {
        let (mut cost, mut slope) = self.cost(&at);
        let mut pace = 1.0;
        for _ in 0..STEPS {
            let Some((next, next_cost, next_slope)) = self.step(&at, cost, &slope, &mut pace)
            else {
                break;
            };
            let gain = cost - next_cost;
            (at, cost, slope) = (next, next_cost, next_slope);
            if gain < SETTLED {
                break;
            }
            pace *= 2.0;
        }
        at
    }

    /// The next point, with a pace that is halved until the cost falls.
    fn step(
        &self,
        at: &Pool,
        cost: f64,
        slope: &Pool,
        pace: &mut f64,
    ) -> Option<(Pool, f64, Pool)> {
        while *pace > 1e-9 {
            let moved = |from: &[f64], along: &[f64]| -> Vec<f64> {
                from.iter().zip(along).map(|(x, g)| x - *pace * g).collect()
            };
            let next = Pool {
                weights: moved(&at.weights, &slope.weights)
                    .into_iter()
                    .map(|weight| weight.max(0.0))
                    .collect(),
                scales: at.scales.clone(),
                bias: moved(&at.bias, &slope.bias),
            };
            let (next_cost, next_slope) = self.cost(&next);
            if next_cost < cost {
                return Some((next, next_cost, next_slope));
            }
            *pace /= 2.0;
        }
        None
    }

    /// The log loss with what weights and biases cost, and its gradient.
    fn cost(&self, at: &Pool) -> (f64, Pool) {
        let rows = self.targets.len().max(1) as f64;
        let mut slope = Pool {
            weights: vec![0.0; at.weights.len()],
            scales: at.scales.clone(),
            bias: vec![0.0; at.bias.len()],
        };
        let mut loss = 0.0;
        for (row, target) in self.targets.iter().enumerate() {
            let opinions = || self.views.iter().map(|view| &view[row]);
            let logs = at.log_probabilities(opinions());
            loss += cross_entropy(target, &logs);
            let surplus: Vec<f64> = logs
                .iter()
                .zip(target)
                .map(|(log, target)| log.exp() - target)
                .collect();
            for (slope, opinion) in slope.weights.iter_mut().zip(opinions()) {
                *slope += surplus.iter().zip(opinion).map(|(s, o)| s * o).sum::<f64>() / rows;
            }
            for (slope, surplus) in slope.bias.iter_mut().zip(&surplus) {
                *slope += surplus / rows;
            }
        }
        let is_of_two = at.bias.len() == 2;
        let prior_rows = if is_of_two {
            PRIOR_ROWS_OF_TWO
        } else {
            PRIOR_ROWS
        };
        let price = prior_rows / rows;
        let mut cost = loss / rows;
        let apart = at.weights.iter().zip(self.expected).map(|(w, e)| w - e);
        for (slope, apart) in slope.weights.iter_mut().zip(apart) {
            cost += price * apart * apart;
            *slope += 2.0 * price * apart;
        }
        for (slope, bias) in slope.bias.iter_mut().zip(&at.bias) {
            cost += price * bias * bias;
            *slope += 2.0 * price * bias;
        }
        (cost, slope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two views of 40 rows: one that often knows, one that seldom does.
    fn two_views() -> (Vec<Opinions>, Vec<usize>) {
        let labels: Vec<usize> = (0..40).map(|row| row % 3).collect();
        let view = |every: usize| -> Opinions {
            let row = |(row, &label): (usize, &usize)| {
                let told = if row % every == 0 { label } else { row * 7 % 3 };
                let log = |k: usize| {
                    if k == told {
                        1.0 + row as f64 / 40.0
                    } else {
                        0.0
                    }
                };
                log_softmax(&[log(0), log(1), log(2)])
            };
            labels.iter().enumerate().map(row).collect()
        };
        (vec![view(1), view(3)], labels)
    }

    #[test]
    fn the_gradient_is_that_of_the_cost() {
        let (views, labels) = two_views();
        let search = Search {
            views: &views,
            targets: &targets(&labels, 3),
            expected: &[0.7, 0.3],
        };
        let at = Pool {
            weights: vec![0.9, 0.4],
            scales: vec![1.0; 2],
            bias: vec![0.1, -0.2, 0.3],
        };
        let (_, slope) = search.cost(&at);
        let moved = |place: usize, by: f64| {
            let mut moved = at.clone();
            match place {
                0 | 1 => moved.weights[place] += by,
                _ => moved.bias[place - 2] += by,
            }
            search.cost(&moved).0
        };
        for (place, found) in slope.weights.iter().chain(&slope.bias).enumerate() {
            let wanted = (moved(place, 1e-5) - moved(place, -1e-5)) / 2e-5;
            assert!((found - wanted).abs() < 1e-7, "{place} {found} {wanted}");
        }
    }

    #[test]
    fn the_search_ends_where_no_way_leads_down() {
        let (views, labels) = two_views();
        let search = Search {
            views: &views,
            targets: &targets(&labels, 3),
            expected: &[0.5, 0.5],
        };
        let start = Pool {
            weights: vec![0.5, 0.5],
            scales: vec![1.0; 2],
            bias: vec![0.0; 3],
        };
        let end = search.descend(start);
        let (_, slope) = search.cost(&end);
        for (weight, slope) in end.weights.iter().zip(&slope.weights) {
            assert!(
                slope.abs() < 3e-3 || (*weight == 0.0 && *slope > 0.0),
                "{slope}"
            );
        }
        assert!(
            slope.bias.iter().all(|slope| slope.abs() < 3e-3),
            "{slope:?}"
        );
    }

    #[test]
    fn between_two_labels_scores_weigh_more_where_both_views_know_as_much() {
        let views = |label_count: usize| -> (Vec<Opinions>, Vec<usize>) {
            let labels: Vec<usize> = (0..12).map(|row| row % label_count).collect();
            let row = |&label: &usize| {
                let mut logs = vec![0.0; label_count];
                logs[label] = 1.0;
                log_softmax(&logs)
            };
            let opinions: Opinions = labels.iter().map(row).collect();
            (vec![opinions.clone(), opinions], labels)
        };
        let weights = |label_count: usize| {
            let (views, labels) = views(label_count);
            let targets = targets(&labels, label_count);
            expected_weights(&[View::Scores, View::States], &views, &targets)
        };
        let of_two = weights(2);
        assert!((of_two[0] / of_two[1] - SCORES_OF_TWO.exp()).abs() < 1e-9);
        assert_eq!(weights(3), [0.5, 0.5]);
    }

    #[test]
    fn what_weights_cost_is_more_between_two_labels() {
        let price = |label_count: usize| {
            let labels: Vec<usize> = (0..12).map(|row| row % label_count).collect();
            // A flat view says the same whatever it weighs.
            let flat = vec![vec![vec![0.0; label_count]; 12]; 2];
            let search = Search {
                views: &flat,
                targets: &targets(&labels, label_count),
                expected: &[0.5, 0.5],
            };
            let cost = |weight: f64| {
                let at = Pool {
                    weights: vec![weight, 0.5],
                    scales: vec![1.0; 2],
                    bias: vec![0.0; label_count],
                };
                search.cost(&at).0
            };
            cost(1.5) - cost(0.5)
        };
        assert!((price(2) - PRIOR_ROWS_OF_TWO / 12.0).abs() < 1e-9);
        assert!((price(3) - PRIOR_ROWS / 12.0).abs() < 1e-9);
    }
}
