use serde_json::{Value, json};

use super::*;

fn tool(name: &str, parameters: &Value) -> ToolDefinition {
    ToolDefinition::from_json(json!({"name": name, "parameters": parameters})).unwrap()
}

fn rules(choice: ToolChoice<'_>) -> CallRules<'_> {
    CallRules {
        choice,
        parallel: false,
        thinks: false,
    }
}

const FORMATS: [ToolCallFormat; 4] = [
    ToolCallFormat::Python,
    ToolCallFormat::NameAndJson,
    ToolCallFormat::Tags,
    ToolCallFormat::TaggedJson,
];

#[test]
fn only_the_named_tool_is_in_the_grammar() {
    let tools = [tool("first", &json!({})), tool("second", &json!(null))];
    for format in FORMATS {
        let all = call_grammar(format, &tools, rules(ToolChoice::Required)).unwrap();
        assert!(all.contains("first") && all.contains("second"));
        let one = call_grammar(format, &tools, rules(ToolChoice::Named("second"))).unwrap();
        assert!(!one.contains("\"first") && one.contains("second"), "{one}");
    }
}

#[test]
fn calls_that_are_the_whole_answer_are_never_several() {
    let tools = [tool("now", &json!({}))];
    for format in FORMATS {
        let parallel = CallRules {
            parallel: true,
            ..rules(ToolChoice::Required)
        };
        let grammar = call_grammar(format, &tools, parallel).unwrap();
        assert_eq!(grammar.contains("call)*"), format.is_tagged());
    }
}

#[test]
fn what_cannot_be_written_is_refused_with_the_tools_name() {
    let bad_name = tool("no name", &json!({}));
    let a_list = tool("list", &json!({"type": "array"}));
    let a_key = tool("key", &json!({"properties": {"a<b": {}}}));
    let deep = tool(
        "deep",
        &json!({"properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"$ref": "#/$defs/a"}}}),
    );
    let unread = tool(
        "unread",
        &json!({"properties": {"a": {"enum": ["</arg_value>"]}}}),
    );
    let missing = tool("missing", &json!({"properties": {}, "required": ["a"]}));
    for (tool, formats) in [
        (bad_name, &FORMATS[..]),
        (a_list, &FORMATS),
        (a_key, &[ToolCallFormat::Python, ToolCallFormat::Tags]),
        (deep, &[ToolCallFormat::Tags]),
        (unread, &[ToolCallFormat::Tags]),
        (missing, &[ToolCallFormat::Python, ToolCallFormat::Tags]),
    ] {
        for &format in formats {
            let name = tool.name().to_owned();
            let refused = call_grammar(
                format,
                std::slice::from_ref(&tool),
                rules(ToolChoice::Required),
            );
            match refused {
                Err(TokenError::NoCallGrammar { tool, .. }) => assert_eq!(tool, name),
                other => panic!("{format:?} {name}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_tool_that_is_not_there_is_named_with_those_that_are() {
    let tools = [tool("first", &json!({})), tool("second", &json!({}))];
    let format = ToolCallFormat::TaggedJson;
    let unknown = call_grammar(format, &tools, rules(ToolChoice::Named("third"))).unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "there is no tool third, known are: first, second"
    );
    assert!(call_grammar(format, &[], rules(ToolChoice::Required)).is_err());
}
