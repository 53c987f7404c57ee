//! Conversations with tools and reasoning: written as transformers writes them, and what models
//! write read back, wherever the text is cut.
#![expect(clippy::unwrap_used, reason = "a test")]

use autoglm_token::{
    Answer, AnswerParser, ChatOptions, ChatTemplate, GlmGeneration, Message, TokenKind, Tokenizer,
    ToolCall, ToolCallFormat, ToolDefinition, Vocabulary, VocabularyModel,
};
use proptest::prelude::*;
use serde_json::{Value, json};

const GENERATIONS: [(&str, GlmGeneration); 6] = [
    ("chatglm2", GlmGeneration::ChatGlm2),
    ("chatglm3", GlmGeneration::ChatGlm3),
    ("glm4", GlmGeneration::Glm4),
    ("glm_edge", GlmGeneration::GlmEdge),
    ("glm45", GlmGeneration::Glm45),
    ("glm47", GlmGeneration::Glm47),
];

fn template(name: &str) -> ChatTemplate {
    let found = GENERATIONS.iter().find(|(other, _)| *other == name);
    let tokens = vec!["a".to_owned()];
    let tokenizer = Tokenizer::new(Vocabulary::new(VocabularyModel::ByteBpe, tokens)).unwrap();
    ChatTemplate::new(found.unwrap().1.template(), &tokenizer).unwrap()
}

fn message(value: &Value) -> Message {
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let call = |call: &Value| ToolCall {
        name: call["function"]["name"].as_str().unwrap().to_owned(),
        arguments: call["function"]["arguments"].as_object().unwrap().clone(),
    };
    let calls = value["tool_calls"].as_array();
    Message {
        reasoning: value["reasoning_content"].as_str().map(str::to_owned),
        tool_calls: calls.into_iter().flatten().map(call).collect(),
        ..Message::new(text("role"), text("content"))
    }
}

fn tools(value: &Value) -> Vec<ToolDefinition> {
    let tools = value.as_array().into_iter().flatten();
    tools
        .map(|tool| ToolDefinition::from_json(tool.clone()).unwrap())
        .collect()
}

