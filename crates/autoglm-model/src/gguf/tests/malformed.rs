//! Whatever is wrong with a file, opening it says what and where.

use super::super::writer::{TestTensor, Writer, array};
use super::{read, refusal, small, vector};
use crate::GgufFile;

fn refusal_of_bytes(bytes: &[u8]) -> String {
    GgufFile::from_bytes(bytes.to_vec())
        .unwrap_err()
        .to_string()
}

#[test]
fn a_file_cut_at_any_byte_is_refused() {
    let whole = small().build();
    assert!(GgufFile::from_bytes(whole.clone()).is_ok());
    for len in 0..whole.len() {
        let message = refusal_of_bytes(&whole[..len]);
        assert!(!message.contains('\n'), "cut at {len}: {message}");
    }
}

#[test]
fn a_cut_file_is_refused_with_the_place_and_the_sizes() {
    let whole = small().build();
    assert_eq!(
        refusal_of_bytes(&whole[..6]),
        "the file ends within the header: 4 bytes are wanted at byte 4, 2 are left"
    );
    assert_eq!(
        refusal_of_bytes(&whole[..whole.len() - 1]),
        "tensor two takes 32 bytes at offset 32, the file has 63 bytes of tensor data"
    );
}

#[test]
fn an_empty_file_is_refused() {
    assert_eq!(
        refusal_of_bytes(b""),
        "not a GGUF file: it starts with \"\", a GGUF file starts with \"GGUF\""
    );
}

#[test]
fn other_versions_are_refused_and_version_2_is_read() {
    let mut file = small();
    file.version = 2;
    assert_eq!(read(&file).version(), 2);
    file.version = 1;
    assert_eq!(
        refusal(&file),
        "the file is GGUF version 1, versions 2 and 3 are read"
    );
    file.version = 4;
    assert_eq!(
        refusal(&file),
        "the file is GGUF version 4, versions 2 and 3 are read"
    );
    file.version = 3_u32.swap_bytes();
    assert_eq!(
        refusal(&file),
        "the file is big-endian GGUF version 3, only little-endian files are read"
    );
}

#[test]
fn absurd_counts_are_refused_before_anything_is_read() {
    for absurd in [1 << 20, u64::MAX] {
        let mut file = small();
        file.tensor_count = Some(absurd);
        let message = refusal(&file);
        assert!(
            message.starts_with(&format!("the number of tensors is {absurd}, but")),
            "{message}"
        );
        let mut file = small();
        file.entry_count = Some(absurd);
        let message = refusal(&file);
        assert!(
            message.starts_with(&format!("the number of metadata entries is {absurd}, but")),
            "{message}"
        );
    }
}

#[test]
fn absurd_lengths_of_arrays_and_strings_are_refused() {
    for element in [0, 4, 8, 9, 10] {
        let file = Writer::new().raw("list", 9, &array(element, u64::MAX, &[]));
        assert!(
            refusal(&file).starts_with(
                "the length of a metadata array is 18446744073709551615, \
                 but the rest of the file holds"
            ),
            "element type {element}"
        );
    }
    let file = Writer::new().raw("text", 8, &(1_u64 << 40).to_le_bytes());
    assert!(refusal(&file).starts_with(
        "the file ends within a metadata string: 1099511627776 bytes are wanted at byte"
    ));
    let long = "k".repeat(70_000);
    assert_eq!(
        refusal(&Writer::new().u32(&long, 0)),
        "a metadata key at byte 24 has 70000 bytes, 65535 are allowed"
    );
}

#[test]
fn unknown_value_types_are_refused_by_number() {
    assert_eq!(
        refusal(&Writer::new().raw("odd", 13, &[0; 8])),
        "metadata key odd has value type 13, GGUF defines 0 to 12"
    );
    assert_eq!(
        refusal(&Writer::new().raw("odd", 9, &array(77, 1, &[0; 8]))),
        "metadata key odd has value type 77, GGUF defines 0 to 12"
    );
}

#[test]
fn a_bool_that_is_neither_is_refused() {
    assert_eq!(
        refusal(&Writer::new().raw("flag", 7, &[2])),
        "metadata key flag holds 2 as a bool, want 0 or 1"
    );
}

#[test]
fn arrays_of_arrays_are_read_to_a_depth_only() {
    let nested = |depth: usize| (1..depth).fold(array(4, 0, &[]), |inner, _| array(9, 1, &inner));
    assert!(
        read(&Writer::new().raw("deep", 9, &nested(4)))
            .value("deep")
            .is_some()
    );
    for depth in [5, 500] {
        assert_eq!(
            refusal(&Writer::new().raw("deep", 9, &nested(depth))),
            "metadata key deep nests arrays more than 4 deep"
        );
    }
}

