use half::f16;

use super::*;
use crate::test_data::{assert_near, bits, values};

/// Numbers of every magnitude and both signs, zeros, infinities and the edges of the exponentials.
fn numbers() -> Vec<f32> {
    let mut x = vec![
        0.0,
        -0.0,
        1.0,
        -1.0,
        f32::MAX,
        f32::MIN,
        f32::INFINITY,
        f32::NEG_INFINITY,
    ];
    x.extend([
        f32::MIN_POSITIVE,
        126.4,
        126.6,
        127.0,
        128.0,
        -125.9,
        -126.4,
        -126.6,
        -127.5,
        0.5,
    ]);
    let mantissas = values(1, 2_000);
    x.extend(
        mantissas
            .iter()
            .enumerate()
            .map(|(i, m)| m * 2f32.powi(i as i32 % 60 - 40)),
    );
    x.resize(x.len().next_multiple_of(LANES), 0.25);
    x
}

/// `f` on all the numbers, with the numbers in reverse as its second argument.
macro_rules! on_numbers {
    ($variant:expr, |$simd:ident, $a:ident, $b:ident| $body:expr) => {{
        let (x, mut out) = (numbers(), numbers());
        with_simd!($variant, $simd => {
            let seconds = x.as_chunks::<LANES>().0.iter().rev();
            for (out, b) in out.as_chunks_mut::<LANES>().0.iter_mut().zip(seconds) {
                let ($a, $b) = ($simd.load(out), $simd.load(b));
                $simd.store($body, out);
            }
        });
        out
    }};
}

fn every_operation(variant: Variant) -> Vec<Vec<u32>> {
    [
        on_numbers!(variant, |s, a, b| s.add(a, b)),
        on_numbers!(variant, |s, a, b| s.sub(a, b)),
        on_numbers!(variant, |s, a, b| s.mul(a, b)),
        on_numbers!(variant, |s, a, b| s.div(a, b)),
        on_numbers!(variant, |s, a, b| s.fma(a, b, s.splat(0.3))),
        on_numbers!(variant, |s, a, b| s.max(a, b)),
        on_numbers!(variant, |s, a, b| s.min(a, b)),
        on_numbers!(variant, |s, a, _b| s.swap_pairs(a)),
        on_numbers!(variant, |s, a, _b| s.shift_into_exponent(a)),
        on_numbers!(variant, |s, a, _b| exp2(s, a)),
        on_numbers!(variant, |s, a, _b| exp(s, a)),
        on_numbers!(variant, |s, a, _b| sigmoid(s, a)),
        on_numbers!(variant, |s, a, _b| s.splat(sum_lanes(s, a))),
        on_numbers!(variant, |s, a, _b| s.splat(horizontal_max(s, a))),
        on_numbers!(variant, |s, a, _b| {
            let mut halves = [f16::ZERO; LANES];
            s.store_f16(a, &mut halves);
            s.load_f16(&halves)
        }),
        on_numbers!(variant, |s, a, _b| {
            let number = s.max(a, s.splat(-127.0));
            let mut integers = [0; LANES];
            s.store_i8(s.min(number, s.splat(127.0)), &mut integers);
            s.load_i8(&integers)
        }),
    ]
    .iter()
    // All NaNs are one: their payloads are the processor's business.
    .map(|x| {
        x.iter()
            .map(|x| if x.is_nan() { u32::MAX } else { x.to_bits() })
            .collect()
    })
    .collect()
}

#[test]
fn every_variant_does_what_the_scalar_one_does() {
    let scalar = every_operation(Variant::all()[0]);
    for variant in Variant::all() {
        for (i, (found, expected)) in every_operation(variant).iter().zip(&scalar).enumerate() {
            assert_eq!(found, expected, "operation {i} of {variant:?}");
        }
    }
}

#[test]
fn half_precision_is_that_of_the_half_crate() {
    for variant in Variant::all() {
        let found = on_numbers!(variant, |s, a, _b| {
            let mut halves = [f16::ZERO; LANES];
            s.store_f16(a, &mut halves);
            s.load_f16(&halves)
        });
        let expected: Vec<f32> = numbers()
            .iter()
            .map(|x| f16::from_f32(*x).to_f32())
            .collect();
        assert_eq!(bits(&found), bits(&expected), "{variant:?}");
    }
}

#[test]
fn exp2_is_within_its_bound_between_its_limits() {
    let mut x: Vec<f32> = (-12_600..12_650).map(|i| i as f32 / 100.0).collect();
    x.resize(x.len().next_multiple_of(LANES), 0.0);
    let exact: Vec<f64> = x.iter().map(|x| f64::from(*x).exp2()).collect();
    let bounds: Vec<f64> = exact.iter().map(|y| y / f64::from(1 << 23)).collect();
    let mut out = x;
    for lanes in out.as_chunks_mut::<LANES>().0 {
        with_simd!(Variant::best(), s => s.store(exp2(s, s.load(lanes)), lanes));
    }
    assert_near(&out, &exact, &bounds);
}

#[test]
fn exp2_is_exact_where_softmax_needs_it() {
    let mut lanes = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        10.0,
        -126.6,
        -127.0,
        -1e30,
        f32::NEG_INFINITY,
        f32::NAN,
    ]
    .into_iter()
    .chain([0.0; 6])
    .collect::<Vec<f32>>();
    let lanes: &mut [f32; LANES] = lanes.as_mut_slice().try_into().unwrap();
    with_simd!(Variant::best(), s => s.store(exp2(s, s.load(lanes)), lanes));
    assert_eq!(lanes[..9], [1.0, 1.0, 2.0, 0.5, 1024.0, 0.0, 0.0, 0.0, 0.0]);
    assert!(lanes[9].is_nan());
}
