//! Servers that fail, and servers that must not be trusted.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use autoglm_engine::remote::{ApiKey, RemoteEngine, RemoteSettings};
use autoglm_spec::{Blame, Blamed, Cancel, EngineError, Generate};
use serde_json::json;

use crate::scripted_server::{
    Reply, Request, ScriptedServer, Then, chunk, json_reply, piece, stream, stream_head,
    with_headers,
};
use crate::{QuickClock, engine, generate, open, request, settings, shown, turns};

/// A server that fails so many times and then answers `done`.
fn fails(times: usize, failure: impl Fn() -> Reply + Send + Sync + 'static) -> ScriptedServer {
    let turn = AtomicUsize::new(0);
    ScriptedServer::usual(move |_| {
        if turn.fetch_add(1, Ordering::SeqCst) < times {
            return failure();
        }
        stream(
            &[piece(true, "do", None), piece(true, "ne", Some("stop"))],
            50,
        )
    })
}

/// The error of a server that never does otherwise, and how often it was asked.
fn fails_for_ever(failure: impl Fn() -> Reply + Send + Sync + 'static) -> (EngineError, usize) {
    let server = fails(usize::MAX, failure);
    let error = generate(&engine(&server), request(turns("hello")))
        .0
        .unwrap_err();
    (error, server.seen().len())
}

#[test]
fn a_busy_server_is_asked_again_when_it_says_so() {
    let server = fails(1, || with_headers(429, "retry-after: 7\r\n", "{}"));
    let clock = Arc::new(QuickClock::default());
    let engine = RemoteEngine::open(&settings(&server), clock.clone()).unwrap();
    assert_eq!(
        generate(&engine, request(turns("hello"))).0.unwrap().text,
        "done"
    );
    let slept = clock.slept.lock().unwrap().clone();
    assert_eq!(slept.len(), 1);
    assert!(slept[0] >= Duration::from_secs(7), "{slept:?}");
}

#[test]
fn a_wait_that_is_too_long_is_not_waited() {
    let (error, asked) = fails_for_ever(|| with_headers(503, "retry-after: 86400\r\n", "{}"));
    assert_eq!(asked, 1);
    assert_eq!(error.blame(), Blame::Capacity);
    assert!(shown(&error).contains("86400 s"), "{}", shown(&error));
}

#[test]
fn a_failing_server_is_given_up_after_the_attempts() {
    let (error, asked) = fails_for_ever(|| json_reply(500, &json!({"error": {"message": "oops"}})));
    assert_eq!(asked, 3);
    assert_eq!(error.blame(), Blame::Capacity);
    assert!(
        shown(&error).contains("500: oops (3 attempts)"),
        "{}",
        shown(&error)
    );
    let server = fails(2, || json_reply(502, &json!(null)));
    assert_eq!(
        generate(&engine(&server), request(turns("hello")))
            .0
            .unwrap()
            .text,
        "done"
    );
}

#[test]
fn what_would_fail_again_is_asked_once() {
    for (status, blame) in [
        (400, Blame::Data),
        (403, Blame::Caller),
        (404, Blame::Caller),
    ] {
        let (error, asked) = fails_for_ever(move || json_reply(status, &json!({"detail": "no"})));
        assert_eq!((asked, error.blame()), (1, blame), "{status}");
        assert!(shown(&error).contains(": no"), "{}", shown(&error));
    }
}

#[test]
fn a_prompt_that_is_too_long_is_told_as_by_every_engine() {
    let message = "This model's maximum context length is 512 tokens, however you requested 620 \
        tokens (600 in your prompt; 20 for the completion).";
    let (error, _) = fails_for_ever(move || {
        json_reply(
            400,
            &json!({"error": {"message": message, "code": "context_length_exceeded"}}),
        )
    });
    assert!(
        matches!(
            error,
            EngineError::ContextExceeded {
                prompt_tokens: 600,
                reserved_tokens: 20,
                limit_tokens: 512,
            }
        ),
        "{error:?}"
    );
}

/// A stream that ends behind its first text, as this says.
fn begun(text: &'static str, then: Then) -> Reply {
    let event = format!("data: {}\n\n", piece(true, text, None));
    Reply {
        pieces: vec![stream_head(), chunk(event.as_bytes())],
        then,
    }
}

#[test]
fn a_stream_that_breaks_off_is_asked_for_again_and_handed_out_once() {
    let server = fails(1, || begun("do", Then::Close));
    let (answer, pieces) = generate(&engine(&server), request(turns("hello")));
    assert_eq!(answer.unwrap().text, "done");
    assert_eq!(pieces, ["do", "ne"]);
}

