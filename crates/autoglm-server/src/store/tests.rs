//! Tests of what the server remembers.

use autoglm_spec::{
    AttentionPolicy, Completion, Decoding, FinishReason, GenerateRequest, Prompt, Sampling, Usage,
};
use serde_json::json;

use super::*;

fn request(tokens: &[u32]) -> GenerateRequest {
    GenerateRequest {
        prompt: Prompt::Tokens(tokens.to_vec()),
        max_tokens: 10,
        sampling: Sampling::GREEDY,
        logit_bias: Vec::new(),
        stop: Vec::new(),
        constraint: None,
        decoding: Decoding::default(),
        attention: AttentionPolicy::Full,
        adapter: None,
    }
}

fn completion(text: &str) -> Completion {
    Completion {
        text: text.to_owned(),
        tokens: vec![1, 2],
        logprobs: vec![-0.5, -0.25],
        top: vec![vec![(1, -0.5)], vec![(2, -0.25)]],
        finish: FinishReason::Stop,
        usage: Usage::default(),
    }
}

fn store(answer_bytes: u64) -> ServerStore {
    ServerStore::in_memory(StoreLimits {
        answer_bytes,
        response_bytes: 4_000,
        ..StoreLimits::default()
    })
    .unwrap()
}

#[test]
fn an_answer_comes_back_as_it_was() {
    let store = store(1 << 20);
    let key = AnswerKey::of("m", &request(&[1]));
    assert_eq!(store.answer(key).unwrap(), None);
    store.put_answer(key, &completion("你好")).unwrap();
    assert_eq!(store.answer(key).unwrap(), Some(completion("你好")));
}

/// A change of a request.
type Change = fn(&mut GenerateRequest);

#[test]
fn every_part_of_a_request_tells_answers_apart() {
    let plain = AnswerKey::of("m", &request(&[1]));
    assert_eq!(plain, AnswerKey::of("m", &request(&[1])));
    assert_ne!(plain, AnswerKey::of("m2", &request(&[1])));
    let changes: [Change; 10] = [
        |r| r.prompt = Prompt::Tokens(vec![2]),
        |r| r.prompt = Prompt::Plain("[1]".to_owned()),
        |r| r.max_tokens = 11,
        |r| r.sampling.presence_penalty = 0.5,
        |r| r.sampling.seed = 1,
        |r| r.logit_bias = vec![(1, 1.0)],
        |r| r.stop = vec!["x".to_owned()],
        |r| r.constraint = Some(autoglm_spec::Constraint::Regex("a".to_owned())),
        |r| r.decoding.top_logprobs = 1,
        |r| r.adapter = Some("a".to_owned()),
    ];
    for (index, change) in changes.iter().enumerate() {
        let mut other = request(&[1]);
        change(&mut other);
        assert_ne!(plain, AnswerKey::of("m", &other), "change {index}");
    }
}

#[test]
fn what_was_used_longest_ago_goes_first_and_the_limit_holds() {
    let store = store(64_000);
    let key = |number: u32| AnswerKey::of("m", &request(&[number]));
    let long = completion(&"x".repeat(400));
    for number in 0..1_000 {
        store.put_answer(key(number), &long).unwrap();
        // The first one is asked for again and again.
        assert!(store.answer(key(0)).unwrap().is_some(), "{number}");
        assert!(store.lock().answers.bytes <= 64_000);
    }
    assert!(store.answer(key(999)).unwrap().is_some());
    assert!(store.answer(key(1)).unwrap().is_none());
}

#[test]
fn the_sum_of_sizes_is_what_the_file_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.db");
    let limits = StoreLimits::default();
    let store = ServerStore::open(&path, limits).unwrap();
    for number in [1, 2, 2, 3, 1] {
        let key = AnswerKey::of("m", &request(&[number]));
        store.put_answer(key, &completion("x")).unwrap();
    }
    let told = store.lock().answers.bytes;
    drop(store);
    let again = ServerStore::open(&path, limits).unwrap();
    assert_eq!(again.lock().answers.bytes, told);
    let key = AnswerKey::of("m", &request(&[2]));
    assert!(again.answer(key).unwrap().is_some());
}

