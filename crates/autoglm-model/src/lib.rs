//! Weight files, architectures and the key/value cache: (weights, ids, cache) → logits.
//!
//! No clock, no thread of its own, no randomness, no request. A file from outside gives an error,
//! never a panic or a huge allocation.

mod architecture;
mod block;
mod cache;
mod config;
mod error;
mod gguf;
mod model;
mod source;
mod weights;

pub use architecture::supported as supported_architectures;
pub use autoglm_kernel::{Pool, argmax, log_sum_exp};
pub use block::Workspace;
pub use cache::{BLOCK_TOKENS, BlockId, CacheFull, HeldBlock, KvCache, Sequence};
pub use config::{LayerConfig, ModelConfig, NormPlacement};
pub use error::{Fault, ModelError};
pub use gguf::{Array, FromValue, GgufFile, Value};
pub use model::{Model, ModelSize, Outputs, Step};
pub use source::{Tensor, TensorInfo, WeightSource, open};
