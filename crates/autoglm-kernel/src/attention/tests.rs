use std::collections::HashMap;

use half::f16;
use proptest::prelude::*;

use super::bounds::bound_keys_with;
use super::gated::gated_with;
use super::store::store_kv_with;
use super::*;
use crate::test_data::{assert_near, bits, pool, values};

/// Half an `f32` step relative to the number.
const U: f64 = 1.0 / (1u64 << 24) as f64;

/// A cache with contents and the queries of some spans.
#[derive(Clone, Debug)]
struct Case {
    heads: usize,
    groups: usize,
    width: usize,
    block_tokens: usize,
    /// First position and number of queries of each span.
    spans: Vec<(usize, usize)>,
    window: Option<usize>,
    soft_cap: Option<f32>,
    /// How large queries are: the larger, the more a few positions dominate.
    amplitude: f32,
    /// Whether the cache holds integers.
    q8: bool,
    seed: u64,
}

/// Slots in a cache, a multiple of all block lengths in use.
const SLOTS: usize = 384;

impl Case {
    fn params(&self) -> AttentionParams {
        AttentionParams {
            heads: self.heads,
            scale: 1.0 / (self.width as f32).sqrt(),
            window: self.window,
            soft_cap: self.soft_cap,
        }
    }

    /// The block table of each span: in no order, with blocks shared between spans.
    fn tables(&self) -> Vec<Vec<u32>> {
        let count = SLOTS / self.block_tokens;
        let pick = |x: &f32| ((x + 1.0) / 2.0 * count as f32) as u32 % count as u32;
        let table = |(span, (first, len)): (usize, &(usize, usize))| {
            let blocks = (first + len).div_ceil(self.block_tokens);
            values(self.seed + 10 + span as u64 / 2, blocks)
                .iter()
                .map(pick)
                .collect()
        };
        self.spans.iter().enumerate().map(table).collect()
    }

    fn rows(&self) -> usize {
        self.spans.iter().map(|(_, len)| len).sum()
    }

    fn queries(&self) -> Vec<f32> {
        let mut q = values(self.seed + 1, self.rows() * self.heads * self.width);
        for q in &mut q {
            *q *= self.amplitude;
        }
        q
    }

    /// What is stored: `[SLOTS, G, D]`.
    fn contents(&self, what: u64) -> Vec<f32> {
        values(self.seed + what, SLOTS * self.groups * self.width)
    }

    /// What the cache then holds: `[SLOTS, G, D]`.
    fn held(&self, what: u64) -> Vec<f64> {
        let mut x = self.contents(what);
        for head in x.chunks_exact_mut(self.width) {
            round(head, self.q8);
        }
        wide(&x)
    }

    fn cache(&self) -> Cache {
        let slots: Vec<u32> = (0..SLOTS as u32).collect();
        let mut cache = Cache::new(self, 0.0);
        let [k, v] = [self.contents(2), self.contents(3)];
        store_kv(&pool(1), &k, &v, &slots, &mut cache.view_mut());
        cache
    }

