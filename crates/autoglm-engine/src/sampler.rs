//! How the next token is chosen from logits.

use autoglm_spec::Sampling;
use autoglm_token::TokenId;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Chooses tokens of one completion; two samplers with the same settings choose the same tokens
/// from the same logits, whatever else the engine does.
pub(crate) struct Sampler {
    settings: Sampling,
    random: ChaCha8Rng,
    candidates: Vec<(TokenId, f32)>,
}

impl Sampler {
    pub(crate) fn new(settings: Sampling) -> Self {
        let random = ChaCha8Rng::seed_from_u64(settings.seed);
        Self {
            settings,
            random,
            candidates: Vec::new(),
        }
    }

    /// Chooses a token. `history` is the prompt and what was generated; it only matters to the
    /// repetition penalty. A logit of −∞ is never chosen while a finite one is there.
    ///
    /// # Shapes
    /// `logits: [V]`; the penalty changes them in place.
    pub(crate) fn choose(&mut self, logits: &mut [f32], history: &[TokenId]) -> TokenId {
        self.penalise(logits, history);
        if self.settings.temperature <= 0.0 {
            return autoglm_model::argmax(logits) as TokenId;
        }
        self.fill_candidates(logits);
        self.keep_top_k();
        self.normalise();
        self.keep_top_p();
        self.keep_min_p();
        self.draw()
    }

    /// Whether choosing changes the logits.
    pub(crate) fn penalises(&self) -> bool {
        self.settings.repetition_penalty != 1.0
    }

    /// Divides positive and multiplies negative logits of recent tokens, each token once.
    ///
    /// # Source
    /// Keskar et al. 2019, CTRL, §4.1, with the sign rule of the common implementations.
    fn penalise(&self, logits: &mut [f32], history: &[TokenId]) {
        let penalty = self.settings.repetition_penalty;
        if penalty == 1.0 {
            return;
        }
        let first = history
            .len()
            .saturating_sub(self.settings.repetition_window);
        let mut recent = history[first..].to_vec();
        recent.sort_unstable();
        recent.dedup();
        for token in recent {
            let logit = &mut logits[token as usize];
            *logit = if *logit > 0.0 {
                *logit / penalty
            } else {
                *logit * penalty
            };
        }
    }

    /// Tokens with their tempered logits.
    fn fill_candidates(&mut self, logits: &[f32]) {
        let temperature = self.settings.temperature;
        self.candidates.clear();
        let finite = logits
            .iter()
            .enumerate()
            .filter(|(_, logit)| logit.is_finite());
        self.candidates
            .extend(finite.map(|(id, logit)| (id as TokenId, logit / temperature)));
    }

