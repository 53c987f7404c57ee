//! What the classes of `transformers` without experts share: names of settings and tensors.

use std::f64::consts::TAU;

use super::{Change, Metadata, Rename, Settings};
use crate::config::MAX_HEAD_WIDTH;
use crate::error::ModelError;

/// Tensors that every such class has or may have.
pub(crate) const PLAIN: &[Rename] = &[
    ("model.embed_tokens", "token_embd"),
    ("model.norm", "output_norm"),
    ("lm_head", "output"),
    ("model.layers.{}.self_attn.q_proj", "blk.{}.attn_q"),
    ("model.layers.{}.self_attn.k_proj", "blk.{}.attn_k"),
    ("model.layers.{}.self_attn.v_proj", "blk.{}.attn_v"),
    ("model.layers.{}.self_attn.o_proj", "blk.{}.attn_output"),
    ("model.layers.{}.mlp.gate_proj", "blk.{}.ffn_gate"),
    ("model.layers.{}.mlp.up_proj", "blk.{}.ffn_up"),
    ("model.layers.{}.mlp.down_proj", "blk.{}.ffn_down"),
];

/// The norms of a block that has two.
pub(crate) const NORMS: &[Rename] = &[
    ("model.layers.{}.input_layernorm", "blk.{}.attn_norm"),
    (
        "model.layers.{}.post_attention_layernorm",
        "blk.{}.ffn_norm",
    ),
];

/// Norms of queries and keys.
pub(crate) const HEAD_NORMS: &[Rename] = &[
    ("model.layers.{}.self_attn.q_norm", "blk.{}.attn_q_norm"),
    ("model.layers.{}.self_attn.k_norm", "blk.{}.attn_k_norm"),
];

/// Gate and up in one tensor, gate first, as GGUF keeps them too.
pub(crate) const GATE_UP: &[Rename] = &[("model.layers.{}.mlp.gate_up_proj", "blk.{}.ffn_up")];

/// No tensor is changed.
pub(crate) fn unchanged(_: &str, _: &Metadata) -> Change {
    Change::Keep
}

/// Whether the rotary embedding may leave dimensions of a head alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Partial {
    /// All dimensions turn.
    Never,
    /// As `partial_rotary_factor` says, half of them where it is left out.
    Half,
}

/// Settings of a class with a SiLU gate and one rotary embedding.
pub(crate) fn dense_settings(
    settings: &Settings,
    metadata: &mut Metadata,
    partial: Partial,
) -> Result<(), ModelError> {
    settings.expect_text("hidden_act", "silu")?;
    dense_sizes(settings, metadata)?;
    let section = match settings.section("rope_parameters")? {
        Some(section) => Some(section),
        None => settings.section("rope_scaling")?,
    };
    let within = |key: &str| match &section {
        Some(section) => section.float(key),
        None => Ok(None),
    };
    let base = within("rope_theta")?.or(settings.float("rope_theta")?);
    metadata.set_some("rope.freq_base", base);
    let turning = within("partial_rotary_factor")?.or(settings.float("partial_rotary_factor")?);
    let turning = match (partial, turning) {
        (Partial::Never, None | Some(1.0)) => 1.0,
        (Partial::Never, Some(_)) => return Err(settings.wrong("partial_rotary_factor", "1")),
        (Partial::Half, turning) => turning.unwrap_or(0.5),
    };
    if !(0.0..=1.0).contains(&turning) {
        return Err(settings.wrong("partial_rotary_factor", "0 to 1"));
    }
    let head_width = metadata.number("attention.key_length");
    metadata.set(
        "rope.dimension_count",
        (head_width as f64 * turning) as usize,
    );
    section.map_or(Ok(()), |section| rope_settings(&section, metadata))
}

