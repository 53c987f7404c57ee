//! What the machine can do at most: the limits that a speed is held against.
//!
//! Time is an argument, as this crate has no clock: `clock` gives the time since any fixed moment.

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;

use std::hint::black_box;
use std::time::Duration;

use crate::error::KernelError;
use crate::isa::Isa;
use crate::lanes::{Floats, LANES};
use crate::pages::Pages;
use crate::pool::Pool;
use crate::simd::{Simd, Variant, with_simd};

/// How often a limit is measured; the fastest counts.
const PASSES: usize = 8;

/// The bytes a second that all threads of the pool read together from an array of `size_bytes`,
/// on huge pages where there are some, each from four places of its own share at once. To measure
/// the main memory, the array has to be much larger than the last cache.
///
/// # Errors
/// [`KernelError::Memory`] if there is no memory for the array.
///
/// # Panics
/// If the array is smaller than 64 bytes a thread and place.
pub fn read_bandwidth(
    pool: &Pool,
    size_bytes: usize,
    clock: impl Fn() -> Duration,
) -> Result<f64, KernelError> {
    let threads = pool.threads();
    let share = size_bytes / (size_of::<Floats>() * threads);
    assert!(share >= STREAMS, "{size_bytes} bytes for {threads} threads");
    let array = Pages::filled_in_chunks(pool, (threads, share), |_, part| {
        // Pages that were never written to would all be one page of zeros.
        part.fill(Floats([1.0; LANES]));
    })?;
    let read_bytes = threads * (share / STREAMS * STREAMS) * size_of::<Floats>();
    Ok(best_rate(read_bytes as f64, clock, || {
        pool.run(threads, |thread| {
            black_box(sum(&array[thread * share..(thread + 1) * share]));
        });
    }))
}

/// The integer operations a second (two for a product that is added) that all threads of the pool
/// do together with the instruction that the matrix products rest on, on values in registers.
pub fn integer_peak(pool: &Pool, clock: impl Fn() -> Duration) -> f64 {
    /// Some ten milliseconds, so that processor time will do for a clock.
    const STEPS: usize = 4_000_000;
    let dot_products = dot_products(Isa::best());
    let operations = 2 * dot_products.products * STEPS * pool.threads();
    best_rate(operations as f64, clock, || {
        pool.run(pool.threads(), |_| {
            black_box((dot_products.run)(black_box(STEPS)));
        });
    })
}

/// Many independent sums of integer products.
struct DotProducts {
    /// The products of one step.
    products: usize,
    /// Does as many steps as told, each of which needs the sums of the one before.
    run: fn(usize) -> i32,
}

fn dot_products(isa: Isa) -> DotProducts {
    assert!(isa.is_available(), "this machine has no {}", isa.name());
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Amx => amx::DOT_PRODUCTS,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => avx512::DOT_PRODUCTS,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => avx2::DOT_PRODUCTS,
        #[cfg(target_arch = "aarch64")]
        Isa::NeonDot => neon::DOT_PRODUCTS,
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => neon::LONG_PRODUCTS,
        _ => scalar::DOT_PRODUCTS,
    }
}

/// `amount` divided by the shortest of several passes, in seconds.
fn best_rate(amount: f64, clock: impl Fn() -> Duration, mut pass: impl FnMut()) -> f64 {
    let mut shortest = Duration::MAX;
    for _ in 0..PASSES {
        let start = clock();
        pass();
        shortest = shortest.min(clock().saturating_sub(start));
    }
    amount / shortest.as_secs_f64()
}

/// Places that a thread reads from at once.
const STREAMS: usize = 4;

/// The sum of an array, without what four equal streams leave over.
fn sum(array: &[Floats]) -> f32 {
    with_simd!(Variant::best(), s => sum_streams(s, array))
}

#[inline(always)]
fn sum_streams<S: Simd>(s: S, array: &[Floats]) -> f32 {
    let len = array.len() / STREAMS;
    let mut sums = [s.splat(0.0); STREAMS];
    for i in 0..len {
        for (stream, sum) in sums.iter_mut().enumerate() {
            *sum = s.add(*sum, s.load(&array[stream * len + i].0));
        }
    }
    sums.into_iter()
        .map(|sum| crate::simd::sum_lanes(s, sum))
        .sum()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::num::NonZeroUsize;

    use super::*;

    /// A clock that goes on by a millisecond each time it is read.
    fn ticking() -> impl Fn() -> Duration {
        let ticks = Cell::new(0);
        move || {
            ticks.set(ticks.get() + 1);
            Duration::from_millis(ticks.get())
        }
    }

    fn pool() -> Pool {
        Pool::new(NonZeroUsize::new(2).unwrap())
    }

    #[test]
    fn bandwidth_is_the_bytes_read_by_the_time_taken() {
        let given = read_bandwidth(&pool(), 1 << 20, ticking()).unwrap();
        assert_eq!(given, (1 << 20) as f64 * 1000.0);
    }

    #[test]
    #[should_panic(expected = "63 bytes for 2 threads")]
    fn an_array_without_a_line_for_every_stream_is_refused() {
        let _ = read_bandwidth(&pool(), 63, ticking());
    }

    #[test]
    fn every_number_is_summed() {
        let array = vec![Floats([1.0; LANES]); 4 * 33];
        assert_eq!(sum(&array), (array.len() * LANES) as f32);
    }

    #[test]
    fn the_integer_peak_counts_two_operations_a_product_and_thread() {
        let products = dot_products(Isa::best()).products as f64;
        let given = integer_peak(&pool(), ticking());
        assert_eq!(given, 2.0 * products * 4_000_000.0 * 2.0 * 1000.0);
    }

    #[test]
    fn dot_products_end_on_every_instruction_set() {
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            assert_ne!((dot_products(isa).run)(3), 0, "{}", isa.name());
        }
    }
}
