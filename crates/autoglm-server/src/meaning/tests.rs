//! Tests of the cache of meanings, and its evaluation on labelled questions.

use autoglm_spec::Usage;
use serde::Deserialize;

use super::*;
use crate::store::StoreLimits;

fn question<'q>(model: &'q str, client: &'q str, context: &str) -> Question<'q> {
    Question {
        model,
        client,
        context: context.to_owned(),
        text: "x",
    }
}

fn cache(across_clients: bool) -> Meanings {
    Meanings::new(MeaningSettings {
        error: 0.01,
        across_clients,
    })
}

#[test]
fn another_model_client_context_or_embedder_is_another_place() {
    let cache = cache(false);
    let plain = cache.context(&question("m", "a", "c"), "e");
    assert_eq!(plain, cache.context(&question("m", "a", "c"), "e"));
    for (other, space) in [
        (question("n", "a", "c"), "e"),
        (question("m", "b", "c"), "e"),
        (question("m", "a", "d"), "e"),
        (question("m", "a", "c"), "f"),
        // Borders between the parts count.
        (question("m", "", "ac"), "e"),
    ] {
        assert_ne!(plain, cache.context(&other, space));
    }
}

#[test]
fn clients_share_answers_only_where_the_operator_says_so() {
    let cache = cache(true);
    let of = |client| cache.context(&question("m", client, "c"), "e");
    assert_eq!(of("a"), of("b"));
}

fn answer(text: &str) -> Completion {
    Completion {
        text: text.to_owned(),
        tokens: Vec::new(),
        logprobs: Vec::new(),
        top: Vec::new(),
        finish: FinishReason::Stop,
        usage: Usage::default(),
    }
}

/// A question with the answer that is right for it.
#[derive(Deserialize)]
struct Labelled {
    text: String,
    label: String,
    vector: Vec<f32>,
}

/// What a stream of questions brought.
#[derive(Debug, Default)]
struct Tally {
    asked: usize,
    hits: usize,
    wrong: usize,
}

/// Asks questions one after the other, as [`Meanings::look_up`] and [`Asked::learn`] do.
fn stream(questions: &[Labelled], error: f64) -> Tally {
    let store = ServerStore::in_memory(StoreLimits::default()).unwrap();
    let mut tally = Tally::default();
    let mut state = 1_u64;
    for asked in questions {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let chance = (state >> 33) as f64 / f64::from(1_u32 << 31);
        let guard = Guard::of(&asked.text);
        let place = Place {
            context: [0; 32],
            signature: guard.signature,
        };
        let near = nearest(&guard, &asked.vector, store.neighbours(&place).unwrap());
        tally.asked += 1;
        let mut is_right = false;
        if let Some(near) = near {
            let earlier = store.meant(near.id).unwrap().unwrap();
            is_right = earlier.text == asked.label;
            if chance >= explore(&near.observations, near.similarity, error) {
                tally.hits += 1;
                tally.wrong += usize::from(!is_right);
                continue;
            }
            let mut seen = near.observations;
            seen.push(Observation {
                similarity: near.similarity,
                is_right,
            });
            let kept = &seen[seen.len().saturating_sub(MOST_OBSERVATIONS)..];
            let text = serde_json::to_string(kept).unwrap();
            store.put_observations(near.id, &text).unwrap();
        }
        if !is_right {
            let answer = answer(&asked.label);
            store
                .put_meaning(&place, &guard.words, &asked.vector, &answer)
                .unwrap();
        }
    }
    tally
}

/// `AUTOGLM_VECTORS=FILE cargo test -p autoglm-server --release -- --ignored intents --nocapture`,
/// with lines `{"text", "label", "vector"}` in an order that chance made.
#[test]
#[ignore = "wants a file of labelled questions with their vectors"]
#[expect(
    clippy::disallowed_methods,
    reason = "an evaluation that a person starts"
)]
fn the_bound_holds_on_intents() {
    let path = std::env::var("AUTOGLM_VECTORS").unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    let questions: Vec<Labelled> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for error in [0.01, 0.02, 0.05, 0.1] {
        let tally = stream(&questions, error);
        let share = |count: usize| 100.0 * count as f64 / tally.asked as f64;
        eprintln!(
            "bound {error}: {} questions, {:.2} % hits, {:.2} % wrong of all, {:.2} % of hits",
            tally.asked,
            share(tally.hits),
            share(tally.wrong),
            100.0 * tally.wrong as f64 / tally.hits.max(1) as f64
        );
        assert!(tally.wrong as f64 <= error * tally.asked as f64);
    }
}
