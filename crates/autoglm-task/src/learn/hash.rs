//! A seeded 64-bit hash for short keys: two words at a time through one wide product.

/// Odd constants with about as many ones as noughts; any such would do.
const FIRST: u64 = 0x9e37_79b9_7f4a_7c15;
const SECOND: u64 = 0xd1b5_4a32_d192_ed03;

const LAST: u64 = 0x9fb2_1c65_1e98_df25;

/// Folds the 128-bit product of two words to 64 bits, each mixed with a constant first so that a
/// word of noughts does not swallow the other. The upper bits are the best mixed ones.
///
/// # Source
/// The folded multiply of wyhash and its descendants.
pub(super) fn fold(left: u64, right: u64) -> u64 {
    let wide = u128::from(left ^ FIRST) * u128::from(right ^ SECOND);
    let folded = (wide as u64) ^ ((wide >> 64) as u64);
    (folded ^ (folded >> 29)).wrapping_mul(LAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_keys_fill_buckets_evenly() {
        let mut counts = vec![0u32; 1 << 10];
        for key in 0..(1u64 << 16) {
            counts[(fold(7, key) >> 54) as usize] += 1;
        }
        // 64 are expected in each; seven standard deviations are 56.
        assert!(counts.iter().all(|&count| (8..=120).contains(&count)));
    }

    #[test]
    fn order_and_seed_matter() {
        assert_ne!(fold(1, 2), fold(2, 1));
        assert_ne!(fold(0, 5), fold(1, 5));
    }
}
