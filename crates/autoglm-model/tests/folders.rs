//! Logits of tiny random models in folders beside those of `transformers`
//! (`tools/reference/tiny_transformers.py`).

#![expect(clippy::unwrap_used, reason = "a test may panic, that is how it fails")]

use std::num::NonZeroUsize;
use std::path::PathBuf;

use autoglm_kernel::Pool;
use autoglm_model::{Checkpoint, KvCache, Model, Outputs, Sequence, Step, Workspace};
use serde_json::Value;

/// The deviation's root mean square, and its largest value, in parts of the logits' standard
/// deviation. Both sides compute in f32 in another order, which is 1e-6; the rest comes from the
/// odd key or value that falls to the other side of its rounding to f16 for it, and is 5e-5.
const RMS_TOLERANCE: f64 = 1e-4;
const LARGEST_TOLERANCE: f64 = 1e-3;

const NAMES: [&str; 13] = [
    "chatglm",
    "gemma3",
    "glm",
    "glm-edge",
    "glm4",
    "glm4-moe",
    "glm4-moe-groups",
    "glm4-moe-lite",
    "glm4-moe-lite-groups",
    "llama",
    "llama-3",
    "qwen2",
    "qwen3",
];

/// A fixture: the model, the tokens, and what `transformers` makes of them.
struct Golden {
    name: &'static str,
    model: Model,
    pool: Pool,
    tokens: Vec<u32>,
    logits: Vec<f32>,
    facts: Value,
}

impl Golden {
    fn read(name: &'static str) -> Self {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("fixtures/folders")
            .join(name);
        let pool = Pool::new(NonZeroUsize::new(2).unwrap());
        let checkpoint = Checkpoint::open(&folder).unwrap();
        let facts = std::fs::read_to_string(folder.join("golden.json")).unwrap();
        let facts: Value = serde_json::from_str(&facts).unwrap();
        let tokens = facts["tokens"].as_array().unwrap().iter();
        let bytes = std::fs::read(folder.join("logits.bin")).unwrap();
        let number = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
        Self {
            name,
            model: Model::load(&checkpoint, &pool).unwrap(),
            pool,
            tokens: tokens.map(|t| t.as_u64().unwrap() as u32).collect(),
            logits: bytes.chunks_exact(4).map(number).collect(),
            facts,
        }
    }

    /// The logits of all positions when passes take so many tokens of each of two sequences: one
    /// with the tokens of the fixture, one with the same backwards.
    fn logits_in_passes(&self, passes: &[(usize, usize)]) -> Vec<f32> {
        let backwards: Vec<u32> = self.tokens.iter().rev().copied().collect();
        let mut cache = KvCache::new(self.model.config(), 256);
        let mut workspace = Workspace::default();
        let (mut sequence, mut other) = (Sequence::default(), Sequence::default());
        let mut logits = Vec::new();
        for &(own, neighbours) in passes {
            let (first, second) = (sequence.len(), other.len());
            let mut steps = Vec::new();
            if neighbours > 0 {
                steps.push(Step {
                    sequence: &mut other,
                    tokens: &backwards[second..second + neighbours],
                    outputs: Outputs::Last,
                });
            }
            if own > 0 {
                steps.push(Step {
                    sequence: &mut sequence,
                    tokens: &self.tokens[first..first + own],
                    outputs: Outputs::All,
                });
            }
            let rows = self
                .model
                .forward(&self.pool, &mut cache, &mut workspace, &mut steps)
                .unwrap();
            if own > 0 {
                let rows: Vec<usize> = rows.last().unwrap().clone().collect();
                logits.extend(self.model.logits(&self.pool, &mut workspace, &rows));
            }
        }
        cache.release(sequence);
        cache.release(other);
        logits
    }

    fn check(&self, passes: &[(usize, usize)]) {
        let logits = self.logits_in_passes(passes);
        assert_eq!(logits.len(), self.logits.len());
        let scale = standard_deviation(&self.logits);
        let pairs = logits.iter().zip(&self.logits);
        let errors: Vec<f64> = pairs.map(|(a, b)| f64::from(a - b).abs() / scale).collect();
        let squares: f64 = errors.iter().map(|error| error * error).sum();
        let rms = (squares / errors.len() as f64).sqrt();
        let largest = errors.iter().copied().fold(0.0, f64::max);
        assert!(
            rms <= RMS_TOLERANCE && largest <= LARGEST_TOLERANCE,
            "{}: off by {rms:.2e}, {largest:.2e} at most, from transformers {}",
            self.name,
            self.facts["transformers"]
        );
    }
}

fn standard_deviation(numbers: &[f32]) -> f64 {
    let len = numbers.len() as f64;
    let mean = numbers.iter().map(|&x| f64::from(x)).sum::<f64>() / len;
    let squares = numbers.iter().map(|&x| (f64::from(x) - mean).powi(2));
    (squares.sum::<f64>() / len).sqrt()
}

#[test]
fn a_prompt_at_once_agrees_with_transformers() {
    for name in NAMES {
        Golden::read(name).check(&[(40, 0)]);
    }
}

#[test]
fn token_by_token_agrees_with_transformers() {
    for name in NAMES {
        Golden::read(name).check(&[(1, 0); 40]);
    }
}

#[test]
fn mixed_batches_agree_with_transformers() {
    for name in NAMES {
        Golden::read(name).check(&[(0, 3), (9, 1), (1, 20), (17, 1), (1, 1), (12, 5)]);
    }
}

#[test]
fn neighbours_and_passes_do_not_matter_bit_for_bit() {
    for name in NAMES {
        let golden = Golden::read(name);
        let whole = golden.logits_in_passes(&[(40, 0)]);
        for passes in [
            vec![(1, 0); 40],
            vec![(9, 1), (1, 20), (17, 1), (1, 1), (12, 5)],
        ] {
            assert!(golden.logits_in_passes(&passes) == whole, "{name}");
        }
    }
}
