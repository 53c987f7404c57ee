//! The choice of experts: scores in, the rows of each expert with their weights out.

use crate::config::{ExpertsConfig, RouterGate};

/// What a layer's rows choose by.
pub(crate) struct Router<'a> {
    pub(crate) experts: &'a ExpertsConfig,
    /// Added to the scores for the choice alone: `[E]`.
    pub(crate) correction: Option<&'a [f32]>,
}

/// Which rows run through which experts.
#[derive(Default)]
pub(crate) struct Routes {
    /// Where the rows of each expert begin, and the end: `[E + 1]`.
    starts: Vec<u32>,
    /// The rows of the experts one after the other, ascending within an expert: `[T · used]`.
    rows: Vec<u32>,
    /// The weight of each.
    weights: Vec<f32>,
    /// The experts of each row, ascending, with their weights: `[T, used]`.
    chosen: Vec<(u32, f32)>,
}

impl Routes {
    /// The rows of an expert, ascending, and their weights.
    pub(crate) fn of(&self, expert: usize) -> (&[u32], &[f32]) {
        let range = self.starts[expert] as usize..self.starts[expert + 1] as usize;
        (&self.rows[range.clone()], &self.weights[range])
    }

    /// Sorts the chosen experts of all rows by expert.
    fn group(&mut self, experts: usize, used: usize) {
        self.starts.clear();
        self.starts.resize(experts + 1, 0);
        for (expert, _) in &self.chosen {
            self.starts[*expert as usize + 1] += 1;
        }
        for expert in 0..experts {
            self.starts[expert + 1] += self.starts[expert];
        }
        self.rows.resize(self.chosen.len(), 0);
        self.weights.resize(self.chosen.len(), 0.0);
        let mut next = self.starts.clone();
        for (i, (expert, weight)) in self.chosen.iter().enumerate() {
            let at = &mut next[*expert as usize];
            self.rows[*at as usize] = (i / used) as u32;
            self.weights[*at as usize] = *weight;
            *at += 1;
        }
    }
}

impl Router<'_> {
    /// Lets every row choose.
    ///
    /// # Shapes
    /// `outputs: [T, E]`, the router's; they are overwritten.
    pub(crate) fn route(&self, outputs: &mut [f32], routes: &mut Routes) {
        let ExpertsConfig { count, used, .. } = *self.experts;
        routes.chosen.clear();
        routes.chosen.resize(outputs.len() / count * used, (0, 0.0));
        let mut choice = Choice::default();
        let rows = outputs.chunks_exact_mut(count);
        for (scores, chosen) in rows.zip(routes.chosen.chunks_exact_mut(used)) {
            self.score(scores);
            self.choose(scores, &mut choice);
            self.weigh(scores, &mut choice.order[..used], chosen);
        }
        routes.group(count, used);
    }

    fn score(&self, row: &mut [f32]) {
        match self.experts.gate {
            RouterGate::Sigmoid => {
                for x in row {
                    *x = 1.0 / (1.0 + (-*x).exp());
                }
            }
            RouterGate::Softmax => {
                let greatest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                for x in &mut *row {
                    *x = (*x - greatest).exp();
                }
                let sum: f32 = row.iter().sum();
                for x in row {
                    *x /= sum;
                }
            }
        }
    }

    /// Brings the experts with the greatest corrected scores, from the best groups, to the front
    /// of `choice.order`; of equal ones the first.
    fn choose(&self, scores: &[f32], choice: &mut Choice) {
        let ExpertsConfig {
            count,
            used,
            groups,
            groups_used,
            ..
        } = *self.experts;
        let Choice {
            corrected,
            order,
            groups: best,
        } = choice;
        corrected.clear();
        match self.correction {
            Some(bias) => corrected.extend(scores.iter().zip(bias).map(|(s, b)| s + b)),
            None => corrected.extend_from_slice(scores),
        }
        order.clear();
        if groups_used == groups {
            order.extend(0..count as u32);
        } else {
            let size = count / groups;
            let sums: Vec<f32> = corrected.chunks_exact(size).map(two_greatest).collect();
            best.clear();
            best.extend(0..groups as u32);
            greatest_first(best, &sums, groups_used);
            for group in &best[..groups_used] {
                let first = *group * size as u32;
                order.extend(first..first + size as u32);
            }
        }
        greatest_first(order, corrected, used);
    }

    /// The weights of the chosen experts, in ascending order of the experts.
    fn weigh(&self, scores: &[f32], order: &mut [u32], chosen: &mut [(u32, f32)]) {
        order.sort_unstable();
        let sum: f32 = order.iter().map(|expert| scores[*expert as usize]).sum();
        // The guard against a sum of zero is that of the models' own code.
        let divisor = if self.experts.normalise {
            sum + 1e-20
        } else {
            1.0
        };
        for (chosen, &expert) in chosen.iter_mut().zip(&*order) {
            let weight = scores[expert as usize] / divisor * self.experts.scale;
            *chosen = (expert, weight);
        }
    }
}