#[test]
fn names_that_occur_twice_are_refused() {
    assert_eq!(
        refusal(&Writer::new().u32("a", 1).u32("a", 2)),
        "metadata key a occurs twice"
    );
    assert_eq!(
        refusal(&Writer::new().tensor(vector("a")).tensor(vector("a"))),
        "tensor a occurs twice"
    );
}

#[test]
fn names_from_the_file_cannot_break_the_line_of_a_message() {
    let name = "a\nerror: \u{1b}[31mb";
    let message = refusal(&Writer::new().u32(name, 1).u32(name, 2));
    assert_eq!(message, "metadata key a\\nerror: \\u{1b}[31mb occurs twice");
    let long = "x".repeat(1000);
    let message = refusal(&Writer::new().u32(&long, 1).u32(&long, 2));
    assert!(message.len() < 150, "{message}");
}

#[test]
fn an_alignment_must_be_a_power_of_two_within_reason() {
    let mut file = small().u32("general.alignment", 64);
    file.alignment = 64;
    let bytes = read(&file).tensor("two").map(|t| t.bytes.to_vec());
    assert_eq!(bytes.unwrap()[..4], 1_f32.to_le_bytes());
    for wrong in [0, 3, 48, 1 << 17] {
        assert_eq!(
            refusal(&small().u32("general.alignment", wrong)),
            format!("general.alignment is {wrong}, want a power of two up to 65536")
        );
    }
    assert_eq!(
        refusal(&small().string("general.alignment", "wide")),
        "metadata key general.alignment: got \"wide\", want an integer from 0 to 4294967295"
    );
}

#[test]
fn shapes_that_cannot_be_are_refused() {
    let shaped = |extents: &[u64]| {
        refusal(&Writer::new().tensor(TestTensor {
            extents: extents.to_vec(),
            ..vector("w")
        }))
    };
    assert_eq!(shaped(&[1; 5]), "tensor w has 5 dimensions, want 1 to 4");
    assert_eq!(
        shaped(&[8, 0]),
        "tensor w has the shape [8, 0], which is empty"
    );
    assert_eq!(
        shaped(&[8, 1 << 40, 1 << 40]),
        "tensor w has the shape [8, 1099511627776, 1099511627776], which is too large"
    );
    assert_eq!(
        shaped(&[u64::MAX]),
        "tensor w has the shape [18446744073709551615], which is too large"
    );
}

#[test]
fn a_tensor_without_dimensions_is_refused() {
    let tensor = TestTensor {
        extents: Vec::new(),
        data: vec![0; 8],
        ..vector("scalar")
    };
    assert_eq!(
        refusal(&Writer::new().tensor(tensor)),
        "tensor scalar has 0 dimensions, want 1 to 4"
    );
}

#[test]
fn formats_without_a_kernel_are_named_with_their_number() {
    let typed = |number| {
        refusal(&Writer::new().tensor(TestTensor {
            number,
            ..vector("blk.0.attn_q.weight")
        }))
    };
    assert_eq!(
        typed(20),
        "tensor blk.0.attn_q.weight has type iq4_nl (20), which is not supported"
    );
    assert_eq!(
        typed(4_000_000),
        "tensor blk.0.attn_q.weight has type unknown (4000000), which is not supported"
    );
}

#[test]
fn a_row_must_be_a_whole_number_of_blocks() {
    let tensor = TestTensor {
        extents: vec![48, 2],
        number: 8,
        ..vector("w")
    };
    let message = refusal(&Writer::new().tensor(tensor));
    assert!(
        message.starts_with("tensor w has rows of 48 numbers, format")
            && message.ends_with("wants a multiple of 32"),
        "{message}"
    );
}

#[test]
fn offsets_must_be_aligned_and_within_the_file() {
    let at = |offset| {
        refusal(&Writer::new().tensor(TestTensor {
            offset: Some(offset),
            ..vector("w")
        }))
    };
    assert_eq!(at(8), "tensor w starts at offset 8, want a multiple of 32");
    for beyond in [32, 1 << 40, u64::MAX - 31] {
        assert_eq!(
            at(beyond),
            format!(
                "tensor w takes 32 bytes at offset {beyond}, \
                 the file has 32 bytes of tensor data"
            )
        );
    }
}

#[test]
fn tensors_that_share_bytes_are_refused() {
    let file = Writer::new().tensor(vector("a")).tensor(TestTensor {
        offset: Some(0),
        ..vector("b")
    });
    assert_eq!(refusal(&file), "tensors a and b overlap in the file");
}

#[test]
fn a_file_without_tensors_may_end_behind_its_metadata() {
    let whole = Writer::new().u32("a", 7).build();
    let file = GgufFile::from_bytes(whole[..24 + 8 + 1 + 4 + 4].to_vec()).unwrap();
    assert_eq!(file.require::<u32>("a").unwrap(), 7);
    assert_eq!(file.tensors().len(), 0);
}
