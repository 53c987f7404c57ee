use super::*;
use crate::test_data::{assert_near, bits, pool, values};

fn params(style: RopeStyle, width: usize, rotated: usize) -> RopeParams {
    RopeParams {
        style,
        width,
        rotated,
        base: 10_000.0,
        position_scale: 1.0,
        frequency_factors: None,
    }
}

/// The definition in double precision, and how far a result may be from it.
fn exact(params: &RopeParams, positions: &[u32], heads: usize, x: &[f32]) -> (Vec<f64>, Vec<f64>) {
    let mut out: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
    let mut bounds = vec![0.0; x.len()];
    for (row, head) in out.chunks_exact_mut(params.width).enumerate() {
        let bounds = &mut bounds[row * params.width..][..params.width];
        let position = f64::from(positions[row / heads]);
        for pair in 0..params.rotated / 2 {
            let (a, b) = match params.style {
                RopeStyle::Interleaved => (2 * pair, 2 * pair + 1),
                RopeStyle::HalfSplit => (pair, pair + params.rotated / 2),
            };
            let factor = params
                .frequency_factors
                .as_ref()
                .map_or(1.0, |f| f64::from(f[pair]));
            let frequency = params.base.powf(-2.0 * pair as f64 / params.rotated as f64);
            let (sin, cos) = (position * params.position_scale * frequency / factor).sin_cos();
            let (x, y) = (head[a], head[b]);
            head[a] = x * cos - y * sin;
            head[b] = x * sin + y * cos;
            // Two roundings of the table, two of the arithmetic, and the angle's own at large ones.
            let bound = (x.abs() + y.abs()) * 3.0 / f64::from(1 << 24);
            (bounds[a], bounds[b]) = (bound, bound);
        }
    }
    (out, bounds)
}

fn check(params: &RopeParams, positions: &[u32], heads: usize) {
    let table = RopeTable::new(params, 40_000);
    let x = values(1, positions.len() * heads * params.width);
    let (exact, bounds) = exact(params, positions, heads, &x);
    let mut scalar = x.clone();
    rope_with(
        Variant::all()[0],
        &pool(1),
        &table,
        positions,
        heads,
        &mut scalar,
    );
    assert_near(&scalar, &exact, &bounds);
    for variant in Variant::all() {
        for threads in [1, 3] {
            let mut found = x.clone();
            rope_with(
                variant,
                &pool(threads),
                &table,
                positions,
                heads,
                &mut found,
            );
            assert_eq!(bits(&found), bits(&scalar), "{params:?}, {variant:?}");
        }
    }
}

#[test]
fn heads_are_rotated_as_the_definition_says_in_every_style_width_and_variant() {
    for style in [RopeStyle::Interleaved, RopeStyle::HalfSplit] {
        for (width, rotated) in [
            (64, 64),
            (128, 64),
            (256, 256),
            (80, 32),
            (10, 6),
            (96, 72),
            (4, 0),
        ] {
            check(
                &params(style, width, rotated),
                &[0, 1, 2, 255, 256, 1_000, 39_999, 7],
                3,
            );
        }
    }
}

#[test]
fn many_rows_are_rotated_by_all_threads() {
    let positions: Vec<u32> = (300..600).collect();
    check(&params(RopeStyle::HalfSplit, 64, 64), &positions, 2);
}

#[test]
fn scaled_positions_and_frequency_factors_slow_the_rotation() {
    let plain = params(RopeStyle::HalfSplit, 64, 64);
    check(
        &RopeParams {
            position_scale: 0.125,
            base: 1e6,
            ..plain.clone()
        },
        &[5, 1_000],
        2,
    );
    let factors: Vec<f32> = (0..32).map(|i| 1.0 + i as f32 / 4.0).collect();
    check(
        &RopeParams {
            frequency_factors: Some(factors),
            ..plain
        },
        &[5, 1_000],
        2,
    );
}

#[test]
fn position_0_and_the_dimensions_behind_the_rotated_ones_stay() {
    let table = RopeTable::new(&params(RopeStyle::Interleaved, 128, 64), 100);
    let x = values(1, 2 * 128);
    let mut found = x.clone();
    rope(&pool(1), &table, &[0, 3], 1, &mut found);
    assert_eq!(found[..128], x[..128]);
    assert_eq!(found[128 + 64..], x[128 + 64..]);
    assert!(
        found[128..128 + 64]
            .iter()
            .zip(&x[128..])
            .all(|(found, x)| found != x)
    );
}

#[test]
#[should_panic(expected = "rope: position 100 in a table of 100 positions")]
fn a_position_behind_the_table_is_refused() {
    let table = RopeTable::new(&params(RopeStyle::HalfSplit, 4, 4), 100);
    rope(&pool(1), &table, &[99, 100], 1, &mut [0.0; 8]);
}

#[test]
#[should_panic(expected = "rope: x has not 2 rows of 3 heads of 4")]
fn a_wrong_length_is_refused() {
    let table = RopeTable::new(&params(RopeStyle::HalfSplit, 4, 4), 100);
    rope(&pool(1), &table, &[1, 2], 3, &mut [0.0; 20]);
}

#[test]
#[should_panic(expected = "rope: 7 rotated dimensions in a head of 8")]
fn half_a_pair_is_refused() {
    RopeTable::new(&params(RopeStyle::HalfSplit, 8, 7), 100);
}
