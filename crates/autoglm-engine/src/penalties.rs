//! What is added to logits and taken off them before a token is chosen.

use std::collections::BTreeMap;

use autoglm_spec::Sampling;
use autoglm_token::TokenId;

/// Bias and penalties of one completion.
#[derive(Default)]
pub(crate) struct Penalties {
    /// What is added to logits of tokens.
    bias: Vec<(TokenId, f32)>,
    /// Logits of tokens before the last choice changed them; the first entry of a token counts.
    modified: Vec<(TokenId, f32)>,
    /// How often each token was generated among the first `counted` ones.
    counts: BTreeMap<TokenId, u32>,
    counted: usize,
}

impl Penalties {
    /// With what is added to logits of tokens.
    pub(crate) fn with_bias(bias: Vec<(TokenId, f32)>) -> Self {
        Self {
            bias,
            ..Self::default()
        }
    }

    /// Changes the logits at place `place` of the completion. `history` is the prompt and the
    /// `place` tokens that were generated.
    ///
    /// # Shapes
    /// `logits: [V]`
    pub(crate) fn apply(
        &mut self,
        settings: &Sampling,
        logits: &mut [f32],
        history: &[TokenId],
        place: usize,
    ) {
        self.modified.clear();
        self.add_bias(logits);
        self.penalise(settings, logits, history);
        let generated = &history[history.len().saturating_sub(place)..];
        self.penalise_generated(settings, logits, generated);
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
    fn penalise_generated(
        &mut self,
        settings: &Sampling,
        logits: &mut [f32],
        generated: &[TokenId],
    ) {
        let (presence, frequency) = (settings.presence_penalty, settings.frequency_penalty);
        if presence == 0.0 && frequency == 0.0 {
            return;
        }
        for &token in &generated[self.counted.min(generated.len())..] {
            *self.counts.entry(token).or_default() += 1;
        }
        self.counted = generated.len();
        for (&token, &count) in &self.counts {
            let logit = &mut logits[token as usize];
            self.modified.push((token, *logit));
            *logit -= count as f32 * frequency + presence;
        }
    }

    /// Divides positive and multiplies negative logits of recent tokens, each token once.
    ///
    /// # Source
    /// Keskar et al. 2019, CTRL, §4.1, with the sign rule of the common implementations.
    fn penalise(&mut self, settings: &Sampling, logits: &mut [f32], history: &[TokenId]) {
        let penalty = settings.repetition_penalty;
        if penalty == 1.0 {
            return;
        }
        let first = history.len().saturating_sub(settings.repetition_window);
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampler::Sampler;

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
}
