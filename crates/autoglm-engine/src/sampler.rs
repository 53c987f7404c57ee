//! How the next token is chosen from logits.

use std::collections::{BTreeMap, VecDeque};

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
    /// How many of the candidates are in their place, likeliest first.
    sorted: usize,
    /// What is added to logits of tokens.
    bias: Vec<(TokenId, f32)>,
    /// Logits of tokens before the last choice changed them; the first entry of a token counts.
    modified: Vec<(TokenId, f32)>,
    /// How often each token was generated among the first `counted` ones.
    counts: BTreeMap<TokenId, u32>,
    counted: usize,
    /// Entropies of the last distributions, for an adaptive temperature.
    entropies: VecDeque<f32>,
}

impl Sampler {
    pub(crate) fn new(settings: Sampling) -> Self {
        let random = ChaCha8Rng::seed_from_u64(settings.seed);
        Self {
            settings,
            random,
            candidates: Vec::new(),
            sorted: 0,
            bias: Vec::new(),
            modified: Vec::new(),
            counts: BTreeMap::new(),
            counted: 0,
            entropies: VecDeque::new(),
        }
    }

    /// The sampler with what is added to logits of tokens.
    #[must_use]
    pub(crate) fn with_bias(mut self, bias: Vec<(TokenId, f32)>) -> Self {
        self.bias = bias;
        self
    }

    /// Chooses the token at place `place` of the completion. `history` is the prompt and the
    /// `place` tokens that were generated; it only matters to penalties. A logit of −∞ is never chosen while
    /// a finite one is there. Each place has a random number of its own, whatever was chosen for
    /// the others and how.
    ///
    /// # Shapes
    /// `logits: [V]`; bias and penalties change them in place.
    pub(crate) fn choose(
        &mut self,
        logits: &mut [f32],
        history: &[TokenId],
        place: usize,
    ) -> TokenId {
        self.modified.clear();
        self.add_bias(logits);
        self.penalise(logits, history);
        let generated = &history[history.len().saturating_sub(place)..];
        self.penalise_generated(logits, generated);
        if self.settings.temperature <= 0.0 {
            return autoglm_model::argmax(logits) as TokenId;
        }
        let temperature = self.temperature(logits);
        if temperature <= 0.0 {
            return autoglm_model::argmax(logits) as TokenId;
        }
        self.fill_candidates(logits, temperature);
        self.normalise();
        self.keep_top_p();
        self.keep_min_p();
        self.draw(place)
    }

    /// Takes notice of a token that was no choice.
    pub(crate) fn pass_over(&mut self) {
        if let Some(adaptive) = self.settings.adaptive {
            self.remember(0.0, adaptive.window);
        }
    }

    /// The logit that a token had before the last choice changed it.
    pub(crate) fn unmodified(&self, token: TokenId, logits: &[f32]) -> f32 {
        let modified = self.modified.iter().find(|(id, _)| *id == token);
        modified.map_or(logits[token as usize], |(_, logit)| *logit)
    }

    fn add_bias(&mut self, logits: &mut [f32]) {
        for &(token, bias) in &self.bias {
            let logit = &mut logits[token as usize];
            self.modified.push((token, *logit));
            *logit += bias;
        }
    }

    /// Lowers the logits of tokens that were generated: `x - c·frequency - presence` for a token
    /// that came `c` times. What was generated only ever grows, so each token is counted once.
    ///
    /// # Source
    /// OpenAI's reference of its API, frequency and presence penalties; as vLLM, tokens of the
    /// prompt do not count.
    fn penalise_generated(&mut self, logits: &mut [f32], generated: &[TokenId]) {
        let Sampling {
            presence_penalty,
            frequency_penalty,
            ..
        } = self.settings;
        if presence_penalty == 0.0 && frequency_penalty == 0.0 {
            return;
        }
        for &token in &generated[self.counted.min(generated.len())..] {
            *self.counts.entry(token).or_default() += 1;
        }
        self.counted = generated.len();
        for (&token, &count) in &self.counts {
            let logit = &mut logits[token as usize];
            self.modified.push((token, *logit));
            *logit -= count as f32 * frequency_penalty + presence_penalty;
        }
    }

