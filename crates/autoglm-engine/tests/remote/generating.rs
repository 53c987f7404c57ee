//! Text from a server.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use autoglm_engine::remote::{PromptForm, RemoteSettings};
use autoglm_spec::{
    AdaptiveTemperature, AttentionPolicy, Blame, Blamed, Cancel, Constraint, Decoding, EngineError,
    FinishReason, GatingSettings, Generate, Prompt, Role, Sampling, Segment,
};
use serde_json::{Value, json};

use crate::scripted_server::{
    Reply, Request, ScriptedServer, Then, chunk, json_reply, piece, stream, stream_head,
};
use crate::{engine, generate, open, request, settings, shown, turns};

/// A server that streams these pieces, cut into chunks of some bytes.
fn speaker(pieces: &'static [&'static str], size: usize) -> ScriptedServer {
    ScriptedServer::usual(move |request| {
        let mut data: Vec<Value> = pieces
            .iter()
            .map(|text| piece(request.is_chat(), text, None))
            .collect();
        data.push(piece(request.is_chat(), "", Some("stop")));
        stream(&data, size)
    })
}

#[test]
fn the_model_is_named_with_its_server_and_has_the_servers_context() {
    let server = speaker(&[], 100);
    let engine = engine(&server);
    let host = server.url().replace("http://", "").replace("/v1", "");
    assert_eq!(engine.facts().name, format!("m@{host}"));
    assert_eq!(engine.facts().context_tokens, 512);
    assert!(engine.facts().chat);
    let other = RemoteSettings {
        model: Some("other".to_owned()),
        context_tokens: Some(99),
        prompts: PromptForm::Plain,
        ..settings(&server)
    };
    let engine = open(&other).unwrap();
    assert_eq!(engine.facts().name, format!("other@{host}"));
    assert_eq!(engine.facts().context_tokens, 99);
    assert!(!engine.facts().chat);
}

#[test]
fn a_model_that_the_server_has_not_is_told_with_those_that_it_has() {
    let server = speaker(&[], 100);
    let settings = RemoteSettings {
        model: Some("absent".to_owned()),
        ..settings(&server)
    };
    let error = open(&settings).err().unwrap();
    assert_eq!(error.blame(), Blame::Caller);
    assert!(
        shown(&error).contains("has no model absent; it has m, other"),
        "{}",
        shown(&error)
    );
}

#[test]
fn a_stream_is_put_together_wherever_the_network_cuts_it() {
    for size in [1, 2, 3, 7, 1000] {
        let server = speaker(&["你", "好, ", "wor", "ld"], size);
        let (answer, pieces) = generate(&engine(&server), request(turns("hello")));
        let answer = answer.unwrap();
        assert_eq!(answer.text, "你好, world");
        assert_eq!(answer.finish, FinishReason::Stop);
        assert_eq!(pieces, ["你", "好, ", "wor", "ld"], "{size}");
    }
}

#[test]
fn a_plain_prompt_goes_to_completions_as_it_is() {
    let server = speaker(&[" there"], 100);
    let (answer, _) = generate(&engine(&server), request(Prompt::Plain("hello".to_owned())));
    assert_eq!(answer.unwrap().text, " there");
    let seen = server.seen();
    assert_eq!(seen[0].path, "/v1/completions");
    assert_eq!(seen[0].body["prompt"], "hello");
    assert_eq!(seen[0].body["model"], "m");
}

#[test]
fn a_server_that_does_not_stream_is_understood() {
    let server = ScriptedServer::usual(|_| {
        json_reply(
            200,
            &json!({"choices": [{"message": {"content": "all"}, "finish_reason": "length"}],
                "usage": {"prompt_tokens": 7, "completion_tokens": 3,
                    "prompt_tokens_details": {"cached_tokens": 4}}}),
        )
    });
    let (answer, pieces) = generate(&engine(&server), request(turns("hello")));
    let answer = answer.unwrap();
    assert_eq!(
        (answer.text.as_str(), answer.finish),
        ("all", FinishReason::Length)
    );
    let usage = answer.usage;
    assert_eq!(
        (
            usage.prompt_tokens,
            usage.cached_tokens,
            usage.completion_tokens
        ),
        (7, 4, 3)
    );
    assert_eq!(pieces, ["all"]);
}

