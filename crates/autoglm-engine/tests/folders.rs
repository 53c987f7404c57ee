//! A folder with `config.json`, safetensors and a tokenizer is a model like any other.

#![expect(clippy::unwrap_used, reason = "a test may panic, that is how it fails")]

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use autoglm_engine::{CacheType, LocalEngine, LocalSettings};
use autoglm_spec::{Cancel, Normalise, Prompt, Score, ScoreRequest};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A copy of a tiny model's folder with a tokenizer of so many tokens: the letters of a byte-level
/// alphabet, then nonsense.
fn folder(name: &str, tokens: usize, settings: &[(&str, Value)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../autoglm-model/fixtures/folders")
        .join(name);
    for entry in fs::read_dir(from).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    let config = folder.path().join("config.json");
    let mut text: Value = serde_json::from_str(&fs::read_to_string(&config).unwrap()).unwrap();
    // The real models' end lies outside a tiny vocabulary.
    text["eos_token_id"] = Value::Null;
    for (key, value) in settings {
        text[*key] = value.clone();
    }
    fs::write(&config, text.to_string()).unwrap();
    let letters = ('!'..='~').chain(['Ġ', 'Ċ']).map(String::from);
    let texts = letters.chain((0..).map(|i| format!("nonsense{i}")));
    let vocabulary: serde_json::Map<String, Value> =
        texts.take(tokens).zip((0..).map(Value::from)).collect();
    let tokenizer = json!({
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
        "decoder": {"type": "ByteLevel"},
    });
    fs::write(folder.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    folder
}

fn settings() -> LocalSettings {
    LocalSettings {
        threads: NonZeroUsize::MIN,
        cache_tokens: Some(LocalSettings::MIN_CACHE_TOKENS),
        cache_type: CacheType::F16,
        memory_limit: None,
        quantize: None,
        adapter_bytes: 0,
    }
}

#[test]
fn a_folder_scores_texts() {
    for name in ["chatglm", "glm4"] {
        let folder = folder(name, 96, &[]);
        let engine = LocalEngine::open(folder.path(), settings()).unwrap();
        let request = ScoreRequest {
            prompt: Prompt::Plain("good or bad?".to_owned()),
            options: vec![" good".to_owned(), " bad".to_owned()],
            normalise: Normalise::Vocabulary,
            states: false,
            adapter: None,
        };
        let scored = engine.score(&[request], &Cancel::default());
        let scoring = scored.into_iter().next().unwrap().unwrap();
        assert!(
            scoring
                .options
                .iter()
                .all(|option| option.logprob.is_finite() && option.logprob < 0.0)
        );
    }
}

#[test]
fn more_tokens_than_rows_are_refused() {
    let folder = folder("glm4", 97, &[("vocab_size", json!(200))]);
    let refused = LocalEngine::open(folder.path(), settings()).err().unwrap();
    assert_eq!(
        refused.to_string(),
        "the tokenizer has 200 tokens, the model has rows for 96"
    );
}