/// Buffers of a choice.
#[derive(Default)]
struct Choice {
    corrected: Vec<f32>,
    order: Vec<u32>,
    groups: Vec<u32>,
}

/// Brings the `n` indices with the greatest scores to the front, in no order among them; of equal
/// scores the first index counts as greater.
fn greatest_first(indices: &mut [u32], scores: &[f32], n: usize) {
    if n < indices.len() {
        indices.select_nth_unstable_by(n - 1, |a, b| {
            let (of_a, of_b) = (scores[*a as usize], scores[*b as usize]);
            of_b.total_cmp(&of_a).then(a.cmp(b))
        });
    }
}

/// The sum of the two greatest of at least two scores.
fn two_greatest(scores: &[f32]) -> f32 {
    let mut greatest = [f32::NEG_INFINITY; 2];
    for &score in scores {
        if score > greatest[0] {
            greatest = [score, greatest[0]];
        } else if score > greatest[1] {
            greatest[1] = score;
        }
    }
    greatest[0] + greatest[1]
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn experts(count: usize, used: usize) -> ExpertsConfig {
        ExpertsConfig {
            first_layer: 0,
            count,
            used,
            feed_forward: 16,
            shared: 0,
            gate: RouterGate::Sigmoid,
            groups: 1,
            groups_used: 1,
            normalise: true,
            scale: 2.5,
        }
    }

    /// The experts of a row and their weights, by sorting everything.
    fn chosen_by_sorting(router: &Router<'_>, outputs: &[f32]) -> Vec<(usize, f32)> {
        let config = router.experts;
        let scores: Vec<f32> = outputs.iter().map(|x| 1.0 / (1.0 + (-x).exp())).collect();
        let bias = |e: usize| router.correction.map_or(0.0, |bias| bias[e]);
        let size = config.count / config.groups;
        let group_score = |group: usize| {
            let members = group * size..(group + 1) * size;
            let mut of_group: Vec<f32> = members.map(|e| scores[e] + bias(e)).collect();
            of_group.sort_by(|a, b| b.total_cmp(a));
            of_group[0] + of_group[1]
        };
        let mut groups: Vec<usize> = (0..config.groups).collect();
        if config.groups > 1 {
            groups.sort_by(|a, b| group_score(*b).total_cmp(&group_score(*a)));
        }
        groups.truncate(config.groups_used);
        let mut order: Vec<usize> = (0..config.count)
            .filter(|e| groups.contains(&(e / size)))
            .collect();
        order.sort_by(|a, b| (scores[*b] + bias(*b)).total_cmp(&(scores[*a] + bias(*a))));
        order.truncate(config.used);
        order.sort_unstable();
        let sum: f32 = order.iter().map(|e| scores[*e]).sum();
        let weight = |e: usize| scores[e] / (sum + 1e-20) * config.scale;
        order.into_iter().map(|e| (e, weight(e))).collect()
    }

    #[test]
    fn every_row_gets_the_experts_that_sorting_finds() {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        for (count, used, groups, groups_used) in [(8, 3, 1, 1), (16, 4, 4, 2), (6, 6, 1, 1)] {
            let config = ExpertsConfig {
                groups,
                groups_used,
                ..experts(count, used)
            };
            let bias: Vec<f32> = (0..count).map(|_| random.random_range(-0.5..0.5)).collect();
            let router = Router {
                experts: &config,
                correction: Some(&bias),
            };
            let rows = 40;
            let outputs: Vec<f32> = (0..rows * count)
                .map(|_| random.random_range(-3.0..3.0))
                .collect();
            let mut routes = Routes::default();
            router.route(&mut outputs.clone(), &mut routes);
            let mut found = vec![Vec::new(); rows];
            for expert in 0..count {
                let (rows, weights) = routes.of(expert);
                assert!(rows.is_sorted_by(|a, b| a < b));
                for (row, weight) in rows.iter().zip(weights) {
                    found[*row as usize].push((expert, *weight));
                }
            }
            for (found, outputs) in found.iter().zip(outputs.chunks(count)) {
                assert_eq!(*found, chosen_by_sorting(&router, outputs));
            }
        }
    }

    #[test]
    fn of_equal_scores_the_first_experts_are_chosen() {
        let config = experts(8, 3);
        let router = Router {
            experts: &config,
            correction: None,
        };
        let mut routes = Routes::default();
        router.route(&mut [0.0; 8], &mut routes);
        let chosen: Vec<usize> = (0..8).filter(|e| !routes.of(*e).0.is_empty()).collect();
        assert_eq!(chosen, [0, 1, 2]);
    }
}
