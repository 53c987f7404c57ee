//! The metadata of a mixture of experts, which several architectures share.

use super::keys::Keys;
use crate::config::{ExpertsConfig, RouterGate};
use crate::error::ModelError;

/// The mixture of experts of a file; `default` is the gate where the file names none.
pub(super) fn configure(keys: &Keys<'_>, default: RouterGate) -> Result<ExpertsConfig, ModelError> {
    Ok(ExpertsConfig {
        first_layer: keys.get_or("leading_dense_block_count", 0)?,
        count: keys.require("expert_count")?,
        used: keys.require("expert_used_count")?,
        feed_forward: keys.require("expert_feed_forward_length")?,
        shared: keys.get_or("expert_shared_count", 0)?,
        gate: gate(keys, default)?,
        groups: keys.get_or("expert_group_count", 1)?.max(1),
        groups_used: keys.get_or("expert_group_used_count", 1)?.max(1),
        normalise: keys.get_or("expert_weights_norm", false)?,
        scale: scale(keys)?,
    })
}

/// The factor of the weights; files without one say 0 or nothing.
fn scale(keys: &Keys<'_>) -> Result<f32, ModelError> {
    let scale: f32 = keys.get_or("expert_weights_scale", 1.0)?;
    Ok(if scale == 0.0 { 1.0 } else { scale })
}

/// The numbers of the gates in files.
const SOFTMAX: u32 = 1;
const SIGMOID: u32 = 2;

fn gate(keys: &Keys<'_>, default: RouterGate) -> Result<RouterGate, ModelError> {
    match keys.get_or("expert_gating_func", 0)? {
        0 => Ok(default),
        SOFTMAX => Ok(RouterGate::Softmax),
        SIGMOID => Ok(RouterGate::Sigmoid),
        other => Err(keys.wrong("expert_gating_func", other, "1 (softmax) or 2 (sigmoid)")),
    }
}
