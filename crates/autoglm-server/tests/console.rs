//! The console in a real browser, before a scripted model.

mod browser;
mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use autoglm_server::{Loaded, Loader, ServerError, Settings, Skill};
use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use browser::{Browser, CONTROL, ENTER, ESCAPE, Look, TAB, tasks};
use serde_json::{Value, json};
use support::{Running, Scripted, start, start_behind, start_loading};

/// What is true once an answer has come to its end.
const IS_ANSWERED: &str =
    "document.querySelector('.message.assistant:last-of-type[aria-busy=false]')";

fn open(server: &Running, look: Look) -> Option<Browser> {
    Browser::open(&format!("http://{}", server.address), look)
}

fn answering(answer: &str) -> (Arc<Scripted>, Running) {
    let model = Arc::new(Scripted::answering(answer));
    let server = start(Arc::clone(&model), Settings::default());
    (model, server)
}

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

#[test]
fn language_and_colours_follow_the_user_and_can_be_switched() {
    let (_, server) = answering("x");
    let dark_chinese = Look {
        is_dark: true,
        language: "zh-CN",
        ..Look::PLAIN
    };
    let Some(page) = open(&server, dark_chinese) else {
        return;
    };
    let ground = "getComputedStyle(document.body).backgroundColor";
    let dark = page.value(ground);
    assert_eq!(page.value("document.documentElement.lang"), "zh-CN");
    assert_eq!(page.text(".sections a"), "对话");
    page.fill("#message", "留在这里");
    page.click("#switch-language");
    assert_eq!(page.value("document.documentElement.lang"), "en");
    assert_eq!(page.text(".sections a"), "Chat");
    // What was being written stays.
    assert_eq!(
        page.value("document.querySelector('#message').value"),
        "留在这里"
    );
    page.click("#switch-theme");
    let light = page.value(ground);
    assert_ne!(light, dark);
    page.reload();
    page.wait_for(".sections a", "Chat");
    assert_eq!(page.value(ground), light);
    page.check(&[]);
}

#[test]
fn a_task_is_tried_on_a_record() {
    let asked = Arc::new(tasks::Asked::default());
    let model = Arc::new(Scripted::answering("x"));
    let server = start_behind(model, |routes| tasks::before(routes, Arc::clone(&asked)));
    let Some(page) = open(&server, Look::PLAIN) else {
        return;
    };
    page.visit("/#task");
    page.wait_for("#view-task", "Classify the sentiment");
    page.fill("#view-task textarea", "The battery lasts two days.");
    page.press_with(CONTROL, ENTER);
    page.wait_for(".answer", "positive");
    let sent = asked.runs.lock().unwrap()[0].clone();
    assert_eq!(
        sent,
        json!({"record": {"text": "The battery lasts two days."}, "explain": true})
    );
    let result = page.text("#result");
    for part in [
        "94.3%",
        "by 256 earlier records",
        "taught by 200 labelled records",
        "42 ms",
        "4 of 5 samples agree",
        "Arrived broken",
        "run 31, record 0",
        "-1.66",
    ] {
        assert!(result.contains(part), "{part} is not in: {result}");
    }
    assert!(page.text("#prompt").contains("Sentiment: negative"));
    page.click(".feedback button:nth-of-type(2)");
    page.wait_for(".feedback", "What is right?");
    page.click(".feedback button");
    page.wait_for(".feedback", "65 rows of feedback");
    let said = asked.feedback.lock().unwrap()[0].clone();
    assert_eq!(said, json!({"run": 31, "record": 0, "correct": "negative"}));
    page.check(&[]);
}

#[test]
fn learning_and_metrics_are_drawn() {
    let asked = Arc::new(tasks::Asked::default());
    let model = Arc::new(Scripted::answering("x"));
    let server = start_behind(model, |routes| tasks::before(routes, Arc::clone(&asked)));
    let Some(page) = open(&server, Look::PLAIN) else {
        return;
    };
    page.visit("/#runs");
    page.wait_for("#report", "91.4%");
    page.wait("document.querySelectorAll('#report svg.chart path.first-line').length === 3");
    page.wait_for("#report", "+4% (+1.2% to +7%)");
    page.wait_for("#report", "Not bad, not good; it is a kettle.");
    page.visit("/#metrics");
    page.wait_for("#tiles", "Requests at work");
    let tiles = page.text("#tiles");
    for part in ["3", "31%", "9"] {
        assert!(
            tiles.lines().any(|line| line.trim() == part),
            "{part} in {tiles}"
        );
    }
    page.click("#view-metrics details summary");
    page.wait_for("#view-metrics table", "said=a \"quote\"");
    page.check(&[]);
}