    /// Keeps the k likeliest and leaves the candidates sorted, likeliest first.
    fn keep_top_k(&mut self) {
        let order =
            |a: &(TokenId, f32), b: &(TokenId, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        let k = self.settings.top_k;
        if k > 0 && k < self.candidates.len() {
            self.candidates.select_nth_unstable_by(k - 1, order);
            self.candidates.truncate(k);
        }
        self.candidates.sort_unstable_by(order);
    }

    /// Turns tempered logits into probabilities.
    fn normalise(&mut self) {
        let largest = self.candidates.first().map_or(0.0, |(_, logit)| *logit);
        let mut total = 0.0;
        for (_, value) in &mut self.candidates {
            *value = (*value - largest).exp();
            total += *value;
        }
        for (_, value) in &mut self.candidates {
            *value /= total;
        }
    }

    /// Keeps the smallest set of likeliest tokens that reaches `top_p`.
    ///
    /// # Source
    /// Holtzman et al. 2020, nucleus sampling, §3.1.
    fn keep_top_p(&mut self) {
        let mut total = 0.0;
        let reached = self.candidates.iter().position(|(_, probability)| {
            total += probability;
            total >= self.settings.top_p
        });
        if let Some(last) = reached {
            self.candidates.truncate(last + 1);
        }
    }

    /// Keeps tokens at least `min_p` times as likely as the likeliest.
    ///
    /// # Source
    /// Nguyen et al. 2024, min-p sampling, §3.
    fn keep_min_p(&mut self) {
        let floor = self.candidates.first().map_or(0.0, |(_, p)| *p) * self.settings.min_p;
        let kept = self
            .candidates
            .partition_point(|(_, probability)| *probability >= floor);
        self.candidates.truncate(kept.max(1));
    }

    /// Draws a candidate in proportion to its probability.
    fn draw(&mut self) -> TokenId {
        let total: f32 = self
            .candidates
            .iter()
            .map(|(_, probability)| probability)
            .sum();
        let mut left = self.random.random::<f32>() * total;
        for (token, probability) in &self.candidates {
            left -= probability;
            if left < 0.0 {
                return *token;
            }
        }
        self.candidates.last().expect("a finite logit is there").0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(settings: Sampling, logits: &[f32], count: u64) -> Vec<TokenId> {
        (0..count)
            .map(|seed| {
                let mut sampler = Sampler::new(Sampling { seed, ..settings });
                sampler.choose(&mut logits.to_vec(), &[])
            })
            .collect()
    }

    const WARM: Sampling = Sampling {
        temperature: 1.0,
        ..Sampling::GREEDY
    };

    #[test]
    fn greedy_takes_the_largest_logit() {
        assert_eq!(draws(Sampling::GREEDY, &[0.1, 3.0, -2.0], 3), [1, 1, 1]);
    }

    #[test]
    fn draws_follow_the_softmax() {
        let logits = [2.0_f32.ln(), 1.0_f32.ln(), 1.0_f32.ln()];
        let drawn = draws(WARM, &logits, 8_000);
        let share = drawn.iter().filter(|&&t| t == 0).count() as f32 / 8_000.0;
        // Five standard deviations of a share of one half over 8,000 draws.
        assert!(
            (share - 0.5).abs() < 5.0 * (0.25_f32 / 8_000.0).sqrt(),
            "{share}"
        );
    }

    #[test]
    fn top_k_keeps_the_k_likeliest() {
        let drawn = draws(Sampling { top_k: 2, ..WARM }, &[1.0, 0.9, 0.8, 0.7], 500);
        assert!(drawn.contains(&0) && drawn.contains(&1));
        assert!(drawn.iter().all(|&t| t < 2));
    }

    #[test]
    fn top_p_keeps_the_token_that_reaches_it() {
        let logits = [0.5_f32.ln(), 0.3_f32.ln(), 0.2_f32.ln()];
        let drawn = draws(Sampling { top_p: 0.6, ..WARM }, &logits, 500);
        assert!(drawn.contains(&1) && !drawn.contains(&2));
    }

    #[test]
    fn min_p_is_relative_to_the_likeliest() {
        let logits = [0.6_f32.ln(), 0.3_f32.ln(), 0.1_f32.ln()];
        let drawn = draws(Sampling { min_p: 0.4, ..WARM }, &logits, 500);
        assert!(drawn.contains(&1) && !drawn.contains(&2));
    }

    #[test]
    fn the_penalty_lowers_recent_tokens_of_either_sign_once() {
        let settings = Sampling {
            repetition_penalty: 2.0,
            ..Sampling::GREEDY
        };
        let mut logits = [4.0, 3.0, -1.0];
        assert_eq!(Sampler::new(settings).choose(&mut logits, &[0, 0, 2]), 1);
        assert_eq!(logits, [2.0, 3.0, -2.0]);
    }

    #[test]
    fn the_penalty_forgets_tokens_outside_its_window() {
        let settings = Sampling {
            repetition_penalty: 2.0,
            repetition_window: 1,
            ..Sampling::GREEDY
        };
        assert_eq!(Sampler::new(settings).choose(&mut [4.0, 3.0], &[0, 1]), 0);
    }

    #[test]
    fn masked_tokens_are_never_drawn() {
        let drawn = draws(WARM, &[f32::NEG_INFINITY, 0.0, f32::NEG_INFINITY], 100);
        assert!(drawn.iter().all(|&t| t == 1));
    }
}
