//! What the tests of several operations share.

use std::num::NonZeroUsize;

use crate::pool::Pool;
use crate::random::Random;

pub(crate) fn pool(threads: usize) -> Pool {
    Pool::new(NonZeroUsize::new(threads).unwrap())
}

/// Numbers without order, from -1 to 1, always the same for a seed.
pub(crate) fn values(seed: u64, len: usize) -> Vec<f32> {
    Random::new(seed).numbers(len)
}

/// For comparisons that tell apart what `==` does not: zeros of both signs, and NaN.
pub(crate) fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// Panics unless each value is as near to the exact one as its bound says.
pub(crate) fn assert_near(found: &[f32], exact: &[f64], bounds: &[f64]) {
    assert_eq!(found.len(), exact.len());
    for (i, ((found, exact), bound)) in found.iter().zip(exact).zip(bounds).enumerate() {
        let error = (f64::from(*found) - exact).abs();
        assert!(
            error <= *bound,
            "element {i}: {found} for {exact}, error {error:e} > {bound:e}"
        );
    }
}
