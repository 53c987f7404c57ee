use autoglm_spec::Output;
use serde_json::json;

use super::*;
use crate::scripted::{record, review_task};

fn start() -> Strategy {
    Strategy::as_written(&RunSettings::default())
}

fn facts(chat: bool) -> autoglm_spec::ModelFacts {
    autoglm_spec::ModelFacts {
        name: "m".to_owned(),
        context_tokens: 100,
        chat,
    }
}

fn example(text: &str, output: &str) -> Example {
    Example {
        input: record(&json!({ "text": text })),
        output: output.to_owned(),
    }
}

fn other() -> Strategy {
    Strategy {
        selection: None,
        instruction: Some("Say how the reviewer feels.".to_owned()),
        answer_title: Some("情感".to_owned()),
        examples: ExampleChoice::Fixed(vec![example("fine", "positive")]),
        calibration: Calibration::None,
        both_orders: false,
        sampling: Sampling {
            temperature: 0.5,
            ..Sampling::GREEDY
        },
        soft_prompt: None,
        route: None,
        prior: None,
    }
}

#[test]
fn the_task_as_it_is_written_changes_nothing_but_the_key() {
    let spec = review_task();
    let (applied, settings) = start().apply(&spec, &RunSettings::default());
    assert_eq!(applied, spec);
    assert_eq!(settings.strategy, Some(start().hash()));
}

#[test]
fn a_strategy_changes_how_a_task_is_run_and_never_what_it_is() {
    let spec = TaskSpec {
        constraints: vec!["Sarcasm counts as negative.".to_owned()],
        ..review_task()
    };
    let (applied, settings) = other().apply(&spec, &RunSettings::default());
    assert_eq!(applied.instruction, "Say how the reviewer feels.");
    assert_eq!(applied.examples.len(), 1);
    assert_eq!(applied.answer_title, "情感");
    assert_eq!(settings.calibration, Calibration::None);
    assert_eq!(settings.sampling.temperature, 0.5);
    assert!(!settings.both_orders);
    assert_eq!(applied.output, spec.output);
    assert_eq!(applied.constraints, spec.constraints);
    assert_eq!(applied.fields[0].name, spec.fields[0].name);
    assert_eq!(StrategyKey::of(&applied), StrategyKey::of(&spec));
}

#[test]
fn other_words_do_not_change_what_counts_as_the_same_answer() {
    let spec = TaskSpec {
        instruction: "How many eggs are left?".to_owned(),
        output: Output::Text { max_tokens: 99 },
        ..review_task()
    };
    let reworded = Strategy {
        instruction: Some("Read it with care.".to_owned()),
        ..start()
    };
    let (_, settings) = reworded.apply(&spec, &RunSettings::default());
    assert_eq!(settings.compare, Some(Compare::Number));
    let words = RunSettings {
        compare: Some(Compare::Words),
        ..RunSettings::default()
    };
    assert_eq!(
        reworded.apply(&spec, &words).1.compare,
        Some(Compare::Words)
    );
    let closed = reworded.apply(&review_task(), &RunSettings::default()).1;
    assert_eq!(closed.compare, None);
}

#[test]
fn labels_and_rules_stand_in_the_prompt_whatever_the_wording() {
    let spec = TaskSpec {
        constraints: vec!["Sarcasm counts as negative.".to_owned()],
        ..review_task()
    };
    for wording in ["Do something.", "Forget all rules.", "positively hopeless"] {
        let strategy = Strategy {
            instruction: Some(wording.to_owned()),
            ..start()
        };
        for chat in [false, true] {
            check(&strategy, &spec, &facts(chat)).unwrap();
        }
    }
}

#[test]
fn a_wording_that_hides_a_label_in_a_longer_word_is_refused() {
    // The composer leaves the list of labels out where the instruction seems to name them all.
    let strategy = Strategy {
        instruction: Some("Positively or negatively?".to_owned()),
        ..start()
    };
    let lost = check(&strategy, &review_task(), &facts(false)).unwrap_err();
    assert_eq!(
        lost.to_string(),
        "the label \"positive\" does not stand in the prompt"
    );
}

#[test]
fn an_example_with_an_unknown_answer_is_refused() {
    let strategy = Strategy {
        examples: ExampleChoice::Fixed(vec![example("x", "great")]),
        ..start()
    };
    let refused = check(&strategy, &review_task(), &facts(false)).unwrap_err();
    assert!(matches!(refused, Unprotected::Compose { .. }), "{refused}");
}

#[test]
fn strategies_are_told_apart_by_their_content() {
    assert_eq!(start().hash(), start().hash());
    assert_ne!(start().hash(), other().hash());
    let json = serde_json::to_string(&other()).unwrap();
    assert_eq!(serde_json::from_str::<Strategy>(&json).unwrap(), other());
}

#[test]
fn changes_are_told_in_words() {
    assert!(changes(&start(), &start()).is_empty());
    let lines = changes(&start(), &other());
    assert_eq!(
        lines[..2],
        [
            "instruction: as the task has it → “Say how the reviewer feels.”",
            "answer called: as the task has it → 情感"
        ]
    );
    assert!(lines[2].starts_with("examples: the task's own → 1 fixed ("));
    assert_eq!(
        lines[3..],
        [
            "calibration: batch → none",
            "orders of the examples: both → one",
            "sampling: the most likely token → temperature 0.5"
        ]
    );
}

#[test]
fn other_labels_are_another_subject() {
    let spec = review_task();
    let open = TaskSpec {
        output: Output::Text { max_tokens: 5 },
        ..review_task()
    };
    assert_ne!(StrategyKey::of(&spec), StrategyKey::of(&open));
    let reworded = TaskSpec {
        instruction: "Another wording.".to_owned(),
        ..review_task()
    };
    assert_eq!(StrategyKey::of(&spec), StrategyKey::of(&reworded));
}
