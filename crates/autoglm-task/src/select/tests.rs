use std::collections::BTreeSet;

use autoglm_spec::{
    Cancel, Embed, Embedding, EmbeddingSpace, EngineError, Language, ModelFacts, Similarity,
};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::compose::Composer;
use crate::library::{Library, Source};
use crate::scripted::{record, review_task};
use crate::store::SqliteStore;

/// A task with open answers on the field `text`.
pub(crate) fn question_task() -> TaskSpec {
    TaskSpec {
        name: "questions".to_owned(),
        instruction: "Answer the question.".to_owned(),
        output: Output::Text { max_tokens: 20 },
        answer_title: "Answer".to_owned(),
        ..review_task()
    }
}

pub(crate) fn example(text: &str, output: &str) -> Example {
    Example {
        input: record(&json!({ "text": text })),
        output: output.to_owned(),
    }
}

pub(crate) fn by(by: Nearness, count: usize) -> Selection {
    Selection {
        by,
        count,
        tokens: None,
        pool: Pool::Library,
    }
}

fn texts(chosen: &[Chosen]) -> Vec<&str> {
    let inputs = chosen.iter().map(|chosen| &chosen.example.input);
    inputs.filter_map(|input| input["text"].as_str()).collect()
}

fn ask(selector: &Selector, text: &str) -> Vec<Chosen> {
    selector.choose(&record(&json!({ "text": text })), None)
}

#[test]
fn the_most_similar_stands_last() {
    let library = [
        example("how many apples are left", "2"),
        example("what is the capital of France", "Paris"),
        example("what is the capital of Spain in Europe", "Madrid"),
        example("who wrote Faust", "Goethe"),
    ];
    let selector = Selector::new(&question_task(), &by(Nearness::Words, 2), &library);
    let chosen = ask(&selector, "what is the capital of France today");
    assert_eq!(
        texts(&chosen),
        [
            "what is the capital of Spain in Europe",
            "what is the capital of France"
        ]
    );
    assert!(chosen[0].score < chosen[1].score);
}

#[test]
fn chinese_texts_are_near_by_their_characters() {
    let library = [
        example("物流很慢", "物流"),
        example("屏幕很清晰", "屏幕"),
        example("电池不耐用", "电池"),
    ];
    let selector = Selector::new(&question_task(), &by(Nearness::Words, 1), &library);
    assert_eq!(texts(&ask(&selector, "电池用了一天就没电")), ["电池不耐用"]);
    assert_eq!(texts(&ask(&selector, "快递物流等了一周")), ["物流很慢"]);
}

#[test]
fn a_record_is_never_its_own_example() {
    let library = [example("4", "four"), example("5", "five")];
    let selector = Selector::new(&question_task(), &by(Nearness::Words, 2), &library);
    assert_eq!(texts(&ask(&selector, "4")), ["5"]);
    // As a number of JSON it is the same text.
    let number = selector.choose(&record(&json!({ "text": 4 })), None);
    assert_eq!(texts(&number), ["5"]);
}

#[test]
fn twins_do_not_both_become_examples() {
    let library = [
        example("red apples fall far from big trees", "1"),
        example("red apples fall far from big trees today", "2"),
        example("apples taste sweet", "3"),
    ];
    let selector = Selector::new(&question_task(), &by(Nearness::Words, 2), &library);
    let chosen = ask(&selector, "red apples fall far and taste sweet");
    assert!(texts(&chosen).contains(&"apples taste sweet"), "{chosen:?}");
}

#[test]
fn labels_take_turns() {
    let mut library: Vec<Example> = (0..6)
        .map(|i| example(&format!("a great film number {i}"), "positive"))
        .collect();
    library.push(example("dull", "negative"));
    library.push(example("boring", "negative"));
    let selector = Selector::new(&review_task(), &by(Nearness::Words, 4), &library);
    let chosen = ask(&selector, "a great film");
    let positive = chosen.iter().filter(|c| c.example.output == "positive");
    assert_eq!((positive.count(), chosen.len()), (2, 4));
    // What has no other label left goes on with the one that has.
    let selector = Selector::new(&review_task(), &by(Nearness::Words, 7), &library);
    assert_eq!(ask(&selector, "a great film").len(), 7);
}

#[test]
fn what_does_not_fit_the_task_is_no_example() {
    let other = Example {
        input: record(&json!({ "title": "x" })),
        output: "positive".to_owned(),
    };
    let library = [other, example("a", "neutral"), example("b", "positive")];
    let selector = Selector::new(&review_task(), &by(Nearness::Words, 4), &library);
    assert_eq!(selector.examples(), &library[2..]);
}

#[test]
fn ranks_of_words_and_vectors_are_fused() {
    // First by one and third by the other loses against second by both.
    let found = fused(&[vec![3.0, 2.0, 1.0], vec![1.0, 2.0, 3.0]]);
    assert!(found[1] < 2.0 / 62.0 * 61.0 / 2.0 + 1e-12);
    assert!((found[0] - (1.0 / 61.0 + 1.0 / 63.0) * 61.0 / 2.0).abs() < 1e-12);
    assert_eq!(fused(&[vec![1.0, 0.0], vec![1.0, 0.0]]), [1.0, 0.0]);
}

/// An embedder whose vectors tell the first letter alone, and which counts what it is asked.
struct Letters {
    space: EmbeddingSpace,
    asked: std::sync::Mutex<usize>,
}

