//! Conversations with options of their own, written by templates with and without tools.

#![expect(clippy::unwrap_used, reason = "a test may panic, that is how it fails")]

mod folder;

use autoglm_engine::LocalEngine;
use autoglm_spec::{Blame, Blamed, EngineError, Prompt, Role, Segment};
use autoglm_token::{ChatOptions, Message, ToolDefinition};
use folder::{Tags, engine_with};
use serde_json::json;

const PLAIN: &str = "{% for m in messages %}[{{ m.role }}]{{ m.content }}\n{% endfor %}\
    {% if add_generation_prompt %}[assistant]{% endif %}";

const THINKING: &str = "{% for m in messages %}[{{ m.role }}]{{ m.content }}\n{% endfor %}\
    {% if tools %}<tools>{{ tools | tojson }}{# <tool_call> #}{% endif %}\
    [assistant]{% if enable_thinking %}<think>\n{% else %}<think></think>{% endif %}";

const STRICT: &str = "{{ raise_exception('no turns today') }}";

fn tools() -> Vec<ToolDefinition> {
    vec![ToolDefinition::from_json(json!({"name": "now"})).unwrap()]
}

fn options(tools: Vec<ToolDefinition>, thinking: Option<bool>) -> ChatOptions {
    ChatOptions { tools, thinking }
}

fn written(engine: &LocalEngine, messages: &[Message], options: &ChatOptions) -> String {
    let told = engine.converse(messages, options).unwrap();
    engine.tokenizer().decode(&told.tokens)
}

#[test]
fn each_conversation_has_options_of_its_own() {
    let engine = engine_with(THINKING, Tags::Absent);
    let user = [Message::new("user", "hi")];
    let with = written(&engine, &user, &options(tools(), Some(true)));
    let without = written(&engine, &user, &options(Vec::new(), Some(false)));
    assert!(with.contains("<tools>[{\"type\": \"function\"") && with.ends_with("<think>\n"));
    assert_eq!(without, "[user]hi\n[assistant]<think></think>");
}

#[test]
fn the_parser_knows_whether_the_prompt_opened_the_reasoning() {
    let user = [Message::new("user", "hi")];
    let tags = [Tags::Absent, Tags::InText, Tags::Control];
    for (tags, thinks) in tags
        .into_iter()
        .flat_map(|tags| [(tags, true), (tags, false)])
    {
        let engine = engine_with(THINKING, tags);
        let told = engine
            .converse(&user, &options(tools(), Some(thinks)))
            .unwrap();
        let text = "hm</think>\n<tool_call>{\"name\": \"now\", \"arguments\": {}}</tool_call>";
        let answer = told.parser.parse(text);
        assert_eq!(answer.reasoning, if thinks { "hm" } else { "" });
        assert_eq!(answer.tool_calls[0].name, "now");
    }
}

#[test]
fn a_template_without_tools_has_them_told_in_words() {
    let engine = engine_with(PLAIN, Tags::Absent);
    let system = Message::new("system", "Be brief.");
    let tool = Message::new("tool", "12:00");
    let messages = [system, Message::new("user", "time?"), tool];
    let text = written(&engine, &messages, &options(tools(), None));
    assert!(text.starts_with("[system]Be brief.\n\n# Tools\n"), "{text}");
    assert!(
        text.contains("<tools>\n{\"type\": \"function\", \"function\": {\"name\": \"now\"}}\n")
    );
    let end = "[user]time?\n[user]<tool_response>\n12:00\n</tool_response>\n[assistant]";
    assert!(text.ends_with(end), "{text}");
    let told = engine.converse(&messages, &options(tools(), None)).unwrap();
    let call = "<tool_call>\n{\"name\": \"now\", \"arguments\": {\"a\": 1}}\n</tool_call>";
    assert_eq!(told.parser.parse(call).tool_calls[0].name, "now");
}

#[test]
fn turns_of_a_prompt_are_a_conversation_under_the_engines_options() {
    let engine = engine_with(PLAIN, Tags::Absent).with_chat(options(tools(), None));
    let turns = Prompt::Chat(vec![Segment {
        role: Role::User,
        text: "hi".to_owned(),
    }]);
    let user = [Message::new("user", "hi")];
    let told = engine.converse(&user, &options(tools(), None)).unwrap();
    assert_eq!(engine.encode(&turns).unwrap(), told.tokens);
}

#[test]
fn what_a_template_refuses_is_the_callers_mistake() {
    let engine = engine_with(STRICT, Tags::Absent);
    let user = [Message::new("user", "hi")];
    let error = engine.converse(&user, &ChatOptions::default()).unwrap_err();
    assert_eq!(error.blame(), Blame::Caller);
    let EngineError::Engine { source, .. } = error else {
        panic!("{error}");
    };
    assert!(source.to_string().ends_with("no turns today"), "{source}");
}