const PLACE: Place = Place {
    context: [1; 32],
    signature: [2; 32],
};

/// Bytes of what the remembered questions hold, and how many there are.
fn held(store: &ServerStore) -> (u64, i64) {
    let query = "SELECT coalesce(sum(length(context) + length(signature) + length(words) + length(vector) \
                 + length(CAST(answer AS BLOB)) + length(CAST(observations AS BLOB))), 0), count(*) FROM meanings";
    let state = store.lock();
    let held = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)? as u64, row.get(1)?));
    state.connection.query_row(query, [], held).unwrap()
}

#[test]
fn a_question_takes_the_room_that_its_row_needs() {
    const LIMIT: u64 = 64_000;
    let limits = StoreLimits {
        meaning_bytes: LIMIT,
        ..StoreLimits::default()
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.db");
    let store = ServerStore::open(&path, limits).unwrap();
    for number in 0..300 {
        let answer = completion("好");
        store
            .put_meaning(&PLACE, &[number], &[0.5; 16], &answer)
            .unwrap();
        assert!(held(&store).0 <= LIMIT);
    }
    // A vector of 64 bytes, some 120 of an answer, and 208 of a row.
    let (bytes, rows) = held(&store);
    assert!(rows > 80, "{rows} rows of {bytes} bytes");
    // What is seen later takes room, too, of which others are forgotten.
    for seen in 1..=20 {
        let text = format!("[{}]", "0.5,".repeat(10 * seen));
        for known in store.neighbours(&PLACE).unwrap() {
            store.put_observations(known.id, &text).unwrap();
            assert!(held(&store).0 <= LIMIT);
        }
    }
    let (bytes, left) = held(&store);
    assert!(left > 10 && left < rows, "{left} rows of {bytes} bytes");
    // Both are put down with the rows, and what becomes shorter makes room.
    let known = store.neighbours(&PLACE).unwrap().remove(0);
    let before = store.lock().meanings.bytes;
    store.put_observations(known.id, "[]").unwrap();
    let told = store.lock().meanings.bytes;
    assert_eq!(before - told, 800);
    store.put_observations(known.id + 1_000, "[]").unwrap();
    drop(store);
    let again = ServerStore::open(&path, limits).unwrap();
    assert_eq!(again.lock().meanings.bytes, told);
}

#[test]
fn rows_that_another_server_has_forgotten_need_no_room() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.db");
    let limits = StoreLimits {
        answer_bytes: 8_000,
        ..StoreLimits::default()
    };
    let store = ServerStore::open(&path, limits).unwrap();
    let long = completion(&"x".repeat(400));
    let put = |number: u32| {
        let key = AnswerKey::of("m", &request(&[number]));
        store.put_answer(key, &long).unwrap();
        store.answer(key).unwrap()
    };
    let number = (0..100).find(|&number| {
        put(number);
        store.lock().answers.bytes > 7_000
    });
    let other = Connection::open(&path).unwrap();
    other.execute("DELETE FROM answers", []).unwrap();
    for more in 1..10 {
        assert!(put(number.unwrap() + more).is_some());
    }
}

#[test]
fn one_client_does_not_see_anothers_responses() {
    let store = store(0);
    let stored = StoredResponse {
        response: json!({"id": "resp_1"}),
        conversation: vec![json!({"role": "user", "content": "秘密"})],
    };
    store.put_response("resp_1", "a", &stored).unwrap();
    assert_eq!(store.response("resp_1", "a").unwrap(), Some(stored));
    assert_eq!(store.response("resp_1", "b").unwrap(), None);
    assert!(!store.forget_response("resp_1", "b").unwrap());
    assert!(store.forget_response("resp_1", "a").unwrap());
    assert_eq!(store.response("resp_1", "a").unwrap(), None);
    assert_eq!(store.lock().responses.bytes, 0);
}

#[test]
fn a_file_of_a_later_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.db");
    let connection = Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let opened = ServerStore::open(&path, StoreLimits::default());
    assert!(matches!(
        opened,
        Err(ServerError::StoreVersion { found: 99, .. })
    ));
}
