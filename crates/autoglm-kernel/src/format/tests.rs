use super::{BlockFormat, dequantize};

/// The lines of the fixture: format, bytes of the blocks, values.
fn golden() -> Vec<(BlockFormat, Vec<u8>, Vec<f32>)> {
    let text = include_str!("../../fixtures/quant_formats.txt");
    text.lines().map(golden_line).collect()
}

fn golden_line(line: &str) -> (BlockFormat, Vec<u8>, Vec<f32>) {
    let words: Vec<&str> = line.split(' ').collect();
    let format = BlockFormat::ALL
        .into_iter()
        .find(|format| format.name() == words[0])
        .unwrap();
    let values = from_hex(words[2])
        .chunks_exact(4)
        .map(|bits| f32::from_le_bytes(bits.try_into().unwrap()))
        .collect();
    (format, from_hex(words[1]), values)
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks_exact(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn every_format_is_read_bit_for_bit_as_the_reference_reads_it() {
    let golden = golden();
    assert_eq!(golden.len(), BlockFormat::ALL.len() - 1, "all but F32");
    for (format, bytes, wanted) in golden {
        let mut values = vec![0.0; wanted.len()];
        dequantize(format, &bytes, &mut values);
        for (i, (value, wanted)) in values.iter().zip(&wanted).enumerate() {
            assert_eq!(
                value.to_bits(),
                wanted.to_bits(),
                "{} value {i}: {value} instead of {wanted}",
                format.name()
            );
        }
    }
}

#[test]
fn single_precision_is_read_as_it_is() {
    let numbers = [1.5_f32, -0.0, f32::MAX, 1e-42];
    let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
    let mut values = [0.0; 4];
    dequantize(BlockFormat::F32, &bytes, &mut values);
    assert_eq!(values.map(f32::to_bits), numbers.map(f32::to_bits));
}

#[test]
fn a_row_is_a_whole_number_of_blocks() {
    assert_eq!(BlockFormat::Q4_0.row_bytes(64), Some(36));
    assert_eq!(BlockFormat::Q4_0.row_bytes(65), None);
    assert_eq!(BlockFormat::Q6K.row_bytes(512), Some(420));
    assert_eq!(BlockFormat::Q6K.row_bytes(128), None);
    assert_eq!(BlockFormat::F32.row_bytes(usize::MAX), None);
}

#[test]
#[should_panic(expected = "bytes for 32 values of Q4_0")]
fn bytes_of_another_length_are_refused() {
    dequantize(BlockFormat::Q4_0, &[0; 17], &mut [0.0; 32]);
}