    fn spans<'a>(&self, tables: &'a [Vec<u32>]) -> Vec<AttentionSpan<'a>> {
        let mut start = 0;
        let span = |((first_position, len), blocks): (&(usize, usize), &'a Vec<u32>)| {
            start += len;
            AttentionSpan {
                blocks,
                queries: start - len..start,
                first_position: *first_position,
            }
        };
        self.spans.iter().zip(tables).map(span).collect()
    }

    fn run(&self, variant: Variant, threads: usize) -> Vec<f32> {
        self.run_on(variant, threads, &self.cache())
    }

    fn run_on(&self, variant: Variant, threads: usize, cache: &Cache) -> Vec<f32> {
        let tables = self.tables();
        self.run_spans(
            variant,
            threads,
            cache,
            &self.queries(),
            &self.spans(&tables),
        )
    }

    fn run_spans(
        &self,
        variant: Variant,
        threads: usize,
        cache: &Cache,
        q: &[f32],
        spans: &[AttentionSpan<'_>],
    ) -> Vec<f32> {
        let mut out = vec![f32::NAN; q.len()];
        let (kv, params) = (cache.view(), self.params());
        attention_with(variant, &pool(threads), (q, &kv, spans, &params), &mut out);
        out
    }

    /// The definition in double precision, and how far from it a result may be.
    fn exact(&self) -> (Vec<f64>, Vec<f64>) {
        let (q, k, v) = (self.queries(), self.held(2), self.held(3));
        let (mut outs, mut bounds) = (Vec::new(), Vec::new());
        let mut rows = q.chunks_exact(self.width);
        for ((first, len), table) in self.spans.iter().zip(self.tables()) {
            for position in *first..first + len {
                let from = self.window.map_or(0, |n| (position + 1).saturating_sub(n));
                let slot = |p| {
                    table[p / self.block_tokens] as usize * self.block_tokens
                        + p % self.block_tokens
                };
                for head in 0..self.heads {
                    let group = head / (self.heads / self.groups);
                    let row_of = |p: usize| (slot(p) * self.groups + group) * self.width;
                    let rows_of = |x: &[f64]| -> Vec<Vec<f64>> {
                        (from..=position)
                            .map(|p| x[row_of(p)..][..self.width].to_vec())
                            .collect()
                    };
                    let row = wide(rows.next().unwrap());
                    let (out, bound) = self.exact_row(&row, &rows_of(&k), &rows_of(&v));
                    bounds.extend(vec![bound; out.len()]);
                    outs.extend(out);
                }
            }
        }
        (outs, bounds)
    }

    fn exact_row(&self, q: &[f64], k: &[Vec<f64>], v: &[Vec<f64>]) -> (Vec<f64>, f64) {
        let scale = f64::from(self.params().scale);
        let products = |k: &[f64], f: fn(f64) -> f64| -> f64 {
            q.iter().zip(k).map(|(q, k)| f(q * k)).sum::<f64>() * scale
        };
        let cap = |x: f64| {
            self.soft_cap
                .map_or(x, |cap| f64::from(cap) * (x / f64::from(cap)).tanh())
        };
        let scores: Vec<f64> = k.iter().map(|k| cap(products(k, |x| x))).collect();
        let greatest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = scores.iter().map(|x| (x - greatest).exp()).collect();
        let sum: f64 = weights.iter().sum();
        let out = (0..self.width)
            .map(|d| weights.iter().zip(v).map(|(w, v)| w * v[d]).sum::<f64>() / sum)
            .collect();
        let magnitude = k.iter().map(|k| products(k, f64::abs)).fold(0.0, f64::max);
        // Integers cost a rounding with each scale: of a key's score, of a value's weight.
        let of_scale = if self.q8 { 1.0 } else { 0.0 };
        let score_error = (self.width as f64 + 3.0 + of_scale) * U * magnitude
            + 8.0 * U * f64::from(self.soft_cap.unwrap_or(0.0));
        let weight_error = score_error + (128.0 + of_scale) * U;
        (out, 2.0 * weight_error + 2.0 * (k.len() as f64 + 8.0) * U)
    }
}

/// Rounds the elements of one position and head to what the cache can hold.
fn round(x: &mut [f32], q8: bool) {
    let greatest = x.iter().fold(0.0f32, |a, x| a.max(x.abs()));
    for x in x {
        *x = if q8 {
            (*x * (127.0 / greatest)).round_ties_even() * (greatest / 127.0)
        } else {
            f16::from_f32(*x).to_f32()
        };
    }
}

/// Keys or values.
#[derive(Clone, Debug, PartialEq)]
enum Elements {
    F16(Vec<f16>),
    Q8 { quants: Vec<i8>, scales: Vec<f32> },
}

