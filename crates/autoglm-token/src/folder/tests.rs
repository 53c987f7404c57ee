//! Folders are read as the packages that wrote them read them, and what we cannot do is named.

use serde_json::{Value, json};

use super::{FolderTokenizer, TokenizerFiles};
use crate::{Specials, TokenId, TokenKind, Tokenizer};

/// A folder of `fixtures/folders/`.
macro_rules! folder {
    ($name:literal, $file:literal) => {
        TokenizerFiles {
            tokenizer_json: ($file == "tokenizer.json")
                .then(|| folder!(bytes $name, $file)),
            tokenizer_model: ($file == "tokenizer.model")
                .then(|| folder!(bytes $name, $file)),
            tokenizer_config_json: Some(folder!(bytes $name, "tokenizer_config.json")),
            ..TokenizerFiles::default()
        }
    };
    (bytes $name:literal, $file:literal) => {
        include_bytes!(concat!("../../fixtures/folders/", $name, "/", $file)).to_vec()
    };
}

/// What the packages give.
macro_rules! cases {
    ($name:literal) => {
        serde_json::from_str(include_str!(concat!(
            "../../fixtures/folders/",
            $name,
            "/cases.json"
        )))
        .unwrap()
    };
}

#[derive(serde::Deserialize)]
struct Golden {
    prefix: Vec<TokenId>,
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    text: String,
    ids: Vec<TokenId>,
    decoded: String,
}

fn read(files: &TokenizerFiles) -> Tokenizer {
    Tokenizer::new(FolderTokenizer::read(files).unwrap().vocabulary).unwrap()
}

/// Which control tokens count depends on the package: `tokenizers` and `tiktoken` find them in
/// every text, SentencePiece in none.
fn check(files: &TokenizerFiles, golden: &Golden, specials: Specials) {
    let tokenizer = read(files);
    assert_eq!(tokenizer.prefix(), golden.prefix);
    assert!(golden.cases.len() > 60);
    // Twice, because words are remembered.
    for case in golden.cases.iter().chain(&golden.cases) {
        let ids = tokenizer.encode(&case.text, specials);
        assert_eq!(ids, case.ids, "{:?}", case.text);
        assert_eq!(tokenizer.decode(&ids), case.decoded, "{:?}", case.text);
        let plain = tokenizer.encode(&case.text, Specials::AsText);
        let is_control = |&id: &TokenId| tokenizer.kind(id) == TokenKind::Control;
        assert!(!plain.iter().any(is_control), "{:?}", case.text);
    }
}

#[test]
fn byte_level_files_are_cut_as_by_the_tokenizers_package() {
    check(
        &folder!("glm", "tokenizer.json"),
        &cases!("glm"),
        Specials::Parse,
    );
    check(
        &folder!("qwen", "tokenizer.json"),
        &cases!("qwen"),
        Specials::Parse,
    );
    check(
        &folder!("smollm", "tokenizer.json"),
        &cases!("smollm"),
        Specials::Parse,
    );
    check(
        &folder!("deepseek", "tokenizer.json"),
        &cases!("deepseek"),
        Specials::Parse,
    );
}

#[test]
fn character_files_are_cut_as_by_the_tokenizers_package() {
    check(
        &folder!("llama", "tokenizer.json"),
        &cases!("llama"),
        Specials::Parse,
    );
    check(
        &folder!("metaspace", "tokenizer.json"),
        &cases!("metaspace"),
        Specials::Parse,
    );
    check(
        &folder!("gemma", "tokenizer.json"),
        &cases!("gemma"),
        Specials::Parse,
    );
}

#[test]
fn sentence_piece_models_are_cut_as_by_sentence_piece() {
    check(
        &folder!("chatglm3", "tokenizer.model"),
        &cases!("chatglm3"),
        Specials::AsText,
    );
    check(
        &folder!("gemma_pieces", "tokenizer.model"),
        &cases!("gemma_pieces"),
        Specials::AsText,
    );
}

