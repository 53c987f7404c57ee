use super::*;
use crate::test_data::{assert_near, bits, values};

#[test]
fn products_are_near_the_definition_at_every_width_and_equal_in_all_variants() {
    for columns in (1..=130).chain([384, 1_000]) {
        let (vector, rows) = (values(1, columns), values(2, 7 * columns));
        let terms = |row: &[f32]| -> Vec<f64> {
            let pairs = row.iter().zip(&vector);
            pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).collect()
        };
        let terms: Vec<Vec<f64>> = rows.chunks_exact(columns).map(terms).collect();
        let exact: Vec<f64> = terms.iter().map(|terms| terms.iter().sum()).collect();
        let relative = (columns as f64 / 64.0 + 7.0) / f64::from(1 << 24);
        let sizes = terms.iter().map(|t| t.iter().map(|x| x.abs()).sum::<f64>());
        let bounds: Vec<f64> = sizes.map(|size| relative * size).collect();
        let mut scalar = vec![f32::NAN; exact.len()];
        products_with(Variant::all()[0], &vector, &rows, &mut scalar);
        assert_near(&scalar, &exact, &bounds);
        for variant in Variant::all() {
            let mut out = vec![f32::NAN; exact.len()];
            products_with(variant, &vector, &rows, &mut out);
            assert_eq!(bits(&out), bits(&scalar), "{columns} columns, {variant:?}");
        }
    }
}

#[test]
#[should_panic(expected = "numbers of 2 rows of 3")]
fn rows_of_another_width_are_refused() {
    products(&[1.0; 3], &[1.0; 5], &mut [0.0; 2]);
}

#[test]
fn of_no_rows_there_are_no_products() {
    products(&[1.0; 3], &[], &mut []);
}
