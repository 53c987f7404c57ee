//! Whatever a model says under a constraint satisfies it.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::error::Error;
use std::sync::Arc;

use autoglm_engine::constraint::{ConstraintError, ConstraintFactory, ConstraintState};
use autoglm_spec::{Blame, Blamed, Constraint};
use autoglm_token::{
    SpacePrefix, Specials, TokenId, TokenKind, Tokenizer, Vocabulary, VocabularyModel,
};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Every byte, some longer pieces, and an end.
fn tokenizer() -> Tokenizer {
    let mut tokens: Vec<String> = (0..=u8::MAX)
        .map(|byte| format!("<0x{byte:02X}>"))
        .collect();
    let pieces = [
        "a", "b", "{", "}", "\"", "\":▁", "{\"", "\"}", ",▁", ",▁\"", "label", "positive", "12",
        "negative", "3", "true", "null", "[", "]", "[]", "你好", "▁▁", "\n\n", "\":▁\"",
    ];
    tokens.extend(pieces.map(str::to_owned));
    tokens.push("<end_of_turn>".to_owned());
    let mut vocabulary = Vocabulary::new(VocabularyModel::SentencePiece, tokens);
    vocabulary.space_prefix = SpacePrefix::Never;
    vocabulary.kinds[..256].fill(TokenKind::Byte);
    Tokenizer::new(vocabulary).unwrap()
}

fn start(constraint: &Constraint) -> Result<(Arc<Tokenizer>, ConstraintState), ConstraintError> {
    let tokenizer = Arc::new(tokenizer());
    let state = ConstraintFactory::new(&tokenizer)?.start(constraint)?;
    Ok((tokenizer, state))
}

fn allowed(state: &mut ConstraintState, vocabulary_len: usize) -> Vec<TokenId> {
    // The output head may have rows beyond the vocabulary.
    let mut logits = vec![0.0; vocabulary_len + 70];
    state.apply(&mut logits).unwrap();
    let ids = (0..).zip(&logits).filter(|(_, logit)| **logit == 0.0);
    ids.map(|(id, _)| id).collect()
}

/// Text chosen at random among what is allowed; one time in three what closes a string or a list,
/// and always once the choices are spent, so that it comes to an end whatever they are.
fn sample(constraint: &Constraint, choices: &[u16]) -> String {
    let (tokenizer, mut state) = start(constraint).unwrap();
    let closes = |&id: &TokenId| {
        tokenizer
            .token_bytes(id)
            .iter()
            .all(|b| b"\"}]".contains(b))
    };
    let closing: Vec<TokenId> = (0..tokenizer.vocabulary_len() as TokenId)
        .filter(|id| closes(id) || tokenizer.is_end(*id))
        .collect();
    let mut ids = Vec::new();
    for (at, &choice) in choices.iter().cycle().take(4000).enumerate() {
        let mut allowed = allowed(&mut state, tokenizer.vocabulary_len());
        let close = choice % 3 == 0 || at >= choices.len();
        if close && allowed.iter().any(|id| closing.contains(id)) {
            allowed.retain(|id| closing.contains(id));
        }
        let id = allowed[usize::from(choice) % allowed.len()];
        if tokenizer.is_end(id) {
            assert!(state.is_satisfied().unwrap());
            return tokenizer.decode(&ids);
        }
        ids.push(id);
        if state.accept(id).unwrap() {
            return tokenizer.decode(&ids);
        }
    }
    panic!("no end: {}", tokenizer.decode(&ids));
}

type Check = fn(&Value) -> bool;

