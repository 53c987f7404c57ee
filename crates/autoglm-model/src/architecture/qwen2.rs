//! `qwen2`: pre-norm blocks, SiLU gate, biases of queries, keys and values, rotary embedding over
//! halves. Qwen 1.5, 2 and 2.5.

use autoglm_kernel::RopeStyle;

use super::dense;
use crate::checkpoint::{
    Class, Head, Metadata, NORMS, PLAIN, Partial, Settings, dense_settings, unchanged,
};
use crate::config::{ModelConfig, NormPlacement};
use crate::error::ModelError;
use crate::source::WeightSource;

pub(super) fn configure(source: &dyn WeightSource) -> Result<ModelConfig, ModelError> {
    dense::configure(source, RopeStyle::HalfSplit, NormPlacement::Pre)
}

pub(super) const CLASS: Class = Class {
    name: "Qwen2ForCausalLM",
    architecture: "qwen2",
    configure: settings,
    tensors: &[PLAIN, NORMS],
    ignored: &[],
    head: Head::Own,
    change: unchanged,
};

/// What Qwen 2 and 3 share.
pub(super) fn settings(settings: &Settings, metadata: &mut Metadata) -> Result<(), ModelError> {
    // No released model of either has layers with a window.
    settings.expect_boolean("use_sliding_window", false)?;
    dense_settings(settings, metadata, Partial::Never)
}
