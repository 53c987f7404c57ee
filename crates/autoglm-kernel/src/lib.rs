//! CPU kernels on slices and quantised blocks, and the compute thread pool they run on.

#![expect(
    unsafe_code,
    reason = "SIMD loads and the thread pool need it; every block says why it holds"
)]

mod activation;
mod error;
mod format;
mod isa;
mod lanes;
mod matmul;
mod pack;
mod pool;
#[cfg(test)]
mod random;

pub use activation::Activations;
pub use error::KernelError;
pub use format::{BlockFormat, dequantize};
pub use isa::Isa;
pub use matmul::{matmul, matmul_rows};
pub use pack::PackedMatrix;
pub use pool::Pool;
