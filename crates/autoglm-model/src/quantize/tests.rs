use std::num::NonZeroUsize;
use std::path::PathBuf;

use autoglm_kernel::dequantize;
use tempfile::TempDir;

use super::*;
use crate::gguf::GgufFile;

fn pool(threads: usize) -> Pool {
    Pool::new(NonZeroUsize::new(threads).unwrap())
}

fn fixture(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    folder.join(name)
}

fn source(name: &str) -> Box<dyn WeightSource> {
    crate::open(&fixture(name)).unwrap()
}

/// Writes a model whole and returns the file's bytes.
fn written(source: &dyn WeightSource, kind: QuantizedType, threads: usize) -> Vec<u8> {
    let folder = TempDir::new().unwrap();
    let target = folder.path().join("out.gguf");
    let quantizer = Quantizer::new(source, kind).unwrap();
    let summary = quantizer
        .write(&target, "", &pool(threads), &mut |_| {
            ControlFlow::Continue(())
        })
        .unwrap()
        .unwrap();
    let bytes = std::fs::read(&target).unwrap();
    assert_eq!(summary.size_bytes, bytes.len() as u64);
    assert_eq!(quantizer.size_bytes(), bytes.len() as u64);
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    bytes
}

fn values(tensor: &Tensor<'_>) -> Vec<f32> {
    let mut values = vec![0.0; tensor.rows() * tensor.cols()];
    dequantize(tensor.format, &tensor.bytes, &mut values);
    values
}

#[test]
fn the_file_has_the_metadata_and_tensors_of_its_source() {
    for name in [
        "tiny-llama.gguf",
        "tiny-gemma3.gguf",
        "tiny-llama-mixed.gguf",
    ] {
        let source = GgufFile::open(&fixture(name)).unwrap();
        for kind in QuantizedType::ALL {
            let file = GgufFile::from_bytes(written(&source, kind, 2)).unwrap();
            let found = file.require::<u32>("general.file_type").unwrap();
            assert_eq!(found, kind.file_type());
            assert_eq!(file.vocabulary().unwrap(), source.vocabulary().unwrap());
            for (key, value) in source.metadata() {
                if key != "general.file_type" {
                    let found = file.value(key).map(|value| value.describe());
                    assert_eq!(found, Some(value.describe()), "{key}");
                }
            }
            assert_eq!(file.tensors().len(), source.tensors().len());
            for (to, from) in file.tensors().zip(source.tensors()) {
                assert_eq!((to.name, to.shape), (from.name, from.shape));
                let (to, from) = (values(&to), values(&from));
                let peak = from.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
                for (a, b) in to.iter().zip(&from) {
                    assert!(
                        (a - b).abs() <= peak / 5.0,
                        "{name} {}: {a} for {b}",
                        kind.name()
                    );
                }
            }
        }
    }
}

#[test]
fn the_bytes_do_not_depend_on_the_threads() {
    let source = source("tiny-llama-mixed.gguf");
    for kind in QuantizedType::ALL {
        assert!(
            written(&*source, kind, 1) == written(&*source, kind, 3),
            "{}",
            kind.name()
        );
    }
}

#[test]
fn what_is_in_the_format_already_is_copied() {
    let once = written(&*source("tiny-llama-mixed.gguf"), QuantizedType::Q4KM, 1);
    let again = GgufFile::from_bytes(once.clone()).unwrap();
    assert!(
        Quantizer::new(&again, QuantizedType::Q4KM)
            .unwrap()
            .requantized()
            .is_empty()
    );
    assert!(written(&again, QuantizedType::Q4KM, 1) == once);
    let lost = Quantizer::new(&again, QuantizedType::Q8_0).unwrap();
    assert!(!lost.requantized().is_empty());
    assert!(
        Quantizer::new(&again, QuantizedType::F16)
            .unwrap()
            .requantized()
            .is_empty()
    );
}

/// Folders of every class, and whether their numbers are those of f16.
const FOLDERS: [(&str, bool); 13] = [
    ("chatglm", false),
    ("gemma3", false),
    ("glm", false),
    ("glm-edge", false),
    ("glm4", false),
    ("glm4-moe", false),
    ("glm4-moe-groups", false),
    ("glm4-moe-lite", false),
    ("glm4-moe-lite-groups", false),
    ("llama", false),
    ("llama-3", true),
    ("qwen2", true),
    ("qwen3", false),
];

