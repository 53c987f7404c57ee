//! Which number format each tensor of a quantised model gets.

use autoglm_kernel::BlockFormat;

/// What a model is quantised to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuantizedType {
    /// Half precision.
    F16,
    /// bfloat16.
    Bf16,
    /// 8 bits in blocks of 32 (8.5 bits a weight).
    Q8_0,
    /// 4 bits in blocks of 32 (4.5 bits a weight), the output head in 6.
    Q4_0,
    /// 4 bits in blocks of 256 (4.5 bits a weight); half of the value and down projections and the
    /// output head in 6.
    Q4KM,
}

impl QuantizedType {
    /// Every type.
    pub const ALL: [Self; 5] = [Self::Q8_0, Self::Q4_0, Self::Q4KM, Self::F16, Self::Bf16];

    /// The name that people use for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Q8_0 => "q8_0",
            Self::Q4_0 => "q4_0",
            Self::Q4KM => "q4_k_m",
        }
    }

    /// The value of `general.file_type` in GGUF files.
    pub(crate) const fn file_type(self) -> u32 {
        match self {
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q8_0 => 7,
            Self::Q4KM => 15,
            Self::Bf16 => 32,
        }
    }
}

/// The choice of formats for the tensors of one model.
///
/// # Source
/// The mixtures of llama.cpp's quantiser, so that files are as large as the field expects and the
/// sensitive tensors are the ones that it found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recipe {
    kind: QuantizedType,
    layers: usize,
    /// The embedding is the output head too.
    tied: bool,
}

impl Recipe {
    /// The recipe for a model with tensors of these names.
    pub(crate) fn new<'a>(kind: QuantizedType, names: impl IntoIterator<Item = &'a str>) -> Self {
        let (mut layers, mut tied) = (0, true);
        for name in names {
            tied &= name != "output.weight";
            layers = layers.max(layer_of(name).map_or(0, |layer| layer + 1));
        }
        Self { kind, layers, tied }
    }

    /// The format for a tensor with a row-major shape.
    pub(crate) fn format_for(&self, name: &str, shape: &[usize]) -> BlockFormat {
        let cols = match shape {
            [_, .., cols] if is_matrix_product(name) => *cols,
            _ => return BlockFormat::F32,
        };
        let wanted = match self.kind {
            QuantizedType::F16 => BlockFormat::F16,
            QuantizedType::Bf16 => BlockFormat::Bf16,
            QuantizedType::Q8_0 => BlockFormat::Q8_0,
            _ if self.is_head(name) => BlockFormat::Q6K,
            QuantizedType::Q4_0 => BlockFormat::Q4_0,
            QuantizedType::Q4KM if self.is_sensitive(name) => BlockFormat::Q6K,
            QuantizedType::Q4KM => BlockFormat::Q4K,
        };
        fitting(wanted, cols)
    }

    fn is_head(&self, name: &str) -> bool {
        name == "output.weight" || self.tied && name == "token_embd.weight"
    }

    /// Values and down projections in the first and the last eighth of the layers and every third
    /// between: an error in them is not squashed by a softmax or a gate.
    fn is_sensitive(&self, name: &str) -> bool {
        const KINDS: [&str; 6] = [
            "attn_v",
            "attn_qkv",
            "attn_kv_b",
            "ffn_down",
            "ffn_down_exps",
            "ffn_down_shexp",
        ];
        let (Some(layer), Some(kind)) = (layer_of(name), kind_of(name)) else {
            return false;
        };
        let eighth = self.layers / 8;
        let at_an_end = layer < eighth || layer >= 7 * self.layers / 8;
        KINDS.contains(&kind) && (at_an_end || (layer - eighth) % 3 == 2)
    }
}

/// Whether a tensor of two or more dimensions is the weight of a matrix product or an embedding:
/// no norm, no router (whose choices flip with the last bits), no table of positions.
fn is_matrix_product(name: &str) -> bool {
    const FLOATS: [&str; 4] = [
        "_norm.weight",
        "ffn_gate_inp",
        "position_embd",
        "token_types",
    ];
    name.ends_with(".weight") && !FLOATS.iter().any(|part| name.contains(part))
}

/// The number in `blk.N.…`.
fn layer_of(name: &str) -> Option<usize> {
    let (layer, _) = name.strip_prefix("blk.")?.split_once('.')?;
    layer.parse().ok()
}

