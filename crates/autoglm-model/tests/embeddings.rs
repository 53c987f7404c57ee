//! Hidden states of tiny random BERT models beside those of `transformers` and llama.cpp
//! (`tools/reference/tiny_bert.py`).

#![expect(clippy::unwrap_used, reason = "a test may panic, that is how it fails")]

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use autoglm_kernel::Pool;
use autoglm_model::{
    KvCache, Model, Outputs, Pooling, QuantizedType, Sequence, Step, WeightSource, Workspace, open,
};
use serde_json::Value;

/// The largest deviation in parts of a vector's root mean square. Both sides compute in f32 in
/// another order.
const TOLERANCE: f64 = 2e-5;

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn pool(threads: usize) -> Pool {
    Pool::new(NonZeroUsize::new(threads).unwrap())
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// A text of a fixture with the means that `transformers` makes of its hidden states.
struct Case {
    text: String,
    ids: Vec<u32>,
    mean: Vec<f64>,
    first: Vec<f64>,
}

fn cases(name: &str) -> Vec<Case> {
    let golden = json(&fixtures().join("folders").join(name).join("golden.json"));
    let case = |case: &Value| Case {
        text: case["text"].as_str().unwrap().to_owned(),
        ids: serde_json::from_value(case["ids"].clone()).unwrap(),
        mean: serde_json::from_value(case["mean"].clone()).unwrap(),
        first: serde_json::from_value(case["first"].clone()).unwrap(),
    };
    golden["cases"]
        .as_array()
        .unwrap()
        .iter()
        .map(case)
        .collect()
}

fn source(name: &str) -> Box<dyn WeightSource> {
    open(&fixtures().join(name)).unwrap()
}

/// The last hidden states of texts that are computed in one pass: `[T, C]` each.
fn states(model: &Model, pool: &Pool, texts: &[&[u32]]) -> Vec<Vec<f32>> {
    let mut cache = KvCache::new(model.config(), 1_024);
    let mut workspace = Workspace::default();
    let mut sequences: Vec<Sequence> = texts.iter().map(|_| Sequence::default()).collect();
    let step = |(sequence, &tokens)| Step {
        sequence,
        tokens,
        outputs: Outputs::All,
    };
    let mut steps: Vec<Step<'_>> = sequences.iter_mut().zip(texts).map(step).collect();
    let ranges = model
        .forward(pool, &mut cache, &mut workspace, &mut steps)
        .unwrap();
    let rows: Vec<usize> = (0..ranges.last().unwrap().end).collect();
    let width = model.config().width;
    let all = model.hidden_states(pool, &mut workspace, &rows);
    let of_text =
        |range: &std::ops::Range<usize>| all[range.start * width..range.end * width].to_vec();
    let states = ranges.iter().map(of_text).collect();
    for sequence in sequences {
        cache.release(sequence);
    }
    states
}

fn mean(states: &[f32], width: usize) -> Vec<f64> {
    let count = (states.len() / width) as f64;
    let sum = |column| {
        let numbers = states.iter().skip(column).step_by(width);
        numbers.map(|x| f64::from(*x)).sum::<f64>() / count
    };
    (0..width).map(sum).collect()
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|x| f64::from(*x)).collect()
}

/// The largest deviation in parts of the wanted vector's root mean square.
fn deviation(found: &[f64], wanted: &[f64]) -> f64 {
    assert_eq!(found.len(), wanted.len());
    let squares: f64 = wanted.iter().map(|x| x * x).sum();
    let rms = (squares / wanted.len() as f64).sqrt();
    let pairs = found.iter().zip(wanted);
    pairs.map(|(a, b)| (a - b).abs() / rms).fold(0.0, f64::max)
}

fn bits(states: &[Vec<f32>]) -> Vec<Vec<u32>> {
    let of_text = |states: &Vec<f32>| states.iter().map(|x| x.to_bits()).collect();
    states.iter().map(of_text).collect()
}

#[test]
fn hidden_states_agree_with_transformers() {
    for name in ["bert", "bert-cls"] {
        let pool = pool(2);
        let model = Model::load(&*source(&format!("folders/{name}")), &pool).unwrap();
        let width = model.config().width;
        for case in cases(name) {
            let states = states(&model, &pool, &[&case.ids]).remove(0);
            let off = [
                deviation(&mean(&states, width), &case.mean),
                deviation(&wide(&states[..width]), &case.first),
            ];
            assert!(
                off.iter().all(|off| *off <= TOLERANCE),
                "{name}, {:?}: {off:?}",
                case.text
            );
        }
    }
}

#[test]
fn a_text_has_the_same_bits_alone_beside_others_and_with_any_number_of_threads() {
    let model = Model::load(&*source("folders/bert"), &pool(1)).unwrap();
    let cases = cases("bert");
    let texts: Vec<&[u32]> = cases.iter().map(|case| &case.ids[..]).collect();
    let alone: Vec<Vec<f32>> = texts
        .iter()
        .map(|text| states(&model, &pool(1), &[text]).remove(0))
        .collect();
    for threads in 1..=3 {
        assert_eq!(bits(&states(&model, &pool(threads), &texts)), bits(&alone));
    }
    let backwards: Vec<&[u32]> = texts.iter().rev().copied().collect();
    let mut found = states(&model, &pool(2), &backwards);
    found.reverse();
    assert_eq!(bits(&found), bits(&alone));
}

#[test]
fn the_same_weights_in_gguf_give_the_same_bits() {
    let pool = pool(2);
    let folder = Model::load(&*source("folders/bert"), &pool).unwrap();
    let file = Model::load(&*source("tiny-bert.gguf"), &pool).unwrap();
    let cases = cases("bert");
    let texts: Vec<&[u32]> = cases.iter().map(|case| &case.ids[..]).collect();
    assert_eq!(
        bits(&states(&file, &pool, &texts)),
        bits(&states(&folder, &pool, &texts))
    );
}