#[test]
fn versions_are_loaded_promoted_and_rolled_back() {
    let loader: Arc<Loader> = Arc::new(|source: &str| {
        if source != "other" {
            let why = format!("{source} is damaged");
            return Err(ServerError::CannotLoad { why });
        }
        let other = Arc::new(Scripted::answering("b"));
        let identity = source.to_owned();
        Ok(Loaded {
            identity,
            skill: Skill::Write(other),
        })
    });
    let server = start_loading(Arc::new(Scripted::answering("a")), loader);
    let Some(page) = open(&server, Look::PLAIN) else {
        return;
    };
    let live = || server.get("/admin/models").body["models"][0]["live"]["version"].clone();
    page.visit("/#models");
    page.click("#models .card:first-of-type .main");
    page.fill("#source", "broken");
    page.press(&[ENTER]);
    page.wait_for("dialog [role=alert]", "broken is damaged");
    page.run("document.querySelector('#source').value = ''; const mode = document.querySelector('#mode'); \
              mode.value = 'canary'; mode.dispatchEvent(new Event('change'))");
    page.fill("#source", "other");
    page.click("dialog input[type=checkbox]");
    page.click("dialog button[type=submit]");
    page.wait_for("#models", "answers 5% of requests");
    assert_eq!(live(), 1);
    let act = |words: &str| {
        page.run(&format!(
            "[...document.querySelectorAll('#models .card:first-of-type button')].find((b) => b.textContent === '{words}').click()"
        ));
        page.click("dialog .main");
        page.wait("document.querySelector('dialog') === null");
    };
    act("Promote");
    page.wait_for("#models .version", "Version 2");
    page.wait("!document.querySelector('#models').innerText.includes('Candidate')");
    assert_eq!(live(), 2);
    act("Roll back");
    page.wait("!document.querySelector('#models').innerText.includes('Version 2')");
    assert_eq!(live(), 1);
    page.check(&["/admin/models/scripted/update"]);
}

#[test]
fn the_keyboard_alone_suffices() {
    let asked = Arc::new(tasks::Asked::default());
    let model = Arc::new(Scripted::answering("Good day."));
    let server = start_behind(model, |routes| tasks::before(routes, Arc::clone(&asked)));
    let Some(page) = open(&server, Look::PLAIN) else {
        return;
    };
    let focus = |expression: &str| page.value(&format!("document.activeElement.{expression}"));
    page.wait("document.querySelector('main')");
    page.press(&[TAB]);
    assert_eq!(focus("className"), "skip");
    page.press(&[ENTER]);
    assert_eq!(focus("id"), "main");
    page.press(&["/"]);
    assert_eq!(focus("id"), "message");
    page.write("hello 2 you?");
    page.press(&[ENTER]);
    page.wait_for(".prose", "Good day.");
    page.wait(IS_ANSWERED);
    assert_eq!(page.text(".message.user .said"), "hello 2 you?");
    // Out of the text field, by the tabulator, and all that is passed shows where it is.
    page.run("document.querySelector('.skip').focus()");
    let mut passed = Vec::new();
    for _ in 0..40 {
        page.press(&[TAB]);
        let ring = page.value("getComputedStyle(document.activeElement).outlineStyle");
        assert_ne!(ring, "none", "{}", focus("outerHTML"));
        passed.push(focus("id").as_str().unwrap().to_owned());
        if passed.last().is_some_and(|id| id == "send") {
            break;
        }
    }
    for id in [
        "switch-language",
        "switch-theme",
        "give-key",
        "show-help",
        "begin",
        "show-settings",
        "message",
    ] {
        assert!(
            passed.iter().any(|passed| passed == id),
            "{id} is not among {passed:?}"
        );
    }
    page.run("document.querySelector('main').focus()");
    page.press(&["2"]);
    page.wait("location.hash === '#task' && document.querySelector('#try')?.checkVisibility()");
    page.press(&["?"]);
    page.wait_for("dialog", "Keyboard");
    page.press(&[ESCAPE]);
    page.wait("document.querySelector('dialog') === null");
    page.press(&["l"]);
    assert_eq!(page.value("document.documentElement.lang"), "zh-CN");
    page.check(&[]);
}

