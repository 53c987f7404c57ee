//! Speed of the matrix product on shapes of the two embedded models.
//!
//! `product/*` counts operations (two a weight and token), `weights/*` and `pack/*` count bytes of
//! packed weights, `peak` counts the operations of the integer dot product from registers alone.
//!
//! Usage: `cargo bench -p autoglm-kernel --bench matmul`. The number of threads is that of the
//! machine.

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::thread::available_parallelism;
use std::time::Duration;

use autoglm_kernel::{Activations, BlockFormat, PackedMatrix, Pool, matmul, matmul_rows};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

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
    fn new() -> Self {
        let threads = available_parallelism().unwrap_or(NonZeroUsize::MIN);
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

fn products(c: &mut Criterion) {
    let mut setting = Setting::new();
    let mut group = c.benchmark_group("product");
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

fn head(c: &mut Criterion) {
    let mut setting = Setting::new();
    let w = setting.weights(BlockFormat::Q8_0, HEAD.0, HEAD.1);
    let x = setting.activations(1, &w);
    let mut y = vec![0.0; HEAD.0];
    let mut group = c.benchmark_group("weights");
    group.throughput(Throughput::Bytes(w.size_bytes() as u64));
    group.bench_function(BenchmarkId::new(name(&w), 1), |b| {
        b.iter(|| matmul(&setting.pool, black_box(&w), &x, &mut y));
    });
    let ids: Vec<u32> = (0..16).map(|i| i * 16_001).collect();
    group.throughput(Throughput::Elements(ids.len() as u64));
    group.bench_function("16 rows of the head", |b| {
        b.iter(|| matmul_rows(&setting.pool, black_box(&w), &ids, &x, &mut y[..16]));
    });
}

fn pack(c: &mut Criterion) {
    let mut setting = Setting::new();
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

fn load(c: &mut Criterion) {
    let mut setting = Setting::new();
    let w = setting.weights(BlockFormat::Q8_0, 16, 2048);
    let x: Vec<f32> = (0..512 * 2048).map(|i| (i % 1001) as f32 - 500.0).collect();
    let mut activations = Activations::new();
    let mut group = c.benchmark_group("load");
    group.throughput(Throughput::Elements(x.len() as u64));
    group.bench_function("512x2048", |b| {
        b.iter(|| activations.load_for(&setting.pool, black_box(&x), 2048, &[&w]));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .measurement_time(Duration::from_secs(2))
        .warm_up_time(Duration::from_millis(300));
    targets = products, head, pack, load
}
criterion_main!(benches);