#[test]
fn text_that_was_handed_out_is_not_contradicted() {
    let server = fails(1, || begun("other", Then::Close));
    let (answer, pieces) = generate(&engine(&server), request(turns("hello")));
    assert!(shown(&answer.unwrap_err()).contains("broke off"));
    assert_eq!(pieces, ["other"]);
    // In a batch nothing is handed out before the end, so that it can be asked for again.
    let server = fails(1, || begun("other", Then::Close));
    let requests = [request(turns("a")), request(turns("b"))];
    let results = engine(&server).generate(&requests, &Cancel::default(), &mut |_, _| {});
    assert!(
        results
            .iter()
            .all(|result| result.as_ref().unwrap().text == "done")
    );
}

#[test]
fn a_stream_that_ends_without_an_end_is_not_taken_for_whole() {
    let (error, asked) = fails_for_ever(|| Reply {
        pieces: vec![
            begun("do", Then::Keep).pieces.concat(),
            b"0\r\n\r\n".to_vec(),
        ],
        then: Then::Keep,
    });
    assert_eq!(asked, 3);
    assert!(
        shown(&error).contains("a part of an answer"),
        "{}",
        shown(&error)
    );
}

#[test]
fn a_silent_server_is_left() {
    let server = fails(usize::MAX, || begun("do", Then::Hang));
    let settings = RemoteSettings {
        silence: Duration::from_millis(150),
        ..settings(&server)
    };
    let error = generate(&open(&settings).unwrap(), request(turns("hello")))
        .0
        .unwrap_err();
    assert_eq!(error.blame(), Blame::Capacity);
    assert!(
        shown(&error).contains("silent for 0.15 s"),
        "{}",
        shown(&error)
    );
    let mute = fails(usize::MAX, || Reply {
        pieces: Vec::new(),
        then: Then::Hang,
    });
    let settings = RemoteSettings {
        silence: Duration::from_millis(150),
        ..crate::settings(&mute)
    };
    let error = generate(&open(&settings).unwrap(), request(turns("hello")))
        .0
        .unwrap_err();
    assert!(shown(&error).contains("silent"), "{}", shown(&error));
}

#[test]
fn a_server_that_is_not_there_is_told() {
    let url = ScriptedServer::usual(|_| json_reply(200, &json!({}))).url();
    let settings = RemoteSettings {
        retry: autoglm_engine::remote::RetrySettings {
            attempts: 2,
            ..Default::default()
        },
        ..RemoteSettings::new(url.parse().unwrap())
    };
    // The port was given back; whoever has it now is no server of ours.
    let error = open(&settings).err().unwrap();
    assert_eq!(error.blame(), Blame::Capacity, "{}", shown(&error));
}

#[test]
fn answers_that_are_none_are_errors() {
    let check = |reply: fn() -> Reply, wanted: &str| {
        let (error, asked) = fails_for_ever(reply);
        assert_eq!(asked, 3, "{}", shown(&error));
        assert!(shown(&error).contains(wanted), "{}", shown(&error));
    };
    check(|| with_headers(200, "", "<html>hello</html>"), "no JSON");
    check(|| json_reply(200, &json!([1, 2])), "another JSON value");
    check(
        || json_reply(200, &json!({"choices": 3})),
        "another JSON value",
    );
    check(
        || json_reply(200, &json!({"error": {"message": "late"}})),
        "an error",
    );
    check(
        || Reply {
            pieces: vec![
                stream_head(),
                chunk(b"data: {oops\n\n"),
                b"0\r\n\r\n".to_vec(),
            ],
            then: Then::Keep,
        },
        "an event that is no JSON",
    );
    check(
        || Reply {
            pieces: vec![b"HTTP/1.1 200 OK\r\ncontent-len".to_vec()],
            then: Then::Close,
        },
        "does not answer",
    );
    check(
        || Reply {
            pieces: vec![b"not http at all\r\n\r\n".to_vec()],
            then: Then::Close,
        },
        "does not answer",
    );
}

#[test]
fn a_huge_answer_is_not_read_to_its_end() {
    let (error, asked) = fails_for_ever(|| {
        let size = 65 << 20;
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n");
        let mut pieces = vec![head.into_bytes()];
        pieces.extend((0..65).map(|_| vec![b' '; 1 << 20]));
        Reply {
            pieces,
            then: Then::Close,
        }
    });
    assert_eq!(asked, 1);
    assert!(
        shown(&error).contains("more than 67108864 bytes"),
        "{}",
        shown(&error)
    );
}

