//! Compares a real vocabulary with llama.cpp, and says how fast it is.
//!
//! ```text
//! tokenizer_golden.py vocabulary MODEL.gguf VOCABULARY.json
//! tokenizer_golden.py texts MODEL.gguf TEXTS.json CASES.json
//! cargo run --release -p autoglm-token --example tokenizer_check VOCABULARY.json CASES.json
//! ```
#![expect(clippy::print_stdout, reason = "this is a program")]

use std::fs::read_to_string;
use std::time::Instant;

use autoglm_token::{Specials, Tokenizer, Vocabulary};
use serde::Deserialize;

#[path = "../tests/cases/mod.rs"]
mod cases;
#[path = "../tests/golden/mod.rs"]
mod golden;

#[derive(Deserialize)]
struct Golden {
    cases: Vec<cases::Case>,
    ends: Option<Vec<u32>>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files: Vec<String> = std::env::args().skip(1).collect();
    let [vocabulary, cases] = files.as_slice() else {
        return Err("usage: tokenizer_check VOCABULARY.json CASES.json".into());
    };
    let stored: golden::StoredVocabulary = serde_json::from_str(&read_to_string(vocabulary)?)?;
    let golden: Golden = serde_json::from_str(&read_to_string(cases)?)?;
    let vocabulary = Vocabulary::from(stored);
    let start = Instant::now();
    let tokenizer = Tokenizer::new(vocabulary)?;
    println!(
        "built {} tokens in {:?}",
        tokenizer.vocabulary_len(),
        start.elapsed()
    );
    println!(
        "{} of {} texts differ",
        differences(&tokenizer, &golden),
        golden.cases.len()
    );
    for specials in [Specials::AsText, Specials::Parse] {
        println!(
            "{specials:?}: {:.2} M tokens/s",
            speed(&tokenizer, &golden, specials) / 1e6
        );
    }
    Ok(())
}

fn differences(tokenizer: &Tokenizer, golden: &Golden) -> usize {
    if let Some(ends) = &golden.ends {
        println!("end tokens agree: {}", tokenizer.end_ids() == ends);
    }
    let wrong = golden.cases.iter().filter(|case| {
        let plain = tokenizer.encode(&case.text, Specials::AsText);
        let parsed = tokenizer.encode(&case.text, Specials::Parse);
        let agrees = plain == case.ids && &parsed == case.parsed.as_ref().unwrap_or(&case.ids);
        if !agrees {
            println!(
                "{:?}\n  ours   {plain:?} {parsed:?}\n  theirs {:?} {:?}",
                case.text, case.ids, case.parsed
            );
        }
        !agrees
    });
    wrong.count()
}

/// Tokens a second, the best of five rounds.
fn speed(tokenizer: &Tokenizer, golden: &Golden, specials: Specials) -> f64 {
    let round = || {
        let start = Instant::now();
        let tokens: usize = golden
            .cases
            .iter()
            .map(|c| tokenizer.encode(&c.text, specials).len())
            .sum();
        tokens as f64 / start.elapsed().as_secs_f64()
    };
    (0..5).map(|_| round()).fold(0.0, f64::max)
}
