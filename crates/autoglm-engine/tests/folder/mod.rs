//! An engine on a tiny model with a tokenizer and a chat template of the test's own.

#![expect(clippy::unwrap_used, reason = "a test may panic, that is how it fails")]

use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;

use autoglm_engine::{CacheType, LocalEngine, LocalSettings};
use serde_json::{Map, Value, json};

/// Whether the vocabulary has tokens for the tags of calls and reasoning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tags {
    /// They are spelt letter by letter.
    Absent,
    /// Tokens that are part of a text.
    InText,
    /// Control tokens, which no text has.
    Control,
}

const TAGS: [&str; 4] = ["<tool_call>", "</tool_call>", "<think>", "</think>"];

/// Rows of the tiny model.
const ROWS: usize = 96;

/// A model whose tokens are the letters of ASCII but for some, an end, and tags.
pub(crate) fn engine_with(template: &str, tags: Tags) -> LocalEngine {
    let folder = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../autoglm-model/fixtures/folders/glm4");
    for entry in fs::read_dir(&from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    let config = fs::read_to_string(from.join("config.json")).unwrap();
    let mut config: Value = serde_json::from_str(&config).unwrap();
    config["eos_token_id"] = Value::Null;
    config["max_position_embeddings"] = json!(2_048);
    let write = |name: &str, value: &Value| {
        fs::write(folder.path().join(name), value.to_string()).unwrap();
    };
    write("config.json", &config);
    write("tokenizer.json", &tokenizer(tags));
    write("tokenizer_config.json", &json!({"chat_template": template}));
    let settings = LocalSettings {
        threads: NonZeroUsize::MIN,
        cache_tokens: Some(LocalSettings::MIN_CACHE_TOKENS),
        cache_type: CacheType::F16,
        memory_limit: None,
        quantize: None,
        adapter_bytes: 0,
    };
    LocalEngine::open(folder.path(), settings).unwrap()
}

fn tokenizer(tags: Tags) -> Value {
    // Letters that no test writes make room for the special tokens.
    let letters = ('!'..='~').filter(|c| !"^`~@;".contains(*c));
    let mut vocabulary: Map<String, Value> = Map::new();
    for letter in letters.chain(['Ġ', 'Ċ']) {
        vocabulary.insert(letter.to_string(), vocabulary.len().into());
    }
    let tags = match tags {
        Tags::Absent => Vec::new(),
        Tags::InText => TAGS.map(|tag| (tag, false)).to_vec(),
        Tags::Control => TAGS.map(|tag| (tag, true)).to_vec(),
    };
    let specials = [("</s>", true)].into_iter().chain(tags);
    let added: Vec<Value> = specials
        .zip(vocabulary.len()..)
        .map(|((content, special), id)| {
            json!({"id": id, "content": content, "special": special, "single_word": false,
                   "lstrip": false, "rstrip": false, "normalized": false})
        })
        .collect();
    assert!(vocabulary.len() + added.len() <= ROWS);
    json!({
        "added_tokens": added,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
        "decoder": {"type": "ByteLevel"},
    })
}