/// Sizes, norms and context.
pub(crate) fn dense_sizes(settings: &Settings, metadata: &mut Metadata) -> Result<(), ModelError> {
    settings.expect_nothing("quantization_config")?;
    let width = settings.require_number("hidden_size")?;
    let heads = settings.require_number("num_attention_heads")?;
    let kv_heads = settings.number("num_key_value_heads")?;
    let head_width = settings.number("head_dim")?;
    let head_width = head_width.unwrap_or(width / heads.max(1));
    if head_width > MAX_HEAD_WIDTH {
        return Err(settings.wrong("head_dim", "heads of 1024 at most"));
    }
    metadata.set("embedding_length", width);
    metadata.set("block_count", settings.require_number("num_hidden_layers")?);
    metadata.set("attention.head_count", heads);
    metadata.set("attention.head_count_kv", kv_heads.unwrap_or(heads));
    metadata.set("attention.key_length", head_width);
    metadata.set("attention.value_length", head_width);
    metadata.set(
        "feed_forward_length",
        settings.require_number("intermediate_size")?,
    );
    metadata.set(
        "context_length",
        settings.require_number("max_position_embeddings")?,
    );
    metadata.set(
        "attention.layer_norm_rms_epsilon",
        settings.require_float("rms_norm_eps")?,
    );
    Ok(())
}

/// How the context is stretched, from `rope_parameters` or the older `rope_scaling`.
pub(crate) fn rope_settings(section: &Settings, metadata: &mut Metadata) -> Result<(), ModelError> {
    let key = if section.text("rope_type")?.is_some() {
        "rope_type"
    } else {
        "type"
    };
    match section.text(key)?.as_deref() {
        None | Some("default") => Ok(()),
        Some("linear") => {
            metadata.set("rope.scaling.type", "linear");
            metadata.set("rope.scaling.factor", section.require_float("factor")?);
            Ok(())
        }
        Some("llama3") => llama3(section, metadata),
        Some("yarn") => yarn(section, metadata),
        Some(_) => Err(section.wrong(key, "default, linear, llama3 or yarn")),
    }
}

/// Llama 3 stretches slow frequencies by a factor; GGUF keeps the divisors as a tensor.
///
/// # Source
/// `apply_scaling` in the reference implementation of Llama 3.1.
fn llama3(section: &Settings, metadata: &mut Metadata) -> Result<(), ModelError> {
    let factor = section.require_float("factor")?;
    let low = section.require_float("low_freq_factor")?;
    let high = section.require_float("high_freq_factor")?;
    let original = section.require_float("original_max_position_embeddings")?;
    if !(factor > 0.0 && low < high && original > 0.0) {
        return Err(section.wrong("factor", "positive, with a low factor below the high one"));
    }
    let base = metadata.float("rope.freq_base").unwrap_or(10_000.0);
    let rotated = metadata.number("rope.dimension_count");
    let divisor = |pair: usize| {
        let frequency = base.powf(-2.0 * pair as f64 / rotated as f64);
        let turns = original * frequency / TAU;
        let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
        ((1.0 - kept) / factor + kept).recip() as f32
    };
    metadata.set_frequency_factors((0..rotated / 2).map(divisor).collect());
    Ok(())
}

fn yarn(section: &Settings, metadata: &mut Metadata) -> Result<(), ModelError> {
    for key in ["mscale", "mscale_all_dim"] {
        section.expect_nothing(key)?;
    }
    section.expect_boolean("truncate", true)?;
    let factor = section.require_float("factor")?;
    let original = section.number("original_max_position_embeddings")?;
    let original = original.unwrap_or_else(|| metadata.number("context_length"));
    metadata.set("rope.scaling.type", "yarn");
    metadata.set("rope.scaling.factor", factor);
    metadata.set("rope.scaling.original_context_length", original);
    metadata.set_some("rope.scaling.yarn_beta_fast", section.float("beta_fast")?);
    metadata.set_some("rope.scaling.yarn_beta_slow", section.float("beta_slow")?);
    if let Some(attention) = section.float("attention_factor")? {
        // The settings hold the whole factor, GGUF what is multiplied with the formula's.
        let formula = 0.1 * factor.max(1.0).ln() + 1.0;
        metadata.set("rope.scaling.attn_factor", attention / formula);
    }
    Ok(())
}
