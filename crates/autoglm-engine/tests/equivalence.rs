//! What must not matter to a request's result: the batch, the cache, the number of threads,
//! streaming, and what ran before.

#![expect(clippy::unwrap_used, reason = "a test may panic, that is how it fails")]

mod fixture;

use autoglm_engine::{LocalEngine, Pooling};
use autoglm_spec::{
    AttentionPolicy, Cancel, Completion, Constraint, Decoding, Embed, EngineError, FinishReason,
    GatingSettings, Generate, GenerateRequest, Normalise, Prompt, Sampling, Score, ScoreRequest,
};
use fixture::{FIXTURES, completions, content, engine, request};

const SHARED: &str = "judge the review by its tone, one word: ";

fn score_requests(normalise: Normalise) -> Vec<ScoreRequest> {
    ["good", "a bad film", "", "x y z x y z"]
        .iter()
        .map(|text| ScoreRequest {
            prompt: Prompt::Plain(format!("{SHARED}{text} ->")),
            options: ["abc", "abd", "b", "cc"].map(str::to_owned).to_vec(),
            normalise,
            states: false,
            adapter: None,
        })
        .collect()
}

fn logprob_bits(engine: &LocalEngine, requests: &[ScoreRequest]) -> Vec<Vec<u32>> {
    let results = engine.score(requests, &Cancel::default());
    let bits = |o: &autoglm_spec::OptionScore| o.logprob.to_bits();
    results
        .into_iter()
        .map(|r| r.unwrap().options.iter().map(bits).collect())
        .collect()
}

fn generate_requests() -> Vec<GenerateRequest> {
    ["the", "a b c d", "once upon", "x"]
        .iter()
        .enumerate()
        .map(|(index, text)| GenerateRequest {
            prompt: Prompt::Plain(format!("{SHARED}{text}")),
            max_tokens: 12 + index,
            sampling: Sampling {
                temperature: 0.8,
                seed: index as u64,
                ..Sampling::GREEDY
            },
            logit_bias: Vec::new(),
            stop: vec!["zq".to_owned()],
            constraint: None,
            decoding: Decoding::default(),
            attention: AttentionPolicy::Full,
            adapter: None,
        })
        .collect()
}

#[test]
fn a_batch_scores_like_its_requests_alone() {
    for file in FIXTURES {
        for normalise in [Normalise::Options, Normalise::Vocabulary] {
            let requests = score_requests(normalise);
            let together = logprob_bits(&engine(file, 2), &requests);
            for (request, wanted) in requests.iter().zip(&together) {
                let alone = logprob_bits(&engine(file, 1), std::slice::from_ref(request));
                assert_eq!(alone[0], *wanted, "{file} {normalise:?}");
            }
        }
    }
}

#[test]
fn a_warm_cache_scores_like_a_cold_one() {
    for file in FIXTURES {
        let engine = engine(file, 2);
        let requests = score_requests(Normalise::Options);
        let cold = logprob_bits(&engine, &requests);
        let results = engine.score(&requests, &Cancel::default());
        assert!(
            results
                .iter()
                .all(|r| r.as_ref().unwrap().usage.cached_tokens > 16)
        );
        assert_eq!(logprob_bits(&engine, &requests), cold, "{file}");
    }
}

/// The hidden states behind prompts, as bits: `[R, D, C]`.
fn state_bits(engine: &LocalEngine, requests: &[ScoreRequest]) -> Vec<Vec<Vec<u32>>> {
    let results = engine.score(requests, &Cancel::default());
    let bits = |state: &Vec<f32>| state.iter().map(|x| x.to_bits()).collect();
    results
        .into_iter()
        .map(|result| result.unwrap().states.iter().map(bits).collect())
        .collect()
}

