use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::channel;

use autoglm_model::CacheType;
use autoglm_spec::{
    AttentionPolicy, Cancel, Completion, Decoding, EngineError, Generate, GenerateRequest, Prompt,
    Sampling,
};

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

fn answer(
    engine: &LocalEngine,
    on_text: &mut dyn FnMut(usize, &str),
) -> Result<Completion, EngineError> {
    let request = GenerateRequest {
        prompt: Prompt::Plain("Once upon a time".to_owned()),
        max_tokens: 24,
        sampling: Sampling::GREEDY,
        stop: Vec::new(),
        constraint: None,
        decoding: Decoding::default(),
        attention: AttentionPolicy::Full,
        adapter: None,
    };
    let mut answers = engine.generate(&[request], &Cancel::default(), on_text);
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
