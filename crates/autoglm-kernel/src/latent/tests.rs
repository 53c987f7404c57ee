use half::f16;
use proptest::prelude::*;

use super::*;
use crate::test_data::{assert_near, bits, pool, values};

/// Half an `f32` step relative to the number.
const U: f64 = 1.0 / (1u64 << 24) as f64;

/// Slots in a cache, a multiple of all block lengths in use.
const SLOTS: usize = 384;

/// A cache with contents and the queries of some spans.
#[derive(Clone, Debug)]
struct Case {
    heads: usize,
    latent: usize,
    rope: usize,
    block_tokens: usize,
    /// First position and number of queries of each span.
    spans: Vec<(usize, usize)>,
    /// How large queries are: the larger, the more a few positions dominate.
    amplitude: f32,
    seed: u64,
}

impl Case {
    fn scale(&self) -> f32 {
        1.0 / ((self.latent + self.rope) as f32).sqrt()
    }

    fn rows(&self) -> usize {
        self.spans.iter().map(|(_, len)| len).sum()
    }

    /// The block table of each span: in no order, with blocks shared between spans.
    fn tables(&self) -> Vec<Vec<u32>> {
        let count = SLOTS / self.block_tokens;
        let pick = |x: &f32| ((x + 1.0) / 2.0 * count as f32) as u32 % count as u32;
        let table = |(span, (first, len)): (usize, &(usize, usize))| {
            let blocks = (first + len).div_ceil(self.block_tokens);
            let drawn = values(self.seed + 10 + span as u64 / 2, blocks);
            drawn.iter().map(pick).collect()
        };
        self.spans.iter().enumerate().map(table).collect()
    }

    /// `[H, T, L]` and `[T, H, R]`.
    fn queries(&self) -> [Vec<f32>; 2] {
        let draw = |seed, width| {
            let mut q = values(self.seed + seed, self.rows() * self.heads * width);
            for q in &mut q {
                *q *= self.amplitude;
            }
            q
        };
        [draw(1, self.latent), draw(2, self.rope)]
    }

    /// `[SLOTS, L]` and `[SLOTS, R]`, exact in half precision.
    fn contents(&self) -> [Vec<f32>; 2] {
        let draw = |seed, width| {
            let mut x = values(self.seed + seed, SLOTS * width);
            for x in &mut x {
                *x = f16::from_f32(*x).to_f32();
            }
            x
        };
        [draw(3, self.latent), draw(4, self.rope)]
    }

    fn cache(&self) -> Vec<f16> {
        let mut rows = vec![f16::ZERO; SLOTS * (self.latent + self.rope)];
        let slots: Vec<u32> = (0..SLOTS as u32).collect();
        let [latent, rope] = self.contents();
        store_latent(&latent, &rope, &slots, &mut self.view_mut(&mut rows));
        rows
    }

    fn view_mut<'a>(&self, rows: &'a mut [f16]) -> LatentViewMut<'a> {
        LatentViewMut {
            rows,
            block_tokens: self.block_tokens,
            latent: self.latent,
            rope: self.rope,
        }
    }

    /// The results of these queries and spans.
    fn run_spans(
        &self,
        (variant, threads): (Variant, usize),
        [latent, rope]: &[Vec<f32>; 2],
        spans: &[AttentionSpan<'_>],
    ) -> Vec<f32> {
        let rows = self.cache();
        let view = LatentView {
            rows: &rows,
            block_tokens: self.block_tokens,
            latent: self.latent,
            rope: self.rope,
        };
        let mut out = vec![f32::NAN; latent.len()];
        let q = LatentQueries {
            latent,
            rope,
            heads: self.heads,
        };
        let call = Call {
            variant,
            q,
            view: &view,
            spans,
            scale: self.scale(),
        };
        call.run(&pool(threads), &mut out);
        out
    }

    fn run(&self, variant: Variant, threads: usize) -> Vec<f32> {
        let tables = self.tables();
        let mut start = 0;
        let mut spans = Vec::new();
        for ((first_position, len), blocks) in self.spans.iter().zip(&tables) {
            spans.push(AttentionSpan {
                blocks,
                queries: start..start + len,
                first_position: *first_position,
            });
            start += len;
        }
        self.run_spans((variant, threads), &self.queries(), &spans)
    }

    /// The row of head `head` and query `row`, both parts, in double precision.
    fn query(&self, [latent, rope]: &[Vec<f32>; 2], head: usize, row: usize) -> Vec<f64> {
        let latent = &latent[(head * self.rows() + row) * self.latent..][..self.latent];
        let rope = &rope[(row * self.heads + head) * self.rope..][..self.rope];
        latent.iter().chain(rope).map(|x| f64::from(*x)).collect()
    }

    /// The definition in double precision, and how far from it a result may be.
    fn exact(&self) -> (Vec<f64>, Vec<f64>) {
        let (queries, [latent, rope]) = (self.queries(), self.contents());
        let key = |slot: usize| -> Vec<f64> {
            let latent = &latent[slot * self.latent..][..self.latent];
            let rope = &rope[slot * self.rope..][..self.rope];
            latent.iter().chain(rope).map(|x| f64::from(*x)).collect()
        };
        let mut out = vec![0.0; self.rows() * self.heads * self.latent];
        let mut bounds = out.clone();
        let mut row = 0;
        for ((first, len), table) in self.spans.iter().zip(self.tables()) {
            for position in *first..first + len {
                let slot = |p: usize| {
                    table[p / self.block_tokens] as usize * self.block_tokens
                        + p % self.block_tokens
                };
                let keys: Vec<Vec<f64>> = (0..=position).map(|p| key(slot(p))).collect();
                for head in 0..self.heads {
                    let start = (head * self.rows() + row) * self.latent;
                    let (exact, bound) = self.exact_row(&self.query(&queries, head, row), &keys);
                    out[start..start + self.latent].copy_from_slice(&exact);
                    bounds[start..start + self.latent].fill(bound);
                }
                row += 1;
            }
        }
        (out, bounds)
    }

    fn exact_row(&self, q: &[f64], keys: &[Vec<f64>]) -> (Vec<f64>, f64) {
        let scale = f64::from(self.scale());
        let products = |k: &[f64], f: fn(f64) -> f64| -> f64 {
            q.iter().zip(k).map(|(q, k)| f(q * k)).sum::<f64>() * scale
        };
        let scores: Vec<f64> = keys.iter().map(|k| products(k, |x| x)).collect();
        let greatest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = scores.iter().map(|x| (x - greatest).exp()).collect();
        let sum: f64 = weights.iter().sum();
        let out = (0..self.latent)
            .map(|d| weights.iter().zip(keys).map(|(w, k)| w * k[d]).sum::<f64>() / sum)
            .collect();
        let magnitude = keys
            .iter()
            .map(|k| products(k, f64::abs))
            .fold(0.0, f64::max);
        let score_error = ((self.latent + self.rope) as f64 + 8.0) * U * magnitude;
        let weight_error = score_error + 128.0 * U;
        (
            out,
            2.0 * weight_error + 2.0 * (keys.len() as f64 + 8.0) * U,
        )
    }
}