#[test]
fn ranks_are_cut_as_by_tiktoken() {
    check(
        &folder!("ranks", "tokenizer.model"),
        &cases!("ranks"),
        Specials::Parse,
    );
}

#[test]
fn a_chatglm_folder_has_the_special_tokens_of_its_class() {
    let mut files = folder!("chatglm3", "tokenizer.model");
    let vocabulary = FolderTokenizer::read(&files).unwrap().vocabulary;
    let len = vocabulary.tokens.len();
    assert_eq!(vocabulary.tokens[len - 1], "<|observation|>");
    assert_eq!(vocabulary.find("<|user|>"), Some(len as TokenId - 3));
    let name = json!({"tokenizer_class": "ChatGLMTokenizer", "name_or_path": "a/chatglm2-6b"});
    files.tokenizer_config_json = Some(name.to_string().into_bytes());
    let older = FolderTokenizer::read(&files).unwrap().vocabulary;
    assert_eq!(older.tokens, vocabulary.tokens[..len - 4]);
}

#[test]
fn every_end_that_a_folder_states_ends_generation() {
    let mut files = folder!("ranks", "tokenizer.model");
    let generation = include_bytes!("../../fixtures/folders/ranks/generation_config.json");
    files.generation_config_json = Some(generation.to_vec());
    let tokenizer = read(&files);
    let stated: Value = serde_json::from_slice(generation).unwrap();
    let stated: Vec<TokenId> = serde_json::from_value(stated["eos_token_id"].clone()).unwrap();
    assert_eq!(tokenizer.end_ids(), stated);
}

#[test]
fn a_vocabulary_is_as_long_as_the_model_has_rows() {
    for rows in [640, 500] {
        let mut files = folder!("ranks", "tokenizer.model");
        files.tokenizer_config_json = None;
        files.config_json = Some(json!({"padded_vocab_size": rows}).to_string().into_bytes());
        let tokenizer = read(&files);
        assert_eq!(tokenizer.vocabulary_len(), rows);
        assert_eq!(
            tokenizer.decode(&[rows as TokenId - 1]).is_empty(),
            rows == 640
        );
    }
    let mut files = folder!("glm", "tokenizer.json");
    files.config_json = Some(br#"{"vocab_size": 4000000000000}"#.to_vec());
    let error = FolderTokenizer::read(&files).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the vocabulary has 4000000000000 tokens, want 1 to 4194304"
    );
}

#[test]
fn the_template_comes_from_its_own_file_or_from_the_settings() {
    let template = |config: Value, file: Option<&str>| {
        let files = TokenizerFiles {
            tokenizer_config_json: Some(config.to_string().into_bytes()),
            chat_template_jinja: file.map(|text| text.as_bytes().to_vec()),
            ..folder!("glm", "tokenizer.json")
        };
        FolderTokenizer::read(&files).unwrap().chat_template
    };
    let named = |name: &str| json!({"name": name, "template": name});
    let list = json!({"chat_template": [named("tool_use"), named("default")]});
    assert_eq!(template(json!({}), None), None);
    assert_eq!(
        template(json!({"chat_template": "a"}), None).as_deref(),
        Some("a")
    );
    assert_eq!(template(list.clone(), None).as_deref(), Some("default"));
    assert_eq!(template(list, Some("b")).as_deref(), Some("b"));
}

/// What is said of a `tokenizer.json` in which one place was changed.
fn refusal(folder: &[u8], change: impl FnOnce(&mut Value)) -> String {
    let mut file: Value = serde_json::from_slice(folder).unwrap();
    change(&mut file);
    let files = TokenizerFiles {
        tokenizer_json: Some(file.to_string().into_bytes()),
        ..TokenizerFiles::default()
    };
    let read = FolderTokenizer::read(&files);
    let error = read.and_then(|read| Tokenizer::new(read.vocabulary));
    error.unwrap_err().to_string()
}

