//! Low-rank changes of projections: `y += scale · B·(A·x)`.
//!
//! # Source
//! Hu et al. 2021, *LoRA*, section 4.1: scale = alpha / r. Kalajdzievski 2023 (`use_rslora`):
//! scale = alpha / √r.

use std::sync::Arc;

use autoglm_kernel::{BlockFormat, PackedMatrix, Pool};

use super::{check_shape, numbers, require};
use crate::architecture;
use crate::checkpoint::{Change, Settings};
use crate::config::ModelConfig;
use crate::error::ModelError;
use crate::gguf::printable;
use crate::safetensors::{SafetensorsFile, StoredTensor};

/// A projection that an adapter may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Projection {
    Query,
    Key,
    Value,
    Output,
    Gate,
    Up,
    Down,
}

/// How many projections there are.
const PROJECTIONS: usize = 7;

/// The change of one projection.
pub(crate) struct Delta {
    /// `[r, in]`, shared by projections that are one tensor in the file.
    pub(crate) a: Arc<PackedMatrix>,
    /// `[out, r]`.
    pub(crate) b: PackedMatrix,
    pub(crate) scale: f32,
}

/// The changes in one layer.
#[derive(Default)]
pub(super) struct LayerDeltas([Option<Delta>; PROJECTIONS]);

impl LayerDeltas {
    pub(super) fn get(&self, projection: Projection) -> Option<&Delta> {
        self.0[projection as usize].as_ref()
    }

    pub(super) fn size_bytes(&self) -> usize {
        // Projections that share an A stand one behind the other.
        let mut last: Option<&Arc<PackedMatrix>> = None;
        let mut bytes = 0;
        for delta in self.0.iter().flatten() {
            let shared = last.is_some_and(|last| Arc::ptr_eq(last, &delta.a));
            bytes += if shared { 0 } else { delta.a.size_bytes() };
            bytes += delta.b.size_bytes();
            last = Some(&delta.a);
        }
        bytes
    }
}

/// The bytes of a tensor that is kept in single precision, at most.
pub(super) fn planned_bytes(tensor: &StoredTensor<'_>) -> usize {
    let &[rows, cols] = tensor.shape else {
        return 0;
    };
    let packed = |rows| PackedMatrix::packed_bytes(BlockFormat::F32, rows, cols);
    // The rows of a B may be those of three projections, which are packed one by one.
    let further = if tensor.name.ends_with(SECOND) { 2 } else { 0 };
    packed(rows).saturating_add(further * packed(1))
}

/// What must be known to read the tensors.
pub(super) struct LoraSettings {
    /// `r`, and its exceptions by the end of a module's name.
    rank: f64,
    ranks: Vec<(String, f64)>,
    /// `lora_alpha`, and its exceptions.
    alpha: f64,
    alphas: Vec<(String, f64)>,
    /// Whether the scale is alpha / √r.
    root: bool,
}

impl LoraSettings {
    pub(super) fn read(settings: &Settings) -> Result<Self, ModelError> {
        settings.expect_text("bias", "none")?;
        for key in ["use_dora", "fan_in_fan_out", "lora_bias", "use_qalora"] {
            settings.expect_boolean(key, false)?;
        }
        for key in [
            "layer_replication",
            "alora_invocation_tokens",
            "trainable_token_indices",
            "target_parameters",
            "use_bdlora",
            "arrow_config",
            "kasa_config",
            "monteclora_config",
            "corda_config",
        ] {
            settings.expect_nothing(key)?;
        }
        check_start(settings)?;
        Ok(Self {
            rank: settings.require_float("r")?,
            ranks: pattern(settings, "rank_pattern")?,
            alpha: settings.require_float("lora_alpha")?,
            alphas: pattern(settings, "alpha_pattern")?,
            root: settings.boolean("use_rslora")?.unwrap_or(false),
        })
    }

    /// The rank of a module's change.
    fn rank_of(&self, module: &str) -> usize {
        // Not a whole number or out of range: no tensor's shape equals that.
        exception(&self.ranks, module).unwrap_or(self.rank) as usize
    }

