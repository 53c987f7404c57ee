//! What a request cost, as answers tell it.

use autoglm_spec::Completion;
use serde_json::{Value, json};

/// The cost of answers to one prompt: the prompt counts once.
pub(crate) fn usage_of(completions: &[Completion]) -> Value {
    let first = completions.first().map(|completion| completion.usage);
    let prompt = first.map_or(0, |usage| usage.prompt_tokens);
    let cached = first.map_or(0, |usage| usage.cached_tokens);
    let written: usize = completions
        .iter()
        .map(|completion| completion.usage.completion_tokens)
        .sum();
    json!({
        "prompt_tokens": prompt,
        "completion_tokens": written,
        "total_tokens": prompt + written,
        "prompt_tokens_details": {"cached_tokens": cached},
    })
}