impl Elements {
    fn view(&self) -> KvElements<'_> {
        match self {
            Self::F16(elements) => KvElements::F16(elements),
            Self::Q8 { quants, scales } => KvElements::Q8 { quants, scales },
        }
    }

    fn view_mut(&mut self) -> KvElementsMut<'_> {
        match self {
            Self::F16(elements) => KvElementsMut::F16(elements),
            Self::Q8 { quants, scales } => KvElementsMut::Q8 { quants, scales },
        }
    }

    /// The element at an index of the layout, with the scale of its slot and head.
    fn get(&self, index: usize, scale: usize) -> f32 {
        match self {
            Self::F16(elements) => elements[index].to_f32(),
            Self::Q8 { quants, scales } => f32::from(quants[index]) * scales[scale],
        }
    }
}

struct Cache {
    keys: Elements,
    values: Elements,
    block_tokens: usize,
    heads: usize,
    width: usize,
}

impl Cache {
    /// A cache in which every element is `fill`, which is 1 or such that all integers make it.
    fn new(case: &Case, fill: f32) -> Self {
        let len = SLOTS * case.groups * case.width;
        let elements = if case.q8 {
            Elements::Q8 {
                quants: vec![1; len],
                scales: vec![fill; len / case.width],
            }
        } else {
            Elements::F16(vec![f16::from_f32(fill); len])
        };
        Self {
            keys: elements.clone(),
            values: elements,
            block_tokens: case.block_tokens,
            heads: case.groups,
            width: case.width,
        }
    }

    fn view(&self) -> KvView<'_> {
        KvView {
            keys: self.keys.view(),
            values: self.values.view(),
            block_tokens: self.block_tokens,
            heads: self.heads,
            width: self.width,
        }
    }

    fn view_mut(&mut self) -> KvViewMut<'_> {
        KvViewMut {
            keys: self.keys.view_mut(),
            values: self.values.view_mut(),
            block_tokens: self.block_tokens,
            heads: self.heads,
            width: self.width,
        }
    }
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|x| f64::from(*x)).collect()
}

fn case() -> impl Strategy<Value = Case> {
    let heads = (1usize..=3, 1usize..=4);
    let sizes = (1usize..=9, prop::sample::select(vec![16, 32, 48, 64, 128]));
    let spans = prop::collection::vec((0usize..SLOTS * 4, 0usize..12), 1..5);
    let options = (
        prop::option::of(1usize..700),
        prop::option::weighted(0.2, 5.0f32..50.0),
        prop::sample::select(vec![0.1f32, 3.0, 40.0]),
        any::<bool>(),
    );
    (heads, sizes, spans, options, 0u64..1_000).prop_map(|(heads, sizes, spans, options, seed)| {
        Case {
            heads: heads.0 * heads.1,
            groups: heads.0,
            width: sizes.0 * 16,
            block_tokens: sizes.1,
            spans,
            window: options.0,
            soft_cap: options.1,
            amplitude: options.2,
            q8: options.3,
            seed,
        }
    })
}

