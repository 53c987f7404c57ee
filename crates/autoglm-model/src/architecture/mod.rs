//! Architectures: how the metadata of a weight file becomes a [`ModelConfig`]. One file per
//! architecture, none per checkpoint.

mod deepseek2;
mod experts;
mod gemma3;
mod glm4moe;
mod keys;
mod llama;

use crate::config::ModelConfig;
use crate::error::ModelError;
use crate::gguf::GgufFile;

/// Reads a file's configuration.
type Configure = fn(&GgufFile) -> Result<ModelConfig, ModelError>;

/// The architectures by their name in GGUF files.
const ARCHITECTURES: &[(&str, Configure)] = &[
    ("deepseek2", deepseek2::configure),
    ("gemma3", gemma3::configure),
    ("glm4moe", glm4moe::configure),
    ("llama", llama::configure),
];

/// The names of all supported architectures.
pub fn supported() -> Vec<&'static str> {
    ARCHITECTURES.iter().map(|(name, _)| *name).collect()
}

/// Reads the configuration of the model in a file.
///
/// # Errors
/// An architecture that is not supported, a metadata key that is missing, of another type or out
/// of range.
pub(crate) fn configure(file: &GgufFile) -> Result<ModelConfig, ModelError> {
    let name = file.architecture()?;
    let known = ARCHITECTURES.iter().find(|(known, _)| *known == name);
    let (_, configure) = known.ok_or_else(|| ModelError::UnknownArchitecture {
        name: name.escape_debug().to_string(),
        supported: supported(),
    })?;
    let config = configure(file)?;
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