#[test]
fn every_section_can_be_read_and_operated() {
    let asked = Arc::new(tasks::Asked::default());
    let model = Arc::new(Scripted::answering(
        "Yes, `code` and [a link](https://example.org).",
    ));
    let server = start_behind(model, |routes| tasks::before(routes, Arc::clone(&asked)));
    let looks = [(1_280, false), (1_280, true), (390, false), (390, true)];
    for (width, is_dark) in looks {
        let look = Look {
            width,
            is_dark,
            ..Look::PLAIN
        };
        let Some(page) = open(&server, look) else {
            return;
        };
        let audit = |place: &str| {
            let wrong = page.run(include_str!("browser/audit.js"));
            assert_eq!(wrong, json!([]), "{place}, {look:?}");
        };
        page.wait("document.querySelector('#message')");
        audit("an empty chat");
        page.fill("#message", "hello");
        page.click("#send");
        page.wait(IS_ANSWERED);
        audit("a chat");
        page.visit("/#task");
        page.fill("#view-task textarea", "The battery lasts two days.");
        page.click("#try");
        page.wait_for(".answer", "positive");
        audit("a task");
        page.visit("/#runs");
        page.wait_for("#report", "91.4%");
        audit("learning");
        page.visit("/#models");
        page.wait_for("#models", "Version 1");
        audit("models");
        page.visit("/#metrics");
        page.wait_for("#tiles", "Requests at work");
        audit("metrics");
        page.click("#show-help");
        page.wait("document.querySelector('dialog[open]')");
        audit("help");
        // The look over the page sees what is wrong.
        page.press(&[ESCAPE]);
        page.run("document.documentElement.style.setProperty('--muted', 'var(--raised)')");
        let wrong = page.run(include_str!("browser/audit.js"));
        assert!(wrong.to_string().contains("contrast 1."), "{wrong}");
        page.check(&[]);
    }
}

#[test]
fn a_section_whose_endpoint_is_absent_says_so() {
    let server = start_behind(Arc::new(Scripted::answering("x")), tasks::absent);
    let Some(page) = open(&server, Look::PLAIN) else {
        return;
    };
    for (section, sentence) in [
        ("task", "This server has no task API."),
        ("runs", "This server has no task API."),
        (
            "models",
            "This server does not tell of its models' versions.",
        ),
        ("metrics", "This server has no metrics."),
    ] {
        page.visit(&format!("/#{section}"));
        page.wait_for(&format!("#view-{section}"), sentence);
    }
    page.check(&["/v1/tasks", "/metrics", "/admin/models"]);
}

/// Lets only those through who have the key.
fn locked(routes: Router) -> Router {
    let pass = async |request: Request, next: Next| -> Response {
        let is_open = !request.uri().path().starts_with("/v1/");
        let key = request.headers().get(header::AUTHORIZATION);
        if is_open || key.is_some_and(|key| key == "Bearer right") {
            next.run(request).await
        } else {
            StatusCode::UNAUTHORIZED.into_response()
        }
    };
    routes.layer(from_fn(pass))
}

#[test]
fn the_key_is_asked_for_once_and_kept_in_the_tab() {
    let server = start_behind(Arc::new(Scripted::answering("Open.")), locked);
    let Some(page) = open(&server, Look::PLAIN) else {
        return;
    };
    page.fill("dialog input", "wrong");
    page.press(&[ENTER]);
    page.wait_for("dialog [role=alert]", "refuses this key");
    page.fill("dialog input", "right");
    page.press(&[ENTER]);
    page.wait("document.querySelector('#model').options.length === 2");
    page.reload();
    page.fill("#message", "hello");
    page.click("#send");
    page.wait_for(".prose", "Open.");
    assert_eq!(page.value("document.querySelector('dialog')"), Value::Null);
    let kept = page.value("[JSON.stringify(localStorage).includes('right'), document.cookie]");
    assert_eq!(kept, json!([false, ""]));
    page.check(&["/v1/models"]);
}

