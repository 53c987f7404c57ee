use proptest::prelude::*;

use super::*;
use crate::format::dequantize;
use crate::random::Random;
use crate::test_data::{bits, pool};

/// Relative rounding of half precision, and its absolute rounding near zero.
const HALF_STEP: f64 = 1.0 / 2048.0;
const HALF_TINY: f64 = 1.0 / (1u64 << 25) as f64;

fn quantized(format: BlockFormat, values: &[f32]) -> Vec<u8> {
    let mut bytes = vec![0xaa; format.row_bytes(values.len()).unwrap()];
    quantize(&pool(1), format, values, &mut bytes).unwrap();
    bytes
}

fn there_and_back(format: BlockFormat, values: &[f32]) -> Vec<f32> {
    let mut back = vec![0.0; values.len()];
    dequantize(format, &quantized(format, values), &mut back);
    back
}

/// Bell-shaped weights, as trained ones are: sums of twelve uniform numbers.
fn bell(random: &mut Random, len: usize, deviation: f32) -> Vec<f32> {
    let draw = |_| (0..12).map(|_| random.number()).sum::<f32>() / 2.0 * deviation;
    (0..len).map(draw).collect()
}

fn squared_error(a: &[f32], b: &[f32]) -> f64 {
    let off = a.iter().zip(b).map(|(a, b)| f64::from(a - b));
    off.map(|off| off * off).sum()
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks_exact(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn simple_formats_have_the_references_bytes() {
    let text = include_str!("../../../fixtures/quantized.txt");
    assert_eq!(text.lines().count(), 7);
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let mut formats = BlockFormat::ALL.into_iter();
        let format = formats.find(|format| format.name() == words[0]).unwrap();
        let values: Vec<f32> = from_hex(words[1])
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
            .collect();
        let found = quantized(format, &values);
        let wanted = from_hex(words[2]);
        let blocks = found
            .chunks(format.block_bytes())
            .zip(wanted.chunks(format.block_bytes()));
        for (i, (found, wanted)) in blocks.enumerate() {
            assert_eq!(found, wanted, "{} block {i}", format.name());
        }
    }
}

/// How far each value of a block of 32 may move, by the definition of the format.
fn legacy_bound(format: BlockFormat, x: &[f32]) -> f64 {
    let peak = x.iter().fold(0.0, |a: f64, b| a.max(f64::from(b.abs())));
    let (low, high) = x.iter().fold((f64::MAX, f64::MIN), |(low, high), &b| {
        (low.min(b.into()), high.max(b.into()))
    });
    let (step, levels, offset, reach) = match format {
        BlockFormat::Q8_0 => (peak / 127.0, 127.0, 0.0, 0.5),
        // The end opposite to the peak is a step short.
        BlockFormat::Q4_0 => (peak / 8.0, 8.0, 0.0, 1.0),
        BlockFormat::Q5_0 => (peak / 16.0, 16.0, 0.0, 1.0),
        BlockFormat::Q4_1 => ((high - low) / 15.0, 15.0, low.abs(), 0.5),
        BlockFormat::Q5_1 => ((high - low) / 31.0, 31.0, low.abs(), 0.5),
        _ => unreachable!("not a format of 32"),
    };
    let rounded = |x: f64| x * HALF_STEP + HALF_TINY;
    // The arithmetic itself is in single precision: some 2⁻²⁰ of the largest number in it.
    reach * step + levels * rounded(step) + rounded(offset) + (peak + offset) / f64::from(1 << 20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_value_moves_by_no_more_than_the_format_says(
        seed: u64,
        exponent in -18i32..10,
        shift in -2.0f32..2.0,
    ) {
        let mut random = Random::new(seed);
        let scale = 2f32.powi(exponent);
        let values: Vec<f32> = random.numbers(96).iter().map(|x| scale * (x + shift)).collect();
        for format in [BlockFormat::Q4_0, BlockFormat::Q4_1, BlockFormat::Q5_0, BlockFormat::Q5_1, BlockFormat::Q8_0] {
            let back = there_and_back(format, &values);
            for (x, back) in values.chunks(32).zip(back.chunks(32)) {
                let bound = legacy_bound(format, x);
                for (x, back) in x.iter().zip(back) {
                    let off = f64::from(x - back).abs();
                    prop_assert!(off <= bound, "{}: {x} became {back}, bound {bound:e}", format.name());
                }
            }
        }
    }

    #[test]
    fn k_formats_stay_within_a_step_of_the_whole_blocks_range(
        seed: u64,
        exponent in -12i32..10,
        shift in -2.0f32..2.0,
    ) {
        // A value is at most a step off where its sub-block is spanned; the search may clip the
        // ends or trade a sub-block's minimum for another's, which must never cost more than
        // quantising all 256 with one scale would: half of the range over the levels, the rounding
        // of six-bit scales and minima, 1/126 of the largest each, and that of the factor, which
        // is multiplied by up to 32·128.
        let mut random = Random::new(seed);
        let scale = 2f32.powi(exponent);
        let values: Vec<f32> = random.numbers(512).iter().map(|x| scale * (x + shift)).collect();
        for (format, levels) in [(BlockFormat::Q4K, 15.0), (BlockFormat::Q5K, 31.0), (BlockFormat::Q6K, 32.0)] {
            let back = there_and_back(format, &values);
            for (x, back) in values.chunks(256).zip(back.chunks(256)) {
                let peak = x.iter().fold(0.0, |a: f64, b| a.max(f64::from(b.abs())));
                let mean = (squared_error(x, back) / 256.0).sqrt();
                let bound = 2.0 * peak * (0.5 / levels + 2.0 / 126.0) + 4096.0 * HALF_TINY;
                prop_assert!(mean <= bound, "{}: {mean:e} > {bound:e}", format.name());
            }
        }
    }

    #[test]
    fn values_that_a_format_can_hold_stay_as_they_are(seed: u64, exponent in -6i32..4) {
        let mut random = Random::new(seed);
        let values = bell(&mut random, 512, 2f32.powi(exponent));
        for format in [BlockFormat::F32, BlockFormat::F16, BlockFormat::Bf16, BlockFormat::Q4_0, BlockFormat::Q5_0, BlockFormat::Q8_0] {
            let once = there_and_back(format, &values);
            prop_assert_eq!(bits(&there_and_back(format, &once)), bits(&once), "{}", format.name());
        }
    }

    #[test]
    fn bytes_depend_on_the_values_alone(seed: u64, format in prop::sample::select(&BlockFormat::ALL[..])) {
        let values = bell(&mut Random::new(seed), 3 * TASK_LEN + 256, 0.05);
        let mut whole = vec![0; format.row_bytes(values.len()).unwrap()];
        quantize_with(Variant::all()[0], &pool(1), format, &values, &mut whole);
        for variant in Variant::all() {
            let mut other = vec![0xff; whole.len()];
            quantize_with(variant, &pool(3), format, &values, &mut other);
            prop_assert!(other == whole, "{} {variant:?}", format.name());
        }
        let (first, rest) = values.split_at(256);
        let parts = [quantized(format, first), quantized(format, rest)].concat();
        prop_assert!(parts == whole, "{}", format.name());
    }
}

/// A quantiser without a search: the sub-block's span gives its scale, the block's largest scale
/// and minimum the factors. Only its error is of interest.
fn plain_k_error(x: &[f32], top: f32) -> f64 {
    let fits: Vec<(f32, f32)> = x
        .chunks(32)
        .map(|x| {
            let (low, high) = lanes::extremes(x);
            let min = -low.min(0.0);
            ((high + min) / top, min)
        })
        .collect();
    let d = f16::from_f32(fits.iter().map(|f| f.0).fold(0.0, f32::max) / 63.0).to_f32();
    let dmin = f16::from_f32(fits.iter().map(|f| f.1).fold(0.0, f32::max) / 63.0).to_f32();
    let back: Vec<f32> = x
        .chunks(32)
        .zip(fits)
        .flat_map(|(x, (scale, min))| {
            let scale = d * (scale / d).round();
            let min = dmin * (min / dmin).round();
            x.iter()
                .map(move |x| scale * ((x + min) / scale).round().clamp(0.0, top) - min)
        })
        .collect();
    squared_error(x, &back)
}

#[test]
fn the_search_beats_the_span_by_a_tenth_of_the_error_and_more() {
    let values = bell(&mut Random::new(5), 256 * 200, 0.04);
    for (format, top) in [(BlockFormat::Q4K, 15.0), (BlockFormat::Q5K, 31.0)] {
        let found = squared_error(&values, &there_and_back(format, &values));
        let plain: f64 = values.chunks(256).map(|x| plain_k_error(x, top)).sum();
        assert!(
            found < 0.9 * plain,
            "{}: {found} and {plain}",
            format.name()
        );
    }
}

#[test]
fn weights_far_from_zero_keep_their_spread() {
    let mut random = Random::new(7);
    for shift in [-5.0, -1.0, -0.1] {
        let values: Vec<f32> = bell(&mut random, 256 * 20, 0.05)
            .iter()
            .map(|x| x + shift)
            .collect();
        for (format, top) in [(BlockFormat::Q4K, 15.0), (BlockFormat::Q5K, 31.0)] {
            let found = squared_error(&values, &there_and_back(format, &values));
            let plain: f64 = values.chunks(256).map(|x| plain_k_error(x, top)).sum();
            assert!(
                found < plain,
                "{} at {shift}: {found} and {plain}",
                format.name()
            );
        }
    }
}

#[test]
fn more_bits_are_nearer() {
    let values = bell(&mut Random::new(6), 256 * 100, 0.04);
    let error = |format| squared_error(&values, &there_and_back(format, &values));
    let order = [
        BlockFormat::Q4_0,
        BlockFormat::Q4K,
        BlockFormat::Q5K,
        BlockFormat::Q6K,
        BlockFormat::Q8_0,
        BlockFormat::F16,
        BlockFormat::F32,
    ];
    let errors = order.map(error);
    assert!(errors.is_sorted_by(|a, b| a > b), "{errors:?}");
}

#[test]
fn blocks_without_any_spread_are_exact_or_nearly_so() {
    for format in BlockFormat::ALL {
        for value in [0.0_f32, 1.0, -1.0] {
            let back = there_and_back(format, &[value; 256]);
            for x in back {
                assert!(
                    (x - value).abs() <= 1e-3,
                    "{}: {value} became {x}",
                    format.name()
                );
            }
        }
    }
}

#[test]
fn extreme_blocks_give_finite_numbers() {
    let mut spikes = vec![1e-30_f32; 512];
    spikes[3] = 65_504.0;
    spikes[300] = -65_504.0;
    let subnormal = vec![1e-40_f32; 512];
    for format in BlockFormat::ALL {
        for values in [&spikes, &subnormal] {
            let back = there_and_back(format, values);
            assert!(back.iter().all(|x| x.is_finite()), "{}", format.name());
        }
    }
}

#[test]
fn a_value_that_does_not_fit_is_named() {
    let mut values = vec![0.5_f32; 64];
    values[40] = 70_000.0;
    let refused = |format: BlockFormat, values: &[f32]| {
        let mut bytes = vec![0; format.row_bytes(values.len()).unwrap()];
        quantize(&pool(1), format, values, &mut bytes)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        refused(BlockFormat::Q8_0, &values),
        "value 70000 at position 40 cannot be written as Q8_0, want at most 65504"
    );
    quantized(BlockFormat::Bf16, &values);
    values[40] = f32::NAN;
    assert!(refused(BlockFormat::F32, &values).starts_with("value NaN at position 40"));
}

#[test]
#[should_panic(expected = "bytes for 32 values of Q4_0")]
fn room_of_another_length_is_refused() {
    let _ = quantize(&pool(1), BlockFormat::Q4_0, &[0.0; 32], &mut [0; 17]);
}
