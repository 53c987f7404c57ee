//! What every store must do. A store's tests name a fixture and take all of it.

use serde_json::json;

use super::{Filter, Store, VectorKey};
use crate::passage::{Document, PassageId};
use crate::scripted::{Words, document, passage};

/// A collection that starts empty.
pub(crate) trait Fixture {
    /// Opens the collection once more: what one has written the others see.
    fn open(&self) -> Box<dyn Store>;
}

/// Makes a test of each function here.
macro_rules! conformance {
    ($fixture:expr) => {
        conformance!(@ $fixture,
            a_document_takes_the_place_of_the_one_with_its_path,
            nothing_is_left_of_a_removed_document,
            words_are_found_in_all_their_forms_and_chinese_by_its_characters,
            rare_words_and_headings_count_more,
            the_nearest_vectors_come_first,
            filters_hold_for_both_searches,
            passages_with_one_text_share_a_vector_that_goes_with_the_last,
            another_space_forgets_vectors_and_makes_documents_stale,
            what_is_written_is_seen_through_other_connections,
            passages_come_in_the_order_asked_for_and_numbers_are_not_given_twice
        );
    };
    (@ $fixture:expr, $($name:ident),*) => {
        $(#[test]
        fn $name() {
            $crate::store::conformance::$name(&$fixture);
        })*
    };
}
pub(crate) use conformance;

/// Puts documents with the vectors of their passages.
fn put(store: &mut dyn Store, documents: &[Document]) {
    for document in documents {
        let texts = document
            .passages
            .iter()
            .map(crate::passage::Passage::with_titles);
        let vectors: Vec<_> = texts
            .map(|text| (VectorKey::of(&text), Words::vector(&text)))
            .collect();
        store.put_vectors(&vectors).unwrap();
        store.put_document(document).unwrap();
    }
}

fn by_words(store: &dyn Store, words: &str, clauses: &[&str]) -> Vec<String> {
    let filter = Filter::parse(clauses).unwrap();
    let hits = store
        .lexical(&crate::text::terms(words), &filter, 10)
        .unwrap();
    texts(
        store,
        &hits.iter().map(|hit| hit.passage).collect::<Vec<_>>(),
    )
}

fn by_meaning(store: &dyn Store, text: &str, clauses: &[&str]) -> Vec<String> {
    let filter = Filter::parse(clauses).unwrap();
    let hits = store.nearest(&Words::vector(text), &filter, 10).unwrap();
    texts(
        store,
        &hits.iter().map(|hit| hit.passage).collect::<Vec<_>>(),
    )
}

fn texts(store: &dyn Store, ids: &[PassageId]) -> Vec<String> {
    let passages = store.passages(ids).unwrap();
    passages.into_iter().map(|passage| passage.text).collect()
}

pub(crate) fn a_document_takes_the_place_of_the_one_with_its_path(fixture: &dyn Fixture) {
    let mut store = fixture.open();
    put(
        &mut *store,
        &[document(
            "a",
            vec![passage(&[], "old oak"), passage(&[], "old elm")],
        )],
    );
    let whole = document("a", vec![passage(&["T"], "new oak")]);
    put(&mut *store, std::slice::from_ref(&whole));
    assert_eq!(by_words(&*store, "old", &[]), [""; 0]);
    assert_eq!(by_words(&*store, "oak", &[]), ["new oak"]);
    let about = store.about().unwrap();
    assert_eq!((about.documents, about.passages), (1, 1));
    assert_eq!(store.state("a").unwrap(), Some(whole.state));
    store.touch("a", Some(9)).unwrap();
    assert_eq!(store.state("a").unwrap().unwrap().modified_ns, Some(9));
    let found = store
        .passages(&[store
            .lexical(&["oak".to_owned()], &Filter::default(), 1)
            .unwrap()[0]
            .passage])
        .unwrap();
    assert_eq!(
        (found[0].document.as_str(), &found[0].titles[..]),
        ("a", &["T".to_owned()][..])
    );
    assert_eq!(
        (found[0].place, found[0].language),
        (whole.passages[0].place, whole.passages[0].language)
    );
}

