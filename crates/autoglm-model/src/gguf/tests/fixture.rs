//! A file written by the field's own package is read whole.

use std::path::Path;

use autoglm_kernel::BlockFormat;
use autoglm_token::MergeOrder;

use crate::{GgufFile, ModelError};

fn open() -> GgufFile {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tiny.gguf");
    GgufFile::open(&path).unwrap()
}

#[test]
fn every_type_of_value_is_read() {
    let file = open();
    assert_eq!(file.version(), 3);
    assert_eq!(file.architecture().unwrap(), "llama");
    assert_eq!(file.require::<u32>("test.u8").unwrap(), 200);
    assert_eq!(file.require::<i32>("test.i8").unwrap(), -100);
    assert_eq!(file.require::<usize>("test.u16").unwrap(), 60_000);
    assert_eq!(file.require::<i32>("test.i16").unwrap(), -30_000);
    assert_eq!(file.require::<u32>("test.u32").unwrap(), 4_000_000_000);
    assert_eq!(file.require::<i32>("test.i32").unwrap(), -2_000_000_000);
    assert_eq!(file.require::<usize>("test.u64").unwrap(), 1 << 63);
    assert!(matches!(
        file.value("test.i64"),
        Some(crate::Value::Signed(n)) if n == -(1 << 62)
    ));
    assert_eq!(file.require::<f32>("test.f32").unwrap(), 0.15625);
    assert!(matches!(
        file.value("test.f64"),
        Some(crate::Value::Float(x)) if x == 1e300
    ));
    assert!(file.require::<bool>("test.bool").unwrap());
    assert_eq!(file.require::<&str>("test.string").unwrap(), "鱼 and chips");
    assert_eq!(
        file.require_array::<i32>("test.integers").unwrap(),
        [1, -2, 3]
    );
    assert_eq!(
        file.require_array::<f32>("test.floats").unwrap(),
        [0.5, -0.25]
    );
}

#[test]
fn a_tensor_of_every_format_is_found_with_its_size() {
    let file = open();
    let formats = [
        ("test.F32", BlockFormat::F32, 4 * 256),
        ("test.F16", BlockFormat::F16, 2 * 256),
        ("test.BF16", BlockFormat::Bf16, 2 * 256),
        ("test.Q4_0", BlockFormat::Q4_0, 8 * 18),
        ("test.Q4_1", BlockFormat::Q4_1, 8 * 20),
        ("test.Q5_0", BlockFormat::Q5_0, 8 * 22),
        ("test.Q5_1", BlockFormat::Q5_1, 8 * 24),
        ("test.Q8_0", BlockFormat::Q8_0, 8 * 34),
        ("test.Q4_K", BlockFormat::Q4K, 144),
        ("test.Q5_K", BlockFormat::Q5K, 176),
        ("test.Q6_K", BlockFormat::Q6K, 210),
    ];
    assert_eq!(file.tensors().len(), formats.len());
    for (name, format, row_bytes) in formats {
        let tensor = file.require_tensor(name).unwrap();
        assert_eq!(tensor.format, format, "{name}");
        assert_eq!(tensor.shape, [3, 256], "{name}");
        assert_eq!((tensor.rows(), tensor.cols()), (3, 256), "{name}");
        assert_eq!(tensor.bytes.len(), 3 * row_bytes, "{name}");
    }
    assert!(file.tensor("test.Q2_K").is_none());
}

#[test]
fn tensor_data_is_the_files_data() {
    let file = open();
    let bytes = file.require_tensor("test.F32").unwrap().bytes;
    let first = f32::from_le_bytes(bytes[..4].try_into().unwrap());
    let second = f32::from_le_bytes(bytes[4..8].try_into().unwrap());
    // What numpy's default_rng(0).standard_normal(2, dtype=float32) gives.
    assert_eq!((first, second), (1.117622, -1.3871249));
}

#[test]
fn the_vocabulary_and_the_chat_template_are_read() {
    let file = open();
    let vocabulary = file.vocabulary().unwrap();
    assert_eq!(vocabulary.words, "gpt-2".into());
    assert_eq!(vocabulary.tokens.len(), 300);
    assert_eq!(vocabulary.tokens[0], "Ā");
    assert_eq!(vocabulary.tokens[256], "ba");
    let MergeOrder::Pairs(merges) = &vocabulary.merges else {
        panic!("{:?}", vocabulary.merges)
    };
    assert_eq!(merges[0], "b a");
    assert_eq!(vocabulary.bos, Some(298));
    assert_eq!(vocabulary.eos, Some(299));
    assert!(vocabulary.prefix.is_empty());
    assert_eq!(
        file.chat_template().unwrap(),
        Some("{% for m in messages %}<|start|>{{ m.content }}<|end|>{% endfor %}")
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = GgufFile::open(Path::new("/nowhere/model.gguf")).unwrap_err();
    assert!(matches!(error, ModelError::Open { .. }));
    assert_eq!(
        error.to_string(),
        "cannot open the model file /nowhere/model.gguf"
    );
}

#[test]
fn a_text_file_in_a_models_place_is_named_with_what_it_starts_with() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.gguf");
    std::fs::write(&path, "Dear diary,\n").unwrap();
    let error = GgufFile::open(&path).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(error.to_string().ends_with("notes.gguf"), "{error}");
    assert_eq!(
        cause,
        "not a GGUF file: it starts with \"Dear\", a GGUF file starts with \"GGUF\""
    );
}