#[test]
fn hidden_states_do_not_depend_on_batch_cache_and_threads_and_move_no_score() {
    for file in FIXTURES {
        let plain = score_requests(Normalise::Options);
        let wanting = |request: &ScoreRequest| ScoreRequest {
            states: true,
            ..request.clone()
        };
        let requests: Vec<ScoreRequest> = plain.iter().map(wanting).collect();
        let together = engine(file, 2);
        let wanted = state_bits(&together, &requests);
        assert!(wanted.iter().all(|states| states.len() > 1), "{file}");
        assert_eq!(
            state_bits(&together, &requests),
            wanted,
            "{file}: a warm cache"
        );
        for (request, wanted) in requests.iter().zip(&wanted) {
            let alone = state_bits(&engine(file, 1), std::slice::from_ref(request));
            assert_eq!(alone[0], *wanted, "{file}: alone");
        }
        assert_eq!(
            logprob_bits(&together, &requests),
            logprob_bits(&engine(file, 2), &plain)
        );
        assert!(state_bits(&together, &plain).iter().all(Vec::is_empty));
    }
}

#[test]
fn the_last_hidden_state_is_the_vector_of_the_prompt_but_for_its_length() {
    for file in FIXTURES {
        let engine = engine(file, 2).with_pooling(Pooling::Last);
        let request = ScoreRequest {
            states: true,
            ..score_requests(Normalise::Options).remove(1)
        };
        let Prompt::Plain(text) = request.prompt.clone() else {
            unreachable!("the prompts are plain")
        };
        let scoring = engine.score(&[request], &Cancel::default()).remove(0);
        let state = scoring.unwrap().states.pop().unwrap();
        let length = state.iter().map(|x| x * x).sum::<f32>().sqrt();
        let embedding = engine
            .embed(&[&text], &Cancel::default())
            .remove(0)
            .unwrap();
        for (found, wanted) in state.iter().zip(embedding.vector) {
            assert!((found / length - wanted).abs() < 1e-5, "{file}");
        }
    }
}

#[test]
fn a_batch_generates_what_its_requests_generate_alone() {
    for file in FIXTURES {
        let requests = generate_requests();
        let together = completions(&engine(file, 2), &requests);
        for (request, wanted) in requests.iter().zip(&together) {
            let alone = completions(&engine(file, 1), std::slice::from_ref(request));
            assert_eq!(content(&alone[0]), content(wanted), "{file}");
        }
    }
}

#[test]
fn more_requests_than_decode_together_all_get_their_own_answer() {
    let engine = engine(FIXTURES[0], 2);
    let requests: Vec<GenerateRequest> = generate_requests().into_iter().cycle().take(40).collect();
    let all = completions(&engine, &requests);
    for (index, completion) in all.iter().enumerate() {
        assert_eq!(content(completion), content(&all[index % 4]));
    }
}

#[test]
fn streamed_pieces_add_up_to_the_text() {
    for file in FIXTURES {
        let engine = engine(file, 2);
        let requests = generate_requests();
        let mut pieces = vec![String::new(); requests.len()];
        let results = engine.generate(&requests, &Cancel::default(), &mut |index, delta| {
            pieces[index].push_str(&delta.text);
        });
        for (result, streamed) in results.iter().zip(&pieces) {
            assert_eq!(result.as_ref().unwrap().text, *streamed);
        }
    }
}

#[test]
fn option_probabilities_over_the_options_add_up_to_one() {
    for file in FIXTURES {
        let engine = engine(file, 2);
        for result in engine.score(&score_requests(Normalise::Options), &Cancel::default()) {
            let total: f32 = result
                .unwrap()
                .options
                .iter()
                .map(|o| o.logprob.exp())
                .sum();
            assert!((total - 1.0).abs() < 1e-4, "{file}: {total}");
        }
    }
}

#[test]
fn a_generated_token_has_the_log_probability_that_scoring_gives_it() {
    for file in FIXTURES {
        let engine = engine(file, 2);
        let prompt = Prompt::Plain(SHARED.to_owned());
        let request = request(SHARED, 1, Sampling::GREEDY);
        let completion = completions(&engine, &[request]).remove(0);
        let request = ScoreRequest {
            prompt,
            options: vec![completion.text.clone()],
            normalise: Normalise::Vocabulary,
            states: false,
            adapter: None,
        };
        let scored = engine
            .score(&[request], &Cancel::default())
            .remove(0)
            .unwrap();
        if scored.options[0].tokens == 1 {
            assert!((scored.options[0].logprob - completion.logprobs[0]).abs() < 1e-5);
        }
    }
}

