//! Several adapters on one model: each request is answered as though its adapter were the only
//! one, whatever runs beside it and whatever is cached.

#![expect(clippy::unwrap_used, reason = "a test may panic, that is how it fails")]

#[expect(dead_code, reason = "shared with tests that need other parts")]
mod fixture;

use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;

use autoglm_engine::{
    CacheType, LocalEngine, LocalError, LocalSettings, MemoryPlan, PerplexitySettings,
};
use autoglm_model::{Adapter, ModelConfig};
use autoglm_spec::{
    AttentionPolicy, Cancel, EngineError, Generate, GenerateRequest, Normalise, Prompt, Sampling,
    Score, ScoreRequest,
};
use fixture::{completions, content, engine, request};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tempfile::TempDir;

const MODEL: &str = "tiny-llama.gguf";
const ADAPTERS: [&str; 4] = ["lora", "other-lora", "embeddings", "prefix"];

/// Writes an adapter of random numbers.
fn write(folder: &Path, settings: &Value, shapes: &[(String, [usize; 2])], seed: u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (mut header, mut data) = (json!({}), Vec::new());
    for (name, shape) in shapes {
        let start = data.len();
        for _ in 0..shape[0] * shape[1] {
            data.extend(random.random_range(-0.3_f32..0.3).to_le_bytes());
        }
        header[name] = json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]});
    }
    let header = header.to_string();
    let length = (header.len() as u64).to_le_bytes();
    let file = [&length[..], header.as_bytes(), &data].concat();
    fs::create_dir(folder).unwrap();
    fs::write(folder.join("adapter_config.json"), settings.to_string()).unwrap();
    fs::write(folder.join("adapter_model.safetensors"), file).unwrap();
}

fn write_all(folder: &Path, config: &ModelConfig) {
    let (width, rank) = (config.width, 3);
    let query = config.heads * config.head_width;
    let kv = config.kv_heads * config.head_width;
    for (seed, name) in ["lora", "other-lora"].into_iter().enumerate() {
        let mut shapes = Vec::new();
        for (module, rows) in [("q_proj", query), ("v_proj", kv)] {
            let stem = format!("base_model.model.model.layers.1.self_attn.{module}");
            shapes.push((format!("{stem}.lora_A.weight"), [rank, width]));
            shapes.push((format!("{stem}.lora_B.weight"), [rows, rank]));
        }
        let settings = json!({"peft_type": "LORA", "r": rank, "lora_alpha": 9});
        write(&folder.join(name), &settings, &shapes, seed as u64);
    }
    let tokens = 7;
    for (name, kind, columns) in [
        ("embeddings", "PROMPT_TUNING", width),
        ("prefix", "PREFIX_TUNING", config.layers.len() * 2 * kv),
    ] {
        let settings = json!({"peft_type": kind, "num_virtual_tokens": tokens});
        let shapes = [("prompt_embeddings".to_owned(), [tokens, columns])];
        write(&folder.join(name), &settings, &shapes, 5);
    }
}

/// An engine with all adapters, and the folder that they lie in.
fn engine_with_adapters(threads: usize) -> (LocalEngine, TempDir) {
    let engine = engine(MODEL, threads);
    let folder = TempDir::new().unwrap();
    write_all(folder.path(), engine.model().config());
    for name in ADAPTERS {
        engine
            .load_adapter(name, &folder.path().join(name))
            .unwrap();
    }
    (engine, folder)
}

/// The same long prompt for the model and for every adapter.
fn requests() -> Vec<GenerateRequest> {
    let names = std::iter::once(None).chain(ADAPTERS.map(Some));
    let sampling = Sampling {
        repetition_penalty: 1.3,
        ..Sampling::GREEDY
    };
    let request = |name: Option<&str>| GenerateRequest {
        adapter: name.map(str::to_owned),
        ..request(&"one two three ".repeat(8), 6, sampling)
    };
    names.map(request).collect()
}

fn scores() -> Vec<ScoreRequest> {
    let score = |request: GenerateRequest| ScoreRequest {
        prompt: request.prompt,
        options: vec!["a".to_owned(), "bc".to_owned(), "bd".to_owned()],
        normalise: Normalise::Vocabulary,
        states: false,
        adapter: request.adapter,
    };
    requests().into_iter().map(score).collect()
}

fn logprobs(engine: &LocalEngine, requests: &[ScoreRequest]) -> Vec<Vec<u32>> {
    let results = engine.score(requests, &Cancel::default()).into_iter();
    let bits = |scoring: autoglm_spec::Scoring| {
        let options = scoring.options.iter();
        options.map(|option| option.logprob.to_bits()).collect()
    };
    results.map(|result| bits(result.unwrap())).collect()
}

#[test]
fn adapters_in_one_batch_answer_as_each_does_alone() {
    let alone: Vec<_> = requests()
        .into_iter()
        .map(|request| content(&completions(&engine_with_adapters(1).0, &[request])[0]))
        .collect();
    for (index, answer) in alone.iter().enumerate() {
        assert!(
            !alone[..index].contains(answer),
            "adapter {index} changes nothing"
        );
    }
    let (engine, _folder) = engine_with_adapters(2);
    // The second time the prefixes are cached.
    for _ in 0..2 {
        let together: Vec<_> = completions(&engine, &requests())
            .iter()
            .map(content)
            .collect();
        assert!(together == alone);
    }
}