impl Letters {
    fn new() -> Self {
        Self {
            space: EmbeddingSpace {
                name: "letters".to_owned(),
                dimensions: 26,
                max_tokens: 100,
                similarity: Similarity::Cosine,
            },
            asked: std::sync::Mutex::default(),
        }
    }
}

impl Embed for Letters {
    fn space(&self) -> &EmbeddingSpace {
        &self.space
    }

    fn embed(&self, texts: &[&str], _: &Cancel) -> Vec<Result<Embedding, EngineError>> {
        *self.asked.lock().unwrap() += texts.len();
        let embedding = |text: &&str| {
            let mut vector = vec![0.0; 26];
            vector[usize::from(text.as_bytes()[0] - b'a')] = 1.0;
            Ok(Embedding {
                vector,
                tokens: 1,
                cut_tokens: 0,
            })
        };
        texts.iter().map(embedding).collect()
    }
}

#[test]
fn vectors_are_made_once_and_removed_with_their_record() {
    let (spec, letters) = (question_task(), Letters::new());
    let mut store = SqliteStore::in_memory().unwrap();
    let library = [example("apple", "1"), example("bread", "2")];
    let at = std::time::UNIX_EPOCH;
    store
        .add_examples(&spec.name, &library, Source::Added, at)
        .unwrap();
    let cancel = Cancel::default();
    let made = vectors_of_examples(&spec, &library, &mut store, &letters, &cancel).unwrap();
    let again = vectors_of_examples(&spec, &library, &mut store, &letters, &cancel).unwrap();
    assert_eq!((&again, *letters.asked.lock().unwrap()), (&made, 2));
    let selection = by(Nearness::Vectors, 1);
    let selector = Selector::new(&spec, &selection, &library).with_vectors(made.clone());
    let near_b = selector.choose(&record(&json!({"text": "apple"})), made[1].as_deref());
    assert_eq!(texts(&near_b), ["bread"]);
    assert!((near_b[0].score - 1.0).abs() < 1e-9);
    store.remove_examples(&spec.name, &[1]).unwrap();
    let left = store.example_vectors(&spec.name, "letters").unwrap();
    assert_eq!(left.len(), 1);
}

#[test]
fn chosen_examples_stand_between_what_all_prompts_share_and_the_record() {
    for chat in [false, true] {
        let model = ModelFacts {
            name: "m".to_owned(),
            context_tokens: 1000,
            chat,
        };
        let mut spec = question_task();
        spec.examples = vec![example("the task's own", "yes")];
        let composer = Composer::new(&spec, &model).unwrap();
        let chosen = [example("chosen", "no")];
        let composed = composer
            .compose_behind(&chosen, &record(&json!({"text": "the record"})))
            .unwrap();
        let text = composed.prompt.display_text();
        assert!(text.starts_with(&composer.stable_prefix()), "{text}");
        let place = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part}: {text}"));
        assert!(place("the task's own") < place("chosen"));
        assert!(place("chosen") < place("the record"));
        // The same examples in the task make the same prompt.
        spec.examples.extend(chosen);
        let whole = Composer::new(&spec, &model).unwrap();
        let whole = whole.compose(&record(&json!({"text": "the record"})));
        assert_eq!(whole.unwrap(), composed);
    }
}

/// Libraries of few words, so that many are alike.
fn libraries() -> impl Strategy<Value = Vec<Example>> {
    let word = prop::sample::select(vec!["red", "fox", "hen", "天气", "很好", "7"]);
    let text = prop::collection::vec(word, 0..5).prop_map(|words| words.join(" "));
    let label = prop::sample::select(vec!["positive", "negative"]);
    let one = (text, label).prop_map(|(text, label)| example(&text, label));
    prop::collection::vec(one, 0..30)
}

proptest! {
    #[test]
    fn choices_are_distinct_others_ordered_and_balanced(
        library in libraries(),
        asked in 0usize..40,
        count in 0usize..12,
    ) {
        let mut spec = review_task();
        spec.language = Language::Chinese;
        let selector = Selector::new(&spec, &by(Nearness::Words, count), &library);
        let own = library.get(asked).map_or_else(|| example("fox 很好", ""), Clone::clone);
        let chosen = selector.choose(&own.input, None);
        let of = |example: &Example| identity(&spec.fields, &example.input);
        let others: Vec<&Example> = selector
            .examples()
            .iter()
            .filter(|e| of(e) != of(&own))
            .collect();
        prop_assert_eq!(chosen.len(), count.min(others.len()));
        let distinct: BTreeSet<String> = chosen.iter().map(|c| of(&c.example)).collect();
        prop_assert_eq!(distinct.len(), chosen.len());
        prop_assert!(!distinct.contains(&of(&own)));
        prop_assert!(chosen.windows(2).all(|pair| pair[0].score <= pair[1].score));
        let of_label = |label: &str, all: &[&Example]| {
            all.iter().filter(|e| e.output == label).count()
        };
        let shown: Vec<&Example> = chosen.iter().map(|c| &c.example).collect();
        let (a, b) = (of_label("positive", &shown), of_label("negative", &shown));
        let is_spent = |label: &str, taken: usize| taken == of_label(label, &others);
        prop_assert!(a.abs_diff(b) <= 1 || is_spent("positive", a) || is_spent("negative", b));
    }
}
