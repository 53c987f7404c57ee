//! Calls from several threads share passes, and none can tell.

#![expect(clippy::unwrap_used, reason = "a test may panic, that is how it fails")]

mod fixture;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::thread;

use autoglm_engine::{LocalEngine, PerplexitySettings};
use autoglm_spec::{
    AttentionPolicy, Cancel, EngineError, FinishReason, GatingSettings, Generate, GenerateRequest,
    Normalise, Prompt, Sampling, Score, ScoreRequest,
};
use fixture::{FIXTURES, completions, content, engine, request};

const SHARED: &str = "judge the review by its tone, one word: ";

fn texts(caller: usize) -> Vec<GenerateRequest> {
    let warm = |seed| Sampling {
        temperature: 0.8,
        seed,
        ..Sampling::GREEDY
    };
    (0..5)
        .map(|index| {
            let prompt = format!("{SHARED}{}", "ab ".repeat(index * caller));
            request(&prompt, 6 + 3 * index, warm((caller * 10 + index) as u64))
        })
        .collect()
}

fn scores(caller: usize) -> Vec<ScoreRequest> {
    (0..12)
        .map(|index| ScoreRequest {
            prompt: Prompt::Plain(format!("{SHARED}{} ->", "x ".repeat(index * caller % 9))),
            options: ["abc", "abd", "b", "cc"].map(str::to_owned).to_vec(),
            normalise: if index % 2 == 0 {
                Normalise::Options
            } else {
                Normalise::Vocabulary
            },
            states: false,
            adapter: None,
        })
        .collect()
}

fn bits(engine: &LocalEngine, requests: &[ScoreRequest]) -> Vec<Vec<u32>> {
    let results = engine.score(requests, &Cancel::default()).into_iter();
    let bits = |scoring: autoglm_spec::Scoring| {
        scoring
            .options
            .iter()
            .map(|o| o.logprob.to_bits())
            .collect()
    };
    results.map(|result| bits(result.unwrap())).collect()
}

#[test]
fn concurrent_calls_get_what_they_get_alone() {
    const CALLERS: usize = 4;
    for file in FIXTURES {
        let alone = |caller| {
            let engine = engine(file, 1);
            let texts = completions(&engine, &texts(caller));
            let contents: Vec<_> = texts.iter().map(content).collect();
            (contents, bits(&engine, &scores(caller)))
        };
        let wanted: Vec<_> = (0..CALLERS).map(alone).collect();
        let engine = engine(file, 2);
        let together = Barrier::new(2 * CALLERS);
        thread::scope(|scope| {
            let (engine, together) = (&engine, &together);
            for (caller, (wanted_texts, wanted_bits)) in wanted.iter().enumerate() {
                scope.spawn(move || {
                    together.wait();
                    for (found, wanted) in
                        completions(engine, &texts(caller)).iter().zip(wanted_texts)
                    {
                        assert_eq!(content(found), *wanted);
                    }
                });
                scope.spawn(move || {
                    together.wait();
                    assert_eq!(bits(engine, &scores(caller)), *wanted_bits);
                });
            }
        });
        let stats = engine.stats();
        assert_eq!(stats.requests, (CALLERS * (5 + 12)) as u64);
        assert!(stats.cached_tokens > 0);
        assert_eq!(stats.free_blocks + stats.prefix_blocks, stats.total_blocks);
    }
}

#[test]
fn a_request_shares_what_another_one_of_its_call_computes() {
    let engine = engine(FIXTURES[0], 2);
    let requests: Vec<GenerateRequest> = (0..8)
        .map(|index| request(&format!("{}{index}", SHARED.repeat(2)), 1, Sampling::GREEDY))
        .collect();
    let results = completions(&engine, &requests);
    let prompt = results[0].usage.prompt_tokens;
    assert_eq!(results[0].usage.cached_tokens, 0);
    for completion in &results[1..] {
        assert!(
            completion.usage.cached_tokens + 8 >= prompt,
            "{:?}",
            completion.usage
        );
    }
    // The shared part was computed once.
    let computed = engine.stats().computed_tokens as usize;
    assert!(computed < prompt + 8 * 8, "{computed} tokens were computed");
}

