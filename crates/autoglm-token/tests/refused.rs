//! Vocabularies that are refused, with what is said about them.

use autoglm_spec::{Blame, Blamed};
use autoglm_token::{MergeOrder, TokenError, TokenKind, Tokenizer, Vocabulary, VocabularyModel};

fn byte_level() -> Vocabulary {
    let tokens = ["a", "b", "ab", "<|im_end|>"].map(str::to_owned).to_vec();
    let mut vocabulary = Vocabulary::new(VocabularyModel::ByteBpe, tokens);
    vocabulary.words = "gpt-2".into();
    vocabulary
}

fn refusal(vocabulary: Vocabulary) -> String {
    let error = Tokenizer::new(vocabulary).expect_err("a refusal");
    assert_eq!(error.blame(), Blame::Data);
    error.to_string()
}

#[test]
fn an_unknown_pre_tokenizer_is_named_with_those_that_are_known() {
    let message = refusal(Vocabulary {
        words: "klingon".into(),
        ..byte_level()
    });
    assert!(message.contains("\"klingon\""), "{message}");
    assert!(
        message.contains("smollm") && message.contains("glm4"),
        "{message}"
    );
}

#[test]
fn a_list_of_another_length_is_refused() {
    let message = refusal(Vocabulary {
        merges: MergeOrder::Scores(vec![0.0]),
        ..byte_level()
    });
    assert_eq!(
        message,
        "the vocabulary's scores has 1 entries, want one for each of 4 tokens"
    );
    let message = refusal(Vocabulary {
        kinds: vec![TokenKind::Normal; 5],
        ..byte_level()
    });
    assert!(message.contains("kinds has 5"), "{message}");
}

#[test]
fn an_empty_vocabulary_is_refused() {
    let message = refusal(Vocabulary::new(VocabularyModel::ByteBpe, Vec::new()));
    assert!(message.contains("has 0 tokens"), "{message}");
}

#[test]
fn a_named_token_beyond_the_vocabulary_is_refused() {
    let message = refusal(Vocabulary {
        eos: Some(4),
        ..byte_level()
    });
    assert_eq!(
        message,
        "the vocabulary's eos is token 4, but it has only 4 tokens"
    );
}

#[test]
fn a_merge_of_what_is_no_token_is_refused() {
    for merge in ["b a", "ab", "a x", ""] {
        let merges = MergeOrder::Pairs(vec!["a b".to_owned(), merge.to_owned()]);
        let error = Tokenizer::new(Vocabulary {
            merges,
            ..byte_level()
        })
        .unwrap_err();
        let TokenError::BadMerge { index, given } = error else {
            panic!("{error}")
        };
        assert_eq!((index, given.as_str()), (1, merge));
    }
}

#[test]
fn a_merge_that_makes_a_control_token_never_happens() {
    let mut vocabulary = byte_level();
    vocabulary.tokens = ["</", "s>", "</s>", "<|im_end|>"]
        .map(str::to_owned)
        .to_vec();
    vocabulary.merges = MergeOrder::Pairs(vec!["</ s>".to_owned()]);
    let tokenizer = Tokenizer::new(vocabulary).unwrap();
    assert_eq!(tokenizer.kind(2), TokenKind::Control);
    assert!(tokenizer.is_end(2) && tokenizer.is_end(3));
}

#[test]
fn a_sentence_piece_vocabulary_must_be_able_to_express_every_byte() {
    let tokens = ["a", "<0x41>"].map(str::to_owned).to_vec();
    let mut vocabulary = Vocabulary::new(VocabularyModel::SentencePiece, tokens);
    vocabulary.kinds[1] = TokenKind::Byte;
    let message = refusal(vocabulary.clone());
    assert_eq!(
        message,
        "the vocabulary has no token for the byte 0x00 and no unknown token"
    );
    vocabulary.unk = Some(0);
    assert!(Tokenizer::new(vocabulary).is_ok());
}