#[test]
fn a_folder_becomes_a_file_with_the_same_model() {
    let pool = pool(1);
    for (name, exact) in FOLDERS {
        let source = source(&format!("folders/{name}"));
        let file = GgufFile::from_bytes(written(&*source, QuantizedType::F16, 1)).unwrap();
        let config = |source: &dyn WeightSource| {
            let config = crate::architecture::configure(source);
            format!("{:?}", config.unwrap())
        };
        assert_eq!(config(&file), config(&*source), "{name}");
        for info in source.tensor_infos() {
            let found = file.require_tensor(info.name).unwrap();
            assert_eq!(found.shape, info.shape);
        }
        let logits = |source: &dyn WeightSource| {
            let model = crate::Model::load(source, &pool).unwrap();
            first_logits(&model, &pool)
        };
        let (found, wanted) = (logits(&file), logits(&*source));
        let off = relative_error(&found, &wanted);
        // Half a step of f16, in some products after the other.
        let limit = if exact { 0.0 } else { 5e-3 };
        assert!(off <= limit, "{name}: {off:.1e}");
    }
}

/// The length of the difference in parts of the length.
fn relative_error(found: &[f32], wanted: &[f32]) -> f32 {
    let pairs = found.iter().zip(wanted);
    let squares: f32 = pairs.map(|(a, b)| (a - b).powi(2)).sum();
    let length: f32 = wanted.iter().map(|x| x * x).sum();
    (squares / length).sqrt()
}

#[test]
fn tokenizers_of_folders_are_read_back_from_metadata() {
    let folders = Path::new(env!("CARGO_MANIFEST_DIR")).join("../autoglm-token/fixtures/folders");
    for name in ["glm", "qwen", "deepseek", "chatglm3", "ranks"] {
        let files = crate::read_tokenizer_files(&folders.join(name)).unwrap();
        let read = autoglm_token::FolderTokenizer::read(&files).unwrap();
        let mut entries = Entries::default();
        entries.vocabulary(&read.vocabulary).unwrap();
        let file = GgufFile::from_bytes(Plan::new(&entries, []).head).unwrap();
        let mut wanted = read.vocabulary.for_gguf().unwrap();
        // What the model does not use is not written.
        let found = file.vocabulary().unwrap();
        match wanted.model {
            autoglm_token::VocabularyModel::SentencePiece => wanted.words = found.words.clone(),
            autoglm_token::VocabularyModel::ByteBpe => wanted.space_prefix = found.space_prefix,
        }
        assert_eq!(found, wanted, "{name}");
    }
}

