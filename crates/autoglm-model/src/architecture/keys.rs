//! Reading an architecture's own metadata keys, which start with its name.

use autoglm_kernel::{RopeParams, dequantize};

use crate::error::ModelError;
use crate::gguf::{FromValue, GgufFile};

/// The metadata keys `ARCHITECTURE.*` of a file.
pub(super) struct Keys<'a> {
    file: &'a GgufFile,
    architecture: &'a str,
}

impl<'a> Keys<'a> {
    pub(super) fn new(file: &'a GgufFile) -> Result<Self, ModelError> {
        Ok(Self {
            file,
            architecture: file.architecture()?,
        })
    }

    pub(super) fn architecture(&self) -> &'a str {
        self.architecture
    }

    /// The value of a key that must be there.
    pub(super) fn require<T: FromValue<'a>>(&self, key: &str) -> Result<T, ModelError> {
        self.file.require(&self.name(key))
    }

    /// The value of a key, or a default.
    pub(super) fn get_or<T: FromValue<'a>>(&self, key: &str, default: T) -> Result<T, ModelError> {
        Ok(self.file.get(&self.name(key))?.unwrap_or(default))
    }

    /// Fails when a key holds a number other than zero: a feature that is not supported.
    pub(super) fn forbid(&self, key: &str, wanted: &'static str) -> Result<(), ModelError> {
        let found = self.get_or::<usize>(key, 0)?;
        if found == 0 {
            return Ok(());
        }
        Err(self.wrong(key, found.to_string(), wanted))
    }

    /// The error of a key with a value that cannot be.
    pub(super) fn wrong(&self, key: &str, found: String, wanted: &'static str) -> ModelError {
        ModelError::WrongValue {
            key: self.name(key),
            found,
            wanted,
        }
    }

    /// Factor by which positions are multiplied: `1 / rope.scaling.factor` for linear scaling.
    pub(super) fn position_scale(&self) -> Result<f64, ModelError> {
        match self.get_or("rope.scaling.type", "none")? {
            "none" => Ok(1.0),
            "linear" => Ok(f64::from(self.require::<f32>("rope.scaling.factor")?).recip()),
            other => Err(ModelError::WrongValue {
                key: self.name("rope.scaling.type"),
                found: other.escape_debug().to_string(),
                wanted: "none or linear",
            }),
        }
    }

    /// Tokens of the vocabulary: the rows of the embedding.
    pub(super) fn vocabulary(&self) -> Result<usize, ModelError> {
        Ok(self.file.require_tensor("token_embd.weight")?.rows())
    }

    /// The divisors of the rotary frequencies that a file may carry (Llama 3).
    pub(super) fn frequency_factors(&self, rope: &mut RopeParams) -> Result<(), ModelError> {
        let Some(tensor) = self.file.tensor("rope_freqs.weight") else {
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
        dequantize(tensor.format, tensor.bytes, &mut factors);
        rope.frequency_factors = Some(factors);
        Ok(())
    }

    fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }
}
