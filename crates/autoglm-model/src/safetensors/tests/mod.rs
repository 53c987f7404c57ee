//! Tests of the safetensors reader, by what they are about.

mod malformed;
mod mutations;

use super::SafetensorsFile;

/// A file from the text of its header and its data.
pub(crate) fn file(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

/// Two tensors of 8 and 4 bytes.
fn small() -> Vec<u8> {
    file(
        r#"{"__metadata__":{"format":"pt"},
            "one":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},
            "two":{"dtype":"BF16","shape":[1,2],"data_offsets":[8,12]}}"#,
        &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
    )
}

#[test]
fn tensors_are_found_by_name_with_type_shape_and_bytes() {
    let file = SafetensorsFile::from_bytes(small()).unwrap();
    let one = file.tensor("one").unwrap();
    assert_eq!((one.number_type.name(), one.shape), ("F32", &[2][..]));
    assert_eq!(one.bytes, [1, 2, 3, 4, 5, 6, 7, 8]);
    let two = file.tensor("two").unwrap();
    assert_eq!((two.number_type.name(), two.shape), ("BF16", &[1, 2][..]));
    assert_eq!(two.bytes, [9, 10, 11, 12]);
    assert!(file.tensor("__metadata__").is_none());
    let names: Vec<&str> = file.tensors().map(|tensor| tensor.name).collect();
    assert_eq!(names, ["one", "two"]);
}
