//! What a model writes where it must call a tool is read as a call of an allowed tool, with
//! arguments that satisfy its schema: whatever it chooses, in every format, whether or not the
//! vocabulary has tokens for the tags.
#![expect(clippy::unwrap_used, reason = "a test")]

mod folder;

use std::sync::Arc;

use autoglm_engine::constraint::ConstraintFactory;
use autoglm_spec::{
    AttentionPolicy, Cancel, Constraint, Decoding, FinishReason, Generate, GenerateRequest, Prompt,
    Sampling,
};
use autoglm_token::{
    Answer, AnswerParser, ChatOptions, Message, SpacePrefix, TokenId, TokenKind, Tokenizer,
    ToolCallFormat, ToolChoice, ToolDefinition, Vocabulary, VocabularyModel,
};
use folder::{Tags, engine_with};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const FORMATS: [ToolCallFormat; 4] = [
    ToolCallFormat::Python,
    ToolCallFormat::NameAndJson,
    ToolCallFormat::Tags,
    ToolCallFormat::TaggedJson,
];

const TAGS: [&str; 10] = [
    "<tool_call>",
    "</tool_call>",
    "<think>",
    "</think>",
    "<arg_key>",
    "</arg_key>",
    "<arg_value>",
    "</arg_value>",
    "</tool_call>\"",
    "</arg",
];

/// Every byte, pieces of calls, tags of a kind, and an end.
fn tokenizer(tags: Option<TokenKind>) -> Arc<Tokenizer> {
    let mut tokens: Vec<String> = (0..=u8::MAX)
        .map(|byte| format!("<0x{byte:02X}>"))
        .collect();
    let pieces = [
        "{\"",
        "\":▁",
        "\"}",
        ",▁\"",
        "name",
        "weather",
        "place",
        "12",
        "true",
        "\\",
        "\\\"",
        "你好",
        "\n",
        "```",
        "tool_call(",
        "=",
        "]",
        "{",
        "}",
        "\"",
    ];
    tokens.extend(pieces.map(str::to_owned));
    let first_tag = tokens.len();
    tokens.extend(TAGS.map(str::to_owned));
    tokens.push("<end_of_turn>".to_owned());
    let mut vocabulary = Vocabulary::new(VocabularyModel::SentencePiece, tokens);
    vocabulary.space_prefix = SpacePrefix::Never;
    vocabulary.kinds[..256].fill(TokenKind::Byte);
    if let Some(kind) = tags {
        vocabulary.kinds[first_tag..first_tag + 8].fill(kind);
    }
    Arc::new(Tokenizer::new(vocabulary).unwrap())
}

fn tools() -> Vec<ToolDefinition> {
    let weather = json!({"type": "object", "required": ["place", "days"], "properties": {
        "place": {"type": "string", "minLength": 1, "maxLength": 40},
        "days": {"type": "integer", "minimum": 1, "maximum": 14},
        "exact": {"type": "boolean"},
        "unit": {"enum": ["C", "F", 7]},
        "notes": {"type": "array", "items": {"type": "string", "maxLength": 30}, "maxItems": 3},
        "code": {"type": "string", "pattern": "^[a-c]{2,4}$"},
        "near": {"anyOf": [{"type": "string", "maxLength": 12}, {"type": "null"}]},
        "kind": {"$ref": "#/$defs/kind"},
    }, "$defs": {"kind": {"type": "object", "required": ["a"], "additionalProperties": false,
        "properties": {"a": {"type": "string", "maxLength": 25}}}}});
    [
        json!({"name": "get_weather", "parameters": weather}),
        json!({"name": "now"}),
        json!({"name": "never", "parameters": {"type": "object", "properties": {}}}),
    ]
    .map(|tool| ToolDefinition::from_json(tool).unwrap())
    .to_vec()
}

/// Whether arguments satisfy the schema of `get_weather`.
fn is_weather(arguments: &Map<String, Value>) -> bool {
    let chars = |value: &Value, least: usize, most: usize| {
        let text = value.as_str().map(|text| text.chars().count());
        text.is_some_and(|count| (least..=most).contains(&count))
    };
    let fits = |(key, value): (&String, &Value)| match key.as_str() {
        "place" => chars(value, 1, 40),
        "days" => value.as_i64().is_some_and(|days| (1..=14).contains(&days)),
        "exact" => value.is_boolean(),
        "unit" => [json!("C"), json!("F"), json!(7)].contains(value),
        "notes" => value
            .as_array()
            .is_some_and(|notes| notes.len() <= 3 && notes.iter().all(|note| chars(note, 0, 30))),
        "code" => value.as_str().is_some_and(|code| {
            (2..=4).contains(&code.len()) && code.chars().all(|c| "abc".contains(c))
        }),
        "near" => value.is_null() || chars(value, 0, 12),
        "kind" => value
            .as_object()
            .is_some_and(|o| o.len() == 1 && chars(&o["a"], 0, 25)),
        _ => false,
    };
    let has = |key: &str| arguments.contains_key(key);
    has("place") && has("days") && arguments.iter().all(fits)
}

