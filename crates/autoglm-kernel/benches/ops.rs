//! Speed of the thread pool, the vector operations and attention.
//!
//! `cargo bench -p autoglm-kernel --bench ops`. Attention is counted in multiply-adds over the
//! positions that a row sees (`elem/s` times two is FLOP/s), the vector operations in bytes of
//! their input. What runs on one thread is measured in processor time (Linux only), so that it says
//! something on a busy machine too; what runs on two threads needs a quiet one.

mod processor_time;

use std::hint::black_box;
use std::num::NonZeroUsize;

use autoglm_kernel::{
    AttentionParams, AttentionSpan, GateActivation, KvElements, KvElementsMut, KvView, KvViewMut,
    Pool, RopeParams, RopeStyle, RopeTable, argmax, attention, gated, log_sum_exp, rms_norm, rope,
    store_kv,
};
use criterion::measurement::Measurement;
use criterion::{Bencher, Criterion, Throughput, criterion_group, criterion_main};
use half::f16;

use processor_time::ProcessorTime;

criterion_group! {
    name = one_thread;
    config = Criterion::default().with_measurement(ProcessorTime).sample_size(20);
    targets = rows, logits, prefill, decode
}
criterion_group!(two_threads, pool_run, prefill_on_two, decode_on_two);
criterion_main!(one_thread, two_threads);

fn pool(threads: usize) -> Pool {
    Pool::new(NonZeroUsize::new(threads).expect("a bench names at least one thread"))
}

/// Numbers without order from -1 to 1.
fn numbers(len: usize) -> Vec<f32> {
    let mut state = 1u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

fn pool_run(c: &mut Criterion) {
    let pool = pool(2);
    c.bench_function("pool/empty run of two threads", |b| {
        b.iter(|| pool.run(2, |task| assert!(black_box(task) < 2)));
    });
}

/// Rows of Gemma-3-270M: width 640, feed-forward width 2048, four heads of 256.
fn rows<M: Measurement>(c: &mut Criterion<M>) {
    const ROWS: usize = 512;
    let pool = pool(1);
    let mut group = c.benchmark_group("rows");
    let (x, weight, mut out) = (numbers(ROWS * 640), numbers(640), vec![0.0; ROWS * 640]);
    group.throughput(Throughput::Bytes(size_of_val(&x[..]) as u64));
    group.bench_function("rms_norm", |b| {
        b.iter(|| rms_norm(&pool, &x, &weight, 1e-6, &mut out));
    });

    let (gate, up) = (numbers(ROWS * 2_048), numbers(ROWS * 2_048));
    group.throughput(Throughput::Bytes(2 * size_of_val(&up[..]) as u64));
    for activation in [GateActivation::Silu, GateActivation::GeluTanh] {
        let mut gate = gate.clone();
        group.bench_function(format!("gated {activation:?}"), |b| {
            b.iter(|| gated(&pool, activation, &mut gate, &up));
        });
    }

    let positions: Vec<u32> = (0..ROWS as u32).collect();
    let mut heads = numbers(ROWS * 4 * 256);
    group.throughput(Throughput::Bytes(size_of_val(&heads[..]) as u64));
    for style in [RopeStyle::Interleaved, RopeStyle::HalfSplit] {
        let params = RopeParams {
            style,
            width: 256,
            rotated: 256,
            base: 10_000.0,
            position_scale: 1.0,
            frequency_factors: None,
        };
        let table = RopeTable::new(&params, ROWS);
        group.bench_function(format!("rope {style:?}"), |b| {
            b.iter(|| rope(&pool, &table, &positions, 4, &mut heads));
        });
    }
}

/// One row of logits of Gemma 3.
fn logits<M: Measurement>(c: &mut Criterion<M>) {
    let x = numbers(262_144);
    let naive = x.iter().map(|x| f64::from(*x).exp()).sum::<f64>().ln();
    assert!(
        (f64::from(log_sum_exp(&x)) - naive).abs() < 1e-5,
        "a wrong answer is not timed"
    );
    let mut group = c.benchmark_group("logits");
    group.throughput(Throughput::Bytes(size_of_val(&x[..]) as u64));
    group.bench_function("log_sum_exp", |b| b.iter(|| log_sum_exp(black_box(&x))));
    group.bench_function("argmax", |b| b.iter(|| argmax(black_box(&x))));
}

/// Query heads, key/value heads, head width.
#[derive(Clone, Copy)]
struct Heads(usize, usize, usize);

const GEMMA: Heads = Heads(4, 1, 256);
const SMOLLM: Heads = Heads(9, 3, 64);
const GLM_EDGE: Heads = Heads(16, 4, 128);

/// Keys or values: in half precision, or as integers and scales.
#[derive(Clone)]
enum Elements {
    F16(Vec<f16>),
    Q8(Vec<i8>, Vec<f32>),
}

impl Elements {
    fn view(&self) -> KvElements<'_> {
        match self {
            Self::F16(elements) => KvElements::F16(elements),
            Self::Q8(quants, scales) => KvElements::Q8 { quants, scales },
        }
    }

    fn view_mut(&mut self) -> KvElementsMut<'_> {
        match self {
            Self::F16(elements) => KvElementsMut::F16(elements),
            Self::Q8(quants, scales) => KvElementsMut::Q8 { quants, scales },
        }
    }
}

