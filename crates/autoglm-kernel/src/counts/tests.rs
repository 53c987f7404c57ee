use proptest::prelude::*;

use super::{BitPlanes, CODES_PER_BLOCK, masked_counts, variants};

/// Bit by bit.
fn one_by_one(code: &[u64], planes: &[(i32, Vec<u64>)]) -> i32 {
    let bit = |words: &[u64], n: usize| words[n / 64] >> (n % 64) & 1;
    let of_plane = |plane: &[u64]| -> u64 {
        (0..64 * code.len())
            .map(|n| bit(code, n) * bit(plane, n))
            .sum()
    };
    planes
        .iter()
        .map(|(weight, plane)| weight * of_plane(plane) as i32)
        .sum()
}

fn blocks_of(codes: &[Vec<u64>], words: usize) -> Vec<u64> {
    let mut blocks = vec![0; codes.len() * words];
    for (n, code) in codes.iter().enumerate() {
        let first = n / CODES_PER_BLOCK * CODES_PER_BLOCK * words;
        for (w, word) in code.iter().enumerate() {
            blocks[first + w * CODES_PER_BLOCK + n % CODES_PER_BLOCK] = *word;
        }
    }
    blocks
}

proptest! {
    #[test]
    fn every_variant_counts_the_bits_under_each_plane(
        words in 1_usize..14,
        blocks in 0_usize..4,
        weights in prop::collection::vec(-40_i32..40, 0..6),
        seed in any::<u64>(),
    ) {
        let mut random = crate::random::Random::new(seed);
        let mut rows = |count: usize| -> Vec<Vec<u64>> {
            (0..count).map(|_| (0..words).map(|_| random.next()).collect()).collect()
        };
        let codes = rows(blocks * CODES_PER_BLOCK);
        let planes: Vec<(i32, Vec<u64>)> =
            weights.iter().copied().zip(rows(weights.len())).collect();
        let wanted: Vec<i32> = codes.iter().map(|code| one_by_one(code, &planes)).collect();
        let laid_out = blocks_of(&codes, words);
        let planes = BitPlanes::new(words, planes);
        let mut sums = vec![7; codes.len()];
        masked_counts(&laid_out, &planes, &mut sums);
        prop_assert_eq!(&sums, &wanted);
        for variant in variants() {
            sums.fill(7);
            variant(&laid_out, &planes, &mut sums);
            prop_assert_eq!(&sums, &wanted);
        }
    }
}

#[test]
#[should_panic(expected = "9 codes are not whole blocks")]
fn a_part_of_a_block_is_refused() {
    masked_counts(&[0; 9], &BitPlanes::new(1, Vec::new()), &mut [0; 9]);
}
