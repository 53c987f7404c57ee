//! `qwen3`: as `qwen2`, without biases, with queries and keys normalised per head and a head width
//! of its own.

use autoglm_kernel::RopeStyle;

use super::{dense, qwen2};
use crate::checkpoint::{Class, HEAD_NORMS, Head, NORMS, PLAIN, unchanged};
use crate::config::{ModelConfig, NormPlacement};
use crate::error::ModelError;
use crate::source::WeightSource;

pub(super) fn configure(source: &dyn WeightSource) -> Result<ModelConfig, ModelError> {
    dense::configure(source, RopeStyle::HalfSplit, NormPlacement::Pre)
}

pub(super) const CLASS: Class = Class {
    name: "Qwen3ForCausalLM",
    architecture: "qwen3",
    configure: qwen2::settings,
    tensors: &[PLAIN, NORMS, HEAD_NORMS],
    ignored: &[],
    head: Head::Own,
    change: unchanged,
};
