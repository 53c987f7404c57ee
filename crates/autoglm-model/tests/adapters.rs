//! Logits of tiny models with adapters beside those of `peft`
//! (`tools/reference/tiny_adapters.py`).

#![expect(clippy::unwrap_used, reason = "a test may panic, that is how it fails")]

use std::fs;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use autoglm_kernel::Pool;
use autoglm_model::{
    Adapter, Checkpoint, GgufFile, KvCache, Model, Outputs, QuantizedType, Quantizer, Sequence,
    Step, WeightSource, Workspace,
};
use serde_json::Value;

/// As in the test of the models themselves, in parts of the logits' standard deviation.
const RMS_TOLERANCE: f64 = 1e-4;
const LARGEST_TOLERANCE: f64 = 1e-3;

const NAMES: [&str; 8] = [
    "lora-chatglm",
    "lora-gemma3",
    "lora-glm",
    "lora-llama",
    "p-tuning-glm",
    "prefix-llama",
    "prefix-qwen2",
    "prompt-gemma3",
];

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn pool() -> Pool {
    Pool::new(NonZeroUsize::new(2).unwrap())
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let number = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    bytes.chunks_exact(4).map(number).collect()
}

fn load(folder: &Path, pool: &Pool) -> Model {
    Model::load(&Checkpoint::open(folder).unwrap(), pool).unwrap()
}

/// A model's folder.
fn base(name: &str) -> PathBuf {
    fixtures().join("folders").join(name)
}

fn adapter(name: &str, model: &Model, pool: &Pool) -> Arc<Adapter> {
    let folder = fixtures().join("adapters").join(name);
    Arc::new(Adapter::open(&folder, model.config(), pool).unwrap())
}

/// A text under an adapter, or under none.
struct Text {
    sequence: Sequence,
    /// Placeholders of the virtual tokens, then the text's.
    tokens: Vec<u32>,
    virtual_tokens: usize,
    logits: Vec<f32>,
}

impl Text {
    fn new(adapter: Option<&Arc<Adapter>>, tokens: &[u32]) -> Self {
        let virtual_tokens = adapter.map_or(0, |adapter| adapter.virtual_tokens());
        let sequence = Sequence::default().under(adapter.cloned());
        Self {
            sequence,
            tokens: [&vec![0; virtual_tokens][..], tokens].concat(),
            virtual_tokens,
            logits: Vec::new(),
        }
    }
}

/// The logits of all positions of the texts, without those of virtual tokens, when each pass takes
/// so many tokens of each text at most.
fn logits_together(
    model: &Model,
    pool: &Pool,
    texts: Vec<Text>,
    passes: &[usize],
) -> Vec<Vec<f32>> {
    let mut texts = texts;
    let mut cache = KvCache::new(model.config(), 512);
    let mut workspace = Workspace::default();
    for &count in passes.iter().cycle() {
        let mut steps = Vec::new();
        let mut owners = Vec::new();
        for (index, text) in texts.iter_mut().enumerate() {
            let start = text.sequence.len();
            let end = text.tokens.len().min(start + count);
            if start < end {
                owners.push(index);
                steps.push(Step {
                    sequence: &mut text.sequence,
                    tokens: &text.tokens[start..end],
                    outputs: Outputs::All,
                });
            }
        }
        if steps.is_empty() {
            break;
        }
        let ranges = model
            .forward(pool, &mut cache, &mut workspace, &mut steps)
            .unwrap();
        for (range, owner) in ranges.into_iter().zip(owners) {
            let rows: Vec<usize> = range.collect();
            texts[owner]
                .logits
                .extend(model.logits(pool, &mut workspace, &rows));
        }
    }
    let vocabulary = model.config().vocabulary;
    let finish = |text: Text| {
        cache.release(text.sequence);
        text.logits[text.virtual_tokens * vocabulary..].to_vec()
    };
    texts.into_iter().map(finish).collect()
}

fn logits(model: &Model, pool: &Pool, text: Text, passes: &[usize]) -> Vec<f32> {
    logits_together(model, pool, vec![text], passes).remove(0)
}

