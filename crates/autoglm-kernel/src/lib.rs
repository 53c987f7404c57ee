//! CPU kernels on slices and quantised blocks, and the compute thread pool they run on.

#![expect(
    unsafe_code,
    reason = "SIMD loads and the thread pool need it; every block says why it holds"
)]

mod pool;

pub use pool::Pool;
