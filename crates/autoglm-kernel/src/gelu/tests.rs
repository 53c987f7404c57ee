use super::*;
use crate::test_data::{assert_near, bits, pool, values};

/// `erfc(z)` for `z ≥ 0` in double precision: Taylor's series of erf near zero, Laplace's continued
/// fraction from the back farther out.
fn erfc_exact(z: f64) -> f64 {
    if z < 2.5 {
        let (mut term, mut sum) = (z, z);
        for n in 1..100 {
            term *= -z * z / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        return 1.0 - 2.0 / std::f64::consts::PI.sqrt() * sum;
    }
    let fraction = (1..=120)
        .rev()
        .fold(z, |rest, n| z + f64::from(n) / 2.0 / rest);
    (-z * z).exp() / fraction / std::f64::consts::PI.sqrt()
}

fn exact(x: f64) -> (f64, f64) {
    let complement = erfc_exact(x.abs() / std::f64::consts::SQRT_2);
    let part = x.abs() / 2.0 * complement;
    let y = x.max(0.0) - part;
    let relative = 2f64.powi(-20) + x * x * 2f64.powi(-23);
    let bound = part * relative + y.abs() * 2f64.powi(-23) + x.abs() * 2f64.powi(-126);
    (y, bound + 1e-14)
}

fn check(x: &[f32]) {
    let (exacts, bounds): (Vec<f64>, Vec<f64>) = x.iter().map(|x| exact(f64::from(*x))).unzip();
    let mut scalar = x.to_vec();
    gelu_with(Variant::all()[0], &pool(1), &mut scalar);
    assert_near(&scalar, &exacts, &bounds);
    for variant in Variant::all() {
        for threads in [1, 3] {
            let mut found = x.to_vec();
            gelu_with(variant, &pool(threads), &mut found);
            assert_eq!(bits(&found), bits(&scalar), "{variant:?}");
        }
    }
}

#[test]
fn the_oracle_knows_the_error_function() {
    // Abramowitz and Stegun, Handbook of Mathematical Functions, tables 7.1 and 7.3.
    for (z, wanted) in [
        (0.5, 0.479_500_122_2),
        (1.0, 0.157_299_207_1),
        (2.0, 0.004_677_734_981),
    ] {
        assert!((erfc_exact(z) / wanted - 1.0).abs() < 1e-9, "erfc({z})");
    }
    let [below, above] = [2.499_999_999, 2.5].map(erfc_exact);
    assert!((above / below - 1.0).abs() < 1e-7);
}

#[test]
fn values_are_near_the_definition_at_every_length_and_equal_in_all_variants() {
    for len in (0..=130).chain([20_000, 30_007]) {
        let x: Vec<f32> = values(1, len).iter().map(|x| x * 6.0).collect();
        check(&x);
    }
    check(
        &values(2, 10_000)
            .iter()
            .map(|x| x * 0.01)
            .collect::<Vec<_>>(),
    );
    check(
        &values(3, 10_000)
            .iter()
            .map(|x| x * 14.0)
            .collect::<Vec<_>>(),
    );
}

#[test]
fn large_values_pass_or_vanish_and_nan_stays() {
    let mut x = [-1e30, -200.0, -14.0, -0.0, 0.0, 14.0, 200.0, 1e30, f32::NAN];
    gelu(&pool(1), &mut x);
    assert_eq!(x[..8], [0.0, 0.0, x[2], 0.0, 0.0, 14.0, 200.0, 1e30]);
    assert!(x[2].abs() < 1e-37 && x[8].is_nan(), "{x:?}");
}