#[test]
fn a_bad_request_does_not_harm_its_neighbours() {
    let engine = engine(FIXTURES[0], 2);
    let mut requests = score_requests(Normalise::Options);
    let wanted = logprob_bits(&engine, &requests);
    requests[1].options.clear();
    requests[2].prompt = Prompt::Plain("word ".repeat(5_000));
    let results = engine.score(&requests, &Cancel::default());
    assert!(matches!(
        results[1],
        Err(EngineError::BadRequest {
            field: "options",
            ..
        })
    ));
    assert!(matches!(
        results[2],
        Err(EngineError::ContextExceeded { .. })
    ));
    for index in [0, 3] {
        let options = &results[index].as_ref().unwrap().options;
        let bits: Vec<u32> = options.iter().map(|o| o.logprob.to_bits()).collect();
        assert_eq!(bits, wanted[index]);
    }
}

#[test]
fn a_cancelled_generation_keeps_what_it_has() {
    let engine = engine(FIXTURES[0], 2);
    let cancel = Cancel::default();
    let mut request = generate_requests().remove(0);
    request.max_tokens = 80;
    let flag = cancel.clone();
    let result = engine
        .generate(&[request], &cancel, &mut |_, _| flag.cancel())
        .remove(0)
        .unwrap();
    assert_eq!(result.finish, FinishReason::Cancelled);
    assert!(!result.text.is_empty() && result.tokens.len() < 80);
}

#[test]
fn a_constrained_completion_matches_its_constraint() {
    for file in FIXTURES {
        let engine = engine(file, 2);
        for seed in 0..8 {
            let request = GenerateRequest {
                prompt: Prompt::Plain("number:".to_owned()),
                max_tokens: 16,
                sampling: Sampling {
                    temperature: 1.5,
                    seed,
                    ..Sampling::GREEDY
                },
                logit_bias: Vec::new(),
                stop: Vec::new(),
                constraint: Some(Constraint::Regex("(yes|no) [0-9]{2}".to_owned())),
                decoding: Decoding::default(),
                attention: AttentionPolicy::Full,
                adapter: None,
            };
            let text = completions(&engine, &[request]).remove(0).text;
            let (word, digits) = text.split_once(' ').unwrap();
            assert!(["yes", "no"].contains(&word), "{text:?}");
            assert!(
                digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit()),
                "{text:?}"
            );
        }
    }
}

/// Requests whose prompts are longer than the narrowest gates let through.
fn gated_requests() -> Vec<GenerateRequest> {
    let settings = GatingSettings {
        sink_tokens: 0,
        least_recent_tokens: 64,
        most_recent_tokens: 64,
        selected_tokens: 0,
    };
    let requests = generate_requests().into_iter().enumerate();
    requests
        .map(|(index, request)| GenerateRequest {
            prompt: Prompt::Plain("a b c d e f ".repeat(8) + &"x".repeat(index)),
            attention: AttentionPolicy::Gated(settings),
            ..request
        })
        .collect()
}

#[test]
fn gated_requests_are_the_same_together_alone_and_after_each_other() {
    let requests = gated_requests();
    let warm = engine("tiny-llama.gguf", 2);
    let together = completions(&warm, &requests);
    for (request, wanted) in requests.iter().zip(&together) {
        let alone = completions(&engine("tiny-llama.gguf", 1), std::slice::from_ref(request));
        assert_eq!(content(&alone[0]), content(wanted));
        let again = completions(&warm, std::slice::from_ref(request));
        assert_eq!(content(&again[0]), content(wanted));
    }
}

#[test]
fn what_a_gated_request_computed_does_not_reach_a_full_one() {
    let full: Vec<GenerateRequest> = gated_requests()
        .into_iter()
        .map(|request| GenerateRequest {
            attention: AttentionPolicy::Full,
            ..request
        })
        .collect();
    let cold = completions(&engine("tiny-llama.gguf", 2), &full);
    let gated = completions(&engine("tiny-llama.gguf", 2), &gated_requests());
    let differ = |(a, b): (&Completion, &Completion)| content(a) != content(b);
    assert!(cold.iter().zip(&gated).any(differ), "gates let all through");
    let warm = engine("tiny-llama.gguf", 2);
    completions(&warm, &gated_requests());
    for (found, wanted) in completions(&warm, &full).iter().zip(&cold) {
        assert_eq!(content(found), content(wanted));
    }
}
