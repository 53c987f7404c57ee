use super::*;
use crate::test_data::{assert_near, bits, pool, values};

const EPS: f32 = 1e-12;

/// The definition in double precision, and how far a result may be from it.
fn exact(x: &[f32], weight: &[f32], bias: &[f32]) -> (Vec<f64>, Vec<f64>) {
    let columns = weight.len() as f64;
    let half_step = 1.0 / f64::from(1 << 24);
    let (mut out, mut bounds) = (Vec::new(), Vec::new());
    for row in x.chunks_exact(weight.len()) {
        let row: Vec<f64> = row.iter().map(|x| f64::from(*x)).collect();
        let mean = row.iter().sum::<f64>() / columns;
        let magnitude = row.iter().map(|x| x.abs()).sum::<f64>() / columns;
        let squares: f64 = row.iter().map(|x| (x - mean).powi(2)).sum();
        let inverse = 1.0 / (squares / columns + f64::from(EPS)).sqrt();
        let mean_error = (columns / 64.0 + 8.0) * half_step * magnitude;
        let relative = (columns / 128.0 + 4.0 + 7.0) * half_step;
        for ((x, w), b) in row.iter().zip(weight).zip(bias) {
            let (w, b) = (f64::from(*w), f64::from(*b));
            let normalised = (x - mean) * inverse;
            out.push(normalised * w + b);
            let of_mean = mean_error * inverse * w.abs();
            bounds.push(of_mean + (normalised * w).abs() * relative + b.abs() * half_step);
        }
    }
    (out, bounds)
}

#[test]
fn rows_are_near_the_definition_at_every_width_and_equal_in_all_variants() {
    for columns in (2..=130).chain([384, 1_000]) {
        let x: Vec<f32> = values(1, 30 * columns).iter().map(|x| x + 0.5).collect();
        let (weight, bias) = (values(2, columns), values(3, columns));
        let (exact, bounds) = exact(&x, &weight, &bias);
        let mut scalar = x.clone();
        let scalar_variant = Variant::all()[0];
        layer_norm_in_place_with(scalar_variant, &pool(1), &mut scalar, (&weight, &bias), EPS);
        assert_near(&scalar, &exact, &bounds);
        for variant in Variant::all() {
            for threads in [1, 3] {
                let mut found = x.clone();
                let pool = pool(threads);
                layer_norm_in_place_with(variant, &pool, &mut found, (&weight, &bias), EPS);
                assert_eq!(
                    bits(&found),
                    bits(&scalar),
                    "{columns} columns, {variant:?}"
                );
            }
        }
    }
}

#[test]
fn a_row_without_deviations_becomes_the_bias() {
    let (mut x, bias) = ([0.75; 64], values(1, 32));
    layer_norm_in_place(&pool(1), &mut x, &[2.0; 32], &bias, 1e-6);
    assert_eq!(x, [&bias[..], &bias].concat()[..]);
}

#[test]
fn a_row_does_not_depend_on_the_others() {
    let (x, weight, bias) = (values(1, 50 * 384), values(2, 384), values(3, 384));
    let mut batch = x.clone();
    layer_norm_in_place(&pool(2), &mut batch, &weight, &bias, EPS);
    for (x, batch) in x.chunks_exact(384).zip(batch.chunks_exact(384)) {
        let mut single = x.to_vec();
        layer_norm_in_place(&pool(1), &mut single, &weight, &bias, EPS);
        assert_eq!(bits(&single), bits(batch));
    }
}

#[test]
#[should_panic(expected = "layer_norm: 10 elements are not rows of 4")]
fn a_part_of_a_row_is_refused() {
    layer_norm_in_place(&pool(1), &mut [0.0; 10], &[0.0; 4], &[0.0; 4], EPS);
}

#[test]
#[should_panic(expected = "layer_norm: weight and bias differ in length")]
fn a_bias_of_another_length_is_refused() {
    layer_norm_in_place(&pool(1), &mut [0.0; 8], &[0.0; 4], &[0.0; 8], EPS);
}