/// Four heads on one as in Gemma 3, with a prefix and a window.
fn gemma() -> Case {
    Case {
        heads: 4,
        groups: 1,
        width: 256,
        block_tokens: 32,
        spans: vec![(130, 9), (0, 70), (250, 1)],
        window: Some(100),
        soft_cap: None,
        amplitude: 4.0,
        q8: false,
        seed: 7,
    }
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
        let (variant, cache, q, tables) = (Variant::best(), case.cache(), case.queries(), case.tables());
        let batch = case.run(variant, 1);
        for threads in 2..=5 {
            prop_assert_eq!(bits(&case.run(variant, threads)), bits(&batch), "{} threads", threads);
        }
        let row_len = case.heads * case.width;
        for span in case.spans(&tables) {
            for (i, row) in span.queries.enumerate() {
                let range = row * row_len..(row + 1) * row_len;
                let alone = AttentionSpan {
                    blocks: span.blocks,
                    queries: 0..1,
                    first_position: span.first_position + i,
                };
                let out = case.run_spans(variant, 2, &cache, &q[range.clone()], &[alone]);
                prop_assert_eq!(bits(&out), bits(&batch[range]), "row {}", row);
            }
        }
    }

    #[test]
    fn the_block_length_does_not_matter(case in case()) {
        let parts = case.block_tokens / 16;
        let cut = Case { block_tokens: 16, ..case.clone() };
        let tables: Vec<Vec<u32>> = case.tables().into_iter().map(|table| {
            table.iter().flat_map(|b| (0..parts).map(move |i| b * parts as u32 + i as u32)).collect()
        }).collect();
        let out = cut.run_spans(Variant::best(), 2, &cut.cache(), &case.queries(), &case.spans(&tables));
        prop_assert_eq!(bits(&out), bits(&case.run(Variant::best(), 2)));
    }

    #[test]
    fn store_kv_writes_what_the_layout_says(case in case(), slots in prop::collection::vec(0u32..SLOTS as u32, 0..60), threads in 1usize..4) {
        let row_len = case.groups * case.width;
        let [k, v] = [values(1, slots.len() * row_len), values(2, slots.len() * row_len)];
        let mut expected: HashMap<(usize, usize), [f32; 2]> = HashMap::new();
        for (t, slot) in slots.iter().enumerate() {
            let row = t * row_len..(t + 1) * row_len;
            let (mut k, mut v) = (k[row.clone()].to_vec(), v[row].to_vec());
            for x in [&mut k, &mut v] {
                x.chunks_exact_mut(case.width).for_each(|head| round(head, case.q8));
            }
            expected.extend((0..row_len).map(|i| ((*slot as usize, i), [k[i], v[i]])));
        }
        for variant in Variant::all() {
            let mut cache = Cache::new(&case, 0.25);
            store_kv_with(variant, &pool(threads), [&k, &v], &slots, &mut cache.view_mut());
            for slot in 0..SLOTS {
                let (block, offset) = (slot / case.block_tokens, slot % case.block_tokens);
                for i in 0..row_len {
                    let (head, d) = (i / case.width, i % case.width);
                    let first = (block * case.groups + head) * case.block_tokens;
                    let start = first * case.width;
                    let key = start + (offset / 16 * case.width + d) * 16 + offset % 16;
                    let value = start + (d / 16 * case.block_tokens + offset) * 16 + d % 16;
                    let found = [
                        cache.keys.get(key, first + offset),
                        cache.values.get(value, first + offset),
                    ];
                    let wanted = expected.get(&(slot, i)).copied().unwrap_or([0.25; 2]);
                    prop_assert_eq!(found, wanted, "slot {} element {} of {:?}", slot, i, variant);
                }
            }
        }
    }
}

#[test]
fn integers_are_half_a_step_from_what_was_stored_or_nan() {
    let case = Case {
        q8: true,
        ..gemma()
    };
    let mut cache = Cache::new(&case, 0.0);
    let mut k = values(1, 4 * case.width);
    k[case.width + 3] = f32::NAN;
    k[2 * case.width + 255] = f32::INFINITY;
    k[3 * case.width..].fill(1e-38);
    let v = vec![0.0; k.len()];
    store_kv(&pool(1), &k, &v, &[0, 1, 2, 3], &mut cache.view_mut());
    let read = |slot: usize, d: usize| cache.keys.get(d * 16 + slot, slot);
    for (d, key) in k[..case.width].iter().enumerate() {
        assert!((read(0, d) - key).abs() <= 0.5001 / 127.0, "{d}");
        assert!(read(1, d).is_nan() && read(2, d).is_nan(), "{d}");
        assert_eq!(read(3, d), 0.0, "{d}");
    }
    assert_eq!(cache.values.get(0, 0), 0.0);
}

