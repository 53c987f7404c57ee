//! What is told of tokens, as it comes and in the end.

mod fixture;

use autoglm_engine::LocalEngine;
use autoglm_spec::{
    Cancel, Completion, Constraint, Decoding, Delta, EngineError, Generate, GenerateRequest,
    Prompt, Sampling,
};
use fixture::{FIXTURES, completions, content, engine, request};

const REPEATED: &str = "one two three one two three one two three one two";

fn told(logprobs: bool, top_logprobs: usize) -> Decoding {
    Decoding {
        logprobs,
        top_logprobs,
        ..Decoding::default()
    }
}

/// Requests with stops, lookups, constraints, bias and penalties.
fn requests(decoding: Decoding) -> Vec<GenerateRequest> {
    let warm = Sampling {
        temperature: 0.9,
        seed: 5,
        ..Sampling::GREEDY
    };
    let penalised = Sampling {
        presence_penalty: 0.4,
        frequency_penalty: 0.3,
        repetition_penalty: 1.2,
        ..warm
    };
    let plain = GenerateRequest {
        decoding,
        ..request(REPEATED, 40, Sampling::GREEDY)
    };
    let with = |sampling| GenerateRequest {
        sampling,
        ..plain.clone()
    };
    let constrained = |constraint| GenerateRequest {
        constraint: Some(constraint),
        ..with(warm)
    };
    vec![
        plain.clone(),
        with(warm),
        with(penalised),
        GenerateRequest {
            logit_bias: vec![(3, 2.5), (5, -100.0), (70, 4.0)],
            ..with(penalised)
        },
        constrained(Constraint::Regex("(the answer is )+(yes|no)".to_owned())),
        constrained(Constraint::Grammar(
            "start: \"a\" /[0-9]{3}/ \"的\"".to_owned(),
        )),
    ]
}

/// The same requests with a stop text that comes in the middle of their answers.
fn stopped(engine: &LocalEngine, requests: &[GenerateRequest]) -> Vec<GenerateRequest> {
    let texts = completions(engine, requests).into_iter().map(|c| c.text);
    let stop = |text: &str| {
        text.chars()
            .skip(text.chars().count() / 2)
            .take(2)
            .collect()
    };
    let pairs = requests.iter().zip(texts);
    pairs
        .map(|(request, text)| GenerateRequest {
            stop: vec![stop(&text), "never there".to_owned()],
            ..request.clone()
        })
        .collect()
}

fn check(completion: &Completion, told: &Delta) {
    assert_eq!(told.text, completion.text);
    assert_eq!(told.tokens, completion.tokens);
    assert_eq!(told.logprobs, completion.logprobs);
    assert_eq!(told.top, completion.top);
}

#[test]
fn deltas_add_up_to_the_completion() {
    for (file, decoding) in FIXTURES
        .into_iter()
        .flat_map(|file| [told(true, 0), told(false, 0), told(true, 3)].map(|d| (file, d)))
    {
        let engine = engine(file, 2);
        let mut requests = requests(decoding);
        requests.extend(stopped(&engine, &requests));
        let mut sums = vec![Delta::default(); requests.len()];
        let answers = engine.generate(&requests, &Cancel::default(), &mut |index, delta| {
            assert!(!delta.is_empty());
            if decoding.logprobs {
                assert_eq!(delta.tokens.len(), delta.logprobs.len());
            }
            sums[index].append(delta);
        });
        for (answer, sum) in answers.into_iter().zip(&sums) {
            let answer = answer.unwrap();
            check(&answer, sum);
            let told = if decoding.logprobs {
                answer.tokens.len()
            } else {
                0
            };
            assert_eq!(answer.logprobs.len(), told);
        }
    }
}

#[test]
fn a_cancelled_completion_was_told_whole() {
    let engine = engine(FIXTURES[0], 2);
    let cancel = Cancel::default();
    let mut sum = Delta::default();
    let asked = GenerateRequest {
        decoding: told(true, 2),
        ..request("judge", 100, Sampling::GREEDY)
    };
    let answer = engine.generate(&[asked], &cancel, &mut |_, delta| {
        sum.append(delta);
        if sum.tokens.len() > 5 {
            cancel.cancel();
        }
    });
    let answer = answer.into_iter().next().unwrap().unwrap();
    assert!(answer.tokens.len() < 100);
    check(&answer, &sum);
}

