//! Vectors of texts: beside those of `transformers` (`tools/reference/tiny_bert.py`), and whatever
//! else is asked for with them.

#[expect(dead_code, reason = "these tests need a part of it")]
mod fixture;

use std::path::PathBuf;

use autoglm_engine::{LocalEngine, MemoryPlan, Pooling};
use autoglm_spec::{
    Blame, Blamed, Cancel, Embed, Embedding, EngineError, Generate, Normalise, Prompt, Sampling,
    Score, ScoreRequest, Similarity,
};
use fixture::{engine, request};
use serde_json::Value;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../autoglm-model/fixtures")
        .join(name)
}

fn embed(engine: &LocalEngine, texts: &[&str]) -> Vec<Embedding> {
    let results = engine.embed(texts, &Cancel::default());
    results.into_iter().map(Result::unwrap).collect()
}

fn bits(embedding: &Embedding) -> Vec<u32> {
    embedding.vector.iter().map(|x| x.to_bits()).collect()
}

/// Texts of very different lengths, some hundred.
fn texts() -> Vec<String> {
    let words = ["the", "lazy dog", "好", "quick, brown", "x"];
    let text = |n: usize| {
        (0..n % 17)
            .map(|i| words[(n + i) % 5])
            .collect::<Vec<_>>()
            .join(" ")
    };
    (0..300).map(text).collect()
}

#[test]
fn vectors_agree_with_transformers_and_cuts_are_told() {
    for (folder, which) in [("bert", "mean"), ("bert-cls", "first")] {
        let golden = path(&format!("folders/{folder}/golden.json"));
        let golden: Value =
            serde_json::from_str(&std::fs::read_to_string(golden).unwrap()).unwrap();
        let engine = engine(&format!("folders/{folder}"), 2);
        let cases = golden["cases"].as_array().unwrap();
        for (index, case) in cases.iter().enumerate() {
            let ids = case["ids"].as_array().unwrap().len();
            let wanted: Vec<f64> = serde_json::from_value(case[which].clone()).unwrap();
            let length = wanted.iter().map(|x| x * x).sum::<f64>().sqrt();
            let found = embed(&engine, &[case["text"].as_str().unwrap()]).remove(0);
            assert_eq!(found.tokens, ids, "{}", case["text"]);
            // The last text is longer than both models take, and a cut text fills the model.
            assert!(found.cut_tokens > 0 || index + 1 < cases.len());
            assert!(found.cut_tokens == 0 || ids == engine.space().max_tokens);
            for (found, wanted) in found.vector.iter().zip(&wanted) {
                let off = (f64::from(*found) - wanted / length).abs();
                assert!(off < 1e-5, "{}: off by {off}", case["text"]);
            }
        }
    }
}

#[test]
fn a_text_has_the_same_vector_whatever_stands_beside_it() {
    let texts = texts();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    for file in ["folders/bert", "tiny-llama.gguf", "tiny-gemma3.gguf"] {
        let single = engine(file, 1);
        let texts: Vec<&str> = texts
            .iter()
            .copied()
            .filter(|text| !text.is_empty())
            .collect();
        let together = embed(&engine(file, 3), &texts);
        assert_eq!(together.len(), texts.len());
        for (text, found) in texts.iter().zip(&together) {
            let alone = embed(&single, &[text]).remove(0);
            assert_eq!(bits(&alone), bits(found), "{file}, {text:?}");
            let squares: f64 = found.vector.iter().map(|x| f64::from(*x).powi(2)).sum();
            assert!((squares - 1.0).abs() < 1e-6);
        }
    }
}

#[test]
fn the_space_says_what_the_vectors_are() {
    let engine = engine("folders/bert", 1);
    let space = engine.space();
    assert_eq!(space.name, "bert");
    assert_eq!((space.dimensions, space.max_tokens), (48, 24));
    assert_eq!(space.similarity, Similarity::Cosine);
    let other = fixture::engine("folders/bert", 1).with_pooling(Pooling::First);
    assert_eq!(other.space().name, "bert/first");
    assert_ne!(
        bits(&embed(&engine, &["dog"])[0]),
        bits(&embed(&other, &["dog"])[0])
    );
    let llama = fixture::engine("tiny-llama.gguf", 1);
    assert_eq!(llama.space().name, "tiny-llama/mean");
    assert_eq!(llama.space().max_tokens, 128);
}

#[test]
fn a_causal_model_gives_its_own_hidden_states_cut_to_its_context() {
    let long = "a".repeat(500);
    for pooling in [Pooling::Mean, Pooling::First, Pooling::Last] {
        let engine = engine("tiny-llama.gguf", 2).with_pooling(pooling);
        let found = embed(&engine, &[&long, "b"]);
        assert_eq!(found[0].tokens, 128);
        assert!(found[0].cut_tokens > 300 && found[1].cut_tokens == 0);
        let cut = embed(&engine, &[&long[..490]]).remove(0);
        assert_eq!(bits(&cut), bits(&found[0]));
    }
}

#[test]
fn a_text_without_a_token_is_an_error_of_its_own() {
    let engine = engine("tiny-llama.gguf", 1);
    let results = engine.embed(&["a", "", "b"], &Cancel::default());
    assert!(matches!(
        &results[1],
        Err(EngineError::BadRequest { field: "text", .. })
    ));
    let alone = embed(&engine, &["b"]).remove(0);
    assert_eq!(bits(results[2].as_ref().unwrap()), bits(&alone));
}

#[test]
fn cancelled_work_ends_and_says_so() {
    let cancel = Cancel::default();
    cancel.cancel();
    let results = engine("folders/bert", 1).embed(&["a", "b"], &cancel);
    assert_eq!(results.len(), 2);
    assert!(
        results
            .iter()
            .all(|result| matches!(result, Err(EngineError::Cancelled)))
    );
}

#[test]
fn a_model_of_embeddings_refuses_to_write() {
    let engine = engine("folders/bert", 1);
    let score = ScoreRequest {
        prompt: Prompt::Plain("a".to_owned()),
        options: vec!["b".to_owned()],
        normalise: Normalise::Vocabulary,
        states: false,
        adapter: None,
    };
    let scored = engine
        .score(&[score], &Cancel::default())
        .remove(0)
        .err()
        .unwrap();
    let cancel = Cancel::default();
    let asked = [request("a", 3, Sampling::GREEDY)];
    let written = engine
        .generate(&asked, &cancel, &mut |_, _| {})
        .remove(0)
        .err()
        .unwrap();
    for error in [scored, written] {
        assert_eq!(error.blame(), Blame::Caller);
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(
            source,
            "the model bert makes embeddings of texts and cannot write any"
        );
    }
}

#[test]
fn the_cache_of_a_model_of_embeddings_holds_one_layer() {
    let source = autoglm_model::open(&path("folders/bert")).unwrap();
    let settings = autoglm_engine::LocalSettings {
        threads: std::num::NonZeroUsize::MIN,
        cache_tokens: None,
        cache_type: autoglm_engine::CacheType::Q8,
        memory_limit: None,
        quantize: None,
        adapter_bytes: 0,
    };
    let plan = MemoryPlan::new(&*source, settings).unwrap();
    assert_eq!(
        plan.cache_tokens,
        autoglm_engine::LocalSettings::MIN_CACHE_TOKENS
    );
    // Keys and values of 48 numbers in single precision, and the room for bounds of keys.
    assert!((2 * 48 * 4..2 * 48 * 4 + 64).contains(&plan.bytes_per_token));
    assert_eq!(plan.head_bytes, 0);
}
