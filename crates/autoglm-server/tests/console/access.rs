//! Who can use the page and how: language, colours, keyboard, contrast, keys.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::browser::{ENTER, ESCAPE, Look, TAB};
use crate::support::{Scripted, start_behind};
use crate::{IS_ANSWERED, answering, open, tasks};

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
            let wrong = page.run(include_str!("audit.js"));
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
        page.click("#run-33");
        page.wait_for("#opened-run", "Records 0 to 24 of 60");
        audit("runs");
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
        let wrong = page.run(include_str!("audit.js"));
        assert!(wrong.to_string().contains("contrast 1."), "{wrong}");
        page.check(&[]);
    }
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
