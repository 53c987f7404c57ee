//! How tokens are chosen, as command-line options.

use std::num::NonZeroUsize;

use autoglm_spec::{AdaptiveTemperature, Decoding, Sampling};
use clap::Args;

/// How tokens are chosen. What is not given is as the command has it.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Sampling")]
pub struct SamplingArgs {
    /// Divides the logits; 0 always takes the most likely token.
    #[arg(long, short = 't', value_name = "T", value_parser = not_negative)]
    pub temperature: Option<f32>,
    /// Let the temperature fall to this where the model is sure, that is, where the entropy of
    /// its choice is low.
    #[arg(long, value_name = "T", value_parser = not_negative)]
    pub temperature_floor: Option<f32>,
    /// Entropy in nats up to which the model counts as sure.
    #[arg(long, value_name = "NATS", value_parser = not_negative, requires = "temperature_floor")]
    pub low_entropy: Option<f32>,
    /// Entropy in nats from which the temperature is the full one.
    #[arg(long, value_name = "NATS", value_parser = positive, requires = "temperature_floor")]
    pub high_entropy: Option<f32>,
    /// Over how many of the last tokens the entropy is averaged.
    #[arg(long, value_name = "N", requires = "temperature_floor")]
    pub entropy_window: Option<NonZeroUsize>,
    /// Keep the K most likely tokens; 0 keeps all.
    #[arg(long, value_name = "K")]
    pub top_k: Option<usize>,
    /// Keep the most likely tokens that together reach this probability.
    #[arg(long, value_name = "P", value_parser = fraction)]
    pub top_p: Option<f32>,
    /// Keep tokens at least this fraction as likely as the most likely one.
    #[arg(long, value_name = "P", value_parser = fraction)]
    pub min_p: Option<f32>,
    /// Divide the logits of tokens that occurred lately; 1 does nothing.
    #[arg(long, value_name = "X", value_parser = positive)]
    pub repetition_penalty: Option<f32>,
    /// Take this off the logits of tokens that the answer has already.
    #[arg(long, value_name = "X", value_parser = finite, allow_negative_numbers = true)]
    pub presence_penalty: Option<f32>,
    /// Take this off the logits of tokens for each time that the answer has them.
    #[arg(long, value_name = "X", value_parser = finite, allow_negative_numbers = true)]
    pub frequency_penalty: Option<f32>,
    /// Seed of the random numbers: the same seed gives the same text.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub seed: u64,
}

impl SamplingArgs {
    /// The settings for the engine, with `habit` for what is not given.
    pub fn sampling(&self, habit: Sampling) -> Sampling {
        Sampling {
            temperature: self.temperature.unwrap_or(habit.temperature),
            top_k: self.top_k.unwrap_or(habit.top_k),
            top_p: self.top_p.unwrap_or(habit.top_p),
            min_p: self.min_p.unwrap_or(habit.min_p),
            repetition_penalty: self.repetition_penalty.unwrap_or(habit.repetition_penalty),
            presence_penalty: self.presence_penalty.unwrap_or(habit.presence_penalty),
            frequency_penalty: self.frequency_penalty.unwrap_or(habit.frequency_penalty),
            seed: self.seed,
            adaptive: self.adaptive().or(habit.adaptive),
            ..habit
        }
    }

    fn adaptive(&self) -> Option<AdaptiveTemperature> {
        let usual = AdaptiveTemperature::default();
        let low_entropy = self.low_entropy.unwrap_or(usual.low_entropy);
        let high_entropy = self.high_entropy.unwrap_or(usual.high_entropy);
        Some(AdaptiveTemperature {
            floor: self.temperature_floor?,
            low_entropy,
            high_entropy: high_entropy.max(low_entropy + f32::EPSILON),
            window: self.entropy_window.map_or(usual.window, NonZeroUsize::get),
        })
    }
}

/// What may be done to answer sooner, as command-line options. None of it changes the text.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Speed")]
pub struct DecodingArgs {
    /// Look up to N tokens at once up in the prompt and the text so far and verify them in one
    /// pass; 0 switches it off.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=64))]
    pub lookup_tokens: Option<u64>,
    /// Give a pass even to tokens that a constraint leaves no choice about.
    #[arg(long)]
    pub no_fast_forward: bool,
}

impl DecodingArgs {
    /// The settings for the engine, with `habit` for what is not given.
    pub fn decoding(self, habit: Decoding) -> Decoding {
        let lookup_tokens = self.lookup_tokens.map(|n| n as usize);
        Decoding {
            lookup_tokens: lookup_tokens.unwrap_or(habit.lookup_tokens),
            fast_forward: habit.fast_forward && !self.no_fast_forward,
            ..habit
        }
    }
}

fn number(text: &str) -> Result<f32, String> {
    text.parse().map_err(|_| format!("{text:?} is no number"))
}

fn not_negative(text: &str) -> Result<f32, String> {
    let value = number(text)?;
    if value >= 0.0 && value.is_finite() {
        Ok(value)
    } else {
        Err("want 0 or more".to_owned())
    }
}

fn finite(text: &str) -> Result<f32, String> {
    let value = number(text)?;
    if value.is_finite() {
        Ok(value)
    } else {
        Err("want a finite number".to_owned())
    }
}

fn positive(text: &str) -> Result<f32, String> {
    let value = number(text)?;
    if value > 0.0 && value.is_finite() {
        Ok(value)
    } else {
        Err("want more than 0".to_owned())
    }
}

/// A number from 0 to 1.
pub(crate) fn fraction(text: &str) -> Result<f32, String> {
    let value = number(text)?;
    if (0.0..=1.0).contains(&value) {
        Ok(value)
    } else {
        Err("want 0 to 1".to_owned())
    }
}