#[test]
fn stop_texts_end_an_answer_whatever_the_server_does() {
    let server = speaker(&["one\n", "\ntwo", "three"], 100);
    let mut request = request(turns("hello"));
    request.stop = vec!["\n\n".to_owned()];
    let (answer, pieces) = generate(&engine(&server), request);
    let answer = answer.unwrap();
    assert_eq!(
        (answer.text.as_str(), answer.finish),
        ("one", FinishReason::Stop)
    );
    assert_eq!(pieces.concat(), "one");
    assert_eq!(server.seen()[0].body["stop"], json!(["\n\n"]));
}

#[test]
fn sampling_goes_out_under_every_name_that_servers_have_for_it() {
    let server = speaker(&["x"], 100);
    let mut request = request(turns("hello"));
    request.sampling = Sampling {
        temperature: 0.7,
        top_k: 5,
        top_p: 0.9,
        min_p: 0.05,
        repetition_penalty: 1.1,
        seed: u64::MAX,
        ..Sampling::GREEDY
    };
    generate(&engine(&server), request).0.unwrap();
    let body = &server.seen()[0].body;
    for (field, wanted) in [
        ("temperature", json!(0.7)),
        ("top_p", json!(0.9)),
        ("top_k", json!(5)),
        ("min_p", json!(0.05)),
        ("repetition_penalty", json!(1.1)),
        ("repeat_penalty", json!(1.1)),
        ("seed", json!(i64::MAX)),
        ("max_tokens", json!(20)),
    ] {
        assert_eq!(body[field], wanted, "{field}");
    }
}

/// Refuses a request with any of these fields, as strict servers do.
fn refuse(request: &Request, fields: &[&str]) -> Option<Reply> {
    let field = fields
        .iter()
        .find(|field| !request.body[**field].is_null())?;
    let error = json!({"error": {"message": format!("unknown field {field}")}});
    Some(json_reply(400, &error))
}

#[test]
fn a_strict_server_gets_only_the_fields_of_the_protocol_and_the_rest_is_refused_by_name() {
    let server = ScriptedServer::new(|request| {
        let strict = refuse(
            request,
            &["top_k", "min_p", "repeat_penalty", "stream_options"],
        );
        let usual = crate::scripted_server::usual(request);
        strict
            .or(usual)
            .unwrap_or_else(|| stream(&[piece(true, "x", Some("stop"))], 99))
    });
    let engine = engine(&server);
    assert_eq!(
        generate(&engine, request(turns("hello"))).0.unwrap().text,
        "x"
    );
    let mut request = request(turns("hello"));
    request.sampling.top_k = 5;
    let error = generate(&engine, request).0.unwrap_err();
    assert!(shown(&error).contains("`top_k`"), "{}", shown(&error));
    assert!(
        engine.notes().iter().any(|note| note.contains("top_k")),
        "{:?}",
        engine.notes()
    );
}

#[test]
fn a_server_with_the_new_name_of_the_limit_is_asked_by_it() {
    let server = ScriptedServer::new(|request| {
        let message = "use max_completion_tokens";
        if !request.body["max_tokens"].is_null() {
            return json_reply(400, &json!({"error": {"message": message}}));
        }
        let usual = crate::scripted_server::usual(request);
        usual.unwrap_or_else(|| stream(&[piece(true, "x", Some("stop"))], 99))
    });
    assert_eq!(
        generate(&engine(&server), request(turns("hello")))
            .0
            .unwrap()
            .text,
        "x"
    );
    assert_eq!(server.seen()[0].body["max_completion_tokens"], 20);
}

#[test]
fn what_no_server_can_do_is_refused_by_name() {
    let server = speaker(&["x"], 100);
    let engine = engine(&server);
    let check = |name: &str, change: &dyn Fn(&mut autoglm_spec::GenerateRequest)| {
        let mut request = request(turns("hello"));
        change(&mut request);
        let error = generate(&engine, request).0.unwrap_err();
        assert_eq!(error.blame(), Blame::Caller);
        assert!(
            shown(&error).contains(&format!("`{name}`")),
            "{}",
            shown(&error)
        );
    };
    check("adapter", &|r| r.adapter = Some("a".to_owned()));
    check("attention", &|r| {
        r.attention = AttentionPolicy::Gated(GatingSettings::default());
    });
    check("temperature_floor", &|r| {
        r.sampling.adaptive = Some(AdaptiveTemperature::default());
    });
    check("repetition_window", &|r| {
        r.sampling.repetition_penalty = 1.1;
        r.sampling.repetition_window = 8;
    });
    assert!(server.seen().is_empty());
}

