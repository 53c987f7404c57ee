use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::time::Duration;

use autoglm_model::CacheType;
use autoglm_spec::{
    AttentionPolicy, Cancel, Completion, Decoding, Delta, EngineError, FinishReason, Generate,
    GenerateRequest, Prompt, Sampling,
};

use crate::request::{Answer, Event, Job, News};
use crate::scheduler::Standing;
use crate::{LocalEngine, LocalSettings};

fn engine() -> LocalEngine {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../autoglm-model/fixtures/tiny-llama.gguf");
    let settings = LocalSettings {
        threads: NonZeroUsize::new(2).unwrap(),
        cache_tokens: Some(LocalSettings::MIN_CACHE_TOKENS),
        cache_type: CacheType::F16,
        memory_limit: None,
        quantize: None,
        adapter_bytes: 0,
    };
    LocalEngine::open(&path, settings).unwrap()
}

fn request(prompt: &str) -> GenerateRequest {
    GenerateRequest {
        prompt: Prompt::Plain(prompt.to_owned()),
        max_tokens: 24,
        sampling: Sampling::GREEDY,
        logit_bias: Vec::new(),
        stop: Vec::new(),
        constraint: None,
        decoding: Decoding::default(),
        attention: AttentionPolicy::Full,
        adapter: None,
    }
}

fn answer(
    engine: &LocalEngine,
    on_delta: &mut dyn FnMut(usize, &Delta),
) -> Result<Completion, EngineError> {
    let request = request("Once upon a time");
    let mut answers = engine.generate(&[request], &Cancel::default(), on_delta);
    answers.remove(0)
}

/// Panics between two passes, as a pass itself may.
fn break_scheduler(engine: &LocalEngine) {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        engine.desk.borrow(|_| -> () { panic!("a broken pass") });
    }));
    assert!(outcome.is_err());
}

#[test]
fn requests_under_way_fail_when_a_pass_panics() {
    let engine = engine();
    let (begun, has_begun) = channel();
    let (broken, is_broken) = channel::<()>();
    let error = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let is_broken = is_broken;
            let mut first = true;
            answer(&engine, &mut |_, _| {
                if std::mem::take(&mut first) {
                    begun.send(()).unwrap();
                    is_broken.recv().unwrap();
                }
            })
        });
        has_begun.recv().unwrap();
        break_scheduler(&engine);
        broken.send(()).unwrap();
        asking.join().unwrap().unwrap_err()
    });
    let shown = format!("{error:?}");
    assert!(shown.contains("a broken pass"), "{shown}");
}

#[test]
fn an_engine_goes_on_with_an_empty_cache_after_a_panic() {
    let engine = engine();
    let before = answer(&engine, &mut |_, _| {}).unwrap();
    break_scheduler(&engine);
    assert!(engine.desk.borrow(|scheduler| scheduler.is_idle()));
    let after = answer(&engine, &mut |_, _| {}).unwrap();
    assert_eq!(after.tokens, before.tokens);
    assert_eq!(after.usage.cached_tokens, 0);
}

/// Longer than anything here takes: what has not come by then never does.
const FOREVER: Duration = Duration::from_mins(1);

#[test]
fn a_cancelled_call_ends_though_another_has_the_scheduler_and_nobody_calls() {
    let engine = engine();
    let cancel = Cancel::default();
    let (ended, has_ended) = channel();
    let (done, is_done) = channel::<()>();
    std::thread::scope(|scope| {
        let (taken, is_taken) = channel();
        let engine = &engine;
        scope.spawn(move || {
            engine.desk.borrow(|_| {
                taken.send(()).unwrap();
                is_done.recv().unwrap();
            });
        });
        is_taken.recv().unwrap();
        let flag = cancel.clone();
        scope.spawn(move || {
            let answers = engine.generate(&[request("a")], &flag, &mut |_, _| {});
            ended.send(answers).unwrap();
        });
        while engine.stats().waiting == 0 {
            std::thread::yield_now();
        }
        cancel.cancel();
        let answers = has_ended.recv_timeout(FOREVER);
        done.send(()).unwrap();
        assert!(matches!(
            answers.unwrap()[..],
            [Err(EngineError::Cancelled)]
        ));
    });
}

#[test]
fn a_request_that_is_cancelled_within_its_prompt_ends_with_the_pass() {
    let engine = engine();
    let job = |prompt: &str| {
        let job = engine.generate_job(&request(prompt)).unwrap();
        Job::Generate(Box::new(job))
    };
    let (short, before) = (job("a"), job(&"x y z ".repeat(16)));
    let cancelled = job(&"a b c ".repeat(16));
    // Beside a generation a pass takes 128 tokens of prompts at most.
    let prompts = (before.prompt().len() + cancelled.prompt().len()) as u64;
    assert!(prompts > 129, "{prompts}");
    engine.desk.borrow(|scheduler| {
        scheduler.begin(1, 0, short);
        scheduler.pass(engine.machine());
        let computed = scheduler.counts().computed_tokens;
        scheduler.begin(1, 1, before);
        scheduler.begin(2, 0, cancelled);
        scheduler.pass(engine.machine());
        let events = scheduler.sort_out(|call| match call {
            1 => Standing::Waiting,
            _ => Standing::Cancelled,
        });
        let ended = |event: &Event| match &event.news {
            News::Done(Ok(Answer::Completion(answer))) => {
                event.call == 2 && answer.finish == FinishReason::Cancelled
            }
            _ => false,
        };
        assert!(events.iter().any(ended));
        assert!(scheduler.counts().computed_tokens - computed <= 129);
        assert_eq!(scheduler.waiters(), [(1, 0), (1, 1)]);
        // Nobody waits for the others.
        scheduler.sort_out(|_| Standing::Gone);
    });
}

#[test]
fn what_waits_and_what_runs_is_told() {
    let engine = engine();
    let requests: Vec<_> = (0..20).map(|n| request(&format!("{n} times"))).collect();
    let mut seen = None;
    engine.generate(&requests, &Cancel::default(), &mut |_, _| {
        let stats = engine.stats();
        seen.get_or_insert((stats.waiting, stats.running));
    });
    assert_eq!(seen, Some((4, 16)));
    let stats = engine.stats();
    assert_eq!((stats.waiting, stats.running), (0, 0));
    assert_eq!(stats.requests, 20);
    assert!(stats.generated_tokens > 20);
    assert_eq!(stats.evictable_blocks, stats.prefix_blocks);
    assert_eq!(stats.used_blocks(), stats.prefix_blocks);
}

#[test]
fn counts_go_on_behind_a_panic() {
    let engine = engine();
    answer(&engine, &mut |_, _| {}).unwrap();
    let before = engine.stats();
    break_scheduler(&engine);
    let after = engine.stats();
    assert_eq!(after.failed_passes, 1);
    assert_eq!(after.generated_tokens, before.generated_tokens);
    assert_eq!(
        (after.prefix_blocks, after.free_blocks),
        (0, before.total_blocks)
    );
}
