//! Speed of the matrix product on shapes of the two embedded models.
//!
//! `cargo bench -p autoglm-kernel --bench matmul`. Products are counted in operations, two for a
//! weight and token, beside the peak: integer dot products from registers alone. The head, which
//! does not fit into any cache, and packing are counted in bytes. What runs on one thread is
//! measured in processor time (Linux only); what runs on two threads needs a quiet machine.

#![cfg_attr(
    target_arch = "x86_64",
    expect(
        unsafe_code,
        reason = "the peak is measured with the instruction itself"
    )
)]

mod processor_time;

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::time::Duration;

use autoglm_kernel::{Activations, BlockFormat, PackedMatrix, Pool, matmul, matmul_rows};
use criterion::measurement::Measurement;
use criterion::{
    BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main,
};

use processor_time::ProcessorTime;

/// Outputs and inputs of the matrices of Gemma-3-270M (Q4_K_M) and SmolLM2-135M (Q4_1).
const SHAPES: [(BlockFormat, usize, usize); 7] = [
    (BlockFormat::Q5_0, 2048, 640),
    (BlockFormat::Q6K, 640, 2048),
    (BlockFormat::Q4K, 640, 1024),
    (BlockFormat::Q4_1, 1536, 576),
    (BlockFormat::Q8_0, 2048, 640),
    (BlockFormat::F16, 2048, 640),
    (BlockFormat::F32, 2048, 640),
];

/// The head of Gemma-3-270M.
const HEAD: (usize, usize) = (262_144, 640);

struct Setting {
    pool: Pool,
    random: u64,
}

impl Setting {
    fn new(threads: usize) -> Self {
        let threads = NonZeroUsize::new(threads).expect("a bench names at least one thread");
        Self {
            pool: Pool::new(threads),
            random: 1,
        }
    }

