//! Vectors in one bit a number: a vector's signs after a random rotation, and one factor. All of
//! them can be looked at for every search, and the best candidates are then compared in full.
//!
//! With `c` the centre of all vectors, `P` the rotation and `s` the signs of `P(x − c)`, the product
//! of a query `q` with `x` is about `q·c + f·Σ s_i·(Pq)_i`, where `f = |x − c|² / Σ |P(x − c)|_i`
//! makes it exact for the vector itself. The rotated query is rounded to 4 bits a number.
//!
//! # Source
//! Gao, Long 2024, `RaBitQ`: Quantizing High-Dimensional Vectors with a Theoretical Error Bound for
//! Approximate Nearest Neighbor Search, §3 (estimator, rounded queries); the rotation is made of
//! random signs and Hadamard transforms, as in Ailon, Chazelle 2009, The Fast Johnson–Lindenstrauss
//! Transform.

use autoglm_kernel::{BitPlanes, CODES_PER_BLOCK, masked_counts};

use super::dot;

/// Transforms of the first and the last numbers each, so that all are mixed.
const ROUNDS: usize = 3;
/// Bits of a number of a rotated query.
const QUERY_BITS: u32 = 4;
/// Codes that are compared before their products are looked at.
const CODES_AT_ONCE: usize = 64 * CODES_PER_BLOCK;

/// A vector's signs and its factor.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Code {
    words: Vec<u64>,
    factor: f32,
}

impl Code {
    /// How many words it has.
    pub(crate) fn words(&self) -> usize {
        self.words.len()
    }

    /// The factor and the words, the lowest byte first.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let words = self.words.iter().flat_map(|word| word.to_le_bytes());
        self.factor.to_le_bytes().into_iter().chain(words).collect()
    }

    /// What [`Self::to_bytes`] made; none of anything else.
    pub(crate) fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let (factor, words) = bytes.split_first_chunk::<4>()?;
        let (words, []) = words.as_chunks::<8>() else {
            return None;
        };
        Some(Self {
            words: words.iter().map(|word| u64::from_le_bytes(*word)).collect(),
            factor: f32::from_le_bytes(*factor),
        })
    }
}

/// Makes codes of the vectors around a centre.
pub(crate) struct Coder {
    centre: Vec<f32>,
    /// A sign for each number of each transform.
    flips: Vec<Vec<f32>>,
}

