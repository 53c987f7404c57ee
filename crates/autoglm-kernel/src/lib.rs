//! CPU kernels on slices and quantised blocks, and the compute thread pool they run on.

#![expect(
    unsafe_code,
    reason = "SIMD loads and the thread pool need it; every block says why it holds"
)]

mod activation;
mod attention;
mod counts;
mod each;
mod elementwise;
mod error;
mod format;
mod gated;
mod gather;
mod gelu;
mod isa;
mod lanes;
mod latent;
mod layer_norm;
pub mod machine;
mod map;
mod matmul;
mod norm;
mod pack;
mod pages;
mod pool;
mod products;
#[cfg(test)]
mod random;
mod rope;
mod simd;
mod softmax;
#[cfg(test)]
mod test_data;

pub use activation::{Activations, ResidualNorms, RmsNorm};
pub use attention::{
    AttentionParams, AttentionSpan, Gate, GateMeasure, GatedView, KvElements, KvElementsMut,
    KvView, KvViewMut, attention, bound_keys, gated_attention, store_kv,
};
pub use counts::{BitPlanes, CODES_PER_BLOCK, masked_counts};
pub use each::matmul_each;
pub use elementwise::{add_assign, add_bias, scale};
pub use error::KernelError;
pub use format::{BlockFormat, Unrepresentable, dequantize, quantize};
pub use gated::{GateActivation, gated};
pub use gather::{gather_rows, scatter_rows};
pub use gelu::gelu;
pub use isa::Isa;
pub use latent::{LatentQueries, LatentView, LatentViewMut, latent_attention, store_latent};
pub use layer_norm::layer_norm_in_place;
pub use map::MappedFile;
pub use matmul::{Product, matmul, matmul_all, matmul_rows};
pub use norm::{rms_norm, rms_norm_in_place};
pub use pack::PackedMatrix;
pub use pool::Pool;
pub use products::products;
pub use rope::{RopeParams, RopeStyle, RopeTable, rope};
pub use softmax::{argmax, log_sum_exp, softmax};
