//! How tokens are chosen, as command-line options.

use autoglm_spec::Sampling;
use clap::Args;

/// How tokens are chosen. What is not given is as the command has it.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Sampling")]
pub struct SamplingArgs {
    /// Divides the logits; 0 always takes the most likely token.
    #[arg(long, short = 't', value_name = "T", value_parser = not_negative)]
    pub temperature: Option<f32>,
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
            seed: self.seed,
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