pub(crate) fn nothing_is_left_of_a_removed_document(fixture: &dyn Fixture) {
    let mut store = fixture.open();
    put(
        &mut *store,
        &[
            document("a", vec![passage(&["Oak"], "red")]),
            document("b", vec![passage(&[], "blue")]),
        ],
    );
    let gone = store
        .lexical(&["oak".to_owned()], &Filter::default(), 9)
        .unwrap()[0]
        .passage;
    assert!(store.remove_document("a").unwrap());
    assert!(!store.remove_document("a").unwrap());
    store.tidy().unwrap();
    assert_eq!(by_words(&*store, "oak red", &[]), [""; 0]);
    assert_eq!(by_meaning(&*store, "oak red", &[]), ["blue"]);
    assert_eq!(store.passages(&[gone]).unwrap(), []);
    assert_eq!(store.vectors(&[gone]).unwrap(), [None]);
    assert_eq!(store.state("a").unwrap(), None);
    let listed = store.documents().unwrap();
    assert_eq!(
        (listed.len(), listed[0].path.as_str(), listed[0].passages),
        (1, "b", 1)
    );
    assert_eq!(store.about().unwrap().vectors, 1);
}

pub(crate) fn words_are_found_in_all_their_forms_and_chinese_by_its_characters(
    fixture: &dyn Fixture,
) {
    let mut store = fixture.open();
    put(
        &mut *store,
        &[document(
            "a",
            vec![
                passage(&[], "The pumps are oiled."),
                passage(&[], "给水泵加油。"),
                passage(&[], "Ünïcode"),
            ],
        )],
    );
    assert_eq!(by_words(&*store, "pump", &[]), ["The pumps are oiled."]);
    assert_eq!(by_words(&*store, "oiling", &[]), ["The pumps are oiled."]);
    assert_eq!(by_words(&*store, "水泵", &[]), ["给水泵加油。"]);
    assert_eq!(by_words(&*store, "unicode", &[]), ["Ünïcode"]);
    assert_eq!(by_words(&*store, "", &[]), [""; 0]);
    let terms = ["pump", "油", "nothing"].map(str::to_owned);
    assert_eq!(store.frequencies(&terms).unwrap(), [1, 1, 0]);
}

pub(crate) fn rare_words_and_headings_count_more(fixture: &dyn Fixture) {
    let mut store = fixture.open();
    let mut passages: Vec<_> = (0..20)
        .map(|n| passage(&[], &format!("common text {n}")))
        .collect();
    passages.push(passage(&[], "rare text here"));
    passages.push(passage(&["Rare"], "text here"));
    put(&mut *store, &[document("a", passages)]);
    assert_eq!(
        by_words(&*store, "common rare", &[])[..2],
        ["text here", "rare text here"]
    );
}

pub(crate) fn the_nearest_vectors_come_first(fixture: &dyn Fixture) {
    let mut store = fixture.open();
    put(
        &mut *store,
        &[document(
            "a",
            vec![
                passage(&[], "red green blue"),
                passage(&[], "red green"),
                passage(&[], "red"),
            ],
        )],
    );
    let found = by_meaning(&*store, "red", &[]);
    assert_eq!(found, ["red", "red green", "red green blue"]);
    let vector = Words::vector("red");
    let best = store.nearest(&vector, &Filter::default(), 1).unwrap();
    assert_eq!(best.len(), 1);
    assert!((best[0].score - 1.0).abs() < 1e-5);
    assert_eq!(store.vectors(&[best[0].passage]).unwrap(), [Some(vector)]);
}

pub(crate) fn filters_hold_for_both_searches(fixture: &dyn Fixture) {
    let mut store = fixture.open();
    let mut dated = passage(&[], "oak tall");
    dated.meta.insert("year".to_owned(), json!(2001));
    let mut other = document("docs/b.pdf", vec![passage(&[], "oak small")]);
    other.format = "pdf".to_owned();
    put(
        &mut *store,
        &[
            document("docs/a.md", vec![dated, passage(&[], "橡树 oak")]),
            other,
        ],
    );
    for search in [by_words, by_meaning] {
        let check = |clauses: &[&str], wanted: &[&str]| {
            let mut found = search(&*store, "oak", clauses);
            found.sort();
            assert_eq!(found, wanted, "{clauses:?}");
        };
        check(&["path=*.md"], &["oak tall", "橡树 oak"]);
        check(&["format=pdf"], &["oak small"]);
        check(&["year=2001"], &["oak tall"]);
        check(&["year=2001", "format=pdf"], &[]);
        check(&["language=mixed"], &["橡树 oak"]);
        check(&["ye\"ar=' OR 1=1"], &[]);
    }
}

