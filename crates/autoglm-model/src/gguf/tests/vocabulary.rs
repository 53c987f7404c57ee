//! Vocabularies: lengths, ids and kinds are checked against each other.

use autoglm_token::{MergeOrder, SpacePrefix, TokenKind, VocabularyModel};

use super::super::writer::Writer;
use super::read;

fn sentence_piece() -> Writer {
    Writer::new()
        .string("tokenizer.ggml.model", "llama")
        .strings("tokenizer.ggml.tokens", &["<unk>", "<s>", "</s>", "▁a"])
}

fn scored() -> Writer {
    sentence_piece().f32s("tokenizer.ggml.scores", &[0.0, 0.0, 0.0, -1.5])
}

fn refusal(writer: &Writer) -> String {
    read(writer).vocabulary().unwrap_err().to_string()
}

#[test]
fn a_sentence_piece_vocabulary_is_read() {
    let vocabulary = read(
        &scored()
            .i32s("tokenizer.ggml.token_type", &[2, 3, 3, 1])
            .u32("tokenizer.ggml.bos_token_id", 1)
            .u32("tokenizer.ggml.eos_token_id", 2)
            .u32("tokenizer.ggml.unknown_token_id", 0)
            .u32("tokenizer.ggml.eom_token_id", 3)
            .bool("tokenizer.ggml.add_space_prefix", false),
    )
    .vocabulary()
    .unwrap();
    assert_eq!(vocabulary.model, VocabularyModel::SentencePiece);
    assert_eq!(
        vocabulary.merges,
        MergeOrder::Scores(vec![0.0, 0.0, 0.0, -1.5])
    );
    assert_eq!(
        vocabulary.kinds,
        [
            TokenKind::Unknown,
            TokenKind::Control,
            TokenKind::Control,
            TokenKind::Normal
        ]
    );
    assert_eq!(vocabulary.unk, Some(0));
    assert_eq!(vocabulary.bos, Some(1));
    assert_eq!(vocabulary.eos, Some(2));
    assert_eq!(vocabulary.eot, None);
    assert_eq!(vocabulary.extra_ends, [3]);
    assert_eq!(vocabulary.prefix, [1]);
    assert_eq!(vocabulary.space_prefix, SpacePrefix::Never);
}

#[test]
fn lists_must_have_one_entry_a_token() {
    assert_eq!(
        refusal(&sentence_piece().f32s("tokenizer.ggml.scores", &[0.0])),
        "metadata key tokenizer.ggml.scores has 1 entries, the vocabulary has 4 tokens"
    );
    assert_eq!(
        refusal(&scored().i32s("tokenizer.ggml.token_type", &[1; 5])),
        "metadata key tokenizer.ggml.token_type has 5 entries, the vocabulary has 4 tokens"
    );
}

#[test]
fn what_a_model_needs_must_be_there() {
    assert_eq!(
        refusal(&Writer::new()),
        "metadata key tokenizer.ggml.model is missing"
    );
    assert_eq!(
        refusal(&sentence_piece()),
        "metadata key tokenizer.ggml.scores is missing"
    );
    let bytes = Writer::new()
        .string("tokenizer.ggml.model", "gpt2")
        .strings("tokenizer.ggml.tokens", &["a"]);
    assert_eq!(
        refusal(&bytes),
        "metadata key tokenizer.ggml.merges is missing"
    );
    let empty = Writer::new()
        .string("tokenizer.ggml.model", "gpt2")
        .strings("tokenizer.ggml.tokens", &[]);
    assert_eq!(
        refusal(&empty),
        "metadata key tokenizer.ggml.tokens: got 0 tokens, want 1 to 4294967295"
    );
}

#[test]
fn ids_must_lie_within_the_vocabulary() {
    assert_eq!(
        refusal(&scored().u32("tokenizer.ggml.eos_token_id", 4)),
        "metadata key tokenizer.ggml.eos_token_id is token 4, the vocabulary has 4 tokens"
    );
    assert_eq!(
        refusal(&scored().u32s("autoglm.tokenizer.prefix", &[3, 4])),
        "metadata key autoglm.tokenizer.prefix is token 4, the vocabulary has 4 tokens"
    );
}

#[test]
fn other_kinds_of_tokenizers_and_tokens_are_named() {
    assert_eq!(
        refusal(&Writer::new().string("tokenizer.ggml.model", "bert")),
        "tokenizer model bert is not supported, want llama or gpt2"
    );
    assert_eq!(
        refusal(&scored().i32s("tokenizer.ggml.token_type", &[1, 1, 9, 1])),
        "metadata key tokenizer.ggml.token_type: got 9 at index 2, want 1 to 6"
    );
}