/// Text chosen at random among what is allowed; one time in three what closes something. Once the
/// choices are spent a thought that is going on is ended: all else has an end of its own.
fn sample(tokenizer: &Arc<Tokenizer>, grammar: &str, thinks: bool, choices: &[u16]) -> String {
    let constraint = Constraint::Grammar(grammar.to_owned());
    let factory = ConstraintFactory::new(tokenizer).unwrap();
    let mut state = factory.start(&constraint).unwrap();
    let closes = |&id: &TokenId| {
        let bytes = tokenizer.token_bytes(id);
        tokenizer.is_end(id) || bytes.iter().all(|b| b"\"}]</>".contains(b))
    };
    let has_thought = |ids: &[TokenId]| tokenizer.decode(ids).contains("</think>");
    let mut ids = Vec::new();
    let mut way_out: Vec<TokenId> = Vec::new();
    let mut logits = vec![0.0; tokenizer.vocabulary_len()];
    for at in 0..6000 {
        let choice = usize::from(choices[at % choices.len()]);
        logits.fill(0.0);
        state.apply(&mut logits).unwrap();
        let is_allowed = |id: &TokenId| logits[*id as usize] == 0.0;
        let mut allowed: Vec<TokenId> = (0..logits.len() as TokenId).filter(is_allowed).collect();
        let is_spent = thinks && at >= choices.len() && way_out.is_empty();
        // Not in the middle of a character.
        if is_spent && is_allowed(&TokenId::from(b'<')) && !has_thought(&ids) {
            way_out = "</think>".bytes().rev().map(TokenId::from).collect();
        }
        if (choice % 3 == 0 || at >= choices.len()) && allowed.iter().any(closes) {
            allowed.retain(closes);
        }
        let id = way_out.pop().unwrap_or(allowed[choice % allowed.len()]);
        if tokenizer.is_end(id) {
            return tokenizer.decode(&ids);
        }
        ids.push(id);
        if state.accept(id).unwrap() {
            return tokenizer.decode(&ids);
        }
    }
    let text: String = tokenizer.decode(&ids).chars().take(300).collect();
    panic!("no end: {text}");
}

fn check(answer: &Answer, choice: ToolChoice<'_>, parallel: bool, text: &str) {
    assert!(answer.malformed.is_empty(), "{text}");
    assert_eq!(answer.content, "", "{text}");
    let count = answer.tool_calls.len();
    assert!(count == 1 || parallel && count > 1, "{count} in {text}");
    for call in &answer.tool_calls {
        match choice {
            ToolChoice::Named(name) => assert_eq!(call.name, name),
            ToolChoice::Required => {}
        }
        match call.name.as_str() {
            "get_weather" => assert!(is_weather(&call.arguments), "{:?} {text}", call.arguments),
            "now" | "never" => assert!(call.arguments.is_empty(), "{text}"),
            other => panic!("{other} in {text}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_allowed_is_a_call_of_an_allowed_tool(
        choices in prop::collection::vec(any::<u16>(), 20..300),
        tags in prop::sample::select(vec![
            None, Some(TokenKind::UserDefined), Some(TokenKind::Control),
        ]),
        (named, parallel, thinks) in any::<(bool, bool, bool)>(),
    ) {
        let tokenizer = tokenizer(tags);
        for format in FORMATS {
            let choice = if named { ToolChoice::Named("get_weather") } else { ToolChoice::Required };
            let parser = AnswerParser::new(Some(format), &tools(), thinks);
            let grammar = parser.call_grammar(choice, parallel).unwrap();
            let text = sample(&tokenizer, &grammar, thinks, &choices);
            let many = parallel && matches!(format, ToolCallFormat::Tags | ToolCallFormat::TaggedJson);
            check(&parser.parse(&text), choice, many, &text);
        }
    }
}

#[test]
fn a_tag_that_is_a_token_of_texts_is_taken_as_that_token() {
    let parser = AnswerParser::new(Some(ToolCallFormat::TaggedJson), &tools(), false);
    let grammar = parser
        .call_grammar(ToolChoice::Named("now"), false)
        .unwrap();
    for (kind, is_token) in [(TokenKind::UserDefined, true), (TokenKind::Control, false)] {
        let tokenizer = tokenizer(Some(kind));
        let factory = ConstraintFactory::new(&tokenizer).unwrap();
        let mut state = factory
            .start(&Constraint::Grammar(grammar.clone()))
            .unwrap();
        let forced = state.forced();
        let first = tokenizer.token_text(forced[0]).into_owned();
        assert_eq!(first == "<tool_call>", is_token, "{kind:?}: {first}");
    }
}

/// A template in each format that opens the reasoning where it is asked to.
const TEMPLATE: &str = "[user]{{ messages[0].content }}{# <tool_call> #}\n[assistant]\
    {% if enable_thinking %}<think>{% endif %}";

#[test]
fn a_model_calls_a_tool_where_it_must() {
    for tags in [Tags::Absent, Tags::InText, Tags::Control] {
        let engine = engine_with(TEMPLATE, tags);
        for (seed, thinks) in [(1, false), (2, true), (3, false), (4, true)] {
            let options = ChatOptions {
                tools: tools(),
                thinking: Some(thinks),
            };
            let user = [Message::new("user", "weather?")];
            let told = engine.converse(&user, &options).unwrap();
            let grammar = told
                .parser
                .call_grammar(ToolChoice::Required, true)
                .unwrap();
            let asked = GenerateRequest {
                prompt: Prompt::Tokens(told.tokens),
                max_tokens: 600,
                sampling: Sampling {
                    temperature: 1.0,
                    seed,
                    ..Sampling::GREEDY
                },
                logit_bias: Vec::new(),
                stop: Vec::new(),
                constraint: Some(Constraint::Grammar(grammar)),
                decoding: Decoding::default(),
                attention: AttentionPolicy::Full,
                adapter: None,
            };
            let answer = engine.generate(&[asked], &Cancel::default(), &mut |_, _| {});
            let answer = answer.into_iter().next().unwrap().unwrap();
            let read = told.parser.parse(&answer.text);
            if answer.finish == FinishReason::Stop {
                check(&read, ToolChoice::Required, true, &answer.text);
            } else {
                // A random model may think for as long as it is allowed to.
                assert!(thinks || !read.tool_calls.is_empty(), "{}", answer.text);
            }
        }
    }
}
