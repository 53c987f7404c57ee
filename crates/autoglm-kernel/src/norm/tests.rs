use super::*;
use crate::test_data::{assert_near, bits, pool, values};

const EPS: f32 = 1e-6;

/// The definition in double precision, and how far a result may be from it.
fn exact(x: &[f32], weight: &[f32]) -> (Vec<f64>, Vec<f64>) {
    let columns = weight.len();
    let half_step = 1.0 / f64::from(1 << 24);
    let relative = (columns as f64 / 128.0 + 4.0 + 5.0) * half_step;
    let row = |row: &[f32]| -> Vec<f64> {
        let squares: f64 = row.iter().map(|x| f64::from(*x).powi(2)).sum();
        let inverse = 1.0 / (squares / columns as f64 + f64::from(EPS)).sqrt();
        row.iter()
            .zip(weight)
            .map(|(x, w)| f64::from(*x) * inverse * f64::from(*w))
            .collect()
    };
    let out: Vec<f64> = x.chunks_exact(columns).flat_map(row).collect();
    let bounds = out.iter().map(|y| y.abs() * relative).collect();
    (out, bounds)
}

#[test]
fn rows_are_near_the_definition_at_every_width_and_equal_in_all_variants() {
    for columns in (1..=130).chain([576, 640, 2_000]) {
        let (x, weight) = (values(1, 30 * columns), values(2, columns));
        let (exact, bounds) = exact(&x, &weight);
        let mut scalar = vec![0.0; x.len()];
        rms_norm_with(Variant::all()[0], &pool(1), &x, &weight, EPS, &mut scalar);
        assert_near(&scalar, &exact, &bounds);
        for variant in Variant::all() {
            for threads in [1, 3] {
                let pool = pool(threads);
                let (mut out, mut in_place) = (vec![f32::NAN; x.len()], x.clone());
                rms_norm_with(variant, &pool, &x, &weight, EPS, &mut out);
                rms_norm_in_place_with(variant, &pool, &mut in_place, &weight, EPS);
                assert_eq!(bits(&out), bits(&scalar), "{columns} columns, {variant:?}");
                assert_eq!(
                    bits(&in_place),
                    bits(&scalar),
                    "{columns} columns, {variant:?}"
                );
            }
        }
    }
}

#[test]
fn rows_of_zeros_stay_zeros() {
    let mut x = [0.0; 64];
    rms_norm_in_place(&pool(1), &mut x, &[2.0; 32], EPS);
    assert_eq!(x, [0.0; 64]);
}

#[test]
fn a_row_does_not_depend_on_the_others() {
    let (x, weight) = (values(1, 50 * 640), values(2, 640));
    let (mut batch, mut single) = (vec![0.0; x.len()], vec![0.0; 640]);
    rms_norm(&pool(2), &x, &weight, EPS, &mut batch);
    for (x, batch) in x.chunks_exact(640).zip(batch.chunks_exact(640)) {
        rms_norm(&pool(1), x, &weight, EPS, &mut single);
        assert_eq!(bits(&single), bits(batch));
    }
}

#[test]
#[should_panic(expected = "rms_norm: 10 elements are not rows of 4")]
fn a_part_of_a_row_is_refused() {
    rms_norm(&pool(1), &[0.0; 10], &[0.0; 4], EPS, &mut [0.0; 10]);
}