    /// The factor of a module's change.
    fn scale_of(&self, module: &str, rank: usize) -> f32 {
        let alpha = exception(&self.alphas, module).unwrap_or(self.alpha);
        let rank = rank as f64;
        (alpha / if self.root { rank.sqrt() } else { rank }) as f32
    }
}

/// Some ways to begin training change the model's own weights, which the adapter then relies on.
fn check_start(settings: &Settings) -> Result<(), ModelError> {
    const KEY: &str = "init_lora_weights";
    let Err(error) = settings.boolean(KEY) else {
        return Ok(());
    };
    match settings.text(KEY) {
        Ok(Some(name)) if ["gaussian", "eva", "orthogonal"].contains(&name.as_str()) => Ok(()),
        Ok(_) => {
            let wanted = "a way that leaves the model's weights as they are";
            Err(settings.wrong(KEY, wanted))
        }
        Err(_) => Err(error),
    }
}

/// Exceptions by the end of a module's name. They are regular expressions in general; those that
/// are plain names are read.
fn pattern(settings: &Settings, key: &str) -> Result<Vec<(String, f64)>, ModelError> {
    let Some(section) = settings.section(key)? else {
        return Ok(Vec::new());
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    let mut exceptions: Vec<(String, f64)> = Vec::new();
    for name in section.keys() {
        if !name.chars().all(plain) {
            return Err(section.wrong(name, "a plain name as its key"));
        }
        let overlaps =
            |(other, _): &(String, f64)| ends_with(other, name) || ends_with(name, other);
        if exceptions.iter().any(overlaps) {
            return Err(section.wrong(name, "keys of which none ends with another"));
        }
        exceptions.push((name.to_owned(), section.require_float(name)?));
    }
    Ok(exceptions)
}

fn exception(exceptions: &[(String, f64)], module: &str) -> Option<f64> {
    let mut fitting = exceptions.iter().filter(|(end, _)| ends_with(module, end));
    fitting.next().map(|&(_, value)| value)
}

/// Whether a dotted name ends with these parts.
fn ends_with(name: &str, end: &str) -> bool {
    let rest = name.strip_suffix(end);
    rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Reads the tensors of one adapter.
pub(super) struct Reader<'a> {
    pub(super) settings: &'a LoraSettings,
    pub(super) file: &'a SafetensorsFile,
    pub(super) config: &'a ModelConfig,
    pub(super) pool: &'a Pool,
}

/// Where a module's change goes: the projections that stand one below the other in the module's
/// matrix.
struct Target {
    layer: usize,
    projections: &'static [Projection],
    change: Change,
}

impl Reader<'_> {
    pub(super) fn read(&self) -> Result<Vec<LayerDeltas>, ModelError> {
        let mut layers = Vec::new();
        layers.resize_with(self.config.layers.len(), LayerDeltas::default);
        for tensor in self.file.tensors() {
            let (module, is_first) = module(&tensor)?;
            // The B of every A is looked up; a B without an A would be left out.
            require(self.file, &pair_name(module, !is_first))?;
            if is_first {
                self.add(module, &tensor, &mut layers)?;
            }
        }
        Ok(layers)
    }

    fn add(
        &self,
        module: &str,
        a: &StoredTensor<'_>,
        layers: &mut [LayerDeltas],
    ) -> Result<(), ModelError> {
        let target = self.target(module)?;
        let rank = self.settings.rank_of(module);
        let cols = self.cols(target.projections[0]);
        check_shape(a, &[rank, cols])?;
        let b = require(self.file, &pair_name(module, false))?;
        let heights = target.projections.iter().map(|&p| self.rows(p));
        check_shape(&b, &[heights.sum(), rank])?;
        target.change.check(&b)?;
        let packed_a = Arc::new(self.pack(a, &numbers(a, a.bytes)?, (rank, cols))?);
        let b_numbers = numbers(&b, &target.change.apply(&b))?;
        let scale = self.settings.scale_of(module, rank);
        let mut rest = b_numbers.as_slice();
        for &projection in target.projections {
            let rows = self.rows(projection);
            let (part, behind) = rest.split_at(rows * rank);
            rest = behind;
            let place = &mut layers[target.layer].0[projection as usize];
            if place.is_some() {
                return Err(ModelError::DuplicateTensor {
                    tensor: printable(a.name),
                });
            }
            *place = Some(Delta {
                a: Arc::clone(&packed_a),
                b: self.pack(&b, part, (rows, rank))?,
                scale,
            });
        }
        Ok(())
    }

    /// Finds a module by its name in the classes that the model's architecture has in folders.
    fn target(&self, module: &str) -> Result<Target, ModelError> {
        let unsupported = || ModelError::AdapterTarget {
            target: printable(module),
            architecture: self.config.architecture.clone(),
        };
        let found = architecture::tensor_in_classes(self.config, &format!("{module}.weight"));
        let (name, change) = found.ok_or_else(unsupported)?;
        let mut parts = name.strip_prefix("blk.").unwrap_or("").splitn(3, '.');
        let layer: Option<usize> = parts.next().and_then(|layer| layer.parse().ok());
        let layer = layer.filter(|&layer| layer < self.config.layers.len());
        let layer = layer.ok_or_else(unsupported)?;
        let part = parts.next().unwrap_or("");
        let projections = projections(part, module).ok_or_else(unsupported)?;
        let attends = part.starts_with("attn");
        let simple = if attends {
            self.config.latent.is_none()
        } else {
            self.config.experts_of(layer).is_none()
        };
        if !simple {
            return Err(unsupported());
        }
        Ok(Target {
            layer,
            projections,
            change,
        })
    }

    fn rows(&self, projection: Projection) -> usize {
        let config = self.config;
        match projection {
            Projection::Query => config.heads * config.head_width,
            Projection::Key | Projection::Value => config.kv_heads * config.head_width,
            Projection::Output | Projection::Down => config.width,
            Projection::Gate | Projection::Up => config.feed_forward,
        }
    }

    fn cols(&self, projection: Projection) -> usize {
        let config = self.config;
        match projection {
            Projection::Output => config.heads * config.head_width,
            Projection::Down => config.feed_forward,
            _ => config.width,
        }
    }

    fn pack(
        &self,
        tensor: &StoredTensor<'_>,
        numbers: &[f32],
        (rows, cols): (usize, usize),
    ) -> Result<PackedMatrix, ModelError> {
        let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        let packed = PackedMatrix::pack(self.pool, BlockFormat::F32, rows, cols, &bytes);
        packed.map_err(|source| ModelError::Pack {
            tensor: printable(tensor.name),
            source,
        })
    }
}

