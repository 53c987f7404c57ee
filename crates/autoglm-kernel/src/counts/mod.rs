//! Counting bits under masks: products of vectors of bits with vectors of small integers.

#[cfg(test)]
mod tests;

/// Codes that lie side by side.
pub const CODES_PER_BLOCK: usize = 8;

/// A vector of small integers, as planes of bits with a weight each.
pub struct BitPlanes {
    words: usize,
    /// Weights, and `words` words each.
    planes: Vec<(i32, Vec<u64>)>,
}

impl BitPlanes {
    /// Planes of `words` words each.
    ///
    /// # Panics
    /// If a plane has another number of words, or there are none.
    pub fn new(words: usize, planes: Vec<(i32, Vec<u64>)>) -> Self {
        assert!(words > 0, "planes without words");
        for (_, plane) in &planes {
            assert_eq!(plane.len(), words, "words of a plane");
        }
        Self { words, planes }
    }

    /// Words of a code.
    pub fn words(&self) -> usize {
        self.words
    }
}

/// `sums[n] = Σ_p weight[p]·popcount(code[n] & plane[p])`.
///
/// # Shapes
/// `blocks: [N / 8, words, 8]`: word `w` of eight codes, then the next word of each.
/// `sums: [N]`.
///
/// # Panics
/// If the shapes do not fit together.
pub fn masked_counts(blocks: &[u64], planes: &BitPlanes, sums: &mut [i32]) {
    assert_eq!(
        blocks.len(),
        sums.len() * planes.words,
        "words of {} codes of {}",
        sums.len(),
        planes.words
    );
    assert!(
        sums.len().is_multiple_of(CODES_PER_BLOCK),
        "{} codes are not whole blocks",
        sums.len()
    );
    let fastest = variants()[0];
    fastest(blocks, planes, sums);
}

/// A way to count on this machine.
type Variant = fn(&[u64], &BitPlanes, &mut [i32]);

/// All that this machine has, the fastest first; the last is the definition.
fn variants() -> &'static [Variant] {
    #[cfg(target_arch = "x86_64")]
    {
        const VECTORS: Variant = |blocks, planes, sums| {
            // SAFETY: below, the features are found before this is handed out.
            unsafe { with_vector_counts(blocks, planes, sums) }
        };
        const SCALARS: Variant = |blocks, planes, sums| {
            // SAFETY: as above.
            unsafe { with_scalar_counts(blocks, planes, sums) }
        };
        let has_vectors =
            is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vpopcntdq");
        match (has_vectors, is_x86_feature_detected!("popcnt")) {
            (true, true) => return &[VECTORS, SCALARS, count],
            (false, true) => return &[SCALARS, count],
            _ => {}
        }
    }
    &[count]
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vpopcntdq")]
fn with_vector_counts(blocks: &[u64], planes: &BitPlanes, sums: &mut [i32]) {
    count(blocks, planes, sums);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "popcnt")]
fn with_scalar_counts(blocks: &[u64], planes: &BitPlanes, sums: &mut [i32]) {
    count(blocks, planes, sums);
}

/// The definition, which the compiler turns into the instructions of whoever inlines it.
#[inline(always)]
fn count(blocks: &[u64], planes: &BitPlanes, sums: &mut [i32]) {
    let blocks = blocks.chunks_exact(planes.words * CODES_PER_BLOCK);
    for (block, sums) in blocks.zip(sums.as_chunks_mut::<CODES_PER_BLOCK>().0) {
        let words = block.as_chunks::<CODES_PER_BLOCK>().0;
        let mut totals = [0_i64; CODES_PER_BLOCK];
        for (weight, plane) in &planes.planes {
            let mut counts = [0_u64; CODES_PER_BLOCK];
            for (codes, mask) in words.iter().zip(plane) {
                for (count, code) in counts.iter_mut().zip(codes) {
                    *count += u64::from((code & mask).count_ones());
                }
            }
            for (total, count) in totals.iter_mut().zip(counts) {
                *total += i64::from(*weight) * count as i64;
            }
        }
        for (sum, total) in sums.iter_mut().zip(totals) {
            *sum = total as i32;
        }
    }
}
