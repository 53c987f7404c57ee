//! Probabilities of given continuations, held against those of the tiny model behind the server.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};

use autoglm_engine::remote::{RemoteEngine, RemoteSettings, ScoringWay};
use autoglm_spec::{
    Blame, Blamed, Cancel, EngineError, Normalise, Prompt, Score, ScoreRequest, Scoring,
};
use serde_json::{Value, json};

use crate::scripted_server::{
    Reply, Request, ScriptedServer, WORDS, chat, complete, json_reply, logprob, usual,
};
use crate::{open, settings, shown, turns};

/// A server of the tiny model; the function may answer in its place.
fn server(other: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static) -> ScriptedServer {
    ScriptedServer::new(move |request| {
        let models = || usual(request).filter(|_| request.method == "GET");
        other(request).or_else(models).unwrap_or_else(|| {
            if request.is_chat() {
                chat(request)
            } else {
                complete(request)
            }
        })
    })
}

fn echoing() -> ScriptedServer {
    server(|_| None)
}

/// A server that ignores `echo`.
fn deaf() -> ScriptedServer {
    server(|request| {
        let mut request = request.clone();
        request.body["echo"] = json!(false);
        (!request.is_chat() && request.method == "POST").then(|| complete(&request))
    })
}

fn engine(server: &ScriptedServer, scoring: ScoringWay) -> RemoteEngine {
    let settings = RemoteSettings {
        scoring,
        votes: NonZeroUsize::new(8).unwrap(),
        ..settings(server)
    };
    open(&settings).unwrap()
}

fn asked(prompt: Prompt, options: &[&str], normalise: Normalise) -> ScoreRequest {
    ScoreRequest {
        prompt,
        options: options.iter().map(|&o| o.to_owned()).collect(),
        normalise,
        states: false,
        adapter: None,
    }
}

fn plain(text: &str, options: &[&str], normalise: Normalise) -> ScoreRequest {
    asked(Prompt::Plain(text.to_owned()), options, normalise)
}

fn score(engine: &RemoteEngine, request: &ScoreRequest) -> Result<Scoring, EngineError> {
    let results = engine.score(std::slice::from_ref(request), &Cancel::default());
    results.into_iter().next().unwrap()
}

fn logprobs(engine: &RemoteEngine, request: &ScoreRequest) -> Vec<f32> {
    score(engine, request)
        .unwrap()
        .options
        .iter()
        .map(|o| o.logprob)
        .collect()
}

fn check(found: &[f32], wanted: &[f32]) {
    assert_eq!(found.len(), wanted.len());
    let close = found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-4);
    assert!(close, "{found:?} {wanted:?}");
}

/// Log-probabilities among these.
fn among(values: &[f32]) -> Vec<f32> {
    let total: f32 = values.iter().map(|v| v.exp()).sum();
    values.iter().map(|v| v - total.ln()).collect()
}

#[test]
fn echoed_prompts_give_the_models_own_probabilities() {
    let server = echoing();
    let engine = engine(&server, ScoringWay::Auto);
    let prompt = "Is it good? Answer:";
    let own = |option: &str| logprob(prompt, option);
    let request = plain(prompt, &[" yes", " no"], Normalise::Vocabulary);
    check(&logprobs(&engine, &request), &[own(" yes"), own(" no")]);
    let request = plain(prompt, &[" yes", " no"], Normalise::Options);
    check(
        &logprobs(&engine, &request),
        &among(&[own(" yes"), own(" no")]),
    );
    assert!(
        engine.notes().iter().any(|note| note.contains("echoed")),
        "{:?}",
        engine.notes()
    );
}

#[test]
fn options_of_several_tokens_are_normalised_where_they_part() {
    let engine = engine(&echoing(), ScoringWay::Echo);
    let prompt = "Answer:";
    let options = [" yes no", " yes maybe", " 8"];
    let request = plain(prompt, &options, Normalise::Options);
    let first = among(&[logprob(prompt, " yes"), logprob(prompt, " 8")]);
    let behind = "Answer: yes";
    let second = among(&[logprob(behind, " no"), logprob(behind, " maybe")]);
    let wanted = [first[0] + second[0], first[0] + second[1], first[1]];
    check(&logprobs(&engine, &request), &wanted);
    let request = plain(prompt, &options, Normalise::Vocabulary);
    let yes = logprob(prompt, " yes");
    let wanted = [
        yes + logprob(behind, " no"),
        yes + logprob(behind, " maybe"),
        logprob(prompt, " 8"),
    ];
    check(&logprobs(&engine, &request), &wanted);
}