/// Root mean square and largest difference, in parts of the standard deviation.
fn deviation(found: &[f32], wanted: &[f32]) -> (f64, f64) {
    assert_eq!(found.len(), wanted.len());
    let len = wanted.len() as f64;
    let mean = wanted.iter().map(|&x| f64::from(x)).sum::<f64>() / len;
    let squares = wanted.iter().map(|&x| (f64::from(x) - mean).powi(2));
    let scale = (squares.sum::<f64>() / len).sqrt();
    let pairs = found.iter().zip(wanted);
    let errors: Vec<f64> = pairs.map(|(a, b)| f64::from(a - b).abs() / scale).collect();
    let squares: f64 = errors.iter().map(|error| error * error).sum();
    let largest = errors.iter().copied().fold(0.0, f64::max);
    ((squares / len).sqrt(), largest)
}

struct Golden {
    base: String,
    tokens: Vec<u32>,
    logits: Vec<f32>,
}

fn golden(name: &str) -> Golden {
    let folder = fixtures().join("adapters").join(name);
    let facts = fs::read_to_string(folder.join("golden.json")).unwrap();
    let facts: Value = serde_json::from_str(&facts).unwrap();
    let tokens = facts["tokens"].as_array().unwrap().iter();
    Golden {
        base: facts["base"].as_str().unwrap().to_owned(),
        tokens: tokens.map(|t| t.as_u64().unwrap() as u32).collect(),
        logits: floats(&fs::read(folder.join("logits.bin")).unwrap()),
    }
}

fn check_against_peft(passes: &[usize]) {
    let pool = pool();
    for name in NAMES {
        let golden = golden(name);
        let model = load(&base(&golden.base), &pool);
        let adapter = adapter(name, &model, &pool);
        let found = logits(
            &model,
            &pool,
            Text::new(Some(&adapter), &golden.tokens),
            passes,
        );
        let (rms, largest) = deviation(&found, &golden.logits);
        assert!(
            rms <= RMS_TOLERANCE && largest <= LARGEST_TOLERANCE,
            "{name}: off by {rms:.2e}, {largest:.2e} at most"
        );
    }
}

#[test]
fn an_adapter_takes_no_more_than_was_planned_and_not_much_less() {
    let pool = pool();
    for name in NAMES {
        let adapter = adapter(name, &load(&base(&golden(name).base), &pool), &pool);
        let planned = Adapter::planned_bytes(&fixtures().join("adapters").join(name)).unwrap();
        let taken = adapter.size_bytes();
        assert!(
            taken > 0 && taken <= planned,
            "{name}: {taken} of {planned}"
        );
        // Sixteen rows are packed together, which tiny matrices do not fill.
        assert!(planned <= 4 * taken, "{name}: {taken} of {planned}");
    }
}

#[test]
fn a_prompt_at_once_agrees_with_peft() {
    check_against_peft(&[64]);
}

#[test]
fn token_by_token_agrees_with_peft() {
    check_against_peft(&[1]);
}

#[test]
fn the_model_and_two_adapters_in_one_batch_give_what_each_gives_alone_bit_for_bit() {
    let pool = pool();
    for (name, other) in [
        ("lora-glm", "p-tuning-glm"),
        ("lora-llama", "prefix-llama"),
        ("lora-gemma3", "prompt-gemma3"),
    ] {
        let golden = golden(name);
        let model = load(&base(&golden.base), &pool);
        let (first, second) = (adapter(name, &model, &pool), adapter(other, &model, &pool));
        let backwards: Vec<u32> = golden.tokens.iter().rev().copied().collect();
        let texts = || {
            vec![
                Text::new(Some(&first), &golden.tokens),
                Text::new(None, &golden.tokens[..29]),
                Text::new(Some(&second), &golden.tokens[3..]),
                Text::new(Some(&first), &backwards),
            ]
        };
        let alone: Vec<Vec<f32>> = texts()
            .into_iter()
            .map(|text| logits(&model, &pool, text, &[64]))
            .collect();
        for passes in [&[64][..], &[1], &[9, 2, 17]] {
            assert!(
                logits_together(&model, &pool, texts(), passes) == alone,
                "{name}, {other}, {passes:?}"
            );
        }
    }
}