#[test]
fn the_likeliest_tokens_are_those_of_the_unmodified_distribution() {
    for file in FIXTURES {
        let engine = engine(file, 1);
        for asked in requests(told(true, 5)) {
            let answer = completions(&engine, std::slice::from_ref(&asked)).remove(0);
            assert_eq!(answer.top.len(), answer.tokens.len());
            let prompt = engine.encode(&asked.prompt).unwrap();
            for (place, top) in answer.top.iter().enumerate() {
                assert_eq!(top.len(), 5);
                assert!(top.windows(2).all(|pair| pair[0].1 >= pair[1].1));
                let at = top.iter().find(|(id, _)| *id == answer.tokens[place]);
                if let Some((_, logprob)) = at {
                    assert_eq!(logprob.to_bits(), answer.logprobs[place].to_bits());
                }
                // The likeliest of all is what greedy decoding takes behind the same tokens.
                if place % 7 == 0 && top[0].1 > top[1].1 {
                    let before = [&prompt[..], &answer.tokens[..place]].concat();
                    let greedy = GenerateRequest {
                        prompt: Prompt::Tokens(before),
                        ..request("", 1, Sampling::GREEDY)
                    };
                    let next = completions(&engine, &[greedy]).remove(0);
                    if let Some(&id) = next.tokens.first() {
                        assert_eq!(id, top[0].0, "{file} {place}");
                    }
                }
            }
        }
    }
}

#[test]
fn likeliest_tokens_that_are_asked_for_change_nothing_else() {
    let engine = engine(FIXTURES[1], 1);
    let without = completions(&engine, &requests(told(true, 0)));
    let with = completions(&engine, &requests(told(false, 20)));
    for (without, with) in without.iter().zip(&with) {
        assert_eq!(content(without), content(with));
        assert!(without.top.is_empty() && with.top.iter().all(|top| top.len() == 20));
    }
}

#[test]
fn a_completion_of_before_is_read() {
    let old = r#"{"text": "a", "tokens": [1], "logprobs": [-0.5], "finish": "stop", "usage":
        {"prompt_tokens": 1, "cached_tokens": 0, "completion_tokens": 1,
         "compute": {"secs": 0, "nanos": 1}}}"#;
    let read: Completion = serde_json::from_str(old).unwrap();
    assert!(read.top.is_empty());
}

#[test]
fn a_banned_token_never_comes_and_a_wanted_one_always_does() {
    let engine = engine(FIXTURES[0], 1);
    let free = completions(&engine, &[request("judge", 20, Sampling::GREEDY)]).remove(0);
    let banned = GenerateRequest {
        logit_bias: vec![(free.tokens[0], -100.0)],
        ..request("judge", 20, Sampling::GREEDY)
    };
    let wanted = GenerateRequest {
        logit_bias: vec![(free.tokens[0], 100.0)],
        ..request("judge", 20, Sampling::GREEDY)
    };
    let answers = completions(&engine, &[banned, wanted]);
    assert!(!answers[0].tokens.contains(&free.tokens[0]));
    assert!(answers[1].tokens.iter().all(|id| *id == free.tokens[0]));
    assert_eq!(answers[1].tokens.len(), 20);
}

#[test]
fn settings_that_mean_nothing_are_refused_by_name() {
    let engine = engine(FIXTURES[0], 1);
    let plain = request("judge", 2, Sampling::GREEDY);
    let sampled = |sampling| GenerateRequest {
        sampling,
        ..plain.clone()
    };
    let biased = |id, bias| GenerateRequest {
        logit_bias: vec![(id, bias)],
        ..plain.clone()
    };
    let len = engine.tokenizer().vocabulary_len() as u32;
    let cases = [
        (biased(len, 1.0), "logit_bias"),
        (biased(0, f32::INFINITY), "logit_bias"),
        (
            sampled(Sampling {
                presence_penalty: f32::NAN,
                ..Sampling::GREEDY
            }),
            "presence_penalty",
        ),
        (
            sampled(Sampling {
                frequency_penalty: f32::INFINITY,
                ..Sampling::GREEDY
            }),
            "frequency_penalty",
        ),
        (
            GenerateRequest {
                decoding: told(true, 21),
                ..plain.clone()
            },
            "top_logprobs",
        ),
    ];
    for (asked, name) in cases {
        let answer = engine.generate(&[asked], &Cancel::default(), &mut |_, _| {});
        match answer.into_iter().next().unwrap() {
            Err(EngineError::BadRequest { field, .. }) => assert_eq!(field, name),
            other => panic!("{name}: {other:?}"),
        }
    }
}
