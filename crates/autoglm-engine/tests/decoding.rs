//! What makes answers come sooner does not change them.

mod fixture;

use autoglm_spec::{Cancel, Completion, Constraint, Decoding, Generate, GenerateRequest, Sampling};
use fixture::{FIXTURES, completions, content, engine, request};
use serde_json::json;

const REPEATED: &str = "a b c d e f g. a b c d e f g. a b c d e f g. a b";

fn with(decoding: Decoding, request: &GenerateRequest) -> GenerateRequest {
    GenerateRequest {
        decoding,
        ..request.clone()
    }
}

const PLAIN: Decoding = Decoding {
    lookup_tokens: 0,
    fast_forward: false,
    logprobs: true,
    top_logprobs: 0,
};

/// Requests of every kind: greedy, sampled, penalised, stopped, constrained.
fn requests() -> Vec<GenerateRequest> {
    let warm = |seed| Sampling {
        temperature: 0.7,
        top_p: 0.9,
        seed,
        ..Sampling::GREEDY
    };
    let mut requests: Vec<GenerateRequest> = (0..4)
        .map(|seed| {
            request(
                REPEATED,
                60,
                if seed == 0 {
                    Sampling::GREEDY
                } else {
                    warm(seed)
                },
            )
        })
        .collect();
    let penalised = Sampling {
        repetition_penalty: 1.3,
        ..warm(9)
    };
    requests.push(request(REPEATED, 60, penalised));
    let stop = completions(&engine(FIXTURES[0], 1), &requests[..1])[0]
        .text
        .clone();
    let middle: String = stop.chars().skip(12).take(3).collect();
    requests.push(GenerateRequest {
        stop: vec![middle],
        ..requests[0].clone()
    });
    let schema = json!({
        "type": "object",
        "properties": {"sentiment": {"enum": ["positive", "negative"]}, "score": {"type": "integer"}},
        "required": ["sentiment", "score"],
        "additionalProperties": false,
    });
    for constraint in [
        Constraint::JsonSchema(schema),
        Constraint::Regex("(the answer is )+(yes|no)".to_owned()),
    ] {
        for sampling in [Sampling::GREEDY, warm(3)] {
            requests.push(GenerateRequest {
                constraint: Some(constraint.clone()),
                ..request(REPEATED, 60, sampling)
            });
        }
    }
    requests
}

fn plain_answers(file: &str) -> Vec<Completion> {
    let requests: Vec<GenerateRequest> = requests().iter().map(|r| with(PLAIN, r)).collect();
    let engine = engine(file, 1);
    // One by one, so that nothing is shared.
    let alone = |r: &GenerateRequest| completions(&engine, std::slice::from_ref(r)).remove(0);
    requests.iter().map(alone).collect()
}

#[test]
fn looked_up_tokens_and_forced_ones_change_nothing_alone_or_together() {
    for file in FIXTURES {
        let wanted = plain_answers(file);
        for (lookup_tokens, fast_forward) in [(16, false), (0, true), (16, true), (3, true)] {
            let decoding = Decoding {
                lookup_tokens,
                fast_forward,
                logprobs: true,
                top_logprobs: 0,
            };
            let requests: Vec<_> = requests().iter().map(|r| with(decoding, r)).collect();
            let engine = engine(file, 2);
            let together = completions(&engine, &requests);
            for (index, (found, wanted)) in together.iter().zip(&wanted).enumerate() {
                assert_eq!(
                    content(found),
                    content(wanted),
                    "{file} {decoding:?} {index}"
                );
            }
        }
    }
}

#[test]
fn log_probabilities_that_nobody_wants_change_no_token() {
    for file in FIXTURES {
        let wanted = plain_answers(file);
        let decoding = Decoding {
            logprobs: false,
            ..Decoding::default()
        };
        let requests: Vec<_> = requests().iter().map(|r| with(decoding, r)).collect();
        for (found, wanted) in completions(&engine(file, 2), &requests).iter().zip(&wanted) {
            assert!(found.logprobs.is_empty());
            assert_eq!((&found.text, &found.tokens), (&wanted.text, &wanted.tokens));
            assert_eq!(found.finish, wanted.finish);
        }
    }
}

#[test]
fn a_repeated_text_takes_fewer_passes_than_tokens() {
    // A tiny random model repeats itself only where it must.
    let engine = engine(FIXTURES[0], 2);
    let decoding = Decoding {
        fast_forward: false,
        ..Decoding::default()
    };
    let answer = GenerateRequest {
        constraint: Some(Constraint::Regex("(one two three ){8}".to_owned())),
        ..with(decoding, &request("count:", 90, Sampling::GREEDY))
    };
    let completion = completions(&engine, &[answer]).remove(0);
    let stats = engine.stats();
    assert!(stats.accepted_tokens > 0 && stats.accepted_tokens <= stats.proposed_tokens);
    assert!(
        (stats.passes as usize) < completion.tokens.len(),
        "{stats:?}"
    );
}

#[test]
fn forced_tokens_take_no_pass_of_their_own() {
    let answer = GenerateRequest {
        constraint: Some(Constraint::Regex("the answer is yes, of course".to_owned())),
        ..request("question:", 60, Sampling::GREEDY)
    };
    let quick = engine(FIXTURES[0], 1);
    let text = completions(&quick, std::slice::from_ref(&answer))
        .remove(0)
        .text;
    assert_eq!(text, "the answer is yes, of course");
    let slow = engine(FIXTURES[0], 1);
    completions(&slow, &[with(PLAIN, &answer)]);
    assert!(quick.stats().forced_tokens > 0);
    assert!(quick.stats().passes < slow.stats().passes);
}

#[test]
fn streamed_pieces_add_up_when_several_tokens_come_at_once() {
    let engine = engine(FIXTURES[0], 2);
    let requests = requests();
    let mut pieces = vec![String::new(); requests.len()];
    let results = engine.generate(&requests, &Cancel::default(), &mut |index, delta| {
        pieces[index].push_str(&delta.text);
    });
    for (result, streamed) in results.into_iter().zip(pieces) {
        assert_eq!(result.unwrap().text, streamed);
    }
}