/// A run that is stopped after so many pieces.
fn stopped(quantizer: &Quantizer<'_>, target: &Path, identity: &str, pieces: usize) {
    let mut left = pieces;
    let outcome = quantizer.write(target, identity, &pool(1), &mut |_| {
        left -= 1;
        match left {
            0 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    });
    assert_eq!(outcome.unwrap(), None);
    assert!(!target.exists());
}

#[test]
fn a_stopped_run_goes_on_to_the_same_bytes() {
    let source = source("tiny-llama-mixed.gguf");
    let quantizer = Quantizer::new(&*source, QuantizedType::Q4KM).unwrap();
    let whole = written(&*source, QuantizedType::Q4KM, 1);
    let tensors = source.tensor_infos().len();
    for pieces in 1..tensors {
        let folder = TempDir::new().unwrap();
        let target = folder.path().join("out.gguf");
        stopped(&quantizer, &target, "same", pieces);
        let summary = quantizer
            .write(
                &target,
                "same",
                &pool(1),
                &mut |_| ControlFlow::Continue(()),
            )
            .unwrap()
            .unwrap();
        assert_eq!(summary.resumed_tensors, pieces - 1);
        assert!(std::fs::read(&target).unwrap() == whole, "{pieces} pieces");
    }
}

#[test]
fn a_run_from_another_source_or_with_damaged_bytes_does_not_go_on_with_them() {
    let source = source("tiny-llama-mixed.gguf");
    let quantizer = Quantizer::new(&*source, QuantizedType::Q4_0).unwrap();
    let whole = written(&*source, QuantizedType::Q4_0, 1);
    let finish = |target: &Path, identity: &str| {
        let mut go_on = |_| ControlFlow::Continue(());
        let summary = quantizer.write(target, identity, &pool(1), &mut go_on);
        assert!(std::fs::read(target).unwrap() == whole);
        summary.unwrap().unwrap().resumed_tensors
    };
    let folder = TempDir::new().unwrap();
    let target = folder.path().join("out.gguf");
    stopped(&quantizer, &target, "one", 9);
    assert_eq!(finish(&target, "other"), 0);
    // One byte of the third tensor.
    stopped(&quantizer, &target.with_file_name("b.gguf"), "one", 9);
    let part = folder.path().join(".b.gguf.part");
    let mut bytes = std::fs::read(&part).unwrap();
    let at = quantizer.plan.tensors[2].start as usize;
    bytes[at] ^= 1;
    std::fs::write(&part, &bytes).unwrap();
    assert_eq!(finish(&target.with_file_name("b.gguf"), "one"), 2);
    // The file is shorter than the journal says.
    stopped(&quantizer, &target.with_file_name("c.gguf"), "one", 9);
    let part = folder.path().join(".c.gguf.part");
    std::fs::write(&part, &bytes[..=at]).unwrap();
    assert_eq!(finish(&target.with_file_name("c.gguf"), "one"), 2);
}

#[test]
fn two_runs_do_not_write_one_file_at_once() {
    let source = source("tiny-llama.gguf");
    let quantizer = Quantizer::new(&*source, QuantizedType::Q8_0).unwrap();
    let folder = TempDir::new().unwrap();
    let target = folder.path().join("out.gguf");
    let (_held, _) = Partial::open(&target, &quantizer.plan, "").unwrap();
    let mut go_on = |_| ControlFlow::Continue(());
    let error = quantizer
        .write(&target, "", &pool(1), &mut go_on)
        .unwrap_err();
    assert!(matches!(error, ModelError::BeingWritten { .. }), "{error}");
}

#[test]
fn a_weight_that_does_not_fit_is_named_with_its_tensor() {
    let bytes = crate::gguf::writer::Writer::new()
        .string("general.architecture", "llama")
        .floats("blk.0.attn_q.weight", &[2, 32], &[1e6; 64])
        .build();
    let source = GgufFile::from_bytes(bytes).unwrap();
    let folder = TempDir::new().unwrap();
    let error = Quantizer::new(&source, QuantizedType::F16)
        .unwrap()
        .write(&folder.path().join("o"), "", &pool(1), &mut |_| {
            ControlFlow::Continue(())
        })
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "tensor blk.0.attn_q.weight cannot be quantised"
    );
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(
        cause.starts_with("value 1000000 at position 0 cannot be written as F16"),
        "{cause}"
    );
}

#[test]
fn a_model_quantised_on_load_has_the_logits_of_its_file() {
    let source = source("tiny-llama-mixed.gguf");
    let floats = GgufFile::from_bytes(written(&*source, QuantizedType::Bf16, 1)).unwrap();
    for kind in [QuantizedType::Q4KM, QuantizedType::Q8_0] {
        let file = GgufFile::from_bytes(written(&floats, kind, 1)).unwrap();
        let pool = pool(2);
        let from_file = crate::Model::load(&file, &pool).unwrap();
        let on_load = crate::Model::load_as(&floats, &pool, Some(kind)).unwrap();
        assert_eq!(from_file.weight_bytes(), on_load.weight_bytes());
        assert_eq!(
            first_logits(&from_file, &pool),
            first_logits(&on_load, &pool)
        );
    }
}

fn first_logits(model: &crate::Model, pool: &Pool) -> Vec<f32> {
    let mut cache = crate::KvCache::new(model.config(), 64);
    let mut workspace = crate::Workspace::default();
    let mut sequence = crate::Sequence::default();
    let mut steps = [crate::Step {
        sequence: &mut sequence,
        tokens: &[1, 2, 3],
        outputs: crate::Outputs::Last,
    }];
    let outcome = model.forward(pool, &mut cache, &mut workspace, &mut steps);
    let rows: Vec<usize> = outcome.unwrap().into_iter().flatten().collect();
    model.logits(pool, &mut workspace, &rows)
}
