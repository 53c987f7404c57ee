//! Conversations.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use autoglm_server::Settings;
use serde_json::{Value, json};

use crate::browser::Look;
use crate::support::{Scripted, start};
use crate::{IS_ANSWERED, answering, open};

#[test]
fn a_chat_is_streamed_and_stopped() {
    let model = Arc::new(Scripted {
        endless: true,
        pace: Duration::from_millis(5),
        ..Scripted::answering("Hello ")
    });
    let server = start(Arc::clone(&model), Settings::default());
    let Some(page) = open(&server, Look::PLAIN) else {
        return;
    };
    page.fill("#message", "go on");
    page.click("#send");
    page.wait_for(".message.user", "go on");
    page.wait_for(".prose", "Hello xx");
    assert_eq!(
        page.value("document.querySelector('.message.assistant').ariaBusy"),
        "true"
    );
    assert_eq!(page.value("document.querySelector('#send').hidden"), true);
    page.click("#stop");
    page.wait(IS_ANSWERED);
    page.wait_for(".cost", "stopped");
    // The model hears of it, too.
    page.wait("!document.querySelector('#send').hidden");
    while model.cancelled.load(Ordering::Relaxed) == 0 {
        std::thread::sleep(Duration::from_millis(10));
    }
    page.check(&[]);
}

#[test]
fn what_a_model_writes_stays_text() {
    let (_, server) = answering(
        "<script>window.broken = 1</script>\n\n\
         <img src=x onerror=\"window.broken = 2\"> and **bold**, *slanted* and `<b>code</b>`\n\n\
         [bad](javascript:window.broken=3) [good](https://example.org/a)\n\n\
         - one\n  - inner\n- two\n\n```html\n<iframe src=\"/\"></iframe>\n```\n\n\
         | a | b |\n|---|---|\n| 1 | **2** |\n\nsnake_case_name 2*3*4",
    );
    let Some(page) = open(&server, Look::PLAIN) else {
        return;
    };
    page.fill("#message", "<b onclick=\"window.broken = 4\">hello</b>");
    page.click("#send");
    page.wait(IS_ANSWERED);
    let markup = "document.querySelectorAll('.log :is(script, img, iframe, b, [onclick])').length";
    assert_eq!(page.value(markup), 0);
    assert_eq!(page.value("window.broken ?? null"), Value::Null);
    let answer = page.text(".prose");
    assert!(
        answer.contains("<script>window.broken = 1</script>"),
        "{answer}"
    );
    assert!(
        answer.contains("[bad](javascript:window.broken=3)"),
        "{answer}"
    );
    assert!(answer.contains("snake_case_name 2*3*4"), "{answer}");
    assert!(page.text(".message.user").contains("<b onclick"));
    let shown = |css: &str| page.text(&format!(".prose {css}"));
    assert_eq!(shown("strong"), "bold");
    assert_eq!(shown("em"), "slanted");
    assert_eq!(shown("p > code"), "<b>code</b>");
    assert_eq!(shown("ul ul li"), "inner");
    assert_eq!(shown("pre"), "<iframe src=\"/\"></iframe>");
    assert_eq!(shown("td strong"), "2");
    let links = "[...document.querySelectorAll('.prose a')].map((a) => `${a.href} ${a.rel}`)";
    let links = page.value(links);
    assert_eq!(
        links,
        json!(["https://example.org/a noreferrer noopener nofollow"])
    );
    page.check(&[]);
}

#[test]
fn thoughts_and_calls_of_tools_stand_apart() {
    let call =
        "<tool_call>{\"name\": \"weather\", \"arguments\": {\"city\": \"北京\"}}</tool_call>";
    let (model, server) = answering(&format!("I must look.</think>One moment. {call}"));
    let Some(page) = open(&server, Look::PLAIN) else {
        return;
    };
    let tool = json!([{"type": "function", "function": {"name": "weather", "parameters": {}}}]);
    page.run("const thinking = document.querySelector('#thinking'); thinking.value = 'on'");
    page.fill("#tools", &tool.to_string());
    page.fill("#message", "How is the weather?");
    page.click("#send");
    page.wait(IS_ANSWERED);
    page.click(".thinking summary");
    page.wait_for(".thinking", "I must look.");
    assert_eq!(page.text(".prose"), "One moment.");
    assert_eq!(page.text(".call code"), "weather");
    assert!(page.text(".call pre").contains("\"city\": \"北京\""));
    model.answer_now("</think>Sunny.");
    page.fill(".calls textarea", "晴");
    page.click(".calls button");
    page.wait_for(".prose", "Sunny.");
    page.wait(IS_ANSWERED);
    let talks = model.talks.lock().unwrap();
    let roles: Vec<&str> = talks[1]
        .messages
        .iter()
        .map(|message| message.role.as_str())
        .collect();
    assert_eq!(roles, ["user", "assistant", "tool"]);
    assert_eq!(talks[1].messages[1].tool_calls[0].name, "weather");
    assert_eq!(talks[1].messages[2].content, "晴");
    drop(talks);
    page.check(&[]);
}

#[test]
fn settings_are_sent_and_a_wrong_one_is_told() {
    let (model, server) = answering("Yes.");
    let Some(page) = open(&server, Look::PLAIN) else {
        return;
    };
    page.wait("document.querySelector('#model').options.length === 2");
    page.fill("#temperature", "7");
    page.fill("#message", "hello");
    page.click("#send");
    page.wait_for(".toast", "Temperature");
    assert!(model.requests.lock().unwrap().is_empty());
    page.run("document.querySelector('#temperature').value = ''");
    page.fill("#temperature", "0.5");
    page.fill("#system", "Be brief.");
    page.fill("#max_completion_tokens", "9");
    page.fill("#seed", "4");
    // What was written is still there.
    assert_eq!(
        page.value("document.querySelector('.message')"),
        Value::Null
    );
    page.click("#send");
    page.wait(IS_ANSWERED);
    let requests = model.requests.lock().unwrap();
    assert_eq!(requests[0].max_tokens, 9);
    assert_eq!(requests[0].sampling.temperature, 0.5);
    assert_eq!(requests[0].sampling.seed, 4);
    drop(requests);
    let system = model.talks.lock().unwrap()[0].messages[0].clone();
    assert_eq!(
        (system.role.as_str(), system.content.as_str()),
        ("system", "Be brief.")
    );
    page.check(&[]);
}

#[test]
fn an_error_of_the_server_is_told_in_the_conversation() {
    let (model, server) = answering("x");
    model.failing.store(1, Ordering::Relaxed);
    let Some(page) = open(&server, Look::PLAIN) else {
        return;
    };
    page.fill("#message", "hello");
    page.click("#send");
    page.wait_for(
        ".message.assistant [role=alert]",
        "something went wrong inside",
    );
    model.answer_now("Now it works.");
    page.click(".again");
    page.wait_for(".prose", "Now it works.");
    page.wait(IS_ANSWERED);
    assert_eq!(
        page.value("document.querySelectorAll('.message').length"),
        2
    );
    page.check(&["/v1/chat/completions"]);
}