fn case() -> impl Strategy<Value = Case> {
    let widths = (1usize..=6, 1usize..=4);
    let blocks = prop::sample::select(vec![16, 32, 64, 128]);
    let spans = prop::collection::vec((0usize..200, 0usize..8), 1..5);
    let amplitude = prop::sample::select(vec![0.1f32, 3.0, 40.0]);
    (1usize..=9, widths, blocks, spans, amplitude, 0u64..1_000).prop_map(
        |(heads, (latent, rope), block_tokens, spans, amplitude, seed)| Case {
            heads,
            latent: 16 * latent,
            rope: 16 * rope,
            block_tokens,
            spans,
            amplitude,
            seed,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_variant_is_near_the_definition_and_equal_to_the_scalar_one(case in case()) {
        let scalar = case.run(Variant::all()[0], 1);
        let (exact, bounds) = case.exact();
        assert_near(&scalar, &exact, &bounds);
        for variant in Variant::all() {
            prop_assert_eq!(bits(&case.run(variant, 1)), bits(&scalar), "{:?}", variant);
        }
    }

    #[test]
    fn a_row_is_the_same_alone_in_a_batch_and_with_any_number_of_threads(case in case()) {
        let (variant, tables) = (Variant::best(), case.tables());
        let batch = case.run(variant, 1);
        for threads in 2..=3 {
            prop_assert_eq!(bits(&case.run(variant, threads)), bits(&batch));
        }
        let [latent, rope] = case.queries();
        let (rows, heads) = (case.rows(), case.heads);
        let mut row = 0;
        for ((first, len), blocks) in case.spans.iter().zip(&tables) {
            for position in *first..first + len {
                let of_row = |all: &[f32]| -> Vec<f32> {
                    (0..heads)
                        .flat_map(|head| &all[(head * rows + row) * case.latent..][..case.latent])
                        .copied()
                        .collect()
                };
                let rope = rope[row * heads * case.rope..][..heads * case.rope].to_vec();
                let span = AttentionSpan { blocks, queries: 0..1, first_position: position };
                let alone = case.run_spans((variant, 2), &[of_row(&latent), rope], &[span]);
                prop_assert_eq!(bits(&alone), bits(&of_row(&batch)), "row {}", row);
                row += 1;
            }
        }
    }
}

#[test]
fn rows_are_rounded_to_half_precision_in_their_slots() {
    let case = Case {
        heads: 1,
        latent: 32,
        rope: 16,
        block_tokens: 32,
        spans: Vec::new(),
        amplitude: 1.0,
        seed: 3,
    };
    let (latent, rope) = (values(1, 2 * 32), values(2, 2 * 16));
    let mut rows = vec![f16::ONE; SLOTS * 48];
    store_latent(&latent, &rope, &[70, 3], &mut case.view_mut(&mut rows));
    for (i, slot) in [70, 3].into_iter().enumerate() {
        let expected = latent[i * 32..][..32].iter().chain(&rope[i * 16..][..16]);
        let expected: Vec<f16> = expected.map(|x| f16::from_f32(*x)).collect();
        assert_eq!(rows[slot * 48..][..48], expected);
    }
    let untouched = rows
        .chunks(48)
        .enumerate()
        .filter(|(slot, _)| ![70, 3].contains(slot));
    assert!(untouched.flat_map(|(_, row)| row).all(|x| *x == f16::ONE));
}

#[test]
#[should_panic(expected = "latent_attention: 40 positions in blocks of 32")]
fn positions_beyond_the_blocks_are_refused() {
    let view = LatentView {
        rows: &vec![f16::ZERO; 64 * 32],
        block_tokens: 32,
        latent: 16,
        rope: 16,
    };
    let q = LatentQueries {
        latent: &[0.0; 16],
        rope: &[0.0; 16],
        heads: 1,
    };
    let span = AttentionSpan {
        blocks: &[1],
        queries: 0..1,
        first_position: 39,
    };
    latent_attention(&pool(1), q, &view, &[span], 1.0, &mut [0.0; 16]);
}
