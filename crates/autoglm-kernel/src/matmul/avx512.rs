//! AVX2.
use super::Kernels;
pub(super) const KERNELS: Kernels = super::scalar::KERNELS;
