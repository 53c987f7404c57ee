//! The runs of a task: listed, opened, and read a stretch at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, Query};
use axum::response::IntoResponse;
use serde_json::{Value, json};

use crate::browser::{Browser, ENTER, ESCAPE, Look};
use crate::open;
use crate::support::{Running, Scripted, start_behind};
use crate::tasks::{self, told, usage};

/// Runs that the scripted task has.
const RUNS: u64 = 34;
/// Records of each.
const RECORDS: u64 = 60;

type Asked = Query<BTreeMap<String, u64>>;

/// Lists the scripted runs.
pub(crate) async fn list(Query(asked): Asked) -> impl IntoResponse {
    let limit = asked["limit"].min(RUNS);
    let data: Vec<Value> = (0..limit).map(|back| run(RUNS - back)).collect();
    told(&json!({"object": "list", "data": data, "has_more": limit < RUNS, "total": RUNS}))
}

/// Opens a scripted run.
pub(crate) async fn one(Path(id): Path<u64>, Query(asked): Asked) -> impl IntoResponse {
    let mut opened = run(id);
    let last = (asked["first"] + asked["limit"]).min(RECORDS);
    let data: Vec<Value> = (asked["first"]..last).map(record).collect();
    opened["object"] = json!("task.run");
    opened["data"] = json!(data);
    opened["has_more"] = json!(last < RECORDS);
    told(&opened)
}

/// Every third run was evaluated, one failed, and the latest came by requests.
fn run(id: u64) -> Value {
    let is_evaluated = id.is_multiple_of(3);
    let (accuracy, strategy) = (0.84 + 0.002 * id as f64, (id > 20).then_some(3));
    let score = json!({"measure": "accuracy", "value": accuracy,
                       "interval": [accuracy - 0.03, accuracy + 0.028], "rows": RECORDS});
    json!({
        "id": id, "records": RECORDS, "errors": u64::from(id == 32) * 2,
        "status": if id == 32 { "interrupted" } else { "finished" },
        "created_ms": 1_795_700_000_000_u64 + id * 3_600_000, "updated_ms": 1_795_786_000_000_u64,
        "model": "scripted",
        "source": if is_evaluated { "test.jsonl" } else { "api" },
        "strategy": strategy, "as_written": strategy.is_none(),
        "usage": usage(RECORDS * 212, RECORDS * 176),
        "mean_confidence": 0.81 + 0.003 * id as f64,
        "score": if is_evaluated { score } else { Value::Null },
    })
}

fn record(index: u64) -> Value {
    let texts = [
        (
            "The battery lasts two days and the screen is a joy.",
            "positive",
        ),
        (
            "Arrived broken, and the return cost me more than the lamp.",
            "negative",
        ),
        ("Not bad, not good; it is a kettle.", "negative"),
    ];
    let (text, gold) = texts[(index % 3) as usize];
    let answer = if index % 9 == 2 { "positive" } else { gold };
    json!({"run": 33, "index": index, "line": index + 1, "input": [["Review", text]],
           "answer": answer, "confidence": 0.97 - 0.004 * index as f64, "runner_up": null,
           "gold": gold, "is_right": answer == gold, "abstained": false, "error": null,
           "usage": usage(212, 176)})
}

/// A browser that shows the runs, with the server that it asks.
fn page(look: Look) -> Option<(Running, Browser)> {
    let asked = Arc::new(tasks::Asked::default());
    let model = Arc::new(Scripted::answering("x"));
    let server = start_behind(model, |routes| tasks::before(routes, asked));
    let page = open(&server, look)?;
    page.visit("/#runs");
    page.wait("document.querySelector('#run-33') !== null");
    Some((server, page))
}

/// The cells of the list's row of a run.
fn cells(page: &Browser, run: u64) -> Vec<String> {
    let cells = page.value(&format!(
        "[...document.querySelector('#run-{run}').closest('tr').cells].map((cell) => cell.innerText)"
    ));
    serde_json::from_value(cells).unwrap()
}

#[test]
fn a_list_says_what_each_run_followed_and_came_to() {
    let Some((_server, page)) = page(Look::PLAIN) else {
        return;
    };
    let evaluated = cells(&page, 33);
    assert_eq!(evaluated[0], "#33");
    let wanted = ["test.jsonl\nscripted", "strategy 3", "60", "90.6%", "90.9%"];
    assert_eq!(evaluated[2..7], wanted);
    // Tokens that were not in the cache, and those that were written.
    assert_eq!(evaluated[7..], ["2,162\n40 s"]);
    let interrupted = cells(&page, 32);
    assert!(interrupted[1].ends_with("interrupted"), "{interrupted:?}");
    assert_eq!(interrupted[4], "60\n2 without an answer");
    assert_eq!(interrupted[5], "–");
    page.wait_for("#run-list", "10 of 34");
    for shown in [20, 30, 34] {
        page.run("[...document.querySelectorAll('#run-list button')].find((b) => b.innerText === 'Show more').click()");
        page.wait_for("#run-list", &format!("{shown} of 34"));
    }
    assert_eq!(cells(&page, 3)[3], "as the task is written");
    let more = page.value("document.querySelector('#run-list').innerText.includes('Show more')");
    assert_eq!(more, false);
    page.check(&[]);
}

#[test]
fn the_list_says_that_its_tokens_are_those_that_were_computed() {
    let heads = [
        ("en-US", "Tokens computed, time"),
        ("zh-CN", "计算的词元与用时"),
    ];
    for (language, wanted) in heads {
        let look = Look {
            language,
            ..Look::PLAIN
        };
        let Some((_server, page)) = page(look) else {
            return;
        };
        let head = "document.querySelector('#run-list th:last-child').textContent";
        assert_eq!(page.value(head), wanted);
    }
}

#[test]
fn a_run_is_opened_read_and_closed_by_the_keyboard() {
    let Some((_server, page)) = page(Look::PLAIN) else {
        return;
    };
    let focus = |expression: &str| page.value(&format!("document.activeElement.{expression}"));
    page.run("document.querySelector('#run-33').focus()");
    page.press(&[ENTER]);
    page.wait_for("#opened-run h2", "Run 33");
    assert_eq!(focus("innerText"), "Run 33");
    let opened = page.text("#opened-run");
    for part in [
        "87.6% to 93.4% (95%)",
        "0 without an answer",
        "12,722",
        "Not bad, not good; it is a kettle.",
        "Records 0 to 24 of 60",
    ] {
        assert!(opened.contains(part), "{part} is not in: {opened}");
    }
    let turn = |words: &str| {
        page.run(&format!(
            "[...document.querySelectorAll('#opened-run button')].find((b) => b.innerText === '{words}').focus()"
        ));
        page.press(&[ENTER]);
    };
    turn("Later");
    page.wait_for("#opened-run", "Records 25 to 49 of 60");
    turn("Later");
    page.wait_for("#opened-run", "Records 50 to 59 of 60");
    let is_off = "[...document.querySelectorAll('#opened-run button')].map((b) => b.disabled)";
    assert_eq!(page.value(is_off), json!([false, false, true]));
    turn("Earlier");
    page.wait_for("#opened-run", "Records 25 to 49 of 60");
    page.press(&[ESCAPE]);
    page.wait("document.querySelector('#opened-run') === null");
    assert_eq!(focus("id"), "run-33");
    page.check(&[]);
}
