//! What is cached of prompts survives a restart, and nothing else is taken for it.

#![expect(clippy::unwrap_used, reason = "a test may panic, that is how it fails")]

mod fixture;

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use autoglm_engine::{CacheType, EngineStats, LocalEngine, LocalError, LocalSettings};
use autoglm_model::QuantizedType;
use autoglm_spec::{Blame, Blamed, Completion, EngineError, GenerateRequest, Sampling};
use fixture::{FIXTURES, completions, content, engine, request};
use proptest::prelude::*;
use serde_json::json;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

const MODEL: &str = "the hash of a model";

/// Bytes before the nodes of a file, and before the tokens of a node.
const HEADER_BYTES: usize = 56;
const NODE_BYTES: usize = 25;

const SETTINGS: LocalSettings = LocalSettings {
    threads: NonZeroUsize::MIN,
    cache_tokens: Some(LocalSettings::MIN_CACHE_TOKENS),
    cache_type: CacheType::F16,
    memory_limit: None,
    quantize: None,
    adapter_bytes: 0,
};

fn model(file: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../autoglm-model/fixtures");
    fixtures.join(file)
}

fn engine_of(file: &str, cache_type: CacheType) -> LocalEngine {
    let settings = LocalSettings {
        cache_type,
        ..SETTINGS
    };
    LocalEngine::open(&model(file), settings).unwrap()
}

fn requests(prompts: &[String]) -> Vec<GenerateRequest> {
    let warm = Sampling {
        temperature: 0.7,
        seed: 3,
        ..Sampling::GREEDY
    };
    let ask = |prompt: &String| request(prompt, 8, warm);
    prompts.iter().map(ask).collect()
}

/// One after the other, so that what is shared does not depend on what comes together.
fn alone(engine: &LocalEngine, requests: &[GenerateRequest]) -> Vec<Completion> {
    let one = |r: &GenerateRequest| completions(engine, std::slice::from_ref(r)).remove(0);
    requests.iter().map(one).collect()
}

/// Why a file is refused. Nothing of it is there afterwards.
fn refused(engine: &LocalEngine, path: &Path, model: &str) -> (Blame, String) {
    let error = engine.load_prefixes(path, model).unwrap_err();
    let stats = engine.stats();
    assert_eq!(stats.prefix_blocks, 0);
    assert_eq!(stats.used_blocks(), 0);
    let EngineError::Engine { source, .. } = error else {
        panic!("{error}");
    };
    let Some(LocalError::Prefixes(error)) = source.downcast_ref::<LocalError>() else {
        panic!("{source}");
    };
    (error.blame(), error.to_string())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 16, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn an_engine_answers_as_if_it_had_not_been_restarted(
        before in prop::collection::vec("[abc ]{0,3}(the answer is ){2,6}[xyz]{1,9}", 1..6),
        behind in prop::collection::vec("[abc ]{0,3}(the answer is ){2,6}[xyz]{1,9}", 1..4),
        kind in prop::sample::select(vec![CacheType::F32, CacheType::F16, CacheType::Q8]),
        file in prop::sample::select([&FIXTURES[..], &["tiny-deepseek2.gguf"]].concat()),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prefixes");
        let running = engine_of(file, kind);
        alone(&running, &requests(&before));
        let saved = running.save_prefixes(&path, MODEL, u64::MAX).unwrap();
        prop_assert_eq!(saved, running.stats().prefix_blocks);
        let restarted = engine_of(file, kind);
        prop_assert_eq!(restarted.load_prefixes(&path, MODEL).unwrap(), saved);
        prop_assert_eq!(restarted.stats().prefix_blocks, saved);
        let asked = requests(&[behind, before].concat());
        for (found, wanted) in alone(&restarted, &asked).iter().zip(&alone(&running, &asked)) {
            prop_assert_eq!(content(found), content(wanted));
            prop_assert_eq!(found.usage.cached_tokens, wanted.usage.cached_tokens);
        }
    }
}

/// A file of some prefixes, which an engine of the first model wrote.
fn saved() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("prefixes");
    let engine = engine(FIXTURES[0], 1);
    let prompts = ["a b c d e f ".repeat(6), "x".repeat(40)];
    alone(&engine, &requests(&prompts));
    engine.save_prefixes(&path, MODEL, u64::MAX).unwrap();
    (folder, path)
}

