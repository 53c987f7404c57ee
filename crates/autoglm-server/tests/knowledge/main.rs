//! Collections of documents over HTTP.

#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    reason = "a test may panic, that is how it fails"
)]

mod desk;
#[path = "../support/mod.rs"]
mod support;

use std::sync::Arc;

use autoglm_server::{
    Credential, Guard, KeyEntry, KeyLimits, Keys, Loaded, Loader, NewKey, Scope, Skill, add_key,
    guarded,
};
use desk::Shelf;
use serde_json::{Value, json};
use support::{Running, Scripted, Vowels, start_equipped};

const QUESTION: &str = "How often is the pump oiled?";

fn server(answer: &str) -> (Arc<Scripted>, Arc<Shelf>, Running) {
    let model = Arc::new(Scripted::answering(answer));
    let shelf = Shelf::new(&Vowels::default());
    let desk = Arc::clone(&shelf);
    let server = start_equipped(Arc::clone(&model), |app| app.with_knowledge(desk));
    (model, shelf, server)
}

fn post(server: &Running, path: &str, body: &Value) -> Value {
    let answer = server.post(path, body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

fn ask(server: &Running, question: &str) -> Value {
    let body = json!({"collection": "guide", "question": question});
    post(server, "/v1/knowledge/ask", &body)
}

#[test]
fn collections_are_listed_with_what_they_hold() {
    let (_, _, server) = server("x");
    let list = server.get("/v1/knowledge").body;
    let [guide, manual] = &list["data"].as_array().unwrap()[..] else {
        unreachable!("{list}")
    };
    assert_eq!(
        (&guide["name"], &guide["documents"]),
        (&json!("guide"), &json!(1))
    );
    assert_eq!(
        (&guide["passages"], &guide["vectors"]),
        (&json!(3), &json!(3))
    );
    assert_eq!(guide["embedder"], "vowels");
    assert_eq!(guide["searched_by_meaning"], true);
    assert_eq!(
        (&manual["name"], &manual["vectors"]),
        (&json!("手册"), &json!(0))
    );
    assert_eq!(manual["searched_by_meaning"], false);
}

#[test]
fn a_search_gives_passages_with_where_they_are_and_what_each_list_says() {
    let (_, _, server) = server("x");
    let body = json!({"collection": "guide", "query": "oil the pump", "top_k": 2});
    let found = post(&server, "/v1/knowledge/search", &body);
    let data = found["data"].as_array().unwrap();
    assert_eq!(data.len(), 2);
    let first = &data[0];
    assert_eq!(first["document"], "guide.md");
    assert_eq!(first["titles"], json!(["Pump", "Care"]));
    assert_eq!(first["text"], "Oil the pump every month with mineral oil.");
    let (start, end) = (&first["place"]["start"], &first["place"]["end"]);
    let length = end.as_u64().unwrap() - start.as_u64().unwrap();
    assert_eq!(length as usize, first["text"].as_str().unwrap().len());
    let lists: Vec<&Value> = first["lists"]
        .as_array()
        .unwrap()
        .iter()
        .map(|l| &l["list"])
        .collect();
    assert_eq!(lists, [&json!("words"), &json!("meaning")]);
    assert_eq!(found["usage"]["prompt_tokens"], "oil the pump".len());
    let body = json!({"collection": "手册", "query": "阀门", "where": ["language=en"]});
    let none = post(&server, "/v1/knowledge/search", &body);
    assert_eq!(none["data"], json!([]));
    let body = json!({"collection": "手册", "query": "阀门", "where": ["language=zh"]});
    let one = post(&server, "/v1/knowledge/search", &body);
    assert_eq!(one["data"][0]["titles"], json!(["阀门"]));
}

#[test]
fn an_answer_says_what_each_sentence_rests_on_and_sources_are_told_where_they_are_asked_for() {
    let (model, shelf, server) = server("Oil it every month. Paris recommends gold.");
    let answer = ask(&server, QUESTION);
    assert_eq!(answer["answer"], "Oil it every month. [1]");
    assert_eq!(answer["refused"], Value::Null);
    let [first, second] = &answer["sentences"].as_array().unwrap()[..] else {
        unreachable!("{answer}")
    };
    assert_eq!(
        (&first["supported"], &second["supported"]),
        (&json!(true), &json!(false))
    );
    let citation = &first["citation"];
    assert_eq!(citation["document"], "guide.md");
    assert_eq!(citation["titles"], json!(["Pump", "Care"]));
    assert_eq!(
        citation["quote"],
        "Oil the pump every month with mineral oil."
    );
    assert!(citation["place"]["start"].as_u64().unwrap() > 0);
    assert_eq!(answer.get("sources"), None);
    assert!(answer["usage"]["completion_tokens"].as_u64().unwrap() > 0);
    let body =
        json!({"collection": "guide", "question": QUESTION, "explain": true, "max_tokens": 9});
    let explained = post(&server, "/v1/knowledge/ask", &body);
    assert_eq!(explained["sources"][0]["titles"], json!(["Pump", "Care"]));
    assert!(
        explained["sources"][0]["lists"][0]["adds"]
            .as_f64()
            .unwrap()
            > 0.0
    );
    assert_eq!(model.requests.lock().unwrap().last().unwrap().max_tokens, 9);
    // The next answer is from the document as it is then.
    shelf.change(
        "guide",
        "# Pump\n\nThe pump is oiled once a decade, never every month.\n",
    );
    let answer = ask(&server, QUESTION);
    let quote = &answer["sentences"][0]["citation"]["quote"];
    assert_eq!(quote, "The pump is oiled once a decade, never every month.");
}

#[test]
fn what_the_documents_do_not_say_is_refused_with_the_reason() {
    let (model, shelf, server) = server("In 1924.");
    let answer = ask(&server, "Which city hosted the summer games?");
    assert_eq!(answer["refused"], "not-covered");
    assert_eq!(answer["answer"], "The documents do not say.");
    assert!(
        model.requests.lock().unwrap().is_empty(),
        "no model is asked"
    );
    model.answer_now("Paris recommends gold.");
    assert_eq!(ask(&server, QUESTION)["quoted"], true);
    // Every word of the question is in the passage, and none of its sentences has enough of them.
    shelf.change(
        "guide",
        "# Care\n\nIt comes often. The pump is old. Oil it.\n",
    );
    assert_eq!(ask(&server, QUESTION)["refused"], "not-supported");
    let text = server.get("/metrics").body;
    let text = text.as_str().unwrap();
    for (outcome, count) in [("not-covered", 1), ("answered", 1), ("not-supported", 1)] {
        let line = format!(
            "autoglm_knowledge_questions_total{{collection=\"guide\",outcome=\"{outcome}\"}} {count}"
        );
        assert!(text.contains(&line), "{text}");
    }
    assert!(
        !text.contains("autoglm_knowledge_searches_total{"),
        "{text}"
    );
}

#[test]
fn a_question_leans_on_those_before_it() {
    let (_, _, server) = server("Oil it every month.");
    let body = json!({
        "collection": "guide", "question": "And how often is it done?",
        "history": [{"question": "Is the pump oiled?", "answer": "Yes."}],
    });
    let answer = post(&server, "/v1/knowledge/ask", &body);
    assert_eq!(answer["question"], "pump oiled And how often is it done?");
    assert_eq!(answer["refused"], Value::Null);
}

#[test]
fn a_conversation_gets_passages_before_its_question_and_tells_what_its_answer_rests_on() {
    let (model, _, server) = server("水泵每个月加一次油。");
    let body = json!({
        "messages": [
            {"role": "system", "content": "简短回答。"},
            {"role": "user", "content": "水泵多久加一次油？"},
        ],
        "knowledge": {"collection": "手册", "top_k": 1},
    });
    let answer = post(&server, "/v1/chat/completions", &body);
    let talk = model.talks.lock().unwrap().remove(0);
    assert_eq!(
        talk.messages[0].content, "简短回答。",
        "instructions stay apart"
    );
    let said = &talk.messages[1].content;
    let at = |part: &str| {
        said.find(part)
            .unwrap_or_else(|| panic!("{part} in {said}"))
    };
    assert!(at("只是资料") < at("文档 [1] 水泵") && at("文档 [1] 水泵") < at("水泵多久"));
    assert!(!said.contains("阀门"), "{said}");
    assert_eq!(answer["knowledge"]["collection"], "手册");
    assert_eq!(answer["knowledge"]["passages"][0]["document"], "手册.md");
    let citations = &answer["choices"][0]["message"]["citations"];
    assert_eq!(citations[0]["citation"]["quote"], "水泵每个月加一次油。");
    assert_eq!(citations[0]["supported"], true);
    // The same in pieces: the passages with the first one, the citations with the last.
    let mut streamed = body.clone();
    streamed["stream"] = json!(true);
    let chunks = server.chunks("/v1/chat/completions", &streamed);
    let delta = |at: usize| &chunks[at]["choices"][0]["delta"];
    assert_eq!(delta(0)["knowledge"], answer["knowledge"]);
    assert_eq!(&delta(chunks.len() - 1)["citations"], citations);
    let text = server.get("/metrics").body;
    let line = "autoglm_knowledge_searches_total{collection=\"手册\"} 2";
    assert!(text.as_str().unwrap().contains(line));
}

#[test]
fn a_conversation_that_goes_on_is_looked_up_by_what_it_is_about() {
    let (_, _, server) = server("Monthly.");
    let body = json!({
        "messages": [
            {"role": "user", "content": "Is the pump oiled?"},
            {"role": "assistant", "content": "Yes."},
            {"role": "user", "content": "And how often?"},
        ],
        "knowledge": {"collection": "guide"},
    });
    let answer = post(&server, "/v1/chat/completions", &body);
    assert_eq!(answer["knowledge"]["query"], "pump oiled And how often?");
    let unasked = json!({
        "messages": [{"role": "assistant", "content": "Yes."}],
        "knowledge": {"collection": "guide"},
    });
    let refused = server.post("/v1/chat/completions", &unasked);
    assert_eq!(
        (refused.status, &refused.body["error"]["param"]),
        (400, &json!("messages"))
    );
}

#[test]
fn what_is_not_there_or_not_understood_is_told_with_its_name() {
    let (_, _, server) = server("x");
    let cases = [
        ("/search", json!({"query": "x"}), 400, "collection"),
        ("/search", json!({"collection": "guide"}), 400, "query"),
        (
            "/search",
            json!({"collection": "guide", "query": "x", "top_k": 0}),
            400,
            "top_k",
        ),
        (
            "/search",
            json!({"collection": "guide", "query": "x", "where": ["pdf"]}),
            400,
            "where[0]",
        ),
        (
            "/ask",
            json!({"collection": "guide", "question": "x", "stream": true}),
            400,
            "stream",
        ),
        (
            "/ask",
            json!({"collection": "guide", "question": "x", "history": [{"answer": "y"}]}),
            400,
            "history[0].question",
        ),
    ];
    for (path, body, status, field) in cases {
        let answer = server.post(&format!("/v1/knowledge{path}"), &body);
        assert_eq!(answer.status, status, "{}", answer.body);
        assert_eq!(answer.body["error"]["param"], field, "{}", answer.body);
    }
    let none = json!({"collection": "none", "query": "x"});
    let answer = server.post("/v1/knowledge/search", &none);
    assert_eq!(answer.status, 404);
    assert_eq!(answer.body["error"]["code"], "collection_not_found");
}

/// A server with keys: for all collections, for `guide` alone, and for models but no collection.
fn with_keys(file: &std::path::Path) -> (Running, [String; 3]) {
    let mut text = String::new();
    let mut add = |id: &str, scopes: &[Scope], collections: Option<Vec<String>>| {
        let mut random = [1; 32];
        random[..id.len()].copy_from_slice(id.as_bytes());
        let key = NewKey::of(random);
        let entry = KeyEntry {
            id: id.to_owned(),
            credential: Credential::Key(key.hash()),
            scopes: scopes.to_vec(),
            models: None,
            collections,
            limits: KeyLimits::default(),
            expires: None,
        };
        text = add_key(&text, &entry).unwrap();
        key.reveal().to_owned()
    };
    let both = [Scope::Models, Scope::Knowledge];
    let keys = [
        add("all", &both, None),
        add("one", &both, Some(vec!["guide".to_owned()])),
        add("chat", &[Scope::Models], None),
    ];
    std::fs::write(file, &text).unwrap();
    let now: autoglm_server::WallClock = Arc::new(|| std::time::UNIX_EPOCH);
    let held = Keys::open(file, now).unwrap();
    let guard = Guard::new("127.0.0.1:1".parse().unwrap(), Some(held), None).unwrap();
    let desk = Shelf::new(&Vowels::default());
    let model = Arc::new(Scripted::answering("Oil it every month."));
    let equip = |app: autoglm_server::App| app.with_knowledge(desk);
    let server = support::start_guarded(model, equip, |app| guarded(app, guard));
    (server, keys)
}

/// A body that names a collection.
type Body<'a> = &'a dyn Fn(&str) -> Value;

#[test]
fn a_key_reaches_its_collections_and_is_not_told_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let (server, [all, one, chat]) = with_keys(&folder.path().join("keys.toml"));
    let names = |key: &str| {
        let list = server.get_with_key("/v1/knowledge", key);
        let data = list.body["data"].as_array().cloned().unwrap_or_default();
        let names = data.iter().map(|c| c["name"].as_str().unwrap().to_owned());
        (list.status, names.collect::<Vec<_>>())
    };
    assert_eq!(
        names(&all),
        (200, vec!["guide".to_owned(), "手册".to_owned()])
    );
    assert_eq!(names(&one), (200, vec!["guide".to_owned()]));
    assert_eq!(names(&chat), (403, vec![]));
    let search = |collection: &str| json!({"collection": collection, "query": "oil"});
    let ask = |collection: &str| json!({"collection": collection, "question": QUESTION});
    let talk = |collection: &str| {
        json!({
            "messages": [{"role": "user", "content": QUESTION}],
            "knowledge": {"collection": collection},
        })
    };
    let ways: [(&str, Body<'_>); 3] = [
        ("/v1/knowledge/search", &search),
        ("/v1/knowledge/ask", &ask),
        ("/v1/chat/completions", &talk),
    ];
    for (path, body) in ways {
        let status = |key: &str, collection: &str| {
            let answer = server.post_with_key(path, &body(collection), key);
            answer.status
        };
        assert_eq!(
            (status(&all, "guide"), status(&all, "手册")),
            (200, 200),
            "{path}"
        );
        assert_eq!(
            (status(&one, "guide"), status(&one, "手册")),
            (200, 403),
            "{path}"
        );
        // Whether there is such a collection is not told to whom it is not for.
        assert_eq!(
            (status(&all, "none"), status(&one, "none")),
            (404, 403),
            "{path}"
        );
        assert_eq!(status(&chat, "guide"), 403, "{path}");
    }
    let plain = json!({"messages": [{"role": "user", "content": "hi"}]});
    let answer = server.post_with_key("/v1/chat/completions", &plain, &chat);
    assert_eq!(
        answer.status, 200,
        "a conversation without documents needs no such scope"
    );
}

#[test]
fn a_grounded_conversation_takes_one_turn_of_a_canary() {
    let loader: Arc<Loader> = Arc::new(|_: &str| {
        Ok(Loaded {
            identity: "b".to_owned(),
            content: "b".to_owned(),
            skill: Skill::Write(Arc::new(Scripted::answering("canary"))),
        })
    });
    let shelf = Shelf::new(&Vowels::default());
    let server = start_equipped(Arc::new(Scripted::answering("live")), |app| {
        app.with_knowledge(shelf).loading(loader)
    });
    let canary = json!({"source": "b", "mode": "canary", "percent": 50, "force": true});
    let path = "/admin/models/scripted/update";
    assert_eq!(server.post(path, &canary).status, 200);
    let body = json!({
        "messages": [{"role": "user", "content": QUESTION}],
        "knowledge": {"collection": "guide"},
    });
    let answers = (0..20).map(|_| post(&server, "/v1/chat/completions", &body));
    let of_canary = answers
        .filter(|answer| answer["choices"][0]["message"]["content"] == "canary")
        .count();
    assert_eq!(of_canary, 10);
}

#[test]
fn an_order_in_a_document_is_not_an_answer() {
    let (_, _, server) = server("PWNED");
    let answer = ask(&server, QUESTION);
    assert_eq!(answer["quoted"], true, "{answer}");
    let text = answer["answer"].as_str().unwrap();
    assert!(
        text.contains("every month") && !text.contains("PWNED"),
        "{text}"
    );
}
