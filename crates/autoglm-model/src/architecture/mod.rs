//! Architectures: how the metadata of a weight file becomes a [`ModelConfig`]. One file per
//! architecture, none per checkpoint.

mod bert;
mod chatglm;
mod deepseek2;
mod dense;
mod experts;
mod gemma3;
mod glm;
mod glm4;
mod glm4moe;
mod keys;
mod llama;
mod qwen2;
mod qwen3;
mod rope;

use crate::checkpoint::{Change, Class, Settings};
use crate::config::ModelConfig;
use crate::error::ModelError;
use crate::gguf::printable;
use crate::source::WeightSource;

/// Reads a model's configuration.
type Configure = fn(&dyn WeightSource) -> Result<ModelConfig, ModelError>;

/// The architectures by their name in GGUF files.
const ARCHITECTURES: &[(&str, Configure)] = &[
    ("bert", bert::configure),
    ("chatglm", chatglm::configure),
    ("deepseek2", deepseek2::configure),
    ("gemma3", gemma3::configure),
    ("glm4", glm4::configure),
    ("glm4moe", glm4moe::configure),
    ("llama", llama::configure),
    ("qwen2", qwen2::configure),
    ("qwen3", qwen3::configure),
];

/// The classes that the `config.json` of a folder may name.
const CLASSES: &[&Class] = &[
    &bert::CLASS,
    &chatglm::CLASS,
    &chatglm::CONDITIONAL_CLASS,
    &deepseek2::CLASS,
    &gemma3::CLASS,
    &glm::CLASS,
    &glm4::CLASS,
    &glm4moe::CLASS,
    &llama::CLASS,
    &qwen2::CLASS,
    &qwen3::CLASS,
];

/// The names of all supported architectures.
pub fn supported() -> Vec<&'static str> {
    ARCHITECTURES.iter().map(|(name, _)| *name).collect()
}

/// The class of the model in a folder with these settings.
///
/// # Errors
/// A class that is not supported, or none.
pub(crate) fn class_of(settings: &Settings) -> Result<&'static Class, ModelError> {
    const KEY: &str = "architectures";
    let names = settings.texts(KEY)?.unwrap_or_default();
    let [name] = names.as_slice() else {
        return Err(settings.wrong(KEY, "a list with one class"));
    };
    let known = CLASSES.iter().find(|class| class.name == name);
    known.copied().ok_or_else(|| ModelError::UnknownClass {
        name: printable(name),
        supported: CLASSES.iter().map(|class| class.name).collect(),
    })
}

/// The name in GGUF that one of the architecture's classes gives a folder's tensor, and how it is
/// changed.
pub(crate) fn tensor_in_classes(config: &ModelConfig, stored: &str) -> Option<(String, Change)> {
    classes(config).find_map(|class| {
        let name = class.single_name(stored)?;
        let change = class.change_of(&name, config.head_width);
        Some((name, change))
    })
}

/// Whether models of the architecture hold the rows of keys in another order than folders.
pub(crate) fn interleaves_keys(config: &ModelConfig) -> bool {
    let change = |class: &Class| class.change_of("blk.0.attn_k.weight", config.head_width);
    classes(config).any(|class| matches!(change(class), Change::Interleave { .. }))
}

/// The classes that models of the architecture have in folders.
fn classes(config: &ModelConfig) -> impl Iterator<Item = &'static Class> + '_ {
    let all = CLASSES.iter().copied();
    all.filter(|class| class.architecture == config.architecture)
}

/// Reads the configuration of a model.
///
/// # Errors
/// An architecture that is not supported, a metadata key that is missing, of another type or out
/// of range.
pub(crate) fn configure(source: &dyn WeightSource) -> Result<ModelConfig, ModelError> {
    let name = source.architecture()?;
    let known = ARCHITECTURES.iter().find(|(known, _)| *known == name);
    let (_, configure) = known.ok_or_else(|| ModelError::UnknownArchitecture {
        name: name.escape_debug().to_string(),
        supported: supported(),
    })?;
    let config = configure(source)?;
    config.check()?;
    Ok(config)
}

/// More layers than any model of the field has; a bound for what a file may claim.
const MAX_LAYERS: usize = 1_024;

/// The number of layers, within bounds. Layers that only predict further tokens stand behind them
/// and are not counted.
fn layer_count(keys: &keys::Keys<'_>) -> Result<usize, ModelError> {
    let blocks: usize = keys.require("block_count")?;
    let further: usize = keys.get_or("nextn_predict_layers", 0)?;
    if blocks > further && blocks <= MAX_LAYERS {
        return Ok(blocks - further);
    }
    Err(ModelError::WrongValue {
        key: format!("{}.block_count", keys.architecture()),
        found: blocks.to_string(),
        wanted: "1 to 1024, more than nextn_predict_layers",
    })
}