#[test]
fn a_file_of_another_model_or_type_is_refused() {
    let (folder, path) = saved();
    let others = [
        (FIXTURES[1], CacheType::F16),
        (FIXTURES[0], CacheType::F32),
        (FIXTURES[0], CacheType::Q8),
        ("tiny-llama-mixed.gguf", CacheType::F16),
    ];
    let mut engines: Vec<LocalEngine> = others.map(|(f, kind)| engine_of(f, kind)).into();
    let quantized = LocalSettings {
        quantize: Some(QuantizedType::Q8_0),
        ..SETTINGS
    };
    engines.push(LocalEngine::open(&model(FIXTURES[0]), quantized).unwrap());
    // The same but for some bits of its weights.
    let mut weights = fs::read(model(FIXTURES[0])).unwrap();
    let behind = weights.len() * 3 / 4;
    for byte in &mut weights[behind..] {
        *byte ^= 1;
    }
    let file = folder.path().join("tiny-llama.gguf");
    fs::write(&file, weights).unwrap();
    engines.push(LocalEngine::open(&file, SETTINGS).unwrap());
    for (index, engine) in engines.iter().enumerate() {
        let (blame, said) = refused(engine, &path, MODEL);
        assert!(said.contains("another model"), "{index}: {said}");
        assert_eq!(blame, Blame::Data);
    }
    // The same, but the caller says that it is another one.
    let (_, said) = refused(&engine(FIXTURES[0], 1), &path, "another hash");
    assert!(said.contains("another model"), "{said}");
}

#[test]
fn a_damaged_file_is_refused_whole() {
    let (_folder, path) = saved();
    let whole = fs::read(&path).unwrap();
    let engine = engine(FIXTURES[0], 1);
    let places = (0..whole.len()).step_by(whole.len() / 60);
    for at in places.chain([8, 44, 52, 56, whole.len() - 1]) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        fs::write(&path, &damaged).unwrap();
        refused(&engine, &path, MODEL);
        fs::write(&path, &whole[..at]).unwrap();
        refused(&engine, &path, MODEL);
    }
    fs::write(&path, [&whole[..], b"more"].concat()).unwrap();
    refused(&engine, &path, MODEL);
    fs::write(&path, &whole).unwrap();
    assert!(engine.load_prefixes(&path, MODEL).unwrap() > 0);
    assert!(engine.load_prefixes(&path, MODEL).is_err());
}

/// A file with other bytes at a place and the checksum that belongs to it.
fn forged(whole: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = whole[..whole.len() - 32].to_vec();
    file[at..at + bytes.len()].copy_from_slice(bytes);
    let checksum = Sha256::digest(&file);
    file.extend_from_slice(&checksum);
    file
}

#[test]
fn a_forged_file_is_refused_whole() {
    let (_folder, path) = saved();
    let whole = fs::read(&path).unwrap();
    let engine = engine(FIXTURES[0], 1);
    let block_bytes = u64::from_le_bytes(whole[44..52].try_into().unwrap()) as usize;
    // The first node's tokens fill its block; the second one stands behind them.
    let tokens = HEADER_BYTES + NODE_BYTES;
    assert_eq!(whole[tokens - 4..tokens], 32_u32.to_le_bytes());
    let second = tokens + 32 * 4 + block_bytes;
    assert_eq!(whole[second..second + 4], 0_u32.to_le_bytes());
    let most = u32::MAX.to_le_bytes();
    for (at, bytes, wanted) in [
        (8, &2_u32.to_le_bytes()[..], "none of prefixes"),
        (44, &u64::MAX.to_le_bytes(), "another model"),
        (44, &0_u64.to_le_bytes(), "another model"),
        (52, &most, "shorter than what it says"),
        (52, &1_u32.to_le_bytes(), "checksum"),
        (HEADER_BYTES, &0_u32.to_le_bytes(), "before its parent"),
        (HEADER_BYTES + 4, &[2], "another form"),
        (tokens - 4, &most, "another form"),
        (tokens - 4, &0_u32.to_le_bytes(), "another form"),
        (tokens, &most, "the vocabulary does not have"),
        (second, &1_u32.to_le_bytes(), "before its parent"),
        (second, &(u32::MAX - 1).to_le_bytes(), "before its parent"),
        // A parent below another adapter's root.
        (second + 4, &[1], "not full"),
    ] {
        fs::write(&path, forged(&whole, at, bytes)).unwrap();
        let (_, said) = refused(&engine, &path, MODEL);
        assert!(said.contains(wanted), "{at}: {said}");
    }
    // The second block again in the place of the first, and so twice below the root.
    let mut twice = forged(&whole, second, &most);
    let own = twice[tokens..tokens + 32 * 4].to_vec();
    let count = u32::from_le_bytes(twice[second + 21..second + 25].try_into().unwrap()) as usize;
    twice[second + NODE_BYTES..second + NODE_BYTES + count * 4].copy_from_slice(&own[..count * 4]);
    fs::write(&path, forged(&twice, 0, &whole[..8])).unwrap();
    let (_, said) = refused(&engine, &path, MODEL);
    assert!(said.contains("begin alike"), "{said}");
    fs::write(&path, forged(&whole, 0, &whole[..8])).unwrap();
    assert!(engine.load_prefixes(&path, MODEL).unwrap() > 0);
}

