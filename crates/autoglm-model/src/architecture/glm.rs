//! `glm`: what `transformers` calls the models of `chatglm` when it runs them with code of its own
//! (GLM-4-9B, GLM-Edge). The mathematics and GGUF's name are those of `chatglm`; settings and
//! tensors have other names, and queries, keys and values are apart.

use crate::checkpoint::{Class, GATE_UP, Head, NORMS, PLAIN, Partial, dense_settings, unchanged};

pub(super) const CLASS: Class = Class {
    name: "GlmForCausalLM",
    architecture: "chatglm",
    configure: |settings, metadata| dense_settings(settings, metadata, Partial::Half),
    tensors: &[PLAIN, GATE_UP, NORMS],
    ignored: &["model.layers.{}.self_attn.rotary_emb.inv_freq"],
    head: Head::Own,
    change: unchanged,
};