#[test]
fn the_shape_of_gemma_3_is_near_the_definition_in_every_variant() {
    let (exact, bounds) = gemma().exact();
    for variant in Variant::all() {
        assert_near(&gemma().run(variant, 2), &exact, &bounds);
    }
}

#[test]
fn positions_that_a_row_may_not_see_do_not_reach_it_even_if_they_hold_nan() {
    // Row 0 sees positions 11..=70, row 19 positions 30..=89: the poison is for these two only.
    let case = Case {
        spans: vec![(70, 20)],
        window: Some(60),
        ..gemma()
    };
    let table = [3u32, 0, 5];
    let span = AttentionSpan {
        blocks: &table,
        queries: 0..20,
        first_position: 70,
    };
    let slots: Vec<u32> = (0..90)
        .map(|p| table[p / 32] * 32 + p as u32 % 32)
        .collect();
    let row_len = case.groups * case.width;
    let [mut k, mut v] = [values(4, 90 * row_len), values(5, 90 * row_len)];
    let q = case.queries();
    let mut run = |variant, poisoned: &[usize]| {
        for position in poisoned {
            k[position * row_len..][..row_len].fill(f32::NAN);
            v[position * row_len..][..row_len].fill(f32::NAN);
        }
        let fill = if poisoned.is_empty() { 0.0 } else { f32::NAN };
        let mut cache = Cache::new(&case, fill);
        store_kv(&pool(1), &k, &v, &slots, &mut cache.view_mut());
        case.run_spans(variant, 2, &cache, &q, std::slice::from_ref(&span))
    };
    let clean = run(Variant::best(), &[]);
    for variant in Variant::all() {
        let out = run(variant, &[0, 10, 11, 89]);
        let of_row = case.heads * case.width;
        let (first, last) = (of_row, 19 * of_row);
        assert_eq!(
            bits(&out[first..last]),
            bits(&clean[first..last]),
            "{variant:?}"
        );
        assert!(
            out[..first].iter().chain(&out[last..]).all(|x| x.is_nan()),
            "{variant:?}"
        );
    }
}

#[test]
fn a_window_of_n_sees_the_position_itself_and_n_minus_1_before_it() {
    let one = Case {
        window: Some(1),
        spans: vec![(100, 3)],
        ..gemma()
    };
    let (table, v) = (&one.tables()[0], one.held(3));
    let out = one.run(Variant::best(), 1);
    for (query, row) in out.chunks_exact(one.heads * one.width).enumerate() {
        let slot = table[(100 + query) / 32] as usize * 32 + (100 + query) % 32;
        for head in row.chunks_exact(one.width) {
            assert_eq!(
                wide(head),
                v[slot * one.width..][..one.width],
                "query {query}"
            );
        }
    }
    let wide = Case {
        window: Some(103),
        ..one.clone()
    };
    let unlimited = Case {
        window: None,
        ..one
    };
    assert_eq!(
        bits(&wide.run(Variant::best(), 1)),
        bits(&unlimited.run(Variant::best(), 1))
    );
}

#[test]
fn rows_of_no_span_are_left_as_they_are() {
    let case = Case {
        spans: vec![(5, 1)],
        ..gemma()
    };
    let (cache, tables) = (case.cache(), case.tables());
    let row_len = case.heads * case.width;
    let span = AttentionSpan {
        blocks: &tables[0],
        queries: 1..2,
        first_position: 5,
    };
    let mut out = vec![9.0; 3 * row_len];
    attention(
        &pool(2),
        &values(1, 3 * row_len),
        &cache.view(),
        &[span],
        &case.params(),
        &mut out,
    );
    assert!(
        out[..row_len]
            .iter()
            .chain(&out[2 * row_len..])
            .all(|x| *x == 9.0)
    );
    assert!(out[row_len..2 * row_len].iter().all(|x| *x != 9.0));
}