const GLM: &[u8] = include_bytes!("../../fixtures/folders/glm/tokenizer.json");
const GEMMA: &[u8] = include_bytes!("../../fixtures/folders/gemma/tokenizer.json");

#[test]
fn a_component_that_we_do_not_have_is_named() {
    let changes: [(&[u8], &str, Value, &str); 9] = [
        (
            GLM,
            "/model/type",
            json!("Unigram"),
            "model.type is Unigram, want BPE",
        ),
        (
            GLM,
            "/normalizer",
            json!({"type": "Lowercase"}),
            "normalizer is {\"type\":\"Lowercase\"}",
        ),
        (
            GLM,
            "/pre_tokenizer",
            json!({"type": "Whitespace"}),
            "pre_tokenizer is {\"type\":\"Whitespace\"}",
        ),
        (
            GLM,
            "/post_processor",
            json!({"type": "BertProcessing"}),
            "post_processor is",
        ),
        (
            GLM,
            "/model/dropout",
            json!(0.1),
            "model.dropout is 0.1, want none",
        ),
        (
            GLM,
            "/added_tokens/0/lstrip",
            json!(true),
            "lstrip of the added token \"<|endoftext|>\"",
        ),
        (
            GEMMA,
            "/decoder",
            json!({"type": "WordPiece"}),
            "decoder is",
        ),
        (GEMMA, "/normalizer", json!(null), "pre_tokenizer is"),
        (
            GEMMA,
            "/model/byte_fallback",
            json!(false),
            "model.byte_fallback is false",
        ),
    ];
    for (folder, place, value, want) in changes {
        let message = refusal(folder, |file| {
            if let Some(found) = file.pointer_mut(place) {
                *found = value;
            }
        });
        assert!(message.contains(want), "{place}: {message}");
    }
}