    /// Divides positive and multiplies negative logits of recent tokens, each token once.
    ///
    /// # Source
    /// Keskar et al. 2019, CTRL, §4.1, with the sign rule of the common implementations.
    fn penalise(&mut self, logits: &mut [f32], history: &[TokenId]) {
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
            self.modified.push((token, *logit));
            *logit = if *logit > 0.0 {
                *logit / penalty
            } else {
                *logit * penalty
            };
        }
    }

    /// The temperature for a distribution: what the settings say, or what its entropy and that of
    /// the last ones make of it.
    ///
    /// # Source
    /// `docs/decoding.md`; after Zhang et al. 2024, EDT, §3, with thresholds in place of a power.
    fn temperature(&mut self, logits: &[f32]) -> f32 {
        let highest = self.settings.temperature;
        let Some(adaptive) = self.settings.adaptive else {
            return highest;
        };
        self.remember(entropy(logits), adaptive.window);
        let mean = self.entropies.iter().sum::<f32>() / self.entropies.len() as f32;
        let span = adaptive.high_entropy - adaptive.low_entropy;
        let share = ((mean - adaptive.low_entropy) / span).clamp(0.0, 1.0);
        let floor = adaptive.floor.min(highest);
        floor + share * (highest - floor)
    }

    fn remember(&mut self, entropy: f32, window: usize) {
        self.entropies.push_back(entropy);
        while self.entropies.len() > window.max(1) {
            self.entropies.pop_front();
        }
    }

    /// Tokens with their tempered logits.
    fn fill_candidates(&mut self, logits: &[f32], temperature: f32) {
        self.candidates.clear();
        self.sorted = 0;
        let finite = logits
            .iter()
            .enumerate()
            .filter(|(_, logit)| logit.is_finite());
        self.candidates
            .extend(finite.map(|(id, logit)| (id as TokenId, logit / temperature)));
        let k = self.settings.top_k;
        if k > 0 && k < self.candidates.len() {
            self.candidates.select_nth_unstable_by(k - 1, order);
            self.candidates.truncate(k);
        }
    }

    /// The candidate at place `index`, likeliest first. Candidates are sorted no further than
    /// they are looked at: mostly a few of some hundred thousand.
    fn candidate(&mut self, index: usize) -> Option<(TokenId, f32)> {
        while index >= self.sorted && self.sorted < self.candidates.len() {
            let rest = &mut self.candidates[self.sorted..];
            let count = rest.len().min((3 * self.sorted).max(64));
            if count < rest.len() {
                rest.select_nth_unstable_by(count - 1, order);
            }
            rest[..count].sort_unstable_by(order);
            self.sorted += count;
        }
        self.candidates.get(index).copied()
    }

    /// Turns tempered logits into probabilities.
    fn normalise(&mut self) {
        let largest = self.candidate(0).map_or(0.0, |(_, logit)| logit);
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
        if self.settings.top_p >= 1.0 {
            return;
        }
        let (mut total, mut kept) = (0.0, 0);
        while let Some((_, probability)) = self.candidate(kept) {
            total += probability;
            kept += 1;
            if total >= self.settings.top_p {
                break;
            }
        }
        self.candidates.truncate(kept);
    }

    /// Keeps tokens at least `min_p` times as likely as the likeliest.
    ///
    /// # Source
    /// Nguyen et al. 2024, min-p sampling, §3.
    fn keep_min_p(&mut self) {
        if self.settings.min_p <= 0.0 {
            return;
        }
        let floor = self.candidate(0).map_or(0.0, |(_, p)| p) * self.settings.min_p;
        let mut kept = 1;
        while self.candidate(kept).is_some_and(|(_, p)| p >= floor) {
            kept += 1;
        }
        self.candidates.truncate(kept);
    }

    /// Draws a candidate in proportion to its probability.
    fn draw(&mut self, place: usize) -> TokenId {
        // One word of the stream a place.
        self.random.set_word_pos(place as u128);
        let total: f32 = self
            .candidates
            .iter()
            .map(|(_, probability)| probability)
            .sum();
        let mut left = self.random.random::<f32>() * total;
        let mut index = 0;
        while let Some((token, probability)) = self.candidate(index) {
            left -= probability;
            if left < 0.0 {
                return token;
            }
            index += 1;
        }
        self.candidates.last().expect("a finite logit is there").0
    }
}

