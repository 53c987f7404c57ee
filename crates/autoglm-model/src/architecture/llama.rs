//! `llama`: pre-norm blocks, SiLU gate, rotary embedding over interleaved pairs (GGUF files of
//! this architecture hold Q and K rows permuted for it). Llama, SmolLM, Mistral, Yi and their like.

use autoglm_kernel::RopeStyle;

use super::dense;
use crate::checkpoint::{Change, Class, Head, Metadata, NORMS, PLAIN, Partial, dense_settings};
use crate::config::{ModelConfig, NormPlacement};
use crate::error::ModelError;
use crate::source::WeightSource;

pub(super) fn configure(source: &dyn WeightSource) -> Result<ModelConfig, ModelError> {
    dense::configure(source, RopeStyle::Interleaved, NormPlacement::Pre)
}

pub(super) const CLASS: Class = Class {
    name: "LlamaForCausalLM",
    architecture: "llama",
    configure: |settings, metadata| dense_settings(settings, metadata, Partial::Never),
    tensors: &[PLAIN, NORMS],
    ignored: &["model.layers.{}.self_attn.rotary_emb.inv_freq"],
    head: Head::Own,
    change,
};

/// Folders hold the pairs of a head half a head apart.
fn change(name: &str, metadata: &Metadata) -> Change {
    if name.contains(".attn_q.") || name.contains(".attn_k.") {
        Change::Interleave {
            head_width: metadata.number("attention.key_length"),
        }
    } else {
        Change::Keep
    }
}
