use super::*;
use crate::test_data::{assert_near, bits, values};

fn row(seed: u64, len: usize, amplitude: f32) -> Vec<f32> {
    values(seed, len).iter().map(|x| x * amplitude).collect()
}

fn exact_log_sum_exp(x: &[f32]) -> f64 {
    let greatest = x
        .iter()
        .map(|x| f64::from(*x))
        .fold(f64::NEG_INFINITY, f64::max);
    greatest
        + x.iter()
            .map(|x| (f64::from(*x) - greatest).exp())
            .sum::<f64>()
            .ln()
}

#[test]
fn log_sum_exp_and_softmax_are_near_the_definition_at_every_length() {
    for len in (1..=130).chain([1_023, 1_024, 1_025, 5_000, 262_144]) {
        for amplitude in [0.0, 1.0, 40.0, 1e4] {
            let x = row(len as u64, len, amplitude);
            let exact = exact_log_sum_exp(&x);
            let scalar = log_sum_exp_with(Variant::all()[0], &x);
            let bound = 2f64.powi(-16) + exact.abs() * 2f64.powi(-24);
            assert_near(&[scalar], &[exact], &[bound]);

            let shares: Vec<f64> = x.iter().map(|x| (f64::from(*x) - exact).exp()).collect();
            let bounds: Vec<f64> = shares.iter().map(|p| p * 2f64.powi(-15) + 1e-37).collect();
            for variant in Variant::all() {
                assert_eq!(log_sum_exp_with(variant, &x).to_bits(), scalar.to_bits());
                let mut found = x.clone();
                softmax_with(variant, &mut found);
                assert_near(&found, &shares, &bounds);
            }
        }
    }
}

#[test]
fn variants_agree_on_softmax() {
    let x = row(3, 1_037, 20.0);
    let mut scalar = x.clone();
    softmax_with(Variant::all()[0], &mut scalar);
    for variant in Variant::all() {
        let mut found = x.clone();
        softmax_with(variant, &mut found);
        assert_eq!(bits(&found), bits(&scalar), "{variant:?}");
    }
}

#[test]
fn elements_that_are_ruled_out_get_no_share() {
    let mut x = [0.0, f32::NEG_INFINITY, 0.0, -1e30];
    softmax(&mut x);
    assert_eq!(x, [0.5, 0.0, 0.5, 0.0]);
    assert_eq!(log_sum_exp(&[f32::NEG_INFINITY, 3.0]), 3.0);
}

#[test]
fn the_log_of_no_exponentials_is_minus_infinity() {
    assert_eq!(log_sum_exp(&[]), f32::NEG_INFINITY);
    assert_eq!(log_sum_exp(&[f32::NEG_INFINITY; 20]), f32::NEG_INFINITY);
}

#[test]
fn argmax_finds_the_first_of_the_greatest() {
    for variant in Variant::all() {
        for len in 1..=130 {
            for at in 0..len {
                let mut x = row(len as u64, len, 1.0);
                x[at] = 5.0;
                x[len - 1] = 5.0;
                assert_eq!(
                    argmax_with(variant, &x),
                    at.min(len - 1),
                    "{len} elements, {variant:?}"
                );
            }
        }
        assert_eq!(
            argmax_with(variant, &[f32::NAN, -2.0, f32::NAN, -1.0, f32::NAN]),
            3
        );
        assert_eq!(argmax_with(variant, &[f32::NEG_INFINITY; 40]), 0);
        let mut long = row(1, 5_000, 1.0);
        (long[3_000], long[4_000]) = (2.0, 2.0);
        assert_eq!(argmax_with(variant, &long), 3_000);
    }
}

#[test]
#[should_panic(expected = "argmax of 0 elements")]
fn argmax_of_nothing_is_refused() {
    argmax(&[]);
}