/// Likeliest first, of equals the smaller id.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "sorting hands out references"
)]
fn order(a: &(TokenId, f32), b: &(TokenId, f32)) -> std::cmp::Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

/// The entropy of the softmax of logits, in nats: `log Z - Σ e^(x - m) (x - m) / Z`.
fn entropy(logits: &[f32]) -> f32 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let (mut total, mut weighted) = (0.0_f64, 0.0_f64);
    for &logit in logits.iter().filter(|logit| logit.is_finite()) {
        let below = f64::from(logit - largest);
        let weight = below.exp();
        total += weight;
        weighted += weight * below;
    }
    (total.ln() - weighted / total) as f32
}

#[cfg(test)]
mod tests {
    use autoglm_spec::AdaptiveTemperature;

    use super::*;

    fn draws(settings: Sampling, logits: &[f32], count: u64) -> Vec<TokenId> {
        (0..count)
            .map(|seed| {
                let mut sampler = Sampler::new(Sampling { seed, ..settings });
                sampler.choose(&mut logits.to_vec(), &[], 0)
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
        assert_eq!(Sampler::new(settings).choose(&mut logits, &[0, 0, 2], 0), 1);
        assert_eq!(logits, [2.0, 3.0, -2.0]);
    }

    #[test]
    fn the_penalty_forgets_tokens_outside_its_window() {
        let settings = Sampling {
            repetition_penalty: 2.0,
            repetition_window: 1,
            ..Sampling::GREEDY
        };
        assert_eq!(
            Sampler::new(settings).choose(&mut [4.0, 3.0], &[0, 1], 0),
            0
        );
    }

    #[test]
    fn the_logit_before_the_penalty_is_remembered() {
        let settings = Sampling {
            repetition_penalty: 2.0,
            ..Sampling::GREEDY
        };
        let (mut sampler, mut logits) = (Sampler::new(settings), [4.0, 1.0, -1.0]);
        assert_eq!(sampler.choose(&mut logits, &[0], 0), 0);
        assert_eq!(logits[0], 2.0);
        assert_eq!(sampler.unmodified(0, &logits), 4.0);
        assert_eq!(sampler.unmodified(1, &logits), 1.0);
    }

    #[test]
    fn presence_and_frequency_count_what_was_generated_alone() {
        let settings = Sampling {
            presence_penalty: 0.5,
            frequency_penalty: 0.25,
            ..Sampling::GREEDY
        };
        let mut sampler = Sampler::new(settings);
        let mut logits = [1.0; 4];
        // The prompt is 0 0 3; 1 and 2 1 were generated.
        sampler.choose(&mut logits.clone(), &[0, 0, 3, 1], 1);
        assert_eq!(sampler.choose(&mut logits, &[0, 0, 3, 1, 2, 1], 3), 0);
        assert_eq!(logits, [1.0, 0.0, 0.25, 1.0]);
        assert_eq!(sampler.unmodified(1, &logits), 1.0);
    }

    #[test]
    fn a_bias_comes_first_and_is_taken_off_what_is_told() {
        let settings = Sampling {
            repetition_penalty: 2.0,
            presence_penalty: 1.0,
            ..Sampling::GREEDY
        };
        let mut sampler = Sampler::new(settings).with_bias(vec![(0, -100.0), (2, 3.0)]);
        let mut logits = [9.0, 1.0, 1.0, f32::NEG_INFINITY];
        assert_eq!(sampler.choose(&mut logits, &[2], 1), 1);
        assert_eq!(logits, [-91.0, 1.0, 1.0, f32::NEG_INFINITY]);
        assert_eq!(sampler.unmodified(0, &logits), 9.0);
        assert_eq!(sampler.unmodified(2, &logits), 1.0);
    }

    #[test]
    fn a_bias_does_not_bring_back_what_is_masked() {
        let mut sampler = Sampler::new(Sampling::GREEDY).with_bias(vec![(1, 100.0)]);
        assert_eq!(sampler.choose(&mut [0.0, f32::NEG_INFINITY], &[], 0), 0);
    }

    #[test]
    fn a_draw_is_that_of_fully_sorted_candidates() {
        // 1,000 logits in no order; the oracle sorts them all.
        let logits: Vec<f32> = (0..1_000)
            .map(|i| ((i * 7_919) % 1_000) as f32 / 200.0)
            .collect();
        for (top_p, seed) in [1.0, 0.9, 0.5].into_iter().zip(0..) {
            let settings = Sampling {
                top_p,
                seed,
                ..WARM
            };
            let mut order: Vec<usize> = (0..logits.len()).collect();
            order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
            let largest = logits[order[0]];
            let weights = order.iter().map(|&i| f64::from(logits[i] - largest).exp());
            let total: f64 = weights.clone().sum();
            let mut kept = Vec::new();
            let mut reached = 0.0;
            for weight in weights {
                kept.push(weight / total);
                reached += weight / total;
                if reached >= f64::from(top_p) {
                    break;
                }
            }
            let mass: f64 = kept.iter().sum();
            let share = f64::from(ChaCha8Rng::seed_from_u64(seed).random::<f32>());
            let mut left = share * mass;
            let place = kept.iter().position(|p| {
                left -= p;
                left < 0.0
            });
            let chosen = Sampler::new(settings).choose(&mut logits.clone(), &[], 0);
            assert_eq!(chosen as usize, order[place.unwrap()]);
        }
    }

    #[test]
    fn an_adaptive_temperature_is_the_floor_where_the_model_is_sure() {
        let adaptive = AdaptiveTemperature {
            floor: 0.0,
            low_entropy: 0.5,
            high_entropy: 1.0,
            window: 1,
        };
        let settings = Sampling {
            temperature: 5.0,
            adaptive: Some(adaptive),
            ..WARM
        };
        // Entropy 0.2 nats; at temperature 5 the second token would be drawn about 3 in 10 times.
        assert!(draws(settings, &[3.0, 0.0], 200).iter().all(|&t| t == 0));
        // Entropy ln 4 is above the upper threshold.
        let flat = draws(settings, &[0.0; 4], 200);
        assert!((0..4).all(|t| flat.contains(&t)));
    }

    #[test]
    fn an_adaptive_temperature_lies_between_on_a_line_over_the_recent_mean() {
        let adaptive = AdaptiveTemperature {
            floor: 0.2,
            low_entropy: 0.0,
            high_entropy: 4.0_f32.ln(),
            window: 2,
        };
        let settings = Sampling {
            temperature: 1.0,
            adaptive: Some(adaptive),
            ..WARM
        };
        let mut sampler = Sampler::new(settings);
        assert!((sampler.temperature(&[0.0; 2]) - 0.6).abs() < 1e-6);
        assert!((sampler.temperature(&[0.0; 4]) - 0.8).abs() < 1e-6);
        assert!((sampler.temperature(&[0.0; 4]) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn each_place_has_a_random_number_of_its_own() {
        let logits = [0.0; 64];
        let mut in_order = Sampler::new(WARM);
        let chosen: Vec<TokenId> = (0..8)
            .map(|place| in_order.choose(&mut logits.clone(), &[], place))
            .collect();
        let mut backwards = Sampler::new(WARM);
        for place in (0..8).rev() {
            assert_eq!(
                backwards.choose(&mut logits.clone(), &[], place),
                chosen[place]
            );
        }
        assert!(chosen.iter().any(|&token| token != chosen[0]));
    }

    #[test]
    fn masked_tokens_are_never_drawn() {
        let drawn = draws(WARM, &[f32::NEG_INFINITY, 0.0, f32::NEG_INFINITY], 100);
        assert!(drawn.iter().all(|&t| t == 1));
    }
}
