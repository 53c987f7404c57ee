use std::num::NonZeroUsize;
use std::path::PathBuf;

use autoglm_model::{Model, Pool};

use super::*;

fn source() -> Box<dyn WeightSource> {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../autoglm-model/fixtures/tiny-llama.gguf");
    autoglm_model::open(&path).unwrap()
}

fn settings() -> LocalSettings {
    LocalSettings {
        threads: NonZeroUsize::MIN,
        cache_tokens: None,
        cache_type: CacheType::F16,
        memory_limit: None,
        quantize: None,
        adapter_bytes: 0,
    }
}

fn plan(settings: LocalSettings) -> Result<MemoryPlan, LocalError> {
    MemoryPlan::new(&*source(), settings)
}

#[test]
fn planned_weights_are_those_that_a_loaded_model_has() {
    let source = source();
    let model = Model::load_as(&*source, &Pool::new(NonZeroUsize::MIN), None).unwrap();
    let planned = plan(settings()).unwrap().weight_bytes;
    assert_eq!(planned, model.weight_bytes());
}

#[test]
fn without_a_limit_the_cache_is_the_usual_one() {
    let plan = plan(settings()).unwrap();
    assert_eq!(plan.cache_tokens, LocalSettings::DEFAULT_CACHE_TOKENS);
    let positions = plan.cache_tokens.next_multiple_of(BLOCK_TOKENS) + SPARE_BLOCKS * BLOCK_TOKENS;
    assert_eq!(plan.kv_bytes, positions * plan.bytes_per_token);
}

#[test]
fn a_limit_makes_the_cache_smaller_and_is_kept() {
    let usual = plan(settings()).unwrap();
    let limit = (usual.total_bytes() - usual.kv_bytes / 4) as u64;
    let limited = plan(LocalSettings {
        memory_limit: Some(limit),
        ..settings()
    })
    .unwrap();
    assert!(limited.total_bytes() as u64 <= limit);
    assert!(limited.cache_tokens < usual.cache_tokens);
    // No whole block more would have fitted.
    let block = (BLOCK_TOKENS * limited.bytes_per_token) as u64;
    assert!(limited.total_bytes() as u64 + 2 * block > limit);
}

#[test]
fn a_cache_that_was_asked_for_is_refused_when_it_does_not_fit() {
    let usual = plan(settings()).unwrap();
    let limit_bytes = usual.total_bytes() as u64 - 1;
    let error = plan(LocalSettings {
        cache_tokens: Some(usual.cache_tokens),
        memory_limit: Some(limit_bytes),
        ..settings()
    })
    .unwrap_err();
    let LocalError::Memory(source) = error else {
        panic!("{error:?} is no refusal");
    };
    assert_eq!((source.limit_bytes, source.plan), (limit_bytes, usual));
    assert_eq!(source.blame(), Blame::Capacity);
}