#[test]
fn every_generation_writes_tools_and_reasoning_as_in_python() {
    let rows: Vec<Value> =
        serde_json::from_str(include_str!("../fixtures/chat_tools.json")).unwrap();
    assert!(rows.len() > 100);
    for row in rows {
        let messages: Vec<_> = row["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(message)
            .collect();
        let options = ChatOptions {
            tools: tools(&row["tools"]),
            thinking: row["thinking"].as_bool(),
        };
        let adds_prompt = row["add_generation_prompt"].as_bool().unwrap();
        let rendered =
            template(row["template"].as_str().unwrap()).render(&messages, &options, adds_prompt);
        match rendered {
            Ok(text) => assert_eq!(row["text"], text, "{row}"),
            Err(error) => {
                let refused = row["refused"].as_str().unwrap();
                assert!(error.to_string().ends_with(refused), "{error}: {row}");
            }
        }
    }
}

fn weather() -> Vec<ToolDefinition> {
    let parameters = json!({"type": "object", "properties": {
        "place": {"type": "string"}, "days": {"type": "integer"}, "exact": {"type": "boolean"},
        "layers": {"type": "array"}, "none": {},
    }});
    tools(&json!([{"name": "get_weather", "parameters": parameters}, {"name": "now"}]))
}

fn weather_call(place: &str) -> ToolCall {
    let arguments =
        json!({"place": place, "days": 3, "exact": true, "layers": ["a", "b"], "none": null});
    ToolCall {
        name: "get_weather".to_owned(),
        arguments: arguments.as_object().unwrap().clone(),
    }
}

/// What the model would have to write for a message of its own.
fn written(template: &ChatTemplate, message: &Message) -> String {
    let user = Message::new("user", "x");
    let options = ChatOptions {
        tools: weather(),
        thinking: None,
    };
    let open = template
        .render(std::slice::from_ref(&user), &options, true)
        .unwrap();
    let whole = template
        .render(&[user, message.clone()], &options, false)
        .unwrap();
    whole.strip_prefix(&open).unwrap().to_owned()
}

#[test]
fn what_a_template_writes_of_a_call_is_read_back_and_written_the_same() {
    for name in ["chatglm3", "glm4", "glm_edge", "glm45", "glm47"] {
        let template = template(name);
        for place in ["北京", "it's \"here\"", "12", "a\nb\\c", "{}"] {
            let tags = name == "glm45" || name == "glm47";
            let message = Message {
                reasoning: tags.then(|| "I must look.\nNow.".to_owned()),
                tool_calls: vec![weather_call(place)],
                ..Message::new("assistant", if tags { "One moment." } else { "" })
            };
            let text = written(&template, &message);
            let parser = AnswerParser::new(template.tool_calls(), &weather(), name == "glm47");
            let answer = parser.parse(&text);
            assert_eq!(answer.tool_calls, message.tool_calls, "{name} {text:?}");
            assert_eq!(answer.content, message.content, "{name} {text:?}");
            assert_eq!(answer.malformed, [""; 0]);
            let again = Message {
                reasoning: Some(answer.reasoning),
                tool_calls: answer.tool_calls,
                ..Message::new("assistant", answer.content)
            };
            assert_eq!(written(&template, &again), text, "{name}");
        }
    }
}

fn parse(format: ToolCallFormat, text: &str) -> Answer {
    AnswerParser::new(Some(format), &weather(), false).parse(text)
}

#[test]
fn several_calls_with_text_around_them_are_read_in_order() {
    let text = "<think>\nhm\n</think>\n\nBoth.\n<tool_call>now\n</tool_call>\n<tool_call>\
        {bad</tool_call><tool_call>get_weather\n<arg_key>place</arg_key>\n<arg_value>007</arg_value>\
        <arg_key>days</arg_key><arg_value>7</arg_value>\n</tool_call>\n";
    let answer = parse(ToolCallFormat::Tags, text);
    assert_eq!(answer.reasoning, "hm");
    assert_eq!(answer.content, "Both.\n\n<tool_call>{bad</tool_call>");
    let names: Vec<_> = answer
        .tool_calls
        .iter()
        .map(|call| call.name.as_str())
        .collect();
    assert_eq!(names, ["now", "get_weather"]);
    assert_eq!(
        Value::from(answer.tool_calls[1].arguments.clone()),
        json!({"place": "007", "days": 7})
    );
}

#[test]
fn json_in_tags_is_read() {
    let text = "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>";
    let answer = parse(ToolCallFormat::TaggedJson, text);
    assert_eq!(answer.tool_calls[0].name, "now");
    assert_eq!(answer.content, "");
}

#[test]
fn python_of_either_quotes_is_read() {
    let text =
        "get_weather\n ```python\ntool_call(place='it\\'s', days=2, exact=False, none=None)\n```";
    let answer = parse(ToolCallFormat::Python, text);
    let want = json!({"place": "it's", "days": 2, "exact": false, "none": null});
    assert_eq!(Value::from(answer.tool_calls[0].arguments.clone()), want);
}

#[test]
fn what_is_no_call_is_text_with_a_remark() {
    for (format, text) in [
        (
            ToolCallFormat::Tags,
            "a <tool_call>now<arg_key>x</arg_key></tool_call> b",
        ),
        (ToolCallFormat::Tags, "<tool_call>now"),
        (
            ToolCallFormat::TaggedJson,
            "<tool_call>{\"name\": 1}</tool_call>",
        ),
        (ToolCallFormat::NameAndJson, "now\nis the time"),
        (ToolCallFormat::Python, "now\n ```python\nprint(1)\n```"),
    ] {
        let answer = parse(format, text);
        assert_eq!(answer.content, text, "{format:?}");
        assert_eq!(
            (answer.tool_calls.len(), answer.malformed.len()),
            (0, 1),
            "{text}"
        );
    }
}

#[test]
fn a_closing_tag_inside_a_string_of_json_closes_nothing() {
    let json = "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"place\": \
        \"a \\\" </tool_call> b\"}}\n</tool_call>";
    let place = json!("a \" </tool_call> b");
    assert_eq!(
        parse(ToolCallFormat::TaggedJson, json).tool_calls[0].arguments["place"],
        place
    );
    let tags = "<tool_call>get_weather\n<arg_key>layers</arg_key>\n<arg_value>[\"</arg_value>\", \
        \"</tool_call>\"]</arg_value>\n<arg_key>place</arg_key><arg_value>[\"</arg_value></tool_call>";
    let answer = parse(ToolCallFormat::Tags, tags);
    let layers = json!(["</arg_value>", "</tool_call>"]);
    assert_eq!(answer.tool_calls[0].arguments["layers"], layers);
    // What the schema says is text is not taken for JSON.
    assert_eq!(answer.tool_calls[0].arguments["place"], "[\"");
}

#[test]
fn a_call_that_is_the_whole_answer_may_stand_behind_the_reasoning() {
    for (format, call) in [
        (ToolCallFormat::NameAndJson, "now\n{}"),
        (ToolCallFormat::Python, "now\n ```python\ntool_call()\n```"),
    ] {
        for (thinks, open) in [(true, ""), (false, "<think>")] {
            let parser = AnswerParser::new(Some(format), &weather(), thinks);
            let answer = parser.parse(&format!("{open}hm</think>\n{call}"));
            assert_eq!(answer.reasoning, "hm");
            assert_eq!(answer.tool_calls[0].name, "now", "{format:?}");
            assert_eq!(answer.content, "");
        }
    }
}

#[test]
fn without_tools_nothing_is_a_call() {
    let text = "<tool_call>now</tool_call>";
    let parser = AnswerParser::new(Some(ToolCallFormat::Tags), &[], false);
    assert_eq!(parser.parse(text).content, text);
}

#[test]
fn a_generation_is_known_by_its_special_tokens() {
    let generation = |texts: &[&str], len: usize| {
        let mut tokens: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
        tokens.resize(len, String::new());
        let mut vocabulary = Vocabulary::new(VocabularyModel::ByteBpe, tokens);
        vocabulary.kinds[..texts.len()].fill(TokenKind::Control);
        GlmGeneration::of(&Tokenizer::new(vocabulary).unwrap())
    };
    let old = ["[gMASK]", "sop", "<|user|>"];
    let modern = ["[gMASK]", "<sop>", "<|user|>", "<arg_key>"];
    assert_eq!(generation(&old[..2], 65_024), Some(GlmGeneration::ChatGlm2));
    assert_eq!(generation(&old, 65_024), Some(GlmGeneration::ChatGlm3));
    assert_eq!(
        generation(&modern[..3], 59_264),
        Some(GlmGeneration::GlmEdge)
    );
    assert_eq!(generation(&modern[..3], 151_552), Some(GlmGeneration::Glm4));
    assert_eq!(generation(&modern, 151_552), Some(GlmGeneration::Glm45));
    assert_eq!(generation(&modern, 154_880), Some(GlmGeneration::Glm47));
    assert_eq!(generation(&["<|user|>"], 10), None);
}

fn text() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "<think>",
        "</think>",
        "<tool_call>",
        "</tool_call>",
        "<arg_key>",
        "</arg_key>",
        "<arg_value>",
        "</arg_value>",
        "now",
        "get_weather",
        "\n",
        " ",
        "place",
        "{}",
        "12",
        "<",
        "</tool",
        "{\"name\": \"now\", \"arguments\": {}}",
        "你好",
        "now\n{}",
        "tool_call(",
        ")",
        " ```python\ntool_call(x='1')\n```",
    ]);
    prop::collection::vec(pieces, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn a_text_means_the_same_wherever_it_is_cut(
        text in text(),
        cuts in prop::collection::vec(1_usize..12, 0..60),
        thinks in any::<bool>(),
        format in prop::sample::select(vec![
            ToolCallFormat::Python, ToolCallFormat::NameAndJson, ToolCallFormat::Tags,
            ToolCallFormat::TaggedJson,
        ]),
    ) {
        let parser = AnswerParser::new(Some(format), &weather(), thinks);
        let whole = parser.clone().parse(&text);
        let mut streamed = Answer::default();
        let mut parser = parser;
        let mut chars = text.chars().peekable();
        for cut in cuts.into_iter().chain(std::iter::repeat(1)) {
            if chars.peek().is_none() {
                break;
            }
            let piece: String = chars.by_ref().take(cut).collect();
            for piece in parser.push(&piece) {
                streamed.push(piece);
            }
        }
        for piece in parser.finish() {
            streamed.push(piece);
        }
        prop_assert_eq!(streamed, whole);
    }
}
