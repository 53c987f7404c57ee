//! Labelled records in the store, and files of them.

use std::time::{Duration, SystemTime};

use autoglm_spec::Example;
use serde_json::json;

use super::*;
use crate::records::{NumberedRecord, RecordError};
use crate::scripted::{record, review_task};
use crate::store::SqliteStore;

const AT: SystemTime = SystemTime::UNIX_EPOCH;

fn example(text: &str, answer: &str) -> Example {
    Example {
        input: record(&json!({ "text": text })),
        output: answer.to_owned(),
    }
}

#[test]
fn examples_come_back_in_their_order_with_numbers_that_stay() {
    let mut store = SqliteStore::in_memory().unwrap();
    let rows = [
        example("很好", "yes"),
        example("bad", "no"),
        example("so so", "no"),
    ];
    let added = store
        .add_examples("t", &rows, Source::Imported, AT)
        .unwrap();
    assert_eq!((added.added, added.replaced, added.known), (3, 0, 0));
    store.remove_examples("t", &[2]).unwrap();
    let later = AT + Duration::from_secs(5);
    store
        .add_examples("t", &[example("new", "yes")], Source::Added, later)
        .unwrap();
    let entries = store.examples("t").unwrap();
    let ids: Vec<i64> = entries.iter().map(|entry| entry.id).collect();
    assert_eq!(ids, [1, 3, 4]);
    assert_eq!(entries[0].example, rows[0]);
    assert_eq!(
        (entries[2].source, entries[2].added_ms),
        (Source::Added, 5_000)
    );
}

#[test]
fn a_record_that_is_there_gets_the_new_answer_and_is_not_counted_twice() {
    let mut store = SqliteStore::in_memory().unwrap();
    let add = |store: &mut SqliteStore, answer| {
        store
            .add_examples("t", &[example("a", answer)], Source::Added, AT)
            .unwrap()
    };
    add(&mut store, "yes");
    assert_eq!(add(&mut store, "yes").known, 1);
    assert_eq!(add(&mut store, "no").replaced, 1);
    let entries = store.examples("t").unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].example.output, "no");
}

#[test]
fn tasks_do_not_see_each_others_examples() {
    let mut store = SqliteStore::in_memory().unwrap();
    store
        .add_examples("a", &[example("x", "yes")], Source::Added, AT)
        .unwrap();
    assert_eq!(store.examples("b").unwrap(), []);
    let error = store.remove_examples("b", &[1]).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the task \"b\" has no example 1"),
        "{error}"
    );
    assert_eq!(store.examples("a").unwrap().len(), 1);
}

#[test]
fn a_number_that_is_not_there_removes_none_of_the_others() {
    let mut store = SqliteStore::in_memory().unwrap();
    let rows = [example("a", "yes"), example("b", "no")];
    store.add_examples("t", &rows, Source::Added, AT).unwrap();
    assert!(store.remove_examples("t", &[1, 7]).is_err());
    assert_eq!(store.examples("t").unwrap().len(), 2);
}

#[test]
fn the_number_of_a_removed_record_is_not_given_again() {
    let mut store = SqliteStore::in_memory().unwrap();
    let rows = [example("a", "yes"), example("b", "no")];
    store.add_examples("t", &rows, Source::Added, AT).unwrap();
    store.remove_examples("t", &[2]).unwrap();
    let other = [example("c", "yes")];
    store.add_examples("t", &other, Source::Added, AT).unwrap();
    let ids: Vec<i64> = store.examples("t").unwrap().iter().map(|e| e.id).collect();
    assert_eq!(ids, [1, 3]);
}

#[test]
fn records_of_a_file_become_examples_or_are_refused_with_the_reason() {
    let spec = review_task();
    let records = [
        json!({"text": "a", "label": "POSITIVE ", "id": 5}),
        json!({"label": "negative"}),
        json!({"text": "c", "label": "maybe"}),
        json!({"text": "d"}),
    ];
    let item = |(index, value)| {
        Ok(NumberedRecord {
            line: index as u64 + 10,
            record: record(value),
        })
    };
    let unreadable = Err(RecordError::UnclosedQuote { line: 20 });
    let items = records.iter().enumerate().map(item).chain([unreadable]);
    let intake = take_in(&spec, None, items);
    assert_eq!(intake.examples, [example("a", "positive")]);
    let reasons: Vec<(u64, &str)> = intake
        .refused
        .iter()
        .map(|refused| (refused.line, refused.reason.as_str()))
        .collect();
    assert_eq!(
        reasons,
        [
            (11, "it has no field \"text\""),
            (
                12,
                "its answer \"maybe\" is no label, want one of positive, negative"
            ),
            (
                13,
                "it has no right answer, want a field label, answer or output"
            ),
            (
                20,
                "a quoted field that starts in this record is never closed"
            ),
        ]
    );
}

#[test]
fn the_text_of_a_record_is_its_fields_a_line_each_without_those_that_are_null() {
    let mut spec = review_task();
    let field = spec.fields[0].clone();
    for name in ["stars", "title"] {
        let name = name.to_owned();
        spec.fields.push(autoglm_spec::Field {
            name,
            ..field.clone()
        });
    }
    let text = |value| record_text(&spec.fields, &record(&value));
    assert_eq!(
        text(json!({"id": 7, "text": "a", "stars": 4, "title": "b"})),
        "a\n4\nb"
    );
    assert_eq!(
        text(json!({"text": "a", "stars": null, "title": "b"})),
        "a\nb"
    );
    assert_eq!(text(json!({"title": "b"})), "b");
}
