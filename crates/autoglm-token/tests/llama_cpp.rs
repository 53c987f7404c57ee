//! Token for token what llama.cpp gives, on small vocabularies of both kinds.
#![expect(clippy::unwrap_used, reason = "a test")]

use autoglm_token::{Specials, TokenId, Tokenizer, Vocabulary};
use serde::Deserialize;

mod cases;
mod golden;

use cases::Case;
use golden::StoredVocabulary;

const SENTENCE_PIECE: &str = include_str!("../fixtures/sentence_piece.json");
const SENTENCE_PIECE_PREFIX: &str = include_str!("../fixtures/sentence_piece_prefix.json");
const BYTE_BPE: &str = include_str!("../fixtures/byte_bpe.json");

#[derive(Deserialize)]
struct SentencePieceGolden {
    ends: Vec<TokenId>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct ByteBpeGolden {
    ends: Vec<TokenId>,
    pre_tokenizers: Vec<Run>,
}

#[derive(Deserialize)]
struct Run {
    pre: String,
    cases: Vec<Case>,
}

fn vocabulary(fixture: &str) -> Vocabulary {
    serde_json::from_str::<StoredVocabulary>(fixture)
        .unwrap()
        .into()
}

fn check(tokenizer: &Tokenizer, cases: &[Case], name: &str) {
    assert!(cases.len() > 60, "{name}: only {} texts", cases.len());
    // Twice, because words are remembered.
    for case in cases.iter().chain(cases) {
        let plain = tokenizer.encode(&case.text, Specials::AsText);
        assert_eq!(plain, case.ids, "{name}, as text: {:?}", case.text);
        let parsed = tokenizer.encode(&case.text, Specials::Parse);
        let want = case.parsed.as_ref().unwrap_or(&case.ids);
        assert_eq!(&parsed, want, "{name}, parsed: {:?}", case.text);
    }
}

#[test]
fn sentence_piece_gives_the_same_tokens() {
    for fixture in [SENTENCE_PIECE, SENTENCE_PIECE_PREFIX] {
        let tokenizer = Tokenizer::new(vocabulary(fixture)).unwrap();
        let golden: SentencePieceGolden = serde_json::from_str(fixture).unwrap();
        check(&tokenizer, &golden.cases, "sentence piece");
        assert_eq!(tokenizer.end_ids(), golden.ends);
    }
}

#[test]
fn every_pre_tokenizer_gives_the_same_tokens() {
    let golden: ByteBpeGolden = serde_json::from_str(BYTE_BPE).unwrap();
    for run in golden.pre_tokenizers {
        let tokenizer = Tokenizer::new(Vocabulary {
            words: run.pre.as_str().into(),
            ..vocabulary(BYTE_BPE)
        })
        .unwrap();
        check(&tokenizer, &run.cases, &run.pre);
        assert!(golden.ends.iter().all(|&id| tokenizer.is_end(id)));
    }
}

#[test]
fn turns_of_others_end_generation_in_the_glm_family() {
    let vocabulary = Vocabulary {
        words: "glm4".into(),
        ..vocabulary(BYTE_BPE)
    };
    let ids = ["<|user|>", "<|observation|>"]
        .map(|name| vocabulary.tokens.iter().position(|t| t == name).unwrap() as TokenId);
    let tokenizer = Tokenizer::new(vocabulary).unwrap();
    assert!(ids.iter().all(|&id| tokenizer.is_end(id)));
}
