//! What is true of every text.
#![expect(clippy::unwrap_used, reason = "a test")]

use autoglm_token::{Specials, TextStream, TokenId, TokenKind, Tokenizer, Vocabulary};
use proptest::prelude::*;

mod golden;

fn tokenizers() -> Vec<Tokenizer> {
    let fixtures = [
        include_str!("../fixtures/sentence_piece.json"),
        include_str!("../fixtures/byte_bpe.json"),
    ];
    let read = |fixture: &str| {
        let stored: golden::StoredVocabulary = serde_json::from_str(fixture).unwrap();
        let vocabulary = Vocabulary {
            words: "smollm".into(),
            ..stored.into()
        };
        Tokenizer::new(vocabulary).unwrap()
    };
    fixtures.into_iter().map(read).collect()
}

/// Texts that hit merges, special tokens and what the vocabularies lack.
fn text() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "the",
        " the",
        " review",
        "你好",
        "电影",
        "\n",
        "\n\n",
        "  ",
        " ",
        "\t",
        "<end_of_turn>",
        "<|im_end|>",
        "<|im_",
        "<table>",
        "<0x41>",
        "12",
        "é",
        "😀",
        "𠮷",
        "'s",
        "!!",
    ]);
    let any = any::<char>().prop_map(|c| c.to_string());
    let piece = prop_oneof![3 => pieces.prop_map(str::to_owned), 1 => any];
    // SentencePiece writes spaces as ▁ and cannot tell the two apart.
    prop::collection::vec(piece, 0..40).prop_map(|p| p.concat().replace('▁', ""))
}

fn streamed(tokenizer: &Tokenizer, ids: &[TokenId]) -> Vec<String> {
    let mut stream = TextStream::at_start();
    let mut pieces: Vec<_> = ids.iter().map(|&id| stream.push(tokenizer, id)).collect();
    pieces.push(stream.finish());
    pieces
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn every_text_comes_back(text in text()) {
        for tokenizer in tokenizers_once() {
            let ids = tokenizer.encode(&text, Specials::AsText);
            prop_assert_eq!(&tokenizer.decode(&ids), &text);
        }
    }

    #[test]
    fn no_text_becomes_a_control_token(text in text()) {
        for tokenizer in tokenizers_once() {
            let ids = tokenizer.encode(&text, Specials::AsText);
            prop_assert!(ids.iter().all(|&id| tokenizer.kind(id) != TokenKind::Control));
        }
    }

    #[test]
    fn text_in_plain_stretches_does_not_change_what_stands_around(before in text(), inside in text(), behind in text()) {
        for tokenizer in tokenizers_once() {
            let whole = [before.as_str(), &inside, &behind].concat();
            let stretch = before.len()..before.len() + inside.len();
            let ids = tokenizer.encode_around(&whole, std::slice::from_ref(&stretch));
            let text: String = ids.iter().map(|&id| tokenizer.token_text(id)).collect();
            // No character is split between tokens where nothing falls back to bytes.
            if !text.contains('\u{FFFD}') {
                prop_assert_eq!(text, whole);
            }
        }
    }

    #[test]
    fn streamed_text_is_the_whole_text(ids in prop::collection::vec(0_u32..400, 0..60)) {
        for tokenizer in tokenizers_once() {
            prop_assert_eq!(streamed(tokenizer, &ids).concat(), tokenizer.decode(&ids));
        }
    }

    #[test]
    fn a_stream_of_valid_text_has_no_replacement_character(text in text()) {
        prop_assume!(!text.contains('\u{FFFD}'));
        for tokenizer in tokenizers_once() {
            let ids = tokenizer.encode(&text, Specials::AsText);
            let text = streamed(tokenizer, &ids).concat();
            prop_assert!(!text.contains(char::REPLACEMENT_CHARACTER));
        }
    }
}

fn tokenizers_once() -> &'static [Tokenizer] {
    static TOKENIZERS: std::sync::OnceLock<Vec<Tokenizer>> = std::sync::OnceLock::new();
    TOKENIZERS.get_or_init(tokenizers)
}

fn byte_token(tokenizer: &Tokenizer, byte: u8) -> TokenId {
    (0..tokenizer.vocabulary_len() as TokenId)
        .find(|&id| tokenizer.kind(id) == TokenKind::Byte && tokenizer.token_bytes(id) == [byte])
        .unwrap()
}

#[test]
fn a_character_is_held_back_until_it_is_complete() {
    let tokenizer = &tokenizers_once()[0];
    let mut stream = TextStream::at_start();
    let pieces: Vec<String> = "龘"
        .bytes()
        .map(|byte| stream.push(tokenizer, byte_token(tokenizer, byte)))
        .collect();
    assert_eq!(pieces, ["", "", "龘"]);
    assert_eq!(stream.finish(), "");
}

#[test]
fn a_byte_that_can_begin_no_character_is_replaced_at_once() {
    let tokenizer = &tokenizers_once()[0];
    let mut stream = TextStream::at_start();
    assert_eq!(
        stream.push(tokenizer, byte_token(tokenizer, 0xFF)),
        "\u{FFFD}"
    );
    assert_eq!(stream.push(tokenizer, byte_token(tokenizer, 0xE4)), "");
    assert_eq!(
        stream.push(tokenizer, byte_token(tokenizer, b'a')),
        "\u{FFFD}a"
    );
    assert_eq!(stream.push(tokenizer, byte_token(tokenizer, 0xE4)), "");
    assert_eq!(stream.finish(), "\u{FFFD}");
}

#[test]
fn the_space_put_before_a_text_is_taken_away_again() {
    let fixture = include_str!("../fixtures/sentence_piece_prefix.json");
    let stored: golden::StoredVocabulary = serde_json::from_str(fixture).unwrap();
    let tokenizer = Tokenizer::new(stored.into()).unwrap();
    let ids = tokenizer.encode("the review", Specials::AsText);
    assert_eq!(tokenizer.decode(&ids), "the review");
    let mut stream = TextStream::default();
    let text: String = ids.iter().map(|&id| stream.push(&tokenizer, id)).collect();
    assert_eq!(text, " the review");
}
