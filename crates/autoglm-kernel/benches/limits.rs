//! Matrix products beside what the machine can do at most.
//!
//! `cargo bench -p autoglm-kernel --bench limits [-- --threads N] [FORMAT | T=N]…` prints for every
//! format and number of tokens the shortest of many products: for few tokens the bytes of weights
//! a second and their share of the read bandwidth, else the operations a second (two for a weight
//! and token) and their share of the integer peak. The weights of a format are several times
//! larger than the last cache, as those of a model are. One thread is measured in processor time
//! (Linux only); more threads need a quiet machine.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

mod processor_time;

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use autoglm_kernel::{Activations, BlockFormat, PackedMatrix, Pool, machine, matmul};

use processor_time::ProcessorTime;

const ROWS: usize = 4096;
const COLS: usize = 2048;
const TOKENS: [usize; 8] = [1, 2, 4, 8, 16, 32, 128, 512];
/// Weights of one format together.
const WEIGHT_BYTES: usize = 128 << 20;
/// Products with one token in a pass, some 100 ms; with more tokens there are fewer.
const PASS_PRODUCTS: usize = 400;
/// Products of one format and number of tokens take about this long.
const TIME: Duration = Duration::from_secs(1);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let threads = value_after(&arguments, "--threads").unwrap_or(2);
    let pool = Pool::new(NonZeroUsize::new(threads).expect("at least one thread"));
    let clock = clock(threads);
    let bandwidth = machine::read_bandwidth(&pool, 256 << 20, &clock).expect("256 MiB of memory");
    let peak = machine::integer_peak(&pool, &clock);
    println!(
        "{threads} threads, reads {:.1} GB/s, integer peak {:.0} GOP/s",
        bandwidth / 1e9,
        peak / 1e9
    );
    for format in BlockFormat::ALL {
        if wanted(&arguments, format.name(), |word| !word.starts_with("T=")) {
            let matrices = matrices(&pool, format);
            for tokens in TOKENS {
                if wanted(&arguments, &format!("T={tokens}"), |word| {
                    word.starts_with("T=")
                }) {
                    let shortest = shortest(&pool, &matrices, tokens, &clock);
                    print_speed(&matrices[0], tokens, shortest, (bandwidth, peak));
                }
            }
        }
    }
}

/// Processor time for one thread, else the time on the wall.
fn clock(threads: usize) -> impl Fn() -> Duration {
    let start = Instant::now();
    move || match threads {
        1 => Duration::from_nanos(ProcessorTime::now() as u64),
        _ => start.elapsed(),
    }
}

fn value_after(arguments: &[String], name: &str) -> Option<usize> {
    let at = arguments.iter().position(|argument| argument == name)?;
    arguments.get(at + 1)?.parse().ok()
}

/// Whether a name is among the arguments of its kind, or there are none of that kind.
fn wanted(arguments: &[String], name: &str, of_kind: impl Fn(&str) -> bool) -> bool {
    let is_name = |word: &&String| !word.starts_with("--") && word.parse::<usize>().is_err();
    let mut names = arguments
        .iter()
        .filter(is_name)
        .filter(|word| of_kind(word));
    let mut some = names.clone().peekable();
    some.peek().is_none() || names.any(|word| word == name)
}

fn matrices(pool: &Pool, format: BlockFormat) -> Vec<PackedMatrix> {
    let matrix_bytes = ROWS * format.row_bytes(COLS).expect("whole blocks");
    let mut random = 1_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        // Half-precision numbers whose upper byte has this bit cleared are finite.
        random as u8 & 0xbf
    };
    let bytes: Vec<u8> = (0..matrix_bytes).map(|_| next()).collect();
    (0..WEIGHT_BYTES.div_ceil(matrix_bytes))
        .map(|_| PackedMatrix::pack(pool, format, ROWS, COLS, &bytes).expect("the shape fits"))
        .collect()
}

/// The shortest time of a product, in seconds.
fn shortest(
    pool: &Pool,
    matrices: &[PackedMatrix],
    tokens: usize,
    clock: impl Fn() -> Duration,
) -> f64 {
    // A pass has to be long beside the 4 ms in which a system may count processor time.
    let products = (PASS_PRODUCTS / tokens).max(1);
    let x: Vec<f32> = (0..tokens * COLS)
        .map(|i| (i * 7919 % 2003) as f32 - 1001.0)
        .collect();
    let mut activations = Activations::new();
    activations.load_for(pool, &x, COLS, &[&matrices[0]]);
    let mut y = vec![0.0; tokens * ROWS];
    let mut shortest = Duration::MAX;
    let begin = Instant::now();
    while begin.elapsed() < TIME || shortest == Duration::MAX {
        let start = clock();
        for matrix in matrices.iter().cycle().take(products) {
            matmul(pool, black_box(matrix), &activations, &mut y);
        }
        shortest = shortest.min(clock().saturating_sub(start));
    }
    shortest.as_secs_f64() / products as f64
}

fn print_speed(matrix: &PackedMatrix, tokens: usize, seconds: f64, limits: (f64, f64)) {
    let bytes = matrix.size_bytes() as f64 / seconds;
    let operations = (2 * tokens * ROWS * COLS) as f64 / seconds;
    println!(
        "{:>5} T={tokens:<4} {:>6.1} GB/s {:>4.0} %   {:>5.0} GOP/s {:>4.0} %",
        matrix.format().name(),
        bytes / 1e9,
        100.0 * bytes / limits.0,
        operations / 1e9,
        100.0 * operations / limits.1
    );
}