impl Coder {
    /// A coder for vectors as long as the centre.
    pub(crate) fn new(centre: Vec<f32>) -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut sign = || {
            // xorshift64, of which the upper bits are the better ones.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            if state >> 63 == 0 { 1.0 } else { -1.0 }
        };
        let flips = (0..2 * ROUNDS)
            .map(|_| centre.iter().map(|_| sign()).collect())
            .collect();
        Self { centre, flips }
    }

    /// Numbers of a vector.
    fn width(&self) -> usize {
        self.centre.len()
    }

    /// Words of a code.
    pub(crate) fn words(&self) -> usize {
        self.width().div_ceil(64).max(1)
    }

    /// The code of a vector.
    ///
    /// # Panics
    /// If it is of another length than the centre.
    pub(crate) fn encode(&self, vector: &[f32]) -> Code {
        assert_eq!(vector.len(), self.width(), "numbers of a vector");
        let mut rest: Vec<f32> = vector
            .iter()
            .zip(&self.centre)
            .map(|(x, c)| x - c)
            .collect();
        self.rotate(&mut rest);
        let mut words = vec![0; self.words()];
        for (n, x) in rest.iter().enumerate() {
            words[n / 64] |= u64::from(x.is_sign_positive()) << (n % 64);
        }
        let magnitude: f32 = rest.iter().map(|x| x.abs()).sum();
        let factor = if magnitude > 0.0 {
            dot(&rest, &rest) / magnitude
        } else {
            0.0
        };
        Code { words, factor }
    }

    /// A query as [`Codes::nearest`] wants it.
    ///
    /// # Panics
    /// If it is of another length than the centre.
    pub(crate) fn query(&self, vector: &[f32]) -> Query {
        let mut rotated = vector.to_vec();
        self.rotate(&mut rotated);
        let largest = rotated.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        // Numbers become odd multiples of half a step: -15, -13, …, 15.
        let levels = ((1_u32 << QUERY_BITS) - 1) as f32;
        let half_step = if largest > 0.0 { largest / levels } else { 1.0 };
        let level = |x: f32| {
            f32::midpoint(x / half_step, levels)
                .round()
                .clamp(0.0, levels) as u32
        };
        let levels_of: Vec<u32> = rotated.iter().map(|x| level(*x)).collect();
        let plane = |bit: u32| {
            let mut words = vec![0_u64; self.words()];
            for (n, level) in levels_of.iter().enumerate() {
                words[n / 64] |= u64::from(level >> bit & 1) << (n % 64);
            }
            (2_i32 << bit, words)
        };
        let mut planes: Vec<(i32, Vec<u64>)> = (0..QUERY_BITS).map(plane).collect();
        planes.push((-(levels as i32), vec![u64::MAX; self.words()]));
        Query {
            planes: BitPlanes::new(self.words(), planes),
            half_step,
            sum: levels_of.iter().map(|l| 2 * *l as i32).sum::<i32>()
                - levels as i32 * self.width() as i32,
            with_centre: dot(vector, &self.centre),
        }
    }

    /// Turns a vector by an orthogonal matrix that looks random.
    fn rotate(&self, vector: &mut [f32]) {
        let width = vector.len();
        if width == 0 {
            return;
        }
        let part = 1 << width.ilog2();
        for (n, flips) in self.flips.iter().enumerate() {
            for (x, flip) in vector.iter_mut().zip(flips) {
                *x *= flip;
            }
            let start = if n % 2 == 0 { 0 } else { width - part };
            hadamard(&mut vector[start..start + part]);
        }
    }
}