fn refused(change: impl FnOnce(&mut AttentionParams, &mut Vec<AttentionSpan<'_>>)) {
    let case = gemma();
    let (cache, tables, q) = (case.cache(), case.tables(), case.queries());
    let (mut params, mut spans) = (case.params(), case.spans(&tables));
    change(&mut params, &mut spans);
    let mut out = vec![0.0; q.len()];
    attention(&pool(1), &q, &cache.view(), &spans, &params, &mut out);
}

#[test]
#[should_panic(expected = "attention: queries 8..79 follow row 9")]
fn overlapping_spans_are_refused() {
    refused(|_, spans| spans[1].queries = 8..79);
}

#[test]
#[should_panic(expected = "attention: 161 positions in blocks of 160")]
fn more_positions_than_blocks_are_refused() {
    refused(|_, spans| spans[0].first_position = 152);
}

#[test]
#[should_panic(expected = "attention: block Some(12) of 12")]
fn a_block_outside_the_cache_is_refused() {
    refused(|_, spans| spans[0].blocks = &[0, 1, 2, 12, 0]);
}

#[test]
#[should_panic(expected = "attention: the window is 0")]
fn an_empty_window_is_refused() {
    refused(|params, _| params.window = Some(0));
}

#[test]
#[should_panic(expected = "attention: 81 rows of 1024 in a q of 81920")]
fn queries_outside_q_are_refused() {
    refused(|_, spans| spans[2].queries = 80..81);
}

#[test]
#[should_panic(expected = "store_kv: slot Some(384) in 12 blocks of 32")]
fn a_slot_outside_the_cache_is_refused() {
    let mut cache = gemma().cache();
    store_kv(
        &pool(1),
        &[0.0; 256],
        &[0.0; 256],
        &[384],
        &mut cache.view_mut(),
    );
}

#[test]
#[should_panic(expected = "store_kv: the block length 24 is not a multiple of 16")]
fn a_block_length_that_is_not_whole_vectors_is_refused() {
    let mut cache = Cache {
        block_tokens: 24,
        ..gemma().cache()
    };
    store_kv(&pool(1), &[], &[], &[], &mut cache.view_mut());
}

impl Case {
    /// One row at each of these positions, with blocks of 32 that fit a tile.
    fn decoding(positions: &[usize], q8: bool) -> Self {
        Self {
            heads: 6,
            groups: 2,
            width: 64,
            spans: positions.iter().map(|position| (*position, 1)).collect(),
            window: None,
            q8,
            ..gemma()
        }
    }

    fn run_gated(
        &self,
        variant: Variant,
        threads: usize,
        gates: &[Gate],
    ) -> (Vec<f32>, Vec<GateMeasure>) {
        let (cache, tables, q) = (self.cache(), self.tables(), self.queries());
        let blocks: Vec<u32> = (0..(SLOTS / self.block_tokens) as u32).collect();
        let mut bounds = vec![f16::ZERO; blocks.len() * self.groups * 2 * self.width];
        bound_keys_with(variant, &pool(threads), &cache.view(), &blocks, &mut bounds);
        let (spans, params) = (self.spans(&tables), self.params());
        let view = GatedView {
            kv: cache.view(),
            bounds: &bounds,
        };
        let mut out = vec![f32::NAN; q.len()];
        let inputs = (&q[..], &view, &spans[..], gates, &params);
        let measures = gated_with(variant, &pool(threads), inputs, &mut out);
        (out, measures)
    }
}

const OPEN: Gate = Gate {
    sinks: 1,
    recent: 1,
    selected: 1_000,
};

const NARROW: Gate = Gate {
    sinks: 1,
    recent: 3,
    selected: 4,
};

#[test]
fn a_gate_that_lets_everything_through_changes_no_bit() {
    for q8 in [false, true] {
        let case = Case::decoding(&[5, 64, 700, 1_535], q8);
        for variant in Variant::all() {
            for threads in 1..=3 {
                let (out, measures) = case.run_gated(variant, threads, &[OPEN; 4]);
                assert_eq!(bits(&out), bits(&case.run(variant, 1)), "{variant:?}");
                assert!(measures.iter().all(|m| (0.0..=1.0).contains(&m.entropy)));
            }
        }
    }
}

#[test]
fn a_gated_row_is_the_same_in_every_variant_alone_and_on_any_number_of_threads() {
    for q8 in [false, true] {
        let case = Case::decoding(&[1_300, 1_500, 900], q8);
        let (scalar, measures) = case.run_gated(Variant::all()[0], 1, &[NARROW; 3]);
        assert_ne!(bits(&scalar), bits(&case.run(Variant::best(), 1)));
        for variant in Variant::all() {
            for threads in 1..=3 {
                let (out, found) = case.run_gated(variant, threads, &[NARROW; 3]);
                assert_eq!(bits(&out), bits(&scalar), "{variant:?}");
                assert_eq!(found, measures, "{variant:?}");
            }
        }
    }
}

#[test]
fn bounds_hold_for_every_key_of_a_block() {
    let case = Case::decoding(&[5], false);
    let (cache, k) = (case.cache(), case.held(2));
    let mut bounds = vec![f16::NAN; SLOTS / 32 * case.groups * 2 * case.width];
    bound_keys(&pool(2), &cache.view(), &[3, 1, 3], &mut bounds);
    let head = case.groups * 2 * case.width;
    assert!(
        bounds[..head].iter().all(|x| x.is_nan()),
        "block 0 is untouched"
    );
    for block in [1, 3] {
        for group in 0..case.groups {
            for d in 0..case.width {
                let keys = (0..32).map(|offset| {
                    k[((block * 32 + offset) * case.groups + group) * case.width + d]
                });
                let at = (block * case.groups + group) * 2 * case.width + d;
                let found = [bounds[at], bounds[at + case.width]].map(f16::to_f64);
                let greatest = keys.clone().fold(f64::NEG_INFINITY, f64::max);
                assert_eq!(found, [greatest, keys.fold(f64::INFINITY, f64::min)]);
            }
        }
    }
}

#[test]
fn the_tile_with_the_key_that_a_query_looks_for_is_selected() {
    // All keys are small but one, far from both ends, that points where the query does.
    let case = Case::decoding(&[1_400], false);
    let mut cache = case.cache();
    let row_len = case.groups * case.width;
    let table: Vec<u32> = (0..44).map(|block| block % 12).collect();
    let slots: Vec<u32> = (0..SLOTS as u32).collect();
    let mut k: Vec<f32> = case.contents(2).iter().map(|x| x * 0.01).collect();
    let needle = 9 * 32 + 7;
    k[needle * row_len..(needle + 1) * row_len].fill(2.0);
    let mut v = vec![0.0; k.len()];
    v[needle * row_len..(needle + 1) * row_len].fill(1.0);
    store_kv(&pool(1), &k, &v, &slots, &mut cache.view_mut());
    let mut bounds = vec![f16::ZERO; SLOTS / 32 * row_len * 2];
    bound_keys(&pool(1), &cache.view(), &slots[..12], &mut bounds);
    let view = GatedView {
        kv: cache.view(),
        bounds: &bounds,
    };
    let span = AttentionSpan {
        blocks: &table,
        queries: 0..1,
        first_position: 1_400,
    };
    let gate = Gate {
        sinks: 1,
        recent: 1,
        selected: 3,
    };
    let q = vec![1.0; case.heads * case.width];
    let mut out = vec![0.0; q.len()];
    let params = case.params();
    let measures = gated_attention(&pool(2), &q, &view, (&[span], &[gate]), &params, &mut out);
    assert!(out.iter().all(|x| *x > 0.99), "{out:?}");
    assert!(measures[0].selected > 0.99, "{measures:?}");
}
