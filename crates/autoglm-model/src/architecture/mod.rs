//! Architectures: how the metadata of a weight file becomes a [`ModelConfig`]. One file per
//! architecture, none per checkpoint.

mod gemma3;
mod keys;
mod llama;

use crate::config::ModelConfig;
use crate::error::ModelError;
use crate::source::WeightSource;

/// Reads a model's configuration.
type Configure = fn(&dyn WeightSource) -> Result<ModelConfig, ModelError>;

/// The architectures by their name in GGUF files.
const ARCHITECTURES: &[(&str, Configure)] =
    &[("gemma3", gemma3::configure), ("llama", llama::configure)];

/// The names of all supported architectures.
pub fn supported() -> Vec<&'static str> {
    ARCHITECTURES.iter().map(|(name, _)| *name).collect()
}

/// Reads the configuration of the model in a file.
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

/// The number of layers, within bounds.
fn layer_count(keys: &keys::Keys<'_>) -> Result<usize, ModelError> {
    let count: usize = keys.require("block_count")?;
    if (1..=MAX_LAYERS).contains(&count) {
        return Ok(count);
    }
    Err(ModelError::WrongValue {
        key: format!("{}.block_count", keys.architecture()),
        found: count.to_string(),
        wanted: "1 to 1024",
    })
}