#[test]
fn once_the_options_are_known_to_part_at_once_a_record_costs_one_request() {
    let server = echoing();
    let engine = engine(&server, ScoringWay::Auto);
    let options = [" yes", " no", " maybe"];
    let scores = |n: usize| {
        let prompt = format!("Record {n}. Answer:");
        let request = plain(&prompt, &options, Normalise::Options);
        let wanted: Vec<f32> = options.iter().map(|o| logprob(&prompt, o)).collect();
        check(&logprobs(&engine, &request), &among(&wanted));
    };
    scores(0);
    let begun = server.seen().len();
    (1..=5).for_each(scores);
    assert_eq!(server.seen().len() - begun, 5);
}

#[test]
fn where_a_label_is_not_among_the_first_tokens_it_is_echoed() {
    let server = server(|request| {
        // At most two words are told.
        let mut few = request.clone();
        let count = few.body["logprobs"].as_u64()?.min(2);
        few.body["logprobs"] = json!(count);
        Some(complete(&few))
    });
    let engine = engine(&server, ScoringWay::Auto);
    for n in 0..6 {
        let prompt = format!("Record {n}. Answer:");
        let request = plain(&prompt, &WORDS, Normalise::Options);
        let wanted: Vec<f32> = WORDS.iter().map(|w| logprob(&prompt, w)).collect();
        check(&logprobs(&engine, &request), &among(&wanted));
    }
}

/// Moves all log-probabilities of an echo by one token, as a widely used server does for models
/// without a first token of their own.
fn off_by_one(request: &Request) -> Option<Reply> {
    if request.body["echo"] != true {
        return None;
    }
    let mut reply = complete(request);
    let text = String::from_utf8(reply.pieces.remove(0)).unwrap();
    let mut body: Value = serde_json::from_str(text.split("\r\n\r\n").nth(1)?).unwrap();
    let told = body["choices"][0]["logprobs"]["token_logprobs"].as_array_mut()?;
    told.remove(0);
    told.push(json!(-12.4));
    Some(json_reply(200, &body))
}

#[test]
fn an_echo_that_does_not_agree_with_what_is_generated_is_not_used() {
    let server = server(off_by_one);
    let engine = engine(&server, ScoringWay::Auto);
    let prompt = "Answer:";
    let request = plain(prompt, &[" yes", " no"], Normalise::Options);
    let wanted = among(&[logprob(prompt, " yes"), logprob(prompt, " no")]);
    check(&logprobs(&engine, &request), &wanted);
    let notes = engine.notes().join("\n");
    assert!(
        notes.contains("are not used") && notes.contains("first tokens"),
        "{notes}"
    );
}

#[test]
fn without_echo_the_first_tokens_are_used() {
    let server = deaf();
    let engine = engine(&server, ScoringWay::Auto);
    let prompt = "Answer:";
    let request = plain(prompt, &[" yes", " no"], Normalise::Options);
    let wanted = among(&[logprob(prompt, " yes"), logprob(prompt, " no")]);
    check(&logprobs(&engine, &request), &wanted);
    // Whole options of one token have their probability; of longer ones only the beginning is known.
    let request = plain(prompt, &[" yes", " no"], Normalise::Vocabulary);
    check(
        &logprobs(&engine, &request),
        &[logprob(prompt, " yes"), logprob(prompt, " no")],
    );
    let request = plain(prompt, &[" yes indeed", " no"], Normalise::Vocabulary);
    let error = score(&engine, &request).unwrap_err();
    assert!(shown(&error).contains("`normalise`"), "{}", shown(&error));
}

#[test]
fn chats_are_scored_by_their_first_tokens() {
    let server = echoing();
    let engine = engine(&server, ScoringWay::Auto);
    let text = "Good or bad?";
    let likely: Vec<&str> = {
        let mut words = WORDS.to_vec();
        words.sort_by(|a, b| logprob(text, b).total_cmp(&logprob(text, a)));
        words.iter().map(|word| word.trim()).collect()
    };
    let of = |word: &str| logprob(text, &format!(" {word}"));
    let request = asked(turns(text), &[likely[0], likely[2]], Normalise::Options);
    check(
        &logprobs(&engine, &request),
        &among(&[of(likely[0]), of(likely[2])]),
    );
    // The fifth is not told: it gets the most that it could have, that of the third.
    let request = asked(turns(text), &[likely[0], likely[4]], Normalise::Options);
    check(
        &logprobs(&engine, &request),
        &among(&[of(likely[0]), of(likely[2])]),
    );
    let notes = engine.notes().join("\n");
    assert!(notes.contains("the most that it could have"), "{notes}");
}

