//! How tokens are chosen, as command-line options.

use autoglm_spec::Sampling;
use clap::Args;

/// How tokens are chosen.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Sampling")]
pub struct SamplingArgs {
    /// Divides the logits; 0 always takes the most likely token.
    #[arg(long, short = 't', value_name = "T", default_value_t = 0.0, value_parser = not_negative)]
    pub temperature: f32,
    /// Keep the K most likely tokens; 0 keeps all.
    #[arg(long, value_name = "K", default_value_t = 0)]
    pub top_k: usize,
    /// Keep the most likely tokens that together reach this probability.
    #[arg(long, value_name = "P", default_value_t = 1.0, value_parser = fraction)]
    pub top_p: f32,
    /// Keep tokens at least this fraction as likely as the most likely one.
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = fraction)]
    pub min_p: f32,
    /// Divide the logits of tokens that occurred lately; 1 does nothing.
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = positive)]
    pub repetition_penalty: f32,
    /// Seed of the random numbers: the same seed gives the same text.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub seed: u64,
}

impl SamplingArgs {
    /// The settings for the engine.
    pub fn sampling(&self) -> Sampling {
        Sampling {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
            seed: self.seed,
            ..Sampling::GREEDY
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

fn positive(text: &str) -> Result<f32, String> {
    let value = number(text)?;
    if value > 0.0 && value.is_finite() {
        Ok(value)
    } else {
        Err("want more than 0".to_owned())
    }
}

fn fraction(text: &str) -> Result<f32, String> {
    let value = number(text)?;
    if (0.0..=1.0).contains(&value) {
        Ok(value)
    } else {
        Err("want 0 to 1".to_owned())
    }
}
