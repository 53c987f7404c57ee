use std::num::NonZeroUsize;

use proptest::prelude::*;

use super::{PackedMatrix, STRIPE_BYTES};
use crate::error::KernelError;
use crate::format::{BlockFormat, dequantize};
use crate::pool::Pool;
use crate::random::{Random, random_weights};

fn pool() -> Pool {
    Pool::new(NonZeroUsize::new(2).unwrap())
}

fn check_rows(format: BlockFormat, rows: usize, cols: usize, bytes: &[u8]) {
    let packed = PackedMatrix::pack(&pool(), format, rows, cols, bytes).unwrap();
    let (mut wanted, mut given) = (vec![0.0; cols], vec![f32::NAN; cols]);
    for (row, bytes) in bytes.chunks_exact(bytes.len() / rows).enumerate() {
        dequantize(format, bytes, &mut wanted);
        packed.dequantize_row(row, &mut given);
        for (column, (given, wanted)) in given.iter().zip(&wanted).enumerate() {
            assert!(
                given.to_bits() == wanted.to_bits() || given.is_nan() && wanted.is_nan(),
                "{} row {row} column {column}: {given} instead of {wanted}",
                format.name()
            );
        }
    }
}

#[test]
fn a_packed_row_reads_as_the_bytes_it_came_from() {
    let mut random = Random::new(1);
    for format in BlockFormat::ALL {
        for rows in [1, 15, 16, 17, 35] {
            for blocks in [1, 2, 3] {
                let cols = blocks * format.block_len();
                let bytes = random_weights(&mut random, format, rows, cols);
                check_rows(format, rows, cols, &bytes);
            }
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_can_be_packed_and_read(
        bytes in proptest::collection::vec(any::<u8>(), 210 * 3),
        format in proptest::sample::select(&BlockFormat::ALL),
    ) {
        let cols = bytes.len() / 3 / format.block_bytes() * format.block_len();
        let used = 3 * format.row_bytes(cols).unwrap();
        check_rows(format, 3, cols, &bytes[..used]);
    }
}

#[test]
fn a_row_that_is_no_whole_number_of_blocks_is_an_error() {
    let error = PackedMatrix::pack(&pool(), BlockFormat::Q4K, 2, 128, &[0; 144]).err();
    let wanted = KernelError::Shape {
        format: "Q4_K",
        rows: 2,
        cols: 128,
        block_len: 256,
    };
    assert_eq!(error, Some(wanted));
}

#[test]
fn an_empty_matrix_is_an_error() {
    for (rows, cols) in [(0, 32), (1, 0)] {
        let packed = PackedMatrix::pack(&pool(), BlockFormat::Q8_0, rows, cols, &[]);
        assert!(matches!(packed, Err(KernelError::Shape { .. })));
    }
}

#[test]
fn bytes_that_do_not_match_the_shape_are_an_error() {
    let error = PackedMatrix::pack(&pool(), BlockFormat::Q8_0, 3, 64, &[0; 200]).err();
    let wanted = KernelError::Length {
        format: "Q8_0",
        rows: 3,
        cols: 64,
        wanted_bytes: 204,
        given_bytes: 200,
    };
    assert_eq!(error, Some(wanted));
}

#[test]
fn a_size_that_overflows_is_an_error() {
    let rows = usize::MAX / 2;
    let packed = PackedMatrix::pack(&pool(), BlockFormat::F32, rows, 32, &[]);
    assert!(matches!(packed, Err(KernelError::TooLarge { .. })));
}

#[test]
fn packing_keeps_the_bits_of_the_format() {
    let mut random = Random::new(2);
    for format in BlockFormat::ALL {
        let bytes = random_weights(&mut random, format, 32, 512);
        let packed = PackedMatrix::pack(&pool(), format, 32, 512, &bytes).unwrap();
        // The 12 bytes of 6-bit scales of Q4_K and Q5_K become 16.
        let limit = bytes.len() * 148 / 144;
        assert!(packed.size_bytes() <= limit, "{}", format.name());
    }
}

#[test]
fn a_large_matrix_gives_its_bytes_back_stripe_by_stripe() {
    let (rows, cols) = (2 * STRIPE_BYTES / 4096 + 9, 1024);
    let mut bytes = vec![0; rows * cols * 4];
    for (row, bytes) in bytes.chunks_exact_mut(cols * 4).enumerate() {
        bytes[..4].copy_from_slice(&(row as f32).to_le_bytes());
    }
    let (mut parts, mut given_back) = (0, 0);
    let mut packed = |part: &[u8]| {
        assert_eq!(part.as_ptr(), bytes[given_back..].as_ptr());
        (parts, given_back) = (parts + 1, given_back + part.len());
    };
    let format = BlockFormat::F32;
    let matrix =
        PackedMatrix::pack_in_stripes(&pool(), format, (rows, cols), &bytes, &mut packed).unwrap();
    assert_eq!((parts, given_back), (3, bytes.len()));
    let mut row = vec![1.0; cols];
    for (index, bytes) in bytes.chunks_exact(cols * 4).enumerate() {
        matrix.dequantize_row(index, &mut row);
        assert_eq!(row[0].to_le_bytes(), bytes[..4]);
        assert_eq!(row[1], 0.0);
    }
}
