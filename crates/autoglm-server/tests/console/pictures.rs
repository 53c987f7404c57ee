//! The pictures of the documents.

use std::sync::Arc;
use std::time::Duration;

use crate::browser::{Browser, Look};
use crate::support::{Running, Scripted, start_behind};
use crate::{IS_ANSWERED, open, tasks};

/// Writes the pictures of `docs/serving/console.md`; Debian's `fonts-inter` and `fonts-noto-cjk` have
/// their letters.
#[test]
#[ignore = "writes into docs/images"]
fn pictures() {
    let asked = Arc::new(tasks::Asked::default());
    let model = Arc::new(Scripted {
        pace: Duration::from_millis(10),
        ..Scripted::answering(
            "Yes. This returns the words in **reverse order**:\n\n\
         ```python\ndef reverse_words(sentence: str) -> str:\n    return \" \".join(reversed(sentence.split()))\n```\n\n\
         1. `split()` cuts the sentence at white space,\n2. `reversed()` walks the words from the last to the first,\n\
         3. `join()` puts a space between them.\n\nRepeated spaces are lost; use `re.split` with a group to keep them.",
        )
    });
    let server = start_behind(model, |routes| tasks::before(routes, Arc::clone(&asked)));
    let picture = |page: &Browser, name: &str| {
        let png = page.screenshot();
        assert!(png.len() < 200_000, "{name} has {} bytes", png.len());
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
    picture_runs(&server, &picture);
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

/// The list of runs with one that is opened, and what has been learnt.
fn picture_runs(server: &Running, picture: &dyn Fn(&Browser, &str)) {
    let light = Look {
        height: 1_130,
        ..Look::PLAIN
    };
    let page = open(server, light).unwrap();
    page.visit("/#runs");
    page.wait_for("#report", "91.4%");
    page.click("#run-33");
    page.wait_for("#opened-run", "Records 0 to 24 of 60");
    page.run("document.querySelector('#run-list').scrollIntoView()");
    picture(&page, "console-runs");
    let dark = Look {
        is_dark: true,
        language: "zh-CN",
        height: 1_130,
        ..Look::PLAIN
    };
    let page = open(server, dark).unwrap();
    page.visit("/#runs");
    page.wait_for("#report", "91.4%");
    page.run("document.querySelector('[aria-label^=\"test.jsonl\"]').scrollIntoView()");
    picture(&page, "console-learning-zh");
}