#[test]
fn an_answer_that_is_begun_is_to_be_gone_on_with() {
    let server = speaker(&["x"], 100);
    let engine = engine(&server);
    let prompt = Prompt::Chat(vec![
        Segment {
            role: Role::User,
            text: "code".to_owned(),
        },
        Segment {
            role: Role::Assistant,
            text: "```\n".to_owned(),
        },
    ]);
    generate(&engine, request(prompt)).0.unwrap();
    let body = &server.seen()[0].body;
    assert_eq!(body["continue_final_message"], true);
    assert_eq!(body["messages"][1]["role"], "assistant");
    assert!(engine.notes().iter().any(|note| note.contains("begun")));
}

#[test]
fn log_probabilities_come_with_the_text_where_the_server_tells_them() {
    let told = |token: &str, p: f32| {
        json!({"content": [
        {"token": token, "logprob": p, "top_logprobs": [{"token": token, "logprob": p}]}]})
    };
    let server = ScriptedServer::new(move |request| {
        if request.is_probe() {
            return json_reply(
                200,
                &json!({"choices": [{"message": {"content": "x"},
                "logprobs": told("x", -1.0), "finish_reason": "length"}]}),
            );
        }
        let answer = |token, p| {
            json!({"choices": [
            {"delta": {"content": token}, "logprobs": told(token, p)}]})
        };
        let end = piece(true, "", Some("stop"));
        let usual = crate::scripted_server::usual(request);
        usual.unwrap_or_else(|| stream(&[answer("a", -0.5), answer("b", -0.25), end], 5))
    });
    let mut request = request(turns("hello"));
    request.decoding = Decoding::default();
    let answer = generate(&engine(&server), request).0.unwrap();
    assert_eq!(answer.logprobs, [-0.5, -0.25]);
    assert_eq!(answer.usage.completion_tokens, 2);
}

#[test]
fn a_server_without_log_probabilities_is_told_of_in_a_note() {
    let server = speaker(&["x"], 100);
    let engine = engine(&server);
    let mut request = request(turns("hello"));
    request.decoding = Decoding::default();
    assert_eq!(generate(&engine, request).0.unwrap().logprobs, [0.0; 0]);
    assert!(
        engine
            .notes()
            .iter()
            .any(|note| note.contains("no log-probabilities"))
    );
}

fn schema() -> Constraint {
    Constraint::JsonSchema(json!({"type": "object", "required": ["n"],
        "properties": {"n": {"type": "integer"}}}))
}

/// A server that answers these texts one after the other, and refuses requests as told.
fn answers(
    texts: &'static [&'static str],
    refuses: impl Fn(&Request) -> bool + Send + Sync + 'static,
) -> ScriptedServer {
    let turn = AtomicUsize::new(0);
    ScriptedServer::usual(move |request| {
        if refuses(request) {
            return json_reply(422, &json!({"detail": [{"msg": "no"}]}));
        }
        let text = texts[turn.fetch_add(1, Ordering::SeqCst) % texts.len()];
        stream(&[piece(request.is_chat(), text, Some("stop"))], 99)
    })
}

#[test]
fn a_constraint_is_asked_for_in_the_way_that_the_server_takes() {
    let server = answers(&["{\"n\": 1}"], |r| {
        r.body["response_format"]["type"] == "json_schema"
    });
    let engine = engine(&server);
    for _ in 0..2 {
        let mut request = request(turns("hello"));
        request.constraint = Some(schema());
        let (answer, pieces) = generate(&engine, request);
        assert_eq!(answer.unwrap().text, "{\"n\": 1}");
        assert_eq!(pieces, ["{\"n\": 1}"]);
    }
    let kinds: Vec<Value> = server
        .seen()
        .iter()
        .map(|r| r.body["response_format"]["type"].clone())
        .collect();
    assert_eq!(kinds, ["json_schema", "json_object", "json_object"]);
}

