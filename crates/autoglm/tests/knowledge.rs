//! `autoglm index`, `search` and `ask` on tiny models.

#![expect(clippy::unwrap_used, reason = "a test may panic, that is how it fails")]

mod support;

use std::fs;

use serde_json::Value;

use support::{Desk, fixture, rows, text};

/// A desk with a folder of documents, English and Chinese.
fn desk() -> Desk {
    let desk = Desk::new();
    fs::create_dir_all(desk.path("docs/zh")).unwrap();
    desk.write(
        "docs/pump.md",
        "# Pump\n\nThe pump is red.\n\n## Care\n\nOil the pump every month.\n",
    );
    desk.write(
        "docs/valve.html",
        "<title>Valve</title><p>The valve is opened with a brass key.</p>",
    );
    desk.write(
        "docs/zh/泵.txt",
        "水泵每个月加一次油。\n\n阀门用铜钥匙打开。\n",
    );
    desk.write("docs/parts.jsonl", "{\"id\": \"p7\", \"title\": \"Filter\", \"text\": \"Change the filter.\", \"year\": 2001}\n");
    desk.write(
        "docs/main.rs",
        "/// Starts the pump.\nfn start_pump() {}\n\nfn stopPump() {}\n",
    );
    desk
}

/// Indexes with a tiny model.
fn index(desk: &Desk) -> Value {
    let bert = fixture("folders/bert");
    desk.json(&["index", "docs", "--embedder", &bert, "--json"])
}

/// A tiny model whose context has room for an instruction with passages: its file says 128, and
/// nothing in its weights does.
fn writer(desk: &Desk) -> String {
    let mut bytes = std::fs::read(fixture("tiny-llama.gguf")).unwrap();
    let key = b"llama.context_length";
    let at = bytes.windows(key.len()).position(|window| window == key);
    // Behind the key its type, a 32-bit number, and the number.
    let value = at.unwrap() + key.len() + 4;
    assert_eq!(bytes[value..value + 4], 128_u32.to_le_bytes());
    bytes[value..value + 4].copy_from_slice(&2_048_u32.to_le_bytes());
    desk.write("writer.gguf", bytes).display().to_string()
}

#[test]
fn folders_are_indexed_once_and_then_only_what_changed() {
    let desk = desk();
    let first = index(&desk);
    assert_eq!(
        (&first["added"], &first["broken"]),
        (&5.into(), &Value::Array(Vec::new()))
    );
    let second = index(&desk);
    assert_eq!(
        (&second["unchanged"], &second["passages"]),
        (&5.into(), &0.into())
    );
    desk.write("docs/pump.md", "# Pump\n\nThe pump is green.\n");
    fs::remove_file(desk.path("docs/valve.html")).unwrap();
    let third = index(&desk);
    assert_eq!(
        (&third["changed"], &third["removed"]),
        (&1.into(), &1.into())
    );
    let listed = desk.ok(&["index", "--list"]);
    assert_eq!(listed.lines().count(), 4);
    let bert = fixture("folders/bert");
    for gone in ["red", "brass"] {
        let found = desk.ok(&["search", gone, "--embedder", &bert, "--meaning-weight", "0"]);
        assert_eq!(found, "", "{gone}");
    }
}

#[test]
fn a_broken_document_is_named_and_the_rest_is_indexed() {
    let desk = desk();
    desk.write("docs/torn.pdf", "%PDF-1.5 torn");
    let output = desk.run(&["index", "docs", "--embedder", "none"]);
    assert!(output.status.success());
    let said = text(&output.stderr);
    assert!(said.contains("torn.pdf: is no PDF"), "{said}");
    assert!(
        said.contains("5 added") && said.contains("1 could not be read"),
        "{said}"
    );
}

#[test]
fn passages_say_where_they_are_from() {
    let desk = desk();
    index(&desk);
    let bert = fixture("folders/bert");
    let search = |query: &str, more: &[&str]| {
        let args = [
            "search",
            query,
            "--embedder",
            &bert,
            "--words-weight",
            "1",
            "--meaning-weight",
            "0.001",
            "--json",
        ];
        rows(&desk.ok(&[&args, more].concat()))
    };
    let found = search("how to oil pumps", &[]);
    assert_eq!(found[0]["titles"], serde_json::json!(["Pump", "Care"]));
    let place = &found[0]["place"];
    let file = desk.read("docs/pump.md");
    let bytes = place["start"].as_u64().unwrap() as usize..place["end"].as_u64().unwrap() as usize;
    assert_eq!(&file[bytes], found[0]["text"].as_str().unwrap());
    assert_eq!(place["line"], 7);
    assert_eq!(
        search("水泵加油", &[])[0]["text"]
            .as_str()
            .unwrap()
            .lines()
            .next(),
        Some("水泵每个月加一次油。")
    );
    assert_eq!(
        search("filter", &["--where", "year=2001"])[0]["record"],
        "p7"
    );
    assert_eq!(
        search("stop pump", &["--where", "format=rust"])[0]["titles"][0],
        "fn stopPump() {}"
    );
    assert_eq!(
        search("pump", &["--where", "path=*/zh/*"])[0]["language"],
        "zh"
    );
    let (code, said) = desk.fails(&["search", "x", "--embedder", &bert, "--where", "year"]);
    assert!(code == 2 && said.contains("want NAME=VALUE"), "{said}");
}