/// The part of `blk.N.PART.weight`.
fn kind_of(name: &str) -> Option<&str> {
    name.strip_suffix(".weight")?.rsplit('.').next()
}

/// The format itself, or where rows are no whole number of its blocks, the next larger one whose
/// blocks they are.
fn fitting(wanted: BlockFormat, cols: usize) -> BlockFormat {
    let larger = match wanted {
        BlockFormat::Q4K => BlockFormat::Q5_0,
        BlockFormat::Q6K => BlockFormat::Q8_0,
        _ => BlockFormat::F16,
    };
    if cols.is_multiple_of(wanted.block_len()) {
        wanted
    } else if cols.is_multiple_of(larger.block_len()) {
        larger
    } else {
        BlockFormat::F16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(kind: QuantizedType, layers: usize, more: &[&str]) -> Recipe {
        let last = format!("blk.{}.attn_v.weight", layers - 1);
        Recipe::new(kind, more.iter().copied().chain([last.as_str()]))
    }

    #[track_caller]
    fn check(recipe: &Recipe, name: &str, shape: &[usize], wanted: BlockFormat) {
        assert_eq!(recipe.format_for(name, shape), wanted, "{name} {shape:?}");
    }

    #[test]
    fn the_sensitive_layers_are_those_of_the_field() {
        let recipe = recipe(QuantizedType::Q4KM, 30, &[]);
        let more_bits: Vec<usize> = (0..30)
            .filter(|layer| {
                let name = format!("blk.{layer}.ffn_down.weight");
                recipe.format_for(&name, &[512, 512]) == BlockFormat::Q6K
            })
            .collect();
        assert_eq!(
            more_bits,
            [0, 1, 2, 5, 8, 11, 14, 17, 20, 23, 26, 27, 28, 29]
        );
    }

    #[test]
    fn rows_that_have_no_whole_blocks_get_larger_formats() {
        // Gemma 3 270M: 640 columns, tied head.
        let recipe = recipe(QuantizedType::Q4KM, 18, &["token_embd.weight"]);
        check(
            &recipe,
            "token_embd.weight",
            &[1000, 640],
            BlockFormat::Q8_0,
        );
        check(
            &recipe,
            "blk.9.attn_q.weight",
            &[1024, 640],
            BlockFormat::Q5_0,
        );
        check(
            &recipe,
            "blk.0.attn_v.weight",
            &[256, 640],
            BlockFormat::Q8_0,
        );
        check(
            &recipe,
            "blk.9.attn_output.weight",
            &[640, 1024],
            BlockFormat::Q4K,
        );
        check(&recipe, "blk.9.ffn_up.weight", &[24, 40], BlockFormat::F16);
    }

    #[test]
    fn norms_biases_and_routers_stay_floats() {
        for kind in QuantizedType::ALL {
            let recipe = recipe(kind, 4, &[]);
            for name in ["output_norm.weight", "blk.0.attn_q.bias"] {
                check(&recipe, name, &[512], BlockFormat::F32);
            }
            check(
                &recipe,
                "blk.0.ffn_gate_inp.weight",
                &[8, 512],
                BlockFormat::F32,
            );
        }
    }

    #[test]
    fn a_head_of_its_own_takes_the_bits_from_the_embedding() {
        let untied = recipe(
            QuantizedType::Q4_0,
            4,
            &["token_embd.weight", "output.weight"],
        );
        check(&untied, "token_embd.weight", &[9, 512], BlockFormat::Q4_0);
        check(&untied, "output.weight", &[9, 512], BlockFormat::Q6K);
        let tied = recipe(QuantizedType::Q4_0, 4, &["token_embd.weight"]);
        check(&tied, "token_embd.weight", &[9, 512], BlockFormat::Q6K);
    }

    #[test]
    fn experts_are_matrices_of_three_dimensions() {
        let recipe = recipe(QuantizedType::Q4KM, 8, &[]);
        check(
            &recipe,
            "blk.0.ffn_down_exps.weight",
            &[8, 512, 256],
            BlockFormat::Q6K,
        );
        check(
            &recipe,
            "blk.0.ffn_up_exps.weight",
            &[8, 256, 512],
            BlockFormat::Q4K,
        );
    }
}
