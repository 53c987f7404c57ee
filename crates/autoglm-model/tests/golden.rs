//! Logits of tiny random models beside those of llama.cpp (`tools/reference/tiny_models.py`).

#![expect(clippy::unwrap_used, reason = "a test may panic, that is how it fails")]

use std::num::NonZeroUsize;
use std::path::PathBuf;

use autoglm_kernel::Pool;
use autoglm_model::{GgufFile, KvCache, Model, Outputs, Sequence, Step, Workspace};
use serde_json::Value;

/// A fixture: the model, the tokens, and what llama.cpp makes of them in f32.
struct Golden {
    model: Model,
    pool: Pool,
    tokens: Vec<u32>,
    logits: Vec<f32>,
    facts: Value,
}

impl Golden {
    fn read(name: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        let pool = Pool::new(NonZeroUsize::new(2).unwrap());
        let file = GgufFile::open(&folder.join(format!("{name}.gguf"))).unwrap();
        let facts = std::fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
        let facts: Value = serde_json::from_str(&facts).unwrap();
        let bytes = std::fs::read(folder.join(format!("{name}.logits.bin"))).unwrap();
        let number = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
        Self {
            model: Model::load(&file, &pool).unwrap(),
            pool,
            tokens: facts["tokens"]
                .as_array()
                .unwrap()
                .iter()
                .map(|t| t.as_u64().unwrap() as u32)
                .collect(),
            logits: bytes.chunks_exact(4).map(number).collect(),
            facts,
        }
    }

    /// The logits of all positions when the tokens are fed in runs of these lengths.
    fn logits_in_runs(&self, runs: &[usize]) -> Vec<f32> {
        let mut cache = KvCache::new(self.model.config(), 128);
        let mut workspace = Workspace::default();
        let mut sequence = Sequence::default();
        let mut logits = Vec::new();
        let mut left = self.tokens.as_slice();
        for &run in runs {
            let (tokens, rest) = left.split_at(run);
            left = rest;
            let step = Step {
                sequence: &mut sequence,
                tokens,
                outputs: Outputs::All,
            };
            let mut steps = [step];
            let rows = self
                .model
                .forward(&self.pool, &mut cache, &mut workspace, &mut steps)
                .unwrap();
            let rows: Vec<usize> = rows[0].clone().collect();
            logits.extend(self.model.logits(&self.pool, &mut workspace, &rows));
        }
        cache.release(sequence);
        logits
    }

    /// The deviation from llama.cpp in f32: (root mean square, largest).
    fn deviation(&self, logits: &[f32]) -> (f64, f64) {
        assert_eq!(logits.len(), self.logits.len());
        let errors = logits
            .iter()
            .zip(&self.logits)
            .map(|(a, b)| f64::from((a - b).abs()));
        let squares: f64 = errors.clone().map(|e| e * e).sum();
        (
            (squares / logits.len() as f64).sqrt(),
            errors.fold(0.0, f64::max),
        )
    }

    /// How far llama.cpp's own logits move for a reason: (root mean square, largest).
    fn peer_deviation(&self, reason: &str) -> (f64, f64) {
        let number = |key: &str| self.facts["deviation"][reason][key].as_f64().unwrap();
        (number("rms"), number("largest"))
    }
}

/// Within twice what llama.cpp itself deviates for the same reason.
fn check(name: &str, reason: &str) {
    let golden = Golden::read(name);
    let (rms, largest) = golden.deviation(&golden.logits_in_runs(&[40]));
    let (peer_rms, peer_largest) = golden.peer_deviation(reason);
    assert!(
        rms <= 2.0 * peer_rms,
        "{name}: rms {rms}, llama.cpp {peer_rms}"
    );
    assert!(
        largest <= 2.0 * peer_largest,
        "{name}: largest {largest}, llama.cpp {peer_largest}"
    );
}

#[test]
fn llama_agrees_with_llama_cpp_as_far_as_an_f16_cache_allows() {
    check("tiny-llama", "f16_cache");
}

#[test]
fn gemma3_agrees_with_llama_cpp_as_far_as_an_f16_cache_allows() {
    check("tiny-gemma3", "f16_cache");
}

#[test]
fn experts_agree_with_llama_cpp_as_far_as_an_f16_cache_allows() {
    check("tiny-glm4moe", "f16_cache");
    check("tiny-glm4moe-plain", "f16_cache");
}

#[test]
fn latent_attention_agrees_with_llama_cpp_as_far_as_an_f16_cache_allows() {
    check("tiny-deepseek2", "f16_cache");
}

#[test]
fn a_joint_up_projection_agrees_as_far_as_quantised_activations_allow() {
    check("tiny-deepseek2-joint", "weights_as_they_are");
}

#[test]
fn chatglm_agrees_with_llama_cpp_as_far_as_an_f16_cache_allows() {
    check("tiny-chatglm", "f16_cache");
}

#[test]
fn glm4_agrees_with_llama_cpp_as_far_as_an_f16_cache_allows() {
    check("tiny-glm4", "f16_cache");
}

#[test]
fn qwen2_agrees_with_llama_cpp_as_far_as_an_f16_cache_allows() {
    check("tiny-qwen2", "f16_cache");
}

#[test]
fn qwen3_agrees_with_llama_cpp_as_far_as_an_f16_cache_allows() {
    check("tiny-qwen3", "f16_cache");
}

#[test]
fn every_block_format_agrees_as_far_as_quantised_activations_allow() {
    check("tiny-llama-mixed", "weights_as_they_are");
}

#[test]
fn how_tokens_are_cut_into_passes_does_not_matter() {
    for name in [
        "tiny-llama",
        "tiny-gemma3",
        "tiny-llama-mixed",
        "tiny-glm4moe",
        "tiny-glm4moe-plain",
        "tiny-deepseek2",
        "tiny-deepseek2-joint",
    ] {
        let golden = Golden::read(name);
        let whole = golden.logits_in_runs(&[40]);
        for runs in [vec![1; 40], vec![7, 1, 1, 30, 1], vec![33, 7]] {
            assert!(golden.logits_in_runs(&runs) == whole, "{name} in {runs:?}");
        }
    }
}

#[test]
fn logits_of_some_tokens_are_those_of_all() {
    let golden = Golden::read("tiny-llama-mixed");
    let mut cache = KvCache::new(golden.model.config(), 64);
    let mut workspace = Workspace::default();
    let mut sequence = Sequence::default();
    let step = Step {
        sequence: &mut sequence,
        tokens: &golden.tokens[..9],
        outputs: Outputs::Last,
    };
    golden
        .model
        .forward(&golden.pool, &mut cache, &mut workspace, &mut [step])
        .unwrap();
    let all = golden.model.logits(&golden.pool, &mut workspace, &[0]);
    let some = golden
        .model
        .logits_of(&golden.pool, &mut workspace, &[0], &[299, 0, 17]);
    assert_eq!(some, [all[299], all[0], all[17]]);
    cache.release(sequence);
}