#[test]
fn lists_are_explained_and_the_model_can_rank_anew() {
    let desk = desk();
    index(&desk);
    let (bert, model) = (fixture("folders/bert"), writer(&desk));
    let shown = desk.ok(&[
        "search",
        "oil the pump",
        "--embedder",
        &bert,
        "--explain",
        "--fusion",
        "rrf",
    ]);
    assert!(shown.starts_with("[1] 0.0"), "{shown}");
    assert!(
        shown.contains("words: rank 1") && shown.contains("meaning: rank"),
        "{shown}"
    );
    for how in ["likelihood", "yes-no"] {
        let args = [
            "search",
            "oil",
            "--embedder",
            &bert,
            "--rerank",
            how,
            "--model",
            &model,
            "--json",
        ];
        assert!(rows(&desk.ok(&args))[0]["relevance"].is_number());
    }
}

#[test]
fn another_model_than_the_collections_is_refused_with_what_to_do() {
    let desk = desk();
    index(&desk);
    let llama = fixture("tiny-llama.gguf");
    let (code, said) = desk.fails(&["search", "oil", "--embedder", &llama]);
    assert_eq!(code, 2, "{said}");
    assert!(
        said.contains("vectors are of the model bert") && said.contains("hint:"),
        "{said}"
    );
    let again = desk.json(&["index", "docs", "--embedder", &llama, "--reembed", "--json"]);
    assert_eq!(again["changed"], 5);
    desk.ok(&["search", "oil", "--embedder", &llama]);
}

#[test]
fn a_collection_that_is_not_there_says_how_to_fill_it() {
    let (code, said) = Desk::new().fails(&["ask", "what?", "--collection", "none"]);
    assert!(
        code == 2 && said.contains("`autoglm index PATH` fills it"),
        "{said}"
    );
    let (code, said) = Desk::new().fails(&["index", "nowhere", "--embedder", "none"]);
    assert!(code == 3 && said.contains("cannot find"), "{said}");
    let (code, said) = Desk::new().fails(&["search", "x", "--collection", "../x"]);
    assert!(code == 2 && said.contains("want letters"), "{said}");
}

#[test]
fn questions_that_no_document_covers_are_refused_in_their_language() {
    let desk = desk();
    index(&desk);
    let (bert, model) = (fixture("folders/bert"), writer(&desk));
    let ask = |question: &str| {
        desk.json(&[
            "ask",
            question,
            "--embedder",
            &bert,
            "--model",
            &model,
            "--json",
            "-n",
            "8",
        ])
    };
    let answer = ask("Which city hosted the 1924 games?");
    assert_eq!(
        (&answer["refused"], &answer["text"]),
        (&"not-covered".into(), &"The documents do not say.".into())
    );
    assert_eq!(ask("巴黎有几座机场？")["text"], "文档中没有答案。");
    // What a random model writes is borne out by nothing: the document is quoted.
    let answer = ask("Which key opens the valve?");
    assert_eq!(
        (&answer["refused"], &answer["quoted"]),
        (&serde_json::Value::Null, &true.into())
    );
    // Passages are as short as what the tiny embedder reads, so that the sentence is cut.
    assert_eq!(answer["text"], "The valve is opened [1]");
    assert_eq!(answer["sources"][0]["titles"], serde_json::json!(["Valve"]));
}

#[test]
fn search_is_measured_on_judged_queries() {
    let desk = Desk::new();
    let corpus = "{\"_id\": \"d1\", \"title\": \"Pump\", \"text\": \"Oil it.\"}\n{\"_id\": \"d2\", \"text\": \"A brass key.\"}\n";
    desk.write("corpus.jsonl", corpus);
    desk.write(
        "queries.jsonl",
        "{\"_id\": \"q1\", \"text\": \"pump oil\"}\n{\"_id\": \"q2\", \"text\": \"key\"}\n",
    );
    desk.write("qrels.txt", "q1 0 d1 1\nq2 0 d1 1\n");
    desk.ok(&["index", "corpus.jsonl", "--embedder", "none"]);
    let report = desk.json(&["search", "--eval", ".", "--json"]);
    assert_eq!(
        (
            &report["report"]["queries"],
            &report["report"]["ndcg_10"]["mean"]
        ),
        (&2.into(), &0.5.into())
    );
    let again = desk.json(&["eval", "--retrieval", ".", "--json"]);
    assert_eq!(again["report"], report["report"]);
    let one = desk.json(&[
        "eval",
        "--retrieval",
        ".",
        "-c",
        "default",
        "--limit",
        "1",
        "--json",
    ]);
    assert_eq!(one["report"]["queries"], 1);
    let (_, refused) = desk.fails(&["eval", "--retrieval", ".", "-c", "other"]);
    assert!(
        refused.contains("there is no collection other"),
        "{refused}"
    );
    let table = desk.ok(&["search", "--eval", "."]);
    assert!(
        table.contains("nDCG@10     0.5000  95 % from 0.0000 to 1.0000"),
        "{table}"
    );
}

#[test]
fn answers_are_measured_on_questions_about_passages() {
    let desk = Desk::new();
    let file = r#"{"data": [{"paragraphs": [
        {"context": "Oil the pump every month.", "qas": [{"question": "How often is the pump oiled?", "answers": [{"text": "every month"}]}]},
        {"context": "The valve has a brass key.", "qas": [{"question": "What key has the valve?", "answers": [{"text": "brass"}]}]}]}]}"#;
    desk.write("squad.json", file);
    let model = writer(&desk);
    let report = desk.json(&[
        "ask",
        "--eval",
        "squad.json",
        "--embedder",
        "none",
        "--model",
        &model,
        "-n",
        "4",
        "--json",
    ]);
    assert_eq!(report["removed"]["refused"]["mean"], 1.0);
    assert_eq!(report["found"]["questions"], 2);
    assert_eq!(report["closed_book"]["questions"], 2);
    let of_closed_book = &report["closed_book"]["f1"]["mean"];
    assert!(of_closed_book.as_f64().is_some_and(|f1| f1 < 1.0));
}