#[test]
fn the_most_recently_used_come_first_where_a_limit_is_set() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("prefixes");
    let running = engine(FIXTURES[0], 1);
    let old = "a b c d e f g h ".repeat(5);
    let recent = "x y z ".repeat(13);
    alone(&running, &requests(&[old.clone(), recent.clone()]));
    let all = running.save_prefixes(&path, MODEL, u64::MAX).unwrap();
    let limit = fs::metadata(&path).unwrap().len() * 2 / 3;
    let some = running.save_prefixes(&path, MODEL, limit).unwrap();
    assert!(0 < some && some < all);
    assert!(fs::metadata(&path).unwrap().len() <= limit);
    let restarted = engine(FIXTURES[0], 1);
    restarted.load_prefixes(&path, MODEL).unwrap();
    let answers = alone(&restarted, &requests(&[recent, old]));
    let whole = answers[0].usage.prompt_tokens - 1;
    assert_eq!(answers[0].usage.cached_tokens, whole);
    assert!(answers[1].usage.cached_tokens + EngineStats::BLOCK_TOKENS <= whole);
}

#[test]
fn a_file_stays_until_another_one_is_whole_and_is_its_owners_alone() {
    let (folder, path) = saved();
    let whole = fs::read(&path).unwrap();
    let empty = engine(FIXTURES[0], 1);
    let nowhere = folder.path().join("absent").join("prefixes");
    assert!(empty.save_prefixes(&nowhere, MODEL, u64::MAX).is_err());
    // A folder in the place of the unfinished file cannot be written.
    let beside = folder.path().join("prefixes.part");
    fs::create_dir(&beside).unwrap();
    assert!(empty.save_prefixes(&path, MODEL, u64::MAX).is_err());
    assert_eq!(fs::read(&path).unwrap(), whole);
    fs::remove_dir(&beside).unwrap();
    assert_eq!(empty.save_prefixes(&path, MODEL, u64::MAX).unwrap(), 0);
    assert!(!beside.exists());
    assert_eq!(empty.load_prefixes(&path, MODEL).unwrap(), 0);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

/// An adapter of virtual tokens, all of them the same number.
fn write_adapter(folder: &Path, width: usize, number: f32) {
    let shape = [3, width];
    let data: Vec<u8> = (0..3 * width).flat_map(|_| number.to_le_bytes()).collect();
    let tensor = json!({"dtype": "F32", "shape": shape, "data_offsets": [0, data.len()]});
    let header = json!({"prompt_embeddings": tensor}).to_string();
    let length = (header.len() as u64).to_le_bytes();
    let settings = json!({"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 3}).to_string();
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("adapter_config.json"), settings).unwrap();
    let file = [&length[..], header.as_bytes(), &data].concat();
    fs::write(folder.join("adapter_model.safetensors"), file).unwrap();
}

#[test]
fn what_an_adapter_computed_is_that_adapters_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("prefixes");
    let running = engine(FIXTURES[0], 1);
    let adapter = folder.path().join("adapter");
    let width = running.model().config().width;
    write_adapter(&adapter, width, 0.1);
    running.load_adapter("a", &adapter).unwrap();
    let asked = |prompt: &str| GenerateRequest {
        adapter: Some("a".to_owned()),
        ..request(prompt, 4, Sampling::GREEDY)
    };
    let asked = [asked(&"one two three ".repeat(6))];
    alone(&running, &asked);
    running.save_prefixes(&path, MODEL, u64::MAX).unwrap();
    for (number, is_same) in [(0.1, true), (0.2, false)] {
        let restarted = engine(FIXTURES[0], 1);
        restarted.load_prefixes(&path, MODEL).unwrap();
        let plain = GenerateRequest {
            adapter: None,
            ..asked[0].clone()
        };
        assert_eq!(alone(&restarted, &[plain])[0].usage.cached_tokens, 0);
        write_adapter(&adapter, width, number);
        restarted.load_adapter("a", &adapter).unwrap();
        let found = alone(&restarted, &asked).remove(0);
        assert_eq!(found.usage.cached_tokens > 0, is_same, "{number}");
        if is_same {
            assert_eq!(content(&found), content(&alone(&running, &asked)[0]));
        }
    }
}