    fn next(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    /// Random bytes whose half-precision numbers are all finite.
    fn bytes(&mut self, format: BlockFormat, rows: usize, cols: usize) -> Vec<u8> {
        let len = rows * format.row_bytes(cols).expect("whole blocks");
        (0..len).map(|_| self.next() as u8 & 0xbf).collect()
    }

    fn weights(&mut self, format: BlockFormat, rows: usize, cols: usize) -> PackedMatrix {
        let bytes = self.bytes(format, rows, cols);
        PackedMatrix::pack(&self.pool, format, rows, cols, &bytes).expect("the shape fits")
    }

    fn activations(&mut self, tokens: usize, weights: &PackedMatrix) -> Activations {
        let x: Vec<f32> = (0..tokens * weights.cols())
            .map(|_| (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0)
            .collect();
        let mut activations = Activations::new();
        activations.load_for(&self.pool, &x, weights.cols(), &[weights]);
        activations
    }
}

fn name(w: &PackedMatrix) -> String {
    format!("{}-{}x{}", w.format().name(), w.rows(), w.cols())
}

fn products<M: Measurement>(c: &mut Criterion<M>) {
    products_on(Setting::new(1), c);
}

fn products_on_two(c: &mut Criterion) {
    products_on(Setting::new(2), c);
}

fn products_on<M: Measurement>(mut setting: Setting, c: &mut Criterion<M>) {
    let mut group = c.benchmark_group(format!("product, {} threads", setting.pool.threads()));
    // Samples of the same length: a system counts processor time in steps of milliseconds.
    group.sampling_mode(SamplingMode::Flat);
    for (format, rows, cols) in SHAPES {
        let w = setting.weights(format, rows, cols);
        for tokens in [1, 8, 32, 512] {
            let x = setting.activations(tokens, &w);
            let mut y = vec![0.0; tokens * rows];
            group.throughput(Throughput::Elements((2 * tokens * rows * cols) as u64));
            group.bench_function(BenchmarkId::new(name(&w), tokens), |b| {
                b.iter(|| matmul(&setting.pool, black_box(&w), &x, &mut y));
            });
        }
    }
}

fn head<M: Measurement>(c: &mut Criterion<M>) {
    head_on(Setting::new(1), c);
}

fn head_on_two(c: &mut Criterion) {
    head_on(Setting::new(2), c);
}

fn head_on<M: Measurement>(mut setting: Setting, c: &mut Criterion<M>) {
    let w = setting.weights(BlockFormat::Q8_0, HEAD.0, HEAD.1);
    let x = setting.activations(1, &w);
    let mut y = vec![0.0; HEAD.0];
    let mut group = c.benchmark_group(format!("head, {} threads", setting.pool.threads()));
    group.sampling_mode(SamplingMode::Flat);
    group.throughput(Throughput::Bytes(w.size_bytes() as u64));
    group.bench_function(BenchmarkId::new(name(&w), 1), |b| {
        b.iter(|| matmul(&setting.pool, black_box(&w), &x, &mut y));
    });
    let ids: Vec<u32> = (0..16).map(|i| i * 16_001).collect();
    group.throughput(Throughput::Elements(ids.len() as u64));
    group.bench_function("16 of its rows", |b| {
        b.iter(|| matmul_rows(&setting.pool, black_box(&w), &ids, &x, &mut y[..16]));
    });
}

fn pack<M: Measurement>(c: &mut Criterion<M>) {
    let mut setting = Setting::new(1);
    let mut group = c.benchmark_group("pack");
    group.sample_size(10);
    for (format, rows, cols) in [
        (BlockFormat::Q8_0, HEAD.0, HEAD.1),
        (BlockFormat::Q5_0, 65_536, 640),
        (BlockFormat::Q6K, 16_384, 2048),
        (BlockFormat::Q4K, 32_768, 1024),
    ] {
        let bytes = setting.bytes(format, rows, cols);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(format.name(), |b| {
            b.iter(|| PackedMatrix::pack(&setting.pool, format, rows, cols, &bytes));
        });
    }
}

fn load<M: Measurement>(c: &mut Criterion<M>) {
    let mut setting = Setting::new(1);
    let w = setting.weights(BlockFormat::Q8_0, 16, 2048);
    let x: Vec<f32> = (0..512 * 2048).map(|i| (i % 1001) as f32 - 500.0).collect();
    let mut activations = Activations::new();
    let mut group = c.benchmark_group("load");
    group.throughput(Throughput::Elements(x.len() as u64));
    group.bench_function("512x2048", |b| {
        b.iter(|| activations.load_for(&setting.pool, black_box(&x), 2048, &[&w]));
    });
}

/// The most that the integer dot product can do: twelve independent sums in registers.
#[cfg(target_arch = "x86_64")]
fn peak<M: Measurement>(c: &mut Criterion<M>) {
    use std::arch::x86_64::{_mm512_dpbusd_epi32, _mm512_reduce_add_epi32, _mm512_set1_epi32};

    const STEPS: usize = 10_000;
    const SUMS: usize = 12;

    #[target_feature(enable = "avx512f,avx512vnni")]
    fn dot_products(bytes: i32) -> i32 {
        let x = _mm512_set1_epi32(bytes);
        let mut sums = [x; SUMS];
        for _ in 0..STEPS {
            for sum in &mut sums {
                // The product depends on the sum, so that no step can be left out.
                *sum = _mm512_dpbusd_epi32(*sum, x, *sum);
            }
        }
        let sums = sums.map(|sum| _mm512_reduce_add_epi32(sum));
        sums.into_iter().fold(0, i32::wrapping_add)
    }

    if !is_x86_feature_detected!("avx512vnni") {
        return;
    }
    let mut group = c.benchmark_group("peak");
    group.throughput(Throughput::Elements((STEPS * SUMS * 128) as u64));
    group.bench_function("vpdpbusd", |b| {
        b.iter(|| {
            // SAFETY: the feature has just been detected.
            unsafe { dot_products(black_box(0x0101_0101)) }
        });
    });
}

#[cfg(not(target_arch = "x86_64"))]
fn peak<M: Measurement>(_: &mut Criterion<M>) {}

criterion_group! {
    name = one_thread;
    config = Criterion::default()
        .with_measurement(ProcessorTime)
        .sample_size(20)
        .measurement_time(Duration::from_secs(2))
        .warm_up_time(Duration::from_millis(300));
    targets = peak, products, head, pack, load
}
criterion_group! {
    name = two_threads;
    config = Criterion::default()
        .sample_size(20)
        .measurement_time(Duration::from_secs(2))
        .warm_up_time(Duration::from_millis(300));
    targets = products_on_two, head_on_two
}
criterion_main!(one_thread, two_threads);
