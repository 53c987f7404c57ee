//! The rotary embedding that a model's metadata describes, with the ways to stretch its context
//! that files in use have: linear, Llama 3's and YaRN.

use std::f64::consts::TAU;

use autoglm_kernel::{RopeParams, RopeStyle};

use super::keys::Keys;
use crate::config::MAX_HEAD_WIDTH;
use crate::error::ModelError;

/// Base of the rotary frequencies where the file names none (Su et al. 2021, §3.4.3).
const DEFAULT_BASE: f32 = 10_000.0;

/// A rotary embedding.
pub(super) struct Rope {
    pub(super) params: RopeParams,
    /// Attention scores are multiplied by this: YaRN turns vectors that are longer than one.
    pub(super) score_factor: f32,
}

/// Reads the rotary embedding of heads of this width.
pub(super) fn configure(
    keys: &Keys<'_>,
    style: RopeStyle,
    head_width: usize,
) -> Result<Rope, ModelError> {
    let rotated = keys.get_or("rope.dimension_count", head_width)?;
    if rotated > head_width || head_width > MAX_HEAD_WIDTH {
        return Err(keys.wrong("rope.dimension_count", rotated, "at most a head's width"));
    }
    let mut params = RopeParams {
        style,
        width: head_width,
        rotated,
        base: keys.get_or("rope.freq_base", DEFAULT_BASE)?.into(),
        position_scale: 1.0,
        frequency_factors: None,
    };
    let mut score_factor = 1.0;
    match keys.get_or("rope.scaling.type", "none")? {
        "none" => {}
        "linear" => params.position_scale = factor(keys)?.recip(),
        "yarn" => {
            let yarn = Yarn::read(keys)?;
            params.frequency_factors = Some(yarn.frequency_factors(&params));
            score_factor = yarn.score_factor();
            // The longer vectors are those of the rotated dimensions alone.
            if rotated != head_width {
                return Err(keys.wrong(
                    "rope.scaling.type",
                    "yarn",
                    "none where heads turn in part",
                ));
            }
        }
        other => return Err(keys.wrong("rope.scaling.type", other, "none, linear or yarn")),
    }
    keys.frequency_factors(&mut params)?;
    Ok(Rope {
        params,
        score_factor,
    })
}

fn factor(keys: &Keys<'_>) -> Result<f64, ModelError> {
    let factor: f32 = keys.require("rope.scaling.factor")?;
    if factor.is_finite() && factor > 0.0 {
        Ok(factor.into())
    } else {
        Err(keys.wrong("rope.scaling.factor", factor, "a positive number"))
    }
}

/// Stretches slow frequencies by a factor and leaves fast ones as they are.
///
/// # Source
/// Peng et al., YaRN: Efficient Context Window Extension of Large Language Models, 2023, §3.
struct Yarn {
    factor: f64,
    original_context: usize,
    beta_fast: f64,
    beta_slow: f64,
    attention_factor: f64,
}

impl Yarn {
    fn read(keys: &Keys<'_>) -> Result<Self, ModelError> {
        let number = |key: &str, default: f32| keys.get_or(key, default).map(f64::from);
        Ok(Self {
            factor: factor(keys)?,
            original_context: keys.require("rope.scaling.original_context_length")?,
            beta_fast: number("rope.scaling.yarn_beta_fast", 32.0)?,
            beta_slow: number("rope.scaling.yarn_beta_slow", 1.0)?,
            attention_factor: number("rope.scaling.attn_factor", 1.0)?,
        })
    }

    /// The divisor of each frequency: 1 where a pair turns more than `beta_fast` times within the
    /// original context, the factor where it turns less than `beta_slow` times, between them a
    /// ramp.
    fn frequency_factors(&self, rope: &RopeParams) -> Vec<f32> {
        let rotated = rope.rotated as f64;
        // The pair that turns so many times within the original context.
        let pair = |turns: f64| {
            rotated * (self.original_context as f64 / (turns * TAU)).ln() / (2.0 * rope.base.ln())
        };
        let low = pair(self.beta_fast).floor().max(0.0);
        let high = pair(self.beta_slow).ceil().min(rotated - 1.0);
        let span = (high - low).max(0.001);
        let divisor = |pair: usize| {
            let kept = 1.0 - ((pair as f64 - low) / span).clamp(0.0, 1.0);
            ((1.0 - kept) / self.factor + kept).recip()
        };
        (0..rope.rotated / 2).map(|i| divisor(i) as f32).collect()
    }

    /// Queries and keys are longer by `0.1·ln(factor) + 1` each.
    fn score_factor(&self) -> f32 {
        let length = self.attention_factor * (0.1 * self.factor.max(1.0).ln() + 1.0);
        (length * length) as f32
    }
}
