//! Any bytes whatever, taken for a safetensors file: an error or a file, never a panic, and never
//! much more memory than the bytes themselves take.
#![no_main]

use std::alloc::System;

use autoglm_model::SafetensorsFile;
use cap::Cap;
use libfuzzer_sys::fuzz_target;

/// Inputs have at most 64 KiB; a thousand times that is far more than reading one takes.
const LIMIT_BYTES: usize = 64 << 20;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, LIMIT_BYTES);

fuzz_target!(|data: &[u8]| {
    let Ok(file) = SafetensorsFile::from_bytes(data.to_vec()) else {
        return;
    };
    let mut data_bytes = 0;
    for tensor in file.tensors() {
        let numbers: usize = tensor.shape.iter().product();
        assert_eq!(numbers * tensor.number_type.size_bytes(), tensor.bytes.len());
        assert!(file.tensor(tensor.name).is_some_and(|found| found.bytes == tensor.bytes));
        data_bytes += tensor.bytes.len();
    }
    assert!(data_bytes + 8 <= data.len());
});
