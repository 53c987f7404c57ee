//! Any bytes whatever, taken for a GGUF file: an error or a file, never a panic, and never much
//! more memory than the bytes themselves take.
#![no_main]

use std::alloc::System;

use autoglm_model::GgufFile;
use autoglm_token::MergeOrder;
use cap::Cap;
use libfuzzer_sys::fuzz_target;

/// Inputs have at most 64 KiB; a thousand times that is far more than reading one takes.
const LIMIT_BYTES: usize = 64 << 20;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, LIMIT_BYTES);

fuzz_target!(|data: &[u8]| {
    let Ok(file) = GgufFile::from_bytes(data.to_vec()) else {
        return;
    };
    for tensor in file.tensors() {
        let row_bytes = tensor.format.row_bytes(tensor.cols());
        assert_eq!(row_bytes.map(|n| n * tensor.rows()), Some(tensor.bytes.len()));
    }
    for (_, value) in file.metadata() {
        value.describe();
    }
    if let Ok(vocabulary) = file.vocabulary() {
        assert_eq!(vocabulary.kinds.len(), vocabulary.tokens.len());
        let inside = |id: &u32| (*id as usize) < vocabulary.tokens.len();
        assert!(vocabulary.prefix.iter().all(inside));
        if let MergeOrder::Scores(scores) = &vocabulary.merges {
            assert_eq!(scores.len(), vocabulary.tokens.len());
        }
    }
    let _ = file.chat_template();
});