pub(crate) fn passages_with_one_text_share_a_vector_that_goes_with_the_last(fixture: &dyn Fixture) {
    let mut store = fixture.open();
    put(
        &mut *store,
        &[
            document("a", vec![passage(&[], "same")]),
            document("b", vec![passage(&[], "same")]),
        ],
    );
    assert_eq!(store.about().unwrap().vectors, 1);
    assert_eq!(by_meaning(&*store, "same", &[]), ["same", "same"]);
    let key = [VectorKey::of("same"), VectorKey::of("other")];
    assert_eq!(store.has_vectors(&key).unwrap(), [true, false]);
    store.remove_document("a").unwrap();
    store.tidy().unwrap();
    assert_eq!(by_meaning(&*store, "same", &[]), ["same"]);
    store.remove_document("b").unwrap();
    store.tidy().unwrap();
    assert_eq!(store.has_vectors(&key).unwrap(), [false, false]);
    // A vector that was kept for a passage that never came.
    store
        .put_vectors(&[(key[0], Words::vector("same"))])
        .unwrap();
    store.tidy().unwrap();
    assert_eq!(store.about().unwrap().vectors, 0);
}

pub(crate) fn another_space_forgets_vectors_and_makes_documents_stale(fixture: &dyn Fixture) {
    use autoglm_spec::Embed as _;
    let mut store = fixture.open();
    let first = Words::new("first");
    store.set_space(Some(first.space())).unwrap();
    let one = document("a", vec![passage(&[], "red")]);
    put(&mut *store, std::slice::from_ref(&one));
    store.set_space(Some(first.space())).unwrap();
    assert_eq!(store.state("a").unwrap(), Some(one.state.clone()));
    store.set_space(Some(Words::new("second").space())).unwrap();
    let about = store.about().unwrap();
    assert_eq!(
        (about.vectors, about.space.unwrap().name.as_str()),
        (0, "second")
    );
    assert_ne!(store.state("a").unwrap(), Some(one.state));
    assert_eq!(by_meaning(&*store, "red", &[]), [""; 0]);
    assert_eq!(by_words(&*store, "red", &[]), ["red"]);
}

pub(crate) fn what_is_written_is_seen_through_other_connections(fixture: &dyn Fixture) {
    let mut writer = fixture.open();
    let reader = fixture.open();
    put(&mut *writer, &[document("a", vec![passage(&[], "red")])]);
    assert_eq!(by_meaning(&*reader, "red", &[]), ["red"]);
    put(
        &mut *writer,
        &[document("b", vec![passage(&[], "red red")])],
    );
    assert_eq!(by_meaning(&*reader, "red", &[]).len(), 2);
    std::thread::scope(|scope| {
        let reading = scope.spawn(move || {
            for _ in 0..50 {
                // A document is there as a whole or not at all.
                let found = reader.lexical(&["many".to_owned()], &Filter::default(), 10);
                let found = found.unwrap().len();
                assert!([0, 8].contains(&found), "{found}");
            }
        });
        for n in 0..20 {
            let passages = (0..8)
                .map(|p| passage(&[], &format!("many {n} {p}")))
                .collect();
            put(&mut *writer, &[document("c", passages)]);
            writer.remove_document("c").unwrap();
        }
        reading.join().unwrap();
    });
}

pub(crate) fn passages_come_in_the_order_asked_for_and_numbers_are_not_given_twice(
    fixture: &dyn Fixture,
) {
    let mut store = fixture.open();
    put(
        &mut *store,
        &[document(
            "a",
            vec![passage(&[], "one"), passage(&[], "two")],
        )],
    );
    let find = |store: &dyn Store, word: &str| {
        store
            .lexical(&[word.to_owned()], &Filter::default(), 1)
            .unwrap()[0]
            .passage
    };
    let (one, two) = (find(&*store, "one"), find(&*store, "two"));
    assert_eq!(texts(&*store, &[two, PassageId(999), one]), ["two", "one"]);
    store.remove_document("a").unwrap();
    put(&mut *store, &[document("a", vec![passage(&[], "one")])]);
    assert!(find(&*store, "one") > two);
}
