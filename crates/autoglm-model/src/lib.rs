//! Weight files, architectures and the key/value cache: (weights, ids, cache) → logits.
//!
//! No clock, no thread of its own, no randomness, no request. A file from outside gives an error,
//! never a panic or a huge allocation.

mod adapter;
mod architecture;
mod block;
mod bytes;
mod cache;
mod checkpoint;
mod config;
mod error;
mod gating;
mod gguf;
mod model;
mod quantize;
mod router;
mod safetensors;
mod source;
mod tokenizer_files;
mod trace;
mod weights;

pub use adapter::Adapter;
pub use architecture::supported as supported_architectures;
pub use autoglm_kernel::{BlockFormat, Pool, argmax, log_sum_exp, softmax};
pub use block::Workspace;
pub use cache::{BLOCK_TOKENS, BlockId, CacheFull, CacheType, HeldBlock, KvCache, Sequence};
pub use checkpoint::Checkpoint;
pub use config::{
    ExpertsConfig, LatentConfig, LayerConfig, ModelConfig, NormPlacement, Pooling, RouterGate,
};
pub use error::{Fault, ModelError};
pub use gating::{Gating, GatingLimits};
pub use gguf::{Array, Entries, FromValue, GgufFile, Value};
pub use model::{Model, ModelSize, Outputs, Step};
pub use quantize::{QuantizeProgress, QuantizeSummary, QuantizedType, Quantizer, identity};
pub use safetensors::{NumberType, SafetensorsFile, StoredTensor};
pub use source::{Tensor, TensorInfo, WeightSource, open};
pub use tokenizer_files::read_tokenizer_files;
