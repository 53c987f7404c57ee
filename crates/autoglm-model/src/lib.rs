//! Weight files, architectures, the KV cache and samplers.

mod error;
mod gguf;

pub use error::{Fault, ModelError};
pub use gguf::{Array, FromValue, GgufFile, Tensor, Value};