#[test]
fn a_cancelled_call_leaves_its_neighbours_alone() {
    let engine = engine(FIXTURES[0], 2);
    let wanted: Vec<_> = completions(&engine, &texts(1))
        .iter()
        .map(content)
        .collect();
    let cancel = Cancel::default();
    let long = request("judge", 110, Sampling::GREEDY);
    thread::scope(|scope| {
        let cancelled = scope.spawn(|| {
            let flag = cancel.clone();
            let mut pieces = 0;
            let long = [long.clone(), long.clone()];
            engine.generate(&long, &cancel, &mut |_, _| {
                pieces += 1;
                if pieces == 10 {
                    flag.cancel();
                }
            })
        });
        let found = completions(&engine, &texts(1));
        assert_eq!(found.iter().map(content).collect::<Vec<_>>(), wanted);
        for result in cancelled.join().unwrap() {
            match result {
                Ok(completion) => assert_eq!(completion.finish, FinishReason::Cancelled),
                Err(error) => assert!(matches!(error, EngineError::Cancelled)),
            }
        }
    });
}

#[test]
fn a_caller_that_panics_leaves_the_engine_usable() {
    let engine = engine(FIXTURES[0], 2);
    let wanted: Vec<_> = completions(&engine, &texts(2))
        .iter()
        .map(content)
        .collect();
    thread::scope(|scope| {
        scope.spawn(|| {
            let call = || {
                let requests = texts(3);
                engine.generate(&requests, &Cancel::default(), &mut |_, _| panic!("caller"))
            };
            assert!(catch_unwind(AssertUnwindSafe(call)).is_err());
        });
        let found = completions(&engine, &texts(2));
        assert_eq!(found.iter().map(content).collect::<Vec<_>>(), wanted);
    });
    let found = completions(&engine, &texts(2));
    assert_eq!(found.iter().map(content).collect::<Vec<_>>(), wanted);
    let stats = engine.stats();
    assert_eq!(stats.free_blocks + stats.prefix_blocks, stats.total_blocks);
}

#[test]
fn perplexity_is_measured_between_the_passes_of_others() {
    let engine = engine(FIXTURES[0], 2);
    let tokens: Vec<u32> = (0..300).map(|i| 3 + i * 7 % 50).collect();
    let settings = PerplexitySettings {
        context: 64,
        last: None,
        attention: AttentionPolicy::Full,
    };
    let measure = || {
        engine
            .perplexity(&tokens, &settings, &Cancel::default(), &mut |_| {})
            .unwrap()
    };
    let alone = measure();
    thread::scope(|scope| {
        scope.spawn(|| completions(&engine, &texts(2)));
        assert_eq!(measure(), alone);
    });
}

#[test]
fn continuations_are_predicted_as_the_ends_of_windows_are() {
    let engine = engine(FIXTURES[0], 2);
    let prompt: Vec<u32> = (0..110).map(|i| 3 + i * 7 % 50).collect();
    let continuations = [vec![5, 9, 12], vec![5, 9, 13, 20]];
    let narrow = GatingSettings {
        sink_tokens: 0,
        least_recent_tokens: 64,
        most_recent_tokens: 64,
        selected_tokens: 0,
    };
    let policies = [AttentionPolicy::Full, AttentionPolicy::Gated(narrow)];
    let found = engine
        .predict_continuations(&prompt, &continuations, &policies, &Cancel::default())
        .unwrap();
    for (&attention, found) in policies.iter().zip(&found) {
        for (continuation, found) in continuations.iter().zip(found) {
            let settings = PerplexitySettings {
                context: 120,
                last: Some(continuation.len()),
                attention,
            };
            let text = [prompt.as_slice(), continuation].concat();
            let window = engine
                .perplexity(&text, &settings, &Cancel::default(), &mut |_| {})
                .unwrap();
            assert_eq!(*found, window);
        }
    }
    assert_ne!(found[0], found[1], "narrow gates change what is predicted");
}

#[test]
fn continuations_without_tokens_and_too_long_ones_are_refused() {
    let engine = engine(FIXTURES[0], 1);
    let refused = |continuation: Vec<u32>| {
        let policy = [AttentionPolicy::Full];
        let found =
            engine.predict_continuations(&[5, 9], &[continuation], &policy, &Cancel::default());
        found.unwrap_err().to_string()
    };
    assert!(refused(Vec::new()).contains("at least 1 token"));
    assert!(refused(vec![5; 100_000]).contains("the model's context"));
}