/// Adds `scale · B·A` to a matrix of a folder's file, which holds f32.
fn merge(file: &mut [u8], adapter: &autoglm_model::SafetensorsFile, scale: f32) {
    let header_bytes = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&file[8..8 + header_bytes]).unwrap();
    for a in adapter.tensors() {
        let Some(module) = a.name.strip_suffix(".lora_A.weight") else {
            continue;
        };
        let b = adapter.tensor(&format!("{module}.lora_B.weight")).unwrap();
        let module = module.strip_prefix("base_model.model.").unwrap();
        let place = &header[format!("{module}.weight")]["data_offsets"];
        let offset = |i: usize| 8 + header_bytes + place[i].as_u64().unwrap() as usize;
        let weights = &mut file[offset(0)..offset(1)];
        let (rank, cols) = (a.shape[0], a.shape[1]);
        let (a, b) = (floats(a.bytes), floats(b.bytes));
        for (index, weight) in weights.chunks_exact_mut(4).enumerate() {
            let (row, col) = (index / cols, index % cols);
            let products =
                (0..rank).map(|r| f64::from(b[row * rank + r]) * f64::from(a[r * cols + col]));
            let change = f64::from(scale) * products.sum::<f64>();
            let merged = f64::from(floats(weight)[0]) + change;
            weight.copy_from_slice(&(merged as f32).to_le_bytes());
        }
    }
}

#[test]
fn a_merged_adapter_is_an_applied_one() {
    let (name, pool) = ("lora-glm", pool());
    let golden = golden(name);
    let folder = tempfile::tempdir().unwrap();
    let mut file = fs::read(base("glm").join("model.safetensors")).unwrap();
    let tensors = fixtures()
        .join("adapters")
        .join(name)
        .join("adapter_model.safetensors");
    let tensors = autoglm_model::SafetensorsFile::open(&tensors).unwrap();
    merge(&mut file, &tensors, 6.0 / 4.0);
    fs::write(folder.path().join("model.safetensors"), file).unwrap();
    fs::copy(
        base("glm").join("config.json"),
        folder.path().join("config.json"),
    )
    .unwrap();
    let merged = load(folder.path(), &pool);
    let merged = logits(&merged, &pool, Text::new(None, &golden.tokens), &[64]);
    let model = load(&base("glm"), &pool);
    let adapter = adapter(name, &model, &pool);
    let applied = logits(
        &model,
        &pool,
        Text::new(Some(&adapter), &golden.tokens),
        &[64],
    );
    let (rms, largest) = deviation(&applied, &merged);
    assert!(
        rms <= RMS_TOLERANCE && largest <= LARGEST_TOLERANCE,
        "{rms:.2e}, {largest:.2e}"
    );
}

/// Writes a model as a GGUF file of f16.
fn convert(source: &dyn WeightSource, path: &Path, pool: &Pool) {
    let go_on = &mut |_| ControlFlow::Continue(());
    let quantizer = Quantizer::new(source, QuantizedType::F16).unwrap();
    quantizer.write(path, "", pool, go_on).unwrap().unwrap();
}

#[test]
fn an_adapter_does_the_same_to_a_model_from_gguf() {
    let pool = pool();
    for name in ["lora-llama", "prefix-llama", "lora-chatglm", "lora-gemma3"] {
        let golden = golden(name);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        let source = Checkpoint::open(&base(&golden.base)).unwrap();
        convert(&source, &path, &pool);
        let file = GgufFile::open(&path).unwrap();
        let from_gguf = Model::load(&file, &pool).unwrap();
        let from_folder = Model::load_as(&source, &pool, Some(QuantizedType::F16)).unwrap();
        let run = |model: &Model| {
            let adapter = adapter(name, model, &pool);
            logits(
                model,
                &pool,
                Text::new(Some(&adapter), &golden.tokens),
                &[64],
            )
        };
        assert!(run(&from_gguf) == run(&from_folder), "{name}");
    }
}