#[test]
fn options_are_scored_under_each_adapter_as_alone() {
    let alone: Vec<_> = scores()
        .into_iter()
        .flat_map(|request| logprobs(&engine_with_adapters(1).0, &[request]))
        .collect();
    let (engine, _folder) = engine_with_adapters(2);
    for _ in 0..2 {
        assert_eq!(logprobs(&engine, &scores()), alone);
    }
}

#[test]
fn what_one_adapter_has_cached_is_of_no_use_to_another() {
    let (engine, _folder) = engine_with_adapters(1);
    for request in requests() {
        let first = &completions(&engine, std::slice::from_ref(&request))[0];
        assert_eq!(first.usage.cached_tokens, 0, "{:?}", request.adapter);
        let again = &completions(&engine, &[request])[0];
        assert!(again.usage.cached_tokens > 32);
    }
}

#[test]
fn an_adapter_is_forgotten_and_replaced_without_the_model() {
    let (engine, folder) = engine_with_adapters(1);
    let [_, lora, other, ..] = &requests()[..] else {
        panic!("the requests of all adapters");
    };
    let answer = |request| content(&completions(&engine, std::slice::from_ref(request))[0]);
    let (first, second) = (answer(lora), answer(other));
    engine
        .load_adapter("lora", &folder.path().join("other-lora"))
        .unwrap();
    assert!(answer(lora) == second && first != second);
    assert!(engine.unload_adapter("lora") && !engine.unload_adapter("lora"));
    let results = engine.generate(
        std::slice::from_ref(lora),
        &Cancel::default(),
        &mut |_, _| {},
    );
    assert!(matches!(
        &results[0],
        Err(EngineError::BadRequest { field: "adapter", given, .. }) if given == "\"lora\""
    ));
    let said = engine.load_adapter("gone", &folder.path().join("gone"));
    assert!(
        said.unwrap_err()
            .to_string()
            .contains("adapter_config.json")
    );
}

#[test]
fn an_engines_own_adapter_is_that_of_all_that_names_none() {
    let (named, folder) = engine_with_adapters(1);
    let text = named
        .encode(&Prompt::Plain("one two three ".repeat(20)))
        .unwrap();
    let settings = PerplexitySettings {
        context: 32,
        last: None,
        attention: AttentionPolicy::Full,
    };
    let measure = |engine: &LocalEngine| {
        let cancel = Cancel::default();
        let found = engine.perplexity(&text, &settings, &cancel, &mut |_| {});
        found.unwrap().value()
    };
    let plain = measure(&named);
    for (request, name) in requests().iter().skip(1).zip(ADAPTERS) {
        let own = engine(MODEL, 1)
            .with_adapter(&folder.path().join(name))
            .unwrap();
        assert_eq!(own.facts().name, format!("tiny-llama+{name}"));
        let unnamed = GenerateRequest {
            adapter: None,
            ..request.clone()
        };
        let wanted = content(&completions(&named, std::slice::from_ref(request))[0]);
        assert!(content(&completions(&own, &[unnamed])[0]) == wanted);
        assert!((measure(&own) - plain).abs() > 1e-6, "{name}");
        let divergence = own
            .divergence(&named, &text, 32, &Cancel::default(), &mut |_| {})
            .unwrap();
        assert!(divergence.divergence().mean > 0.0);
    }
}

#[test]
fn adapters_count_in_the_plan_and_one_too_many_is_refused_with_the_numbers() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../autoglm-model/fixtures")
        .join(MODEL);
    let folder = TempDir::new().unwrap();
    write_all(folder.path(), engine(MODEL, 1).model().config());
    let adapter = |name: &str| folder.path().join(name);
    let planned = Adapter::planned_bytes(&adapter("lora")).unwrap();
    let source = autoglm_model::open(&path).unwrap();
    let settings = |adapter_bytes| LocalSettings {
        threads: NonZeroUsize::MIN,
        cache_tokens: Some(LocalSettings::MIN_CACHE_TOKENS),
        cache_type: CacheType::F16,
        memory_limit: None,
        quantize: None,
        adapter_bytes,
    };
    let plan = |bytes| MemoryPlan::new(&*source, settings(bytes)).unwrap();
    assert_eq!(plan(0).adapter_bytes, 0);
    assert!(
        plan(planned).adapter_bytes > planned,
        "a pass wants buffers"
    );
    let limit = plan(planned).total_bytes() as u64;
    let limited = |adapter_bytes| LocalSettings {
        memory_limit: Some(limit),
        ..settings(adapter_bytes)
    };
    // Room that was set aside, and room that happens to be left, are the same.
    for adapter_bytes in [0, planned] {
        let engine = LocalEngine::open(&path, limited(adapter_bytes)).unwrap();
        engine.load_adapter("a", &adapter("lora")).unwrap();
        let error = engine.load_adapter("b", &adapter("prefix")).unwrap_err();
        let LocalError::Memory(refused) = error else {
            panic!("{error:?} is no refusal");
        };
        assert_eq!(refused.limit_bytes, limit);
        assert!(refused.plan.total_bytes() as u64 > limit);
        assert!(engine.unload_adapter("a"));
        engine.load_adapter("b", &adapter("lora")).unwrap();
    }
}