/// Spans of `queries` rows behind a prefix that they share.
struct Batch {
    heads: Heads,
    prefix: usize,
    queries: usize,
    keys: Elements,
    values: Elements,
    tables: Vec<Vec<u32>>,
}

const BLOCK_TOKENS: usize = 32;

impl Batch {
    fn new(pool: &Pool, heads: Heads, spans: u32, [prefix, queries]: [usize; 2]) -> Self {
        Self::stored(pool, heads, spans, [prefix, queries], false)
    }

    fn stored(
        pool: &Pool,
        heads: Heads,
        spans: u32,
        [prefix, queries]: [usize; 2],
        q8: bool,
    ) -> Self {
        let shared = (prefix / BLOCK_TOKENS) as u32;
        let own = (prefix + queries).div_ceil(BLOCK_TOKENS) as u32 - shared;
        let own_blocks = |span: u32| shared + span * own..shared + (span + 1) * own;
        let tables = (0..spans)
            .map(|span| (0..shared).chain(own_blocks(span)).collect())
            .collect();
        let slots: Vec<u32> = (0..(shared + spans * own) * BLOCK_TOKENS as u32).collect();
        let Heads(_, groups, width) = heads;
        let x = numbers(slots.len() * groups * width);
        let elements = if q8 {
            Elements::Q8(vec![0; x.len()], vec![0.0; x.len() / width])
        } else {
            Elements::F16(vec![f16::ZERO; x.len()])
        };
        let (mut keys, mut values) = (elements.clone(), elements);
        let mut kv = KvViewMut {
            keys: keys.view_mut(),
            values: values.view_mut(),
            block_tokens: BLOCK_TOKENS,
            heads: groups,
            width,
        };
        store_kv(pool, &x, &x, &slots, &mut kv);
        Self {
            heads,
            prefix,
            queries,
            keys,
            values,
            tables,
        }
    }

    fn multiply_adds(&self) -> u64 {
        let seen: usize = (self.prefix..self.prefix + self.queries)
            .map(|position| position + 1)
            .sum();
        let Heads(heads, _, width) = self.heads;
        (2 * seen * self.tables.len() * heads * width) as u64
    }

    fn bench<M: Measurement>(&self, b: &mut Bencher<'_, M>, pool: &Pool) {
        let Heads(heads, groups, width) = self.heads;
        let q = numbers(self.tables.len() * self.queries * heads * width);
        let mut out = vec![0.0; q.len()];
        let span = |(span, blocks)| AttentionSpan {
            blocks,
            queries: span * self.queries..(span + 1) * self.queries,
            first_position: self.prefix,
        };
        let tables = self.tables.iter().map(Vec::as_slice);
        let spans: Vec<AttentionSpan<'_>> = tables.enumerate().map(span).collect();
        let kv = KvView {
            keys: self.keys.view(),
            values: self.values.view(),
            block_tokens: BLOCK_TOKENS,
            heads: groups,
            width,
        };
        let scale = 1.0 / (width as f32).sqrt();
        let params = AttentionParams {
            heads,
            scale,
            causal: true,
            window: None,
            soft_cap: None,
        };
        b.iter(|| attention(pool, &q, &kv, &spans, &params, &mut out));
    }
}

fn prefill<M: Measurement>(c: &mut Criterion<M>) {
    prefill_on(&pool(1), c);
}

fn decode<M: Measurement>(c: &mut Criterion<M>) {
    decode_on(&pool(1), c);
}

fn prefill_on_two(c: &mut Criterion) {
    prefill_on(&pool(2), c);
}

fn decode_on_two(c: &mut Criterion) {
    decode_on(&pool(2), c);
}

/// 24 records of 30 tokens behind a shared prompt of 250.
fn prefill_on<M: Measurement>(pool: &Pool, c: &mut Criterion<M>) {
    let mut group = c.benchmark_group(format!("attention prefill, {} threads", pool.threads()));
    for (name, heads) in [("gemma", GEMMA), ("smollm", SMOLLM)] {
        let batch = Batch::new(pool, heads, 24, [250, 30]);
        group.throughput(Throughput::Elements(batch.multiply_adds()));
        group.bench_function(name, |b| batch.bench(b, pool));
    }
    let batch = Batch::new(pool, GLM_EDGE, 1, [0, 512]);
    group.throughput(Throughput::Elements(batch.multiply_adds()));
    group.bench_function("glm-edge, 512 rows", |b| batch.bench(b, pool));
}

/// One token for each of some sequences.
fn decode_on<M: Measurement>(pool: &Pool, c: &mut Criterion<M>) {
    let mut group = c.benchmark_group(format!("attention decode, {} threads", pool.threads()));
    for (name, heads) in [("gemma", GEMMA), ("smollm", SMOLLM), ("glm-edge", GLM_EDGE)] {
        for (spans, depth) in [(1, 2_048), (8, 2_048), (1, 8_192)] {
            for (stored, q8) in [("f16", false), ("q8", true)] {
                let batch = Batch::stored(pool, heads, spans, [depth, 1], q8);
                group.throughput(Throughput::Elements(batch.multiply_adds()));
                let case = format!("{name}, {stored}, {spans} sequences at {depth}");
                group.bench_function(case, |b| batch.bench(b, pool));
            }
        }
    }
}
