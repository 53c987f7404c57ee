//! CPU kernels on slices and quantised blocks, and the compute thread pool they run on.

#![expect(
    unsafe_code,
    reason = "SIMD loads and the thread pool need it; every block says why it holds"
)]

mod error;
mod format;
mod isa;
mod map;
mod pool;

pub use error::KernelError;
pub use format::{BlockFormat, dequantize};
pub use isa::Isa;
pub use map::MappedFile;
pub use pool::Pool;