#[test]
fn vectors_are_as_near_to_llama_cpps_as_those_are_to_transformers() {
    let pool = pool(1);
    let model = Model::load(&*source("tiny-bert.gguf"), &pool).unwrap();
    let golden = json(&fixtures().join("tiny-bert.json"));
    let number = |key: &str| golden["deviation"][key].as_f64().unwrap();
    assert!(number("texts") >= 6.0);
    for case in golden["cases"].as_array().unwrap() {
        let ids: Vec<u32> = serde_json::from_value(case["ids"].clone()).unwrap();
        let wanted: Vec<f64> = serde_json::from_value(case["vector"].clone()).unwrap();
        let states = states(&model, &pool, &[&ids]).remove(0);
        let found = mean(&states, model.config().width);
        let length = found.iter().map(|x| x * x).sum::<f64>().sqrt();
        let largest = found
            .iter()
            .zip(&wanted)
            .map(|(a, b)| (a / length - b).abs());
        let largest = largest.fold(0.0, f64::max);
        assert!(
            largest <= 2.0 * number("largest"),
            "{}: {largest}",
            case["text"]
        );
    }
}

#[test]
fn quantised_weights_keep_the_direction() {
    let pool = pool(2);
    let source = source("folders/bert");
    for (kind, nearest) in [
        (QuantizedType::F16, 0.999_999),
        (QuantizedType::Q8_0, 0.999),
    ] {
        let model = Model::load_as(&*source, &pool, Some(kind)).unwrap();
        for case in cases("bert") {
            let states = states(&model, &pool, &[&case.ids]).remove(0);
            let found = mean(&states, model.config().width);
            let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let lengths = product(&found, &found) * product(&case.mean, &case.mean);
            let cosine = product(&found, &case.mean) / lengths.sqrt();
            assert!(cosine >= nearest, "{kind:?}, {:?}: {cosine}", case.text);
        }
    }
}

#[test]
fn what_stands_beside_a_model_says_how_it_embeds() {
    let config = |name: &str| {
        Model::load(&*source(name), &pool(1))
            .unwrap()
            .config()
            .clone()
    };
    let (mean, first, file) = (
        config("folders/bert"),
        config("folders/bert-cls"),
        config("tiny-bert.gguf"),
    );
    assert_eq!(
        (mean.pooling, mean.context_tokens),
        (Some(Pooling::Mean), 24)
    );
    assert_eq!(
        (first.pooling, first.context_tokens),
        (Some(Pooling::First), 40)
    );
    assert_eq!(
        (file.pooling, file.context_tokens),
        (Some(Pooling::Mean), 40)
    );
    assert!(!mean.causal);
}

#[test]
#[should_panic(expected = "25 tokens behind 0 for a model of texts of at most 24")]
fn a_text_that_is_too_long_is_refused() {
    let model = Model::load(&*source("folders/bert"), &pool(1)).unwrap();
    states(&model, &pool(1), &[&[2; 25]]);
}

/// A copy of a fixture with one file changed.
fn changed(file: &str, change: impl FnOnce(&mut Value)) -> String {
    let copy = tempfile::tempdir().unwrap();
    let from = fixtures().join("folders/bert");
    std::fs::create_dir(copy.path().join("1_Pooling")).unwrap();
    for name in [
        "config.json",
        "model.safetensors",
        "modules.json",
        "sentence_bert_config.json",
        "1_Pooling/config.json",
    ] {
        // Without a limit of its own the model takes as many tokens as its settings say.
        if name == "sentence_bert_config.json" && file != name {
            continue;
        }
        std::fs::copy(from.join(name), copy.path().join(name)).unwrap();
    }
    let mut value = json(&from.join(file));
    change(&mut value);
    std::fs::write(copy.path().join(file), value.to_string()).unwrap();
    let loaded = open(copy.path()).and_then(|source| Model::load(&*source, &pool(1)));
    let mut error: &dyn std::error::Error = &loaded.err().expect("the change is refused");
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[test]
fn what_we_do_not_do_is_refused_by_name() {
    let mode = |modes: Value| changed("1_Pooling/config.json", |file| *file = modes);
    let found = mode(serde_json::json!({"pooling_mode_max_tokens": true}));
    assert!(
        found.contains("pooling_mode_max_tokens") && found.contains("mean_tokens"),
        "{found}"
    );
    let both =
        serde_json::json!({"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true});
    assert!(mode(both).contains("one mode"));
    let module = |key: &str, index: usize, value: &str| {
        changed("modules.json", |file| file[index][key] = value.into())
    };
    assert!(module("type", 2, "models.Dense").contains("Transformer, Pooling or Normalize"));
    for outside in ["../1_Pooling", "/etc", ""] {
        assert!(module("path", 1, outside).contains("a folder beside the model"));
    }
    let setting = |key: &str, value: Value| changed("config.json", |file| file[key] = value);
    assert!(setting("hidden_act", "relu".into()).contains("want gelu"));
    assert!(setting("position_embedding_type", "relative_key".into()).contains("absolute"));
    let positions = setting("max_position_embeddings", 41.into());
    assert!(
        positions.contains("context_length") || positions.contains("position_embd"),
        "{positions}"
    );
    assert!(setting("num_attention_heads", 5.into()).contains("multiple of 16"));
    assert!(setting("intermediate_size", 81.into()).contains("ffn_up"));
    let limit = |file: &mut Value| file["max_seq_length"] = 0.into();
    assert!(changed("sentence_bert_config.json", limit).contains("at least 1"));
}
