//! Reading an architecture's own metadata keys, which start with its name.

use autoglm_kernel::{RopeParams, dequantize};

use crate::error::ModelError;
use crate::gguf::{FromValue, printable, wrong_value};
use crate::source::WeightSource;

/// The metadata keys `ARCHITECTURE.*` of a model.
pub(super) struct Keys<'a> {
    source: &'a dyn WeightSource,
    architecture: &'a str,
}

impl<'a> Keys<'a> {
    pub(super) fn new(source: &'a dyn WeightSource) -> Result<Self, ModelError> {
        Ok(Self {
            source,
            architecture: source.architecture()?,
        })
    }

    pub(super) fn architecture(&self) -> &'a str {
        self.architecture
    }

    /// The value of a key that must be there.
    pub(super) fn require<T: FromValue<'a>>(&self, key: &str) -> Result<T, ModelError> {
        self.source.require(&self.name(key))
    }

    /// The value of a key, or a default.
    pub(super) fn get_or<T: FromValue<'a>>(&self, key: &str, default: T) -> Result<T, ModelError> {
        Ok(self.source.get(&self.name(key))?.unwrap_or(default))
    }

    /// Fails when a key holds a number other than zero: a feature that is not supported.
    pub(super) fn forbid(&self, key: &str, wanted: &'static str) -> Result<(), ModelError> {
        let found = self.get_or::<usize>(key, 0)?;
        if found == 0 {
            return Ok(());
        }
        Err(self.wrong(key, found, wanted))
    }

    /// An error that names a key with the value that it has.
    pub(super) fn wrong(
        &self,
        key: &str,
        found: impl std::fmt::Display,
        wanted: &'static str,
    ) -> ModelError {
        wrong_value(&self.name(key), printable(&found.to_string()), wanted)
    }

    /// Factor by which positions are multiplied: `1 / rope.scaling.factor` for linear scaling.
    pub(super) fn position_scale(&self) -> Result<f64, ModelError> {
        match self.get_or("rope.scaling.type", "none")? {
            "none" => Ok(1.0),
            "linear" => Ok(f64::from(self.require::<f32>("rope.scaling.factor")?).recip()),
            other => Err(self.wrong("rope.scaling.type", other, "none or linear")),
        }
    }

    /// Tokens of the vocabulary: the rows of the embedding.
    pub(super) fn vocabulary(&self) -> Result<usize, ModelError> {
        Ok(self.source.require_tensor_info("token_embd.weight")?.shape[0])
    }

    /// The divisors of the rotary frequencies that a file may carry (Llama 3).
    pub(super) fn frequency_factors(&self, rope: &mut RopeParams) -> Result<(), ModelError> {
        let Some(tensor) = self.source.tensor("rope_freqs.weight") else {
            return Ok(());
        };
        if tensor.shape != [rope.rotated / 2] {
            return Err(ModelError::TensorShape {
                tensor: tensor.name.to_owned(),
                found: tensor.shape.to_vec(),
                wanted: vec![rope.rotated / 2],
            });
        }
        let mut factors = vec![0.0; rope.rotated / 2];
        dequantize(tensor.format, &tensor.bytes, &mut factors);
        rope.frequency_factors = Some(factors);
        Ok(())
    }

    fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }
}