#[test]
fn an_endless_event_is_not_read_to_its_end() {
    let (error, _) = fails_for_ever(|| {
        let mut pieces = vec![stream_head()];
        pieces.extend((0..6).map(|_| chunk(&vec![b'x'; 1 << 20])));
        Reply {
            pieces,
            then: Then::Close,
        }
    });
    assert!(
        shown(&error).contains("larger than any"),
        "{}",
        shown(&error)
    );
}

const KEY: &str = "sk-very-secret";

fn with_key(server: &ScriptedServer) -> RemoteSettings {
    RemoteSettings {
        key: Some(ApiKey::new(KEY).unwrap()),
        ..settings(server)
    }
}

#[test]
fn the_key_goes_out_and_is_shown_nowhere() {
    let repeat = |request: &Request| {
        let message = format!("wrong key {KEY} for {}", request.prompt());
        json_reply(401, &json!({"error": {"message": message}}))
    };
    let server = ScriptedServer::usual(repeat);
    let settings = with_key(&server);
    let error = generate(&open(&settings).unwrap(), request(turns("my private text"))).0;
    let shown = format!("{} {settings:?}", shown(&error.unwrap_err()));
    assert!(
        !shown.contains(KEY) && !shown.contains("private"),
        "{shown}"
    );
    assert!(shown.contains("401"), "{shown}");
    let bearer = format!("Bearer {KEY}");
    assert!(
        server
            .all_seen()
            .iter()
            .all(|r| r.header("authorization") == Some(&bearer))
    );
}

#[test]
fn a_complaint_that_repeats_the_prompt_is_not_shown() {
    let server = ScriptedServer::usual(|request| {
        let message = format!("cannot answer '{}'", request.prompt());
        json_reply(400, &json!({"error": {"message": message}}))
    });
    let error = generate(&engine(&server), request(turns("my private text")))
        .0
        .unwrap_err();
    assert!(!shown(&error).contains("private"), "{}", shown(&error));
}

#[test]
fn a_redirect_is_not_followed_and_takes_no_key_along() {
    let other = ScriptedServer::usual(|_| json_reply(200, &json!({})));
    let target = other.url().replace("127.0.0.1", "localhost");
    for status in [301, 302, 307, 308] {
        let location = format!("location: {target}/chat/completions\r\n");
        let server = ScriptedServer::usual(move |_| with_headers(status, &location, ""));
        let engine = open(&with_key(&server)).unwrap();
        let error = generate(&engine, request(turns("hello"))).0.unwrap_err();
        assert!(
            shown(&error).contains("redirects to localhost"),
            "{}",
            shown(&error)
        );
        assert_eq!(server.seen().len(), 1);
    }
    assert!(other.all_seen().is_empty());
}

#[test]
fn a_key_does_not_go_unencrypted_to_another_machine() {
    let settings = RemoteSettings {
        key: Some(ApiKey::new(KEY).unwrap()),
        ..RemoteSettings::new("http://gpu.test:8000/v1".parse().unwrap())
    };
    let error = open(&settings).err().unwrap();
    assert_eq!(error.blame(), Blame::Caller);
    assert!(shown(&error).contains("unencrypted"), "{}", shown(&error));
}

#[test]
fn when_the_server_fails_for_good_the_rest_of_a_call_is_not_sent() {
    let server = fails(usize::MAX, || json_reply(403, &json!({})));
    let requests: Vec<_> = (0..50).map(|n| request(turns(&format!("r{n}")))).collect();
    let results = engine(&server).generate(&requests, &Cancel::default(), &mut |_, _| {});
    assert_eq!(server.seen().len(), 1);
    assert!(shown(results[0].as_ref().unwrap_err()).contains("403"));
    assert!(shown(results[49].as_ref().unwrap_err()).contains("not sent"));
}

#[test]
fn rates_are_kept_by_the_clock() {
    let server = fails(0, || json_reply(200, &json!({})));
    let clock = Arc::new(QuickClock::default());
    let limits = autoglm_engine::remote::RateLimits {
        requests_per_minute: std::num::NonZeroU32::new(4),
        tokens_per_minute: None,
    };
    let settings = RemoteSettings {
        limits,
        concurrency: NonZeroUsize::new(3).unwrap(),
        ..settings(&server)
    };
    let engine = RemoteEngine::open(&settings, clock.clone()).unwrap();
    let opening = server.all_seen().len();
    let requests: Vec<_> = (0..9).map(|n| request(turns(&format!("r{n}")))).collect();
    engine.generate(&requests, &Cancel::default(), &mut |_, _| {});
    let minutes = (opening + 9).div_ceil(4) as u64 - 1;
    let now = *clock.now.lock().unwrap();
    assert!(now >= Duration::from_secs(60 * minutes), "{now:?}");
}
