//! Random damage to a good file never ends in a panic.

use proptest::prelude::*;

use super::small;
use crate::SafetensorsFile;

/// Uses everything that a file offers.
fn walk(bytes: Vec<u8>) {
    let Ok(file) = SafetensorsFile::from_bytes(bytes) else {
        return;
    };
    let mut data_bytes = 0;
    for tensor in file.tensors() {
        let numbers: usize = tensor.shape.iter().product();
        assert_eq!(
            tensor.bytes.len(),
            numbers * tensor.number_type.size_bytes()
        );
        data_bytes += tensor.bytes.len();
    }
    assert!(data_bytes <= file.size_bytes());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn overwritten_bytes_never_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20)
    ) {
        let mut bytes = small();
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        walk(bytes);
    }

    #[test]
    fn other_numbers_in_the_header_never_panic(
        numbers in prop::collection::vec(
            prop_oneof![Just(u64::MAX), Just(1 << 63), 0_u64..20], 6
        )
    ) {
        let [a, b, c, d, e, f] = numbers[..] else { unreachable!("six are drawn") };
        let header = format!(
            r#"{{"one":{{"dtype":"F32","shape":[{a}],"data_offsets":[{b},{c}]}},
                 "two":{{"dtype":"I8","shape":[{d},2],"data_offsets":[{e},{f}]}}}}"#
        );
        walk(super::file(&header, &[0; 12]));
    }

    #[test]
    fn a_length_that_is_not_the_headers_never_panics(length in 0_u64..400, cut in 0_usize..300) {
        let mut bytes = small();
        bytes[..8].copy_from_slice(&length.to_le_bytes());
        bytes.truncate(cut);
        walk(bytes);
    }
}
