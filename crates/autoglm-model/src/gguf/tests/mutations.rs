//! Random damage to a good file never ends in a panic.

use proptest::prelude::*;

use crate::GgufFile;

fn fixture() -> Vec<u8> {
    include_bytes!("../../../fixtures/tiny.gguf").to_vec()
}

/// Uses everything that a file offers.
fn walk(bytes: Vec<u8>) {
    let Ok(file) = GgufFile::from_bytes(bytes) else {
        return;
    };
    for tensor in file.tensors() {
        let size = tensor.format.row_bytes(tensor.cols()).unwrap() * tensor.rows();
        assert_eq!(tensor.bytes.len(), size, "{}", tensor.name);
    }
    for (_, value) in file.metadata() {
        value.describe();
    }
    if let Ok(vocabulary) = file.vocabulary() {
        assert_eq!(vocabulary.kinds.len(), vocabulary.tokens.len());
    }
    drop(file.chat_template());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn overwritten_bytes_never_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20)
    ) {
        let mut bytes = fixture();
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        walk(bytes);
    }

    #[test]
    fn overwritten_words_near_the_start_never_panic(
        at in 0_usize..10_000,
        value in prop_oneof![Just(u64::MAX), Just(1 << 63), Just(0), any::<u64>(), 0_u64..100_000]
    ) {
        let mut bytes = fixture();
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        walk(bytes);
    }

    #[test]
    fn noise_behind_a_good_header_never_panics(
        noise in prop::collection::vec(any::<u8>(), 0..400),
        tensors in 0_u64..4,
        entries in 0_u64..4
    ) {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend(tensors.to_le_bytes());
        bytes.extend(entries.to_le_bytes());
        bytes.extend(noise);
        walk(bytes);
    }
}