/// Schemas with what makes a value valid under them.
fn schemas() -> [(Value, Check); 5] {
    [
        (
            json!({"type": "object", "properties": {"label": {"enum": ["positive", "negative"]}},
                   "required": ["label"], "additionalProperties": false}),
            |v| {
                let alone = v.as_object().is_some_and(|object| object.len() == 1);
                alone && matches!(v["label"].as_str(), Some("positive" | "negative"))
            },
        ),
        (
            json!({"type": "object", "required": ["a", "b"], "additionalProperties": false,
                   "properties": {"a": {"type": "integer", "minimum": 3, "maximum": 123},
                                  "b": {"type": ["string", "null"], "maxLength": 5}}}),
            |v| {
                let short = |text: &str| text.chars().count() <= 5;
                v["a"].as_i64().is_some_and(|a| (3..=123).contains(&a))
                    && (v["b"].is_null() || v["b"].as_str().is_some_and(short))
            },
        ),
        (
            json!({"type": "array", "items": {"anyOf": [{"type": "boolean"}, {"const": "你好"}]},
                   "minItems": 1, "maxItems": 4}),
            |v| {
                let items = v.as_array().map_or(&[][..], Vec::as_slice);
                (1..=4).contains(&items.len())
                    && items.iter().all(|item| item.is_boolean() || item == "你好")
            },
        ),
        (
            json!({"$ref": "#/$defs/node", "$defs": {"node": {
                   "type": "object", "required": ["a"], "additionalProperties": false,
                   "properties": {"a": {"type": "number", "minimum": 0, "maximum": 99}, "b": {"$ref": "#/$defs/node"}}}}}),
            |v| {
                let nodes = std::iter::successors(Some(v), |node| node.get("b"));
                nodes
                    .into_iter()
                    .all(|n| n["a"].as_f64().is_some_and(|a| (0.0..=99.0).contains(&a)))
            },
        ),
        (json!({"type": "string", "pattern": "^[ab]{2,4}$"}), |v| {
            let text = v.as_str().unwrap_or_default();
            (2..=4).contains(&text.len()) && text.chars().all(|c| "ab".contains(c))
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_allowed_satisfies_the_schema(
        choices in prop::collection::vec(any::<u16>(), 50..400),
    ) {
        for (schema, is_valid) in schemas() {
            let text = sample(&Constraint::JsonSchema(schema.clone()), &choices);
            let value: Value = serde_json::from_str(&text).unwrap();
            prop_assert!(is_valid(&value), "{} {}", schema, text);
        }
    }

    #[test]
    fn whatever_is_allowed_matches_the_expression(
        choices in prop::collection::vec(any::<u16>(), 50..400),
    ) {
        let pattern = "[0-9]{4}-(0[1-9]|1[0-2])/(yes|不)".to_owned();
        let text = sample(&Constraint::Regex(pattern), &choices);
        let (date, answer) = text.split_once('/').unwrap();
        let (year, month) = date.split_once('-').unwrap();
        prop_assert!(year.len() == 4 && year.parse::<u16>().is_ok());
        prop_assert!((1..=12).contains(&month.parse::<u8>().unwrap()));
        prop_assert!(answer == "yes" || answer == "不");
    }
}

#[test]
fn json_is_spelt_on_one_line_without_free_space() {
    let schema = json!({"type": "object", "required": ["a", "b"], "additionalProperties": false,
                        "properties": {"a": {"const": 1}, "b": {"const": 2}}});
    let (tokenizer, mut state) = start(&Constraint::JsonSchema(schema)).unwrap();
    let text = "{\"a\": 1, \"b\": 2}";
    for (at, byte) in text.bytes().enumerate() {
        for id in allowed(&mut state, tokenizer.vocabulary_len()) {
            let bytes = tokenizer.token_bytes(id);
            assert!(
                text.as_bytes()[at..].starts_with(bytes),
                "{id} before {:?}",
                &text[at..]
            );
        }
        let complete = state.accept(TokenId::from(byte)).unwrap();
        assert_eq!(complete, at + 1 == text.len());
    }
    assert!(state.is_satisfied().unwrap());
}

#[test]
fn a_schema_may_choose_another_spelling() {
    let schema = json!({"type": "object", "required": ["a"], "additionalProperties": false,
                        "properties": {"a": {"const": 1}},
                        "x-guidance": {"whitespace_flexible": false, "key_separator": ":"}});
    let text = sample(&Constraint::JsonSchema(schema), &[1, 2, 3]);
    assert_eq!(text, "{\"a\":1}");
}

#[test]
fn a_text_may_end_where_it_is_complete_and_only_there() {
    let (tokenizer, mut state) = start(&Constraint::Regex("a+".to_owned())).unwrap();
    let end = tokenizer.end_ids()[0];
    let a = tokenizer.encode("a", Specials::AsText)[0];
    assert!(!allowed(&mut state, tokenizer.vocabulary_len()).contains(&end));
    assert!(!state.is_satisfied().unwrap());
    assert!(!state.accept(a).unwrap());
    let next = allowed(&mut state, tokenizer.vocabulary_len());
    assert!(next.contains(&end) && next.contains(&a));
    assert!(state.is_satisfied().unwrap());
    assert!(state.accept(end).unwrap());
}

#[test]
fn a_token_that_is_not_allowed_is_an_error() {
    let (tokenizer, mut state) = start(&Constraint::Regex("a".to_owned())).unwrap();
    let b = tokenizer.encode("b", Specials::AsText)[0];
    let error = state.accept(b).unwrap_err();
    assert!(matches!(error, ConstraintError::Failed { .. }), "{error}");
    assert!(state.apply(&mut [0.0; 300]).is_err());
}

#[test]
fn a_bad_constraint_is_the_callers_and_names_the_problem() {
    let schema = Constraint::JsonSchema;
    for (constraint, problem) in [
        (schema(json!({"type": "objekt"})), "objekt"),
        (
            schema(json!({"type": "object", "properties": 5})),
            "properties",
        ),
        (schema(json!({"$ref": "#/$defs/missing"})), "missing"),
        (
            schema(json!({"type": "array", "uniqueItems": true})),
            "uniqueItems",
        ),
        (schema(json!({"enum": []})), "empty"),
        (schema(json!(false)), "nsatisfiable"),
        (schema(json!([1])), "an array"),
        (Constraint::Regex("(a".to_owned()), "unclosed"),
        (Constraint::Regex("(?=a)".to_owned()), "look"),
    ] {
        let error = start(&constraint).map(|_| ()).unwrap_err();
        assert_eq!(error.blame(), Blame::Caller);
        let cause = error.source().map(ToString::to_string).unwrap_or_default();
        let message = format!("{error}: {cause}");
        assert!(message.contains(problem), "{constraint:?} {message}");
    }
}

#[test]
fn a_vocabulary_without_an_end_cannot_be_constrained() {
    let tokens = ["a", "<unk>"].map(str::to_owned).to_vec();
    let mut vocabulary = Vocabulary::new(VocabularyModel::SentencePiece, tokens);
    vocabulary.unk = Some(1);
    let error = ConstraintFactory::new(&Arc::new(Tokenizer::new(vocabulary).unwrap())).unwrap_err();
    assert!(matches!(error, ConstraintError::NoEndToken), "{error}");
}