/// A server that tells no probabilities and gives these answers in turn.
fn voter(answers: &'static [&'static str]) -> ScriptedServer {
    let turn = AtomicUsize::new(0);
    ScriptedServer::usual(move |_| {
        let text = answers[turn.fetch_add(1, Ordering::SeqCst) % answers.len()];
        json_reply(
            200,
            &json!({"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}),
        )
    })
}

#[test]
fn without_probabilities_answers_are_counted_and_it_is_said_so() {
    let server = voter(&["Positive.", "positive", "negative", "who knows"]);
    let engine = engine(&server, ScoringWay::Auto);
    let request = asked(
        turns("Review"),
        &["positive", "negative"],
        Normalise::Options,
    );
    let scores: Vec<f32> = logprobs(&engine, &request)
        .iter()
        .map(|p| p.exp())
        .collect();
    // Four and two of eight, and half a vote for each.
    check(&scores, &[4.5 / 7.0, 2.5 / 7.0]);
    let notes = engine.notes().join("\n");
    assert!(notes.contains("confidences are from votes"), "{notes}");
    assert!(
        notes.contains("named no label and was not counted (2 times)"),
        "{notes}"
    );
    let seen = server.seen();
    assert_eq!(seen.len(), 8);
    assert_eq!(
        seen[0].body["guided_choice"],
        json!(["positive", "negative"])
    );
    assert_ne!(seen[0].body["seed"], seen[1].body["seed"]);
}

#[test]
fn a_way_that_is_asked_for_and_not_offered_is_an_error() {
    for (server, way) in [
        (deaf(), ScoringWay::Echo),
        (voter(&["x"]), ScoringWay::First),
    ] {
        let engine = engine(&server, way);
        let request = plain("Answer:", &[" yes", " no"], Normalise::Options);
        let error = score(&engine, &request).unwrap_err();
        assert_eq!(error.blame(), Blame::Caller);
        assert!(shown(&error).contains("`scoring`"), "{}", shown(&error));
    }
}

#[test]
fn a_server_that_fails_now_and_then_still_scores() {
    let turn = AtomicUsize::new(0);
    let server = server(move |request| {
        let is_record = request.prompt().starts_with("Record");
        let fails = is_record && turn.fetch_add(1, Ordering::SeqCst).is_multiple_of(2);
        fails.then(|| json_reply(500, &json!({"error": {"message": "busy"}})))
    });
    let engine = engine(&server, ScoringWay::Auto);
    for n in 0..3 {
        let prompt = format!("Record {n}:");
        let request = plain(&prompt, &[" yes", " no"], Normalise::Options);
        let wanted = [logprob(&prompt, " yes"), logprob(&prompt, " no")];
        check(&logprobs(&engine, &request), &among(&wanted));
    }
}

#[test]
fn options_that_are_none_are_refused_before_anything_is_sent() {
    let server = echoing();
    let engine = engine(&server, ScoringWay::Auto);
    for options in [&[][..], &[""][..], &["a", "a"][..]] {
        let error = score(&engine, &plain("x", options, Normalise::Options)).unwrap_err();
        assert!(matches!(error, EngineError::BadRequest { .. }), "{error:?}");
    }
    assert!(server.seen().is_empty());
}

#[test]
fn a_batch_scores_as_each_request_alone() {
    let server = echoing();
    let settings = RemoteSettings {
        concurrency: NonZeroUsize::new(4).unwrap(),
        ..settings(&server)
    };
    let engine = open(&settings).unwrap();
    let requests: Vec<ScoreRequest> = (0..12)
        .map(|n| {
            plain(
                &format!("Record {n}:"),
                &[" yes", " no"],
                Normalise::Options,
            )
        })
        .collect();
    let together = engine.score(&requests, &Cancel::default());
    for (request, result) in requests.iter().zip(together) {
        let alone = logprobs(&engine, request);
        let found: Vec<f32> = result.unwrap().options.iter().map(|o| o.logprob).collect();
        assert_eq!(found, alone);
    }
}