#[test]
fn the_page_says_what_browsers_may_do_with_it() {
    let (_, server) = answering("x");
    let header = |path: &str, name: &str| {
        let answer = server.get(path);
        assert_eq!(answer.status, 200, "{path}");
        let found = answer.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    assert_eq!(header("/", "content-type"), "text/html; charset=utf-8");
    assert_eq!(
        header("/console/app.js", "content-type"),
        "text/javascript; charset=utf-8"
    );
    assert_eq!(
        header("/console/theme.css", "content-type"),
        "text/css; charset=utf-8"
    );
    assert_eq!(header("/console/icon.svg", "content-type"), "image/svg+xml");
    let policy = header("/", "content-security-policy");
    assert!(policy.starts_with("default-src 'self';"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(header("/", "x-content-type-options"), "nosniff");
    assert_eq!(server.get("/console/other.js").status, 404);
    assert_eq!(server.post("/", &json!({})).status, 405);
    assert_eq!(server.get("/console/mod.rs").status, 404);
    let tag = header("/console/app.js", "etag");
    let again = ureq::get(server.url("/console/app.js"))
        .header("if-none-match", tag)
        .call();
    assert_eq!(again.unwrap().status().as_u16(), 304);
}

/// Writes the pictures of `docs/serving/console.md`; Debian's `fonts-inter` and `fonts-noto-cjk` have
/// their letters.
#[test]
#[ignore = "writes into docs/images"]
fn pictures() {
    let asked = Arc::new(tasks::Asked::default());
    let model = Arc::new(Scripted::answering(
        "Yes. Both return the words in **reverse order**:\n\n\
         ```python\ndef reverse_words(sentence: str) -> str:\n    return \" \".join(reversed(sentence.split()))\n```\n\n\
         1. `split()` cuts the sentence at white space,\n2. `reversed()` walks the words from the last to the first,\n\
         3. `join()` puts a space between them.\n\nRepeated spaces are lost; use `re.split` with a group to keep them.",
    ));
    let server = start_behind(model, |routes| tasks::before(routes, Arc::clone(&asked)));
    let picture = |page: &Browser, name: &str| {
        let png = page.screenshot();
        assert!(png.len() <= 150_000, "{name} has {} bytes", png.len());
        let path = format!(
            "{}/../../docs/images/{name}.png",
            env!("CARGO_MANIFEST_DIR")
        );
        std::fs::write(path, png).unwrap();
    };
    let Some(page) = open(&server, Look::PLAIN) else {
        return;
    };
    page.wait("document.querySelector('#model').options.length === 2");
    page.fill(
        "#message",
        "Can a sentence's words be reversed in one line of Python?",
    );
    page.click("#send");
    page.wait(IS_ANSWERED);
    picture(&page, "console-chat");
    let dark = Look {
        is_dark: true,
        language: "zh-CN",
        ..Look::PLAIN
    };
    let page = open(&server, dark).unwrap();
    page.visit("/#task");
    page.wait("document.querySelector('#view-task').innerText.includes('reviews-zh')");
    page.run(
        "const task = document.querySelector('#task'); task.value = 'reviews-zh'; \
         task.dispatchEvent(new Event('change'))",
    );
    page.fill(
        "#view-task textarea",
        "耳机音质很好，低音有力，戴一下午耳朵也不疼。",
    );
    page.click("#try");
    page.wait_for(".answer", "正面");
    picture(&page, "console-task-zh");
    let phone = Look {
        width: 390,
        height: 844,
        ..Look::PLAIN
    };
    let page = open(&server, phone).unwrap();
    page.visit("/#runs");
    page.wait_for("#report", "91.4%");
    picture(&page, "console-phone");
}