/// The orthonormal Hadamard transform of as many numbers as a power of two.
fn hadamard(numbers: &mut [f32]) {
    let len = numbers.len();
    let mut half = 1;
    while half < len {
        for pair in numbers.chunks_exact_mut(2 * half) {
            let (first, second) = pair.split_at_mut(half);
            for (a, b) in first.iter_mut().zip(second) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
    let scale = (len as f32).sqrt().recip();
    for x in numbers {
        *x *= scale;
    }
}

/// A rotated query in a few bits a number.
pub(crate) struct Query {
    planes: BitPlanes,
    half_step: f32,
    /// All numbers, in half steps.
    sum: i32,
    with_centre: f32,
}

impl Query {
    /// About the product with a vector, of whose positive signs the query's numbers add up to
    /// `positive` half steps.
    fn product(&self, positive: i32, factor: f32) -> f32 {
        let signed = (2 * positive - self.sum) as f32;
        self.with_centre + factor * self.half_step * signed
    }
}

/// Codes in memory, laid out to be compared.
#[derive(Default)]
pub(crate) struct Codes {
    /// `[N / 8, words, 8]`; see [`masked_counts`].
    blocks: Vec<u64>,
    factors: Vec<f32>,
}

impl Codes {
    /// Adds a code; all have the same number of words.
    pub(crate) fn push(&mut self, code: &Code) {
        let words = code.words.len();
        let place = self.factors.len();
        let first = place / CODES_PER_BLOCK * CODES_PER_BLOCK * words;
        if place.is_multiple_of(CODES_PER_BLOCK) {
            self.blocks.resize(first + CODES_PER_BLOCK * words, 0);
        }
        for (w, word) in code.words.iter().enumerate() {
            self.blocks[first + w * CODES_PER_BLOCK + place % CODES_PER_BLOCK] = *word;
        }
        self.factors.push(code.factor);
    }

    /// Hands over every code's place with about its product with the query.
    ///
    /// # Panics
    /// If the query is for codes of another length.
    pub(crate) fn for_each_product(&self, query: &Query, mut f: impl FnMut(usize, f32)) {
        let words = query.planes.words();
        let mut sums = [0; CODES_AT_ONCE];
        let parts = self.blocks.chunks(CODES_AT_ONCE * words);
        for (part, blocks) in parts.enumerate() {
            let sums = &mut sums[..blocks.len() / words];
            masked_counts(blocks, &query.planes, sums);
            let first = part * CODES_AT_ONCE;
            // The last block may have places without a code.
            for (n, factor) in self.factors[first..].iter().take(sums.len()).enumerate() {
                f(first + n, query.product(sums[n], *factor));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Numbers that look random.
    fn vector(seed: usize, width: usize) -> Vec<f32> {
        let number = |n: usize| ((seed * 7919 + n * 104_729) as f32 * 0.618_034).sin();
        let raw: Vec<f32> = (0..width).map(number).collect();
        let length = dot(&raw, &raw).sqrt();
        raw.iter().map(|x| x / length).collect()
    }

    fn products(coder: &Coder, codes: &Codes, query: &[f32]) -> Vec<f32> {
        let mut all = Vec::new();
        codes.for_each_product(&coder.query(query), |place, product| {
            assert_eq!(place, all.len());
            all.push(product);
        });
        all
    }

    proptest! {
        #[test]
        fn a_rotation_keeps_lengths_and_products(width in 1_usize..300, seed in 0_usize..1000) {
            let coder = Coder::new(vec![0.0; width]);
            let (mut a, mut b) = (vector(seed, width), vector(seed + 1, width));
            let before = (dot(&a, &a), dot(&a, &b));
            coder.rotate(&mut a);
            coder.rotate(&mut b);
            prop_assert!((dot(&a, &a) - before.0).abs() < 1e-4);
            prop_assert!((dot(&a, &b) - before.1).abs() < 1e-4);
        }

        #[test]
        fn codes_come_back_from_their_bytes(width in 1_usize..300, seed in 0_usize..1000) {
            let code = Coder::new(vector(3, width)).encode(&vector(seed, width));
            prop_assert_eq!(Code::of_bytes(&code.to_bytes()), Some(code));
        }
    }

    #[test]
    fn products_of_codes_are_near_the_real_ones() {
        let width = 384;
        let centre: Vec<f32> = vector(1, width).iter().map(|x| x * 0.4).collect();
        let coder = Coder::new(centre);
        let mut codes = Codes::default();
        let vectors: Vec<Vec<f32>> = (0..1_003).map(|n| vector(n + 5, width)).collect();
        for vector in &vectors {
            codes.push(&coder.encode(vector));
        }
        let query = vector(500, width);
        let given = products(&coder, &codes, &query);
        assert_eq!(given.len(), vectors.len());
        let errors = vectors
            .iter()
            .zip(&given)
            .map(|(x, given)| (dot(x, &query) - given).powi(2));
        // The deviation of the estimate is at most about 1/√D for vectors of length 1.
        let deviation = (errors.sum::<f32>() / vectors.len() as f32).sqrt();
        assert!(deviation < 1.3 / (width as f32).sqrt(), "{deviation}");
        // The vector itself is the nearest by far.
        let best = (0..given.len()).max_by(|a, b| given[*a].total_cmp(&given[*b]));
        assert_eq!(best, Some(495));
        assert!((given[495] - 1.0).abs() < 0.05, "{}", given[495]);
    }

    #[test]
    fn a_vector_at_the_centre_has_the_centre_s_product() {
        let centre = vector(1, 70);
        let coder = Coder::new(centre.clone());
        let mut codes = Codes::default();
        codes.push(&coder.encode(&centre));
        let query = vector(2, 70);
        let given = products(&coder, &codes, &query);
        assert!((given[0] - dot(&query, &centre)).abs() < 1e-6);
    }

    #[test]
    fn bytes_of_another_length_are_no_code() {
        assert_eq!(Code::of_bytes(&[1, 2, 3]), None);
        assert_eq!(Code::of_bytes(&[0; 13]), None);
    }
}
