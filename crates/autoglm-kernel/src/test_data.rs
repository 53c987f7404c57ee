//! What the tests of several operations share.

use std::num::NonZeroUsize;

use crate::pool::Pool;

pub(crate) fn pool(threads: usize) -> Pool {
    Pool::new(NonZeroUsize::new(threads).unwrap())
}

/// Numbers without order, from -1 to 1, always the same for a seed (splitmix64).
pub(crate) fn values(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x2545_f491_4f6c_dd1d);
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
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
