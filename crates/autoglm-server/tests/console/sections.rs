//! Tasks, learning, models and metrics.

use std::sync::Arc;

use autoglm_server::{Loaded, Loader, ServerError, Skill};
use serde_json::json;

use crate::browser::{CONTROL, ENTER, Look};
use crate::support::{Scripted, start_behind, start_loading};
use crate::{open, tasks};

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
            content: identity.clone(),
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
