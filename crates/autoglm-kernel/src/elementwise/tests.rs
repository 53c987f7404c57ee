use super::*;
use crate::test_data::{bits, pool, values};

#[test]
fn sums_and_products_are_those_of_single_elements_at_every_length() {
    let pool = pool(2);
    for variant in Variant::all() {
        for len in (0..=130).chain([20_000, 20_011]) {
            let (x, y) = (values(1, len + 1), values(2, len));
            let x = &x[1..];
            let expected: Vec<f32> = x.iter().zip(&y).map(|(x, y)| x + y).collect();
            let mut found = x.to_vec();
            add_assign_with(variant, &pool, &mut found, &y);
            assert_eq!(found, expected, "{len} sums, {variant:?}");

            let expected: Vec<f32> = x.iter().map(|x| x * 0.3).collect();
            let mut found = x.to_vec();
            scale_with(variant, &pool, &mut found, 0.3);
            assert_eq!(found, expected, "{len} products, {variant:?}");
        }
    }
}

#[test]
fn a_bias_is_added_to_every_row() {
    for columns in (1..=40).chain([1_000]) {
        let (x, bias) = (values(1, 70 * columns), values(2, columns));
        let expected: Vec<f32> = x
            .iter()
            .zip(bias.iter().cycle())
            .map(|(x, b)| x + b)
            .collect();
        for variant in Variant::all() {
            for threads in 1..=3 {
                let mut found = x.clone();
                add_bias_with(variant, &pool(threads), &mut found, &bias);
                assert_eq!(
                    bits(&found),
                    bits(&expected),
                    "{columns} columns, {variant:?}"
                );
            }
        }
    }
}

#[test]
fn a_task_gets_whole_units_and_not_too_few() {
    let pool = pool(2);
    assert_eq!(chunk_len(&pool, 100, 16), 8 * 1024);
    assert_eq!(chunk_len(&pool, 100, 1_000), 9_000);
    assert_eq!(chunk_len(&pool, 1_000_000, 1_000), 500_000);
    assert_eq!(chunk_len(&pool, 999_000, 1_000), 500_000);
}

#[test]
#[should_panic(expected = "add_assign: x and y differ in length")]
fn different_lengths_are_refused() {
    add_assign(&pool(1), &mut [0.0; 3], &[0.0; 4]);
}

#[test]
#[should_panic(expected = "add_bias: 10 elements are not rows of 4")]
fn a_part_of_a_row_is_refused() {
    add_bias(&pool(1), &mut [0.0; 10], &[0.0; 4]);
}