/// The projections that a tensor holds, by its name in GGUF; gate and up are one tensor under the
/// name of up, unless the module has up alone.
fn projections(part: &str, module: &str) -> Option<&'static [Projection]> {
    use Projection::{Down, Gate, Key, Output, Query, Up, Value};
    Some(match part {
        "attn_q" => &[Query],
        "attn_k" => &[Key],
        "attn_v" => &[Value],
        "attn_qkv" => &[Query, Key, Value],
        "attn_output" => &[Output],
        "ffn_gate" => &[Gate],
        "ffn_up" if module.ends_with(".up_proj") => &[Up],
        "ffn_up" => &[Gate, Up],
        "ffn_down" => &[Down],
        _ => return None,
    })
}

/// What stands before the name of a module of the model.
const ROOT: &str = "base_model.model.";
const FIRST: &str = ".lora_A.weight";
const SECOND: &str = ".lora_B.weight";

/// The module that a tensor changes, and whether the tensor is its A.
fn module<'a>(tensor: &StoredTensor<'a>) -> Result<(&'a str, bool), ModelError> {
    let stem = tensor.name.strip_prefix(ROOT);
    let find = |end: &str| stem.and_then(|stem| stem.strip_suffix(end));
    let first = find(FIRST).map(|module| (module, true));
    first
        .or_else(|| find(SECOND).map(|module| (module, false)))
        .ok_or_else(|| ModelError::AdapterTensor {
            tensor: printable(tensor.name),
            kind: "LORA",
        })
}

fn pair_name(module: &str, first: bool) -> String {
    format!("{ROOT}{module}{}", if first { FIRST } else { SECOND })
}