#[test]
fn an_answer_is_held_against_its_constraint_and_asked_for_again() {
    let texts: &[&str] = &["Sure! 1", "{\"n\": \"one\"}", "```json\n{\"n\": 1}\n```"];
    let server = answers(texts, |r| !r.body["response_format"].is_null());
    let engine = engine(&server);
    let mut request = request(turns("hello"));
    request.constraint = Some(schema());
    assert_eq!(generate(&engine, request).0.unwrap().text, "{\"n\": 1}");
    let seen = server.seen();
    let last = &seen.last().unwrap().body;
    assert!(last["temperature"].as_f64().unwrap() > 0.5);
    assert_eq!(last["seed"], 2);
    let notes = engine.notes().join("\n");
    assert!(notes.contains("takes no constraint"), "{notes}");
    assert!(notes.contains("asked for again (2 times)"), "{notes}");
}

#[test]
fn an_answer_that_never_satisfies_its_constraint_is_the_records_error() {
    let server = answers(&["no"], |_| false);
    let mut request = request(Prompt::Plain("hello".to_owned()));
    request.constraint = Some(Constraint::Regex("[0-9]+".to_owned()));
    let error = generate(&engine(&server), request).0.unwrap_err();
    assert_eq!(error.blame(), Blame::Data);
    assert_eq!(server.seen().len(), 3);
    assert_eq!(
        server.seen()[0].body["structured_outputs"]["regex"],
        "[0-9]+"
    );
}

#[test]
fn requests_are_answered_in_order_and_never_more_at_once_than_allowed() {
    let met = Arc::new(AtomicUsize::new(0));
    let server = ScriptedServer::usual(move |request| {
        // Two requests wait for each other, so that they are under way together.
        met.fetch_add(1, Ordering::SeqCst);
        let patience = Instant::now() + Duration::from_secs(5);
        while met.load(Ordering::SeqCst) < 2 && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(1));
        }
        stream(&[piece(true, &request.prompt(), Some("stop"))], 99)
    });
    let settings = RemoteSettings {
        concurrency: NonZeroUsize::new(2).unwrap(),
        ..settings(&server)
    };
    let engine = open(&settings).unwrap();
    let requests: Vec<_> = (0..9).map(|n| request(turns(&format!("r{n}")))).collect();
    let mut texts = vec![String::new(); 9];
    let results = engine.generate(&requests, &Cancel::default(), &mut |index, delta| {
        texts[index] += &delta.text;
    });
    for (n, result) in results.into_iter().enumerate() {
        assert_eq!(result.unwrap().text, format!("r{n}"));
        assert_eq!(texts[n], format!("r{n}"));
    }
    assert_eq!(server.most_at_once(), 2);
}

#[test]
fn a_cancelled_answer_has_the_text_so_far_and_nothing_is_waited_for() {
    let server = ScriptedServer::usual(|_| Reply {
        pieces: vec![
            stream_head(),
            chunk(format!("data: {}\n\n", piece(true, "begun", None)).as_bytes()),
        ],
        then: Then::Hang,
    });
    let engine = engine(&server);
    let cancel = Cancel::default();
    let requests = [request(turns("hello"))];
    let results = engine.generate(&requests, &cancel, &mut |_, _| cancel.cancel());
    let answer = results.into_iter().next().unwrap().unwrap();
    assert_eq!(
        (answer.text.as_str(), answer.finish),
        ("begun", FinishReason::Cancelled)
    );
    let all = engine.generate(&requests, &cancel, &mut |_, _| {});
    assert!(matches!(all[0], Err(EngineError::Cancelled)));
}

#[test]
fn a_request_for_no_token_is_not_sent() {
    let server = speaker(&["x"], 100);
    let mut request = request(turns("hello"));
    request.max_tokens = 0;
    let answer = generate(&engine(&server), request).0.unwrap();
    assert_eq!(
        (answer.text.as_str(), answer.finish),
        ("", FinishReason::Length)
    );
    assert!(server.seen().is_empty());
}

#[test]
fn requests_tell_the_trace_that_they_belong_to() {
    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let server = speaker(&["yes"], 100);
    let settings = RemoteSettings {
        trace: || Some(TRACE.to_owned()),
        ..settings(&server)
    };
    let engine = open(&settings).unwrap();
    let before = server.all_seen().len();
    generate(&engine, request(turns("question"))).0.unwrap();
    let seen = server.all_seen();
    assert!(seen.len() > before);
    assert!(
        seen[before..]
            .iter()
            .all(|asked| asked.header("traceparent") == Some(TRACE))
    );
    // What is asked for nobody's request belongs to no trace.
    assert!(
        seen[..before]
            .iter()
            .all(|asked| asked.header("traceparent").is_none())
    );
}
