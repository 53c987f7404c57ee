//! What a server asks of an engine: prompts of tokens, conversations with options of their own.

mod fixture;

use autoglm_spec::{Cancel, EngineError, Generate, GenerateRequest, Prompt, Sampling};
use fixture::{FIXTURES, completions, content, engine, request};

#[test]
fn tokens_are_given_to_the_model_as_they_are() {
    for file in FIXTURES {
        let engine = engine(file, 1);
        let text = request("once upon a time", 12, Sampling::GREEDY);
        let tokens = engine.encode(&text.prompt).unwrap();
        let same = GenerateRequest {
            prompt: Prompt::Tokens(tokens),
            ..text.clone()
        };
        let answers = completions(&engine, &[text, same]);
        assert_eq!(content(&answers[0]), content(&answers[1]));
    }
}

#[test]
fn a_token_outside_the_vocabulary_is_the_callers_mistake() {
    let engine = engine(FIXTURES[0], 1);
    let len = engine.tokenizer().vocabulary_len() as u32;
    for (ids, is_good) in [
        (vec![1, len - 1], true),
        (vec![1, len], false),
        (vec![], false),
    ] {
        let asked = GenerateRequest {
            prompt: Prompt::Tokens(ids),
            ..request("", 2, Sampling::GREEDY)
        };
        let answer = engine
            .generate(&[asked], &Cancel::default(), &mut |_, _| {})
            .remove(0);
        match answer {
            Ok(_) => assert!(is_good),
            Err(EngineError::BadRequest { field, .. }) => assert!(!is_good && field == "prompt"),
            Err(error) => panic!("{error}"),
        }
    }
}
