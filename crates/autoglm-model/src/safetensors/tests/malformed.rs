//! What is wrong with a file is said by name.

use super::{file, small};
use crate::SafetensorsFile;

fn refusal(bytes: Vec<u8>) -> String {
    SafetensorsFile::from_bytes(bytes).unwrap_err().to_string()
}

/// The refusal of a file with 12 bytes of data and these entries in its header.
fn refused(entries: &str) -> String {
    refusal(file(&format!("{{{entries}}}"), &[0; 12]))
}

#[test]
fn a_file_that_ends_early_says_where() {
    assert_eq!(
        refusal(vec![0; 5]),
        "the file ends within the header: 8 bytes are wanted at byte 0, 5 are left"
    );
    let whole = small();
    assert_eq!(
        refusal(whole[..100].to_vec()),
        format!(
            "the file ends within the header: {} bytes are wanted at byte 8, 92 are left",
            whole.len() - 20
        )
    );
    assert_eq!(
        refusal(whole[..whole.len() - 1].to_vec()),
        "tensor two takes 4 bytes at offset 8, the file has 11 bytes of tensor data"
    );
}

#[test]
fn an_absurd_header_is_refused_before_it_is_read() {
    assert_eq!(
        refusal(vec![255; 64]),
        "the header has 18446744073709551615 bytes, 100000000 are allowed"
    );
}

#[test]
fn a_header_that_is_no_json_map_of_tensors_is_refused() {
    for header in [
        "",
        "[]",
        "{",
        "{\"a\":1}",
        "{\"a\":{}}",
        "{} {}",
        "\"\u{7f}\n\"",
    ] {
        let message = refusal(file(header, &[]));
        assert!(
            message.starts_with("the header is not as it must be: ") && !message.contains('\n'),
            "{message}"
        );
    }
    let deep = "[".repeat(100_000);
    let message = refusal(file(&format!("{{\"__metadata__\":{deep}"), &[]));
    assert!(message.contains("EOF while parsing"), "{message}");
}

#[test]
fn a_name_that_occurs_twice_is_refused() {
    let entry = r#""w":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}"#;
    assert_eq!(
        refused(&format!("{entry},{entry}")),
        "tensor w occurs twice"
    );
}

#[test]
fn unknown_number_types_are_refused_by_name() {
    assert_eq!(
        refused(r#""w":{"dtype":"F4\n","shape":[3],"data_offsets":[0,12]}"#),
        "tensor w has the number type F4\\n, want F32, F16 or BF16"
    );
}

#[test]
fn data_must_be_as_long_as_the_shape_takes() {
    for (offsets, found) in [
        ("[0,8]", 8),
        ("[12,0]", 0),
        ("[0,18446744073709551615]", u64::MAX),
    ] {
        assert_eq!(
            refused(&format!(
                r#""w":{{"dtype":"F32","shape":[3],"data_offsets":{offsets}}}"#
            )),
            format!("tensor w has {found} bytes of data, its shape takes 12")
        );
    }
    assert_eq!(
        refused(r#""w":{"dtype":"F32","shape":[3],"data_offsets":[4,16]}"#),
        "tensor w takes 12 bytes at offset 4, the file has 12 bytes of tensor data"
    );
}

#[test]
fn shapes_that_cannot_be_are_refused() {
    let shaped = |shape: &str| {
        refused(&format!(
            r#""w":{{"dtype":"U8","shape":{shape},"data_offsets":[0,12]}}"#
        ))
    };
    assert_eq!(
        shaped("[1,1,1,1,12]"),
        "tensor w has 5 dimensions, want 1 to 4"
    );
    assert_eq!(
        shaped("[0,12]"),
        "tensor w has the shape [0, 12], which is empty"
    );
    assert_eq!(
        shaped("[4294967296,4294967296]"),
        "tensor w has the shape [4294967296, 4294967296], which is too large"
    );
}

#[test]
fn every_byte_belongs_to_one_tensor() {
    let at = |name: &str, start: u64| {
        let end = start + 4;
        format!(r#""{name}":{{"dtype":"F32","shape":[1],"data_offsets":[{start},{end}]}}"#)
    };
    let refused = |entries: &[String]| refused(&entries.join(","));
    assert_eq!(
        refused(&[at("a", 0), at("b", 2), at("c", 8)]),
        "tensors a and b overlap in the file"
    );
    assert_eq!(
        refused(&[at("c", 8), at("a", 0)]),
        "4 bytes at offset 4 of the tensor data belong to no tensor"
    );
    assert_eq!(
        refused(&[at("b", 4), at("a", 0)]),
        "4 bytes at offset 8 of the tensor data belong to no tensor"
    );
    assert_eq!(
        refused(&[]),
        "12 bytes at offset 0 of the tensor data belong to no tensor"
    );
}