#[test]
fn a_pattern_that_means_something_else_here_is_refused() {
    for (pattern, want) in [
        (
            r"\p{L}++",
            "a quantifier that does not give back is not supported",
        ),
        (r"^\p{L}+", "an anchor is not supported"),
        (r"\p{L}+\b", "an anchor is not supported"),
        (r"\p{L}+(?=\p{N})|\p{L}", "looking around is not supported"),
        (r"\p{L}*", "it matches the empty text"),
    ] {
        let message = refusal(GLM, |file| {
            file["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = json!(pattern);
        });
        assert!(message.contains(want), "{pattern}: {message}");
    }
}

#[test]
fn broken_files_give_errors() {
    let error = FolderTokenizer::read(&TokenizerFiles::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the folder has no tokenizer: want tokenizer.json or tokenizer.model"
    );
    let huge = |file: &mut Value| file["model"]["vocab"]["x"] = json!(4_000_000_000_u32);
    assert!(refusal(GLM, huge).contains("has 4000000001 tokens"));
    for model in [
        &b"IQ=="[..],
        b"IQ== 0\nIg== 0",
        b"I!== 0",
        b"IQ 0",
        b"IQ== 99999999999",
    ] {
        let files = TokenizerFiles {
            tokenizer_model: Some(model.to_vec()),
            ..TokenizerFiles::default()
        };
        let error = FolderTokenizer::read(&files).unwrap_err();
        assert!(error.to_string().contains("a token in base 64"), "{error}");
    }
}

#[test]
fn a_cut_or_changed_sentence_piece_model_never_panics() {
    let model = include_bytes!("../../fixtures/folders/chatglm3/tokenizer.model");
    let read = |bytes: Vec<u8>| {
        let files = TokenizerFiles {
            tokenizer_model: Some(bytes),
            ..TokenizerFiles::default()
        };
        let _ = FolderTokenizer::read(&files).and_then(|read| Tokenizer::new(read.vocabulary));
    };
    for len in (1..model.len()).step_by(61) {
        read(model[..len].to_vec());
        let mut changed = model.to_vec();
        changed[len] ^= 0x81;
        read(changed);
    }
}

/// Checks that a tokenizer in GGUF's terms cuts as the one of the folder does.
#[track_caller]
fn check_gguf(files: &TokenizerFiles, golden: &Golden) {
    let vocabulary = FolderTokenizer::read(files).unwrap().vocabulary;
    let expressed = Tokenizer::new(vocabulary.for_gguf().unwrap()).unwrap();
    let tokenizer = Tokenizer::new(vocabulary).unwrap();
    assert_eq!(expressed.prefix(), golden.prefix);
    assert_eq!(expressed.end_ids(), tokenizer.end_ids());
    for case in &golden.cases {
        for specials in [Specials::Parse, Specials::AsText] {
            let (ids, wanted) = (
                expressed.encode(&case.text, specials),
                tokenizer.encode(&case.text, specials),
            );
            assert_eq!(ids, wanted, "{:?}", case.text);
            assert_eq!(expressed.decode(&ids), tokenizer.decode(&wanted));
        }
    }
}

#[test]
fn what_gguf_can_express_cuts_the_same_in_its_terms() {
    check_gguf(&folder!("glm", "tokenizer.json"), &cases!("glm"));
    check_gguf(&folder!("qwen", "tokenizer.json"), &cases!("qwen"));
    check_gguf(&folder!("smollm", "tokenizer.json"), &cases!("smollm"));
    check_gguf(&folder!("deepseek", "tokenizer.json"), &cases!("deepseek"));
    check_gguf(&folder!("chatglm3", "tokenizer.model"), &cases!("chatglm3"));
    check_gguf(
        &folder!("gemma_pieces", "tokenizer.model"),
        &cases!("gemma_pieces"),
    );
    check_gguf(&folder!("ranks", "tokenizer.model"), &cases!("ranks"));
}

#[test]
fn what_gguf_cannot_express_is_named() {
    let refused = |vocabulary: &crate::Vocabulary| vocabulary.for_gguf().unwrap_err().to_string();
    let files = folder!("metaspace", "tokenizer.json");
    let error = refused(&FolderTokenizer::read(&files).unwrap().vocabulary);
    assert!(error.contains("a space before a text"), "{error}");
    let files = folder!("glm", "tokenizer.json");
    let glm = FolderTokenizer::read(&files).unwrap().vocabulary;
    let mut other = glm.clone();
    other.words = crate::Words::Patterns {
        patterns: vec![".".to_owned()],
        whole_words: false,
    };
    let error = refused(&other);
    assert!(error.contains("the pre-tokeniser is [\".\"]"), "{error}");
    let mut other = glm;
    other.extra_ends = (0..6).collect();
    let error = refused(&other);
    assert!(error.contains("an end of text"), "{error}");
    // Its merges were learnt, and are not every pair of tokens that makes another.
    let files = folder!("llama", "tokenizer.json");
    let error = refused(&FolderTokenizer::read(&files).unwrap().vocabulary);
    assert!(error.contains("a merge is missing for"), "{error}");
}

#[test]
fn merges_that_were_made_of_scores_become_scores_again() {
    let files = folder!("gemma_pieces", "tokenizer.model");
    let pieces = FolderTokenizer::read(&files).unwrap().vocabulary;
    let crate::MergeOrder::Scores(scores) = &pieces.merges else {
        panic!("pieces have scores")
    };
    let mut merged = pieces.clone();
    merged.merges = crate::MergeOrder::Pairs(crate::gguf::pairs_of(&pieces, scores));
    let scored = merged.for_gguf().unwrap();
    assert!(matches!(scored.merges, crate::MergeOrder::Scores(_)));
    let [pieces, scored] = [pieces, scored].map(|v| Tokenizer::new(v).unwrap());
    let golden: Golden = cases!("gemma_pieces");
    for case in golden.cases {
        let encode = |tokenizer: &Tokenizer| tokenizer.encode(&case.text, Specials::AsText);
        assert_eq!(encode(&scored), encode(&pieces), "{:?}", case.text);
    }
}
