//! The tensors of a mixture of experts.

use autoglm_kernel::PackedMatrix;

use super::loader::Loader;
use super::{GatedWeights, Linear};
use crate::config::{ExpertsConfig, ModelConfig};
use crate::error::ModelError;

/// The tensors of a mixture of experts.
pub(crate) struct ExpertsWeights {
    /// `[E, C]`, in single precision whatever the file holds.
    pub(crate) router: PackedMatrix,
    /// What is added to the scores for the choice alone: `[E]`.
    pub(crate) correction: Option<Vec<f32>>,
    pub(crate) experts: Vec<GatedWeights>,
    /// The shared experts, side by side as one.
    pub(crate) shared: Option<GatedWeights>,
}

impl ExpertsWeights {
    pub(super) fn load(
        loader: &Loader<'_>,
        layer: usize,
        config: &ModelConfig,
        experts: &ExpertsConfig,
    ) -> Result<Self, ModelError> {
        let name = |part: &str| format!("blk.{layer}.{part}");
        let (width, inner) = (config.width, experts.feed_forward);
        let stack = |part: &str, rows, cols| loader.stack(&name(part), [experts.count, rows, cols]);
        let plain = |matrix| Linear { matrix, bias: None };
        let gates = stack("ffn_gate_exps.weight", inner, width)?;
        let ups = stack("ffn_up_exps.weight", inner, width)?;
        let downs = stack("ffn_down_exps.weight", width, inner)?;
        let experts_of_layer = gates.into_iter().zip(ups).zip(downs);
        Ok(Self {
            router: loader.single(&name("ffn_gate_inp.weight"), experts.count, width)?,
            correction: loader.optional_vector(&name("exp_probs_b.bias"), experts.count)?,
            experts: experts_of_layer
                .map(|((gate, up), down)| GatedWeights {
                    gate: plain(gate),
                    up: plain(up),
                    down: plain(down),
                })
                .collect(),
            shared: Self::load_shared(loader, layer, config, experts)?,
        })
    }

    fn load_shared(
        loader: &Loader<'_>,
        layer: usize,
        config: &ModelConfig,
        experts: &ExpertsConfig,
    ) -> Result<Option<GatedWeights>, ModelError> {
        if experts.shared == 0 {
            return Ok(None);
        }
        let name = |part: &str| format!("blk.{layer}.{part}");
        let (width, inner) = (config.width, experts.shared * experts.feed_forward);
        Ok(Some(GatedWeights {
            gate: loader.linear(&name("ffn_gate_shexp"), inner, width)?,
            up: loader.linear(&name("ffn_up_shexp"), inner, width)?,
            down: loader.linear(&name("ffn_down_shexp"), width, inner)?,
        }))
    }

    pub(super) fn matrices(&self) -> Vec<&PackedMatrix> {
        let parts = self.experts.iter().chain(&self.shared);
        let mut all = vec![&self.router];
        all.extend(parts.flat_map(GatedWeights::matrices));
        all
    }
}
