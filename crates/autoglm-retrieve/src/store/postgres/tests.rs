use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::super::SqliteStore;
use super::super::conformance::{Fixture, conformance};
use super::*;
use crate::scripted::{Words, document, passage};
use crate::text::terms;

#[path = "../../../tests/support/postgres.rs"]
mod server;

use server::Server;

/// A collection of its own on the server of the tests.
struct Collection {
    address: PostgresAddress,
    name: String,
    exact_vectors: usize,
}

impl Collection {
    fn new() -> Option<Self> {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let server = Server::shared()?;
        Some(Self {
            address: PostgresAddress::parse(&server.address()).unwrap(),
            name: format!("c{}", MADE.fetch_add(1, Ordering::Relaxed)),
            exact_vectors: dense::EXACT_VECTORS,
        })
    }

    fn store(&self) -> PostgresStore {
        let store = PostgresStore::open(&self.address, &self.name).unwrap();
        store.with_exact_vectors(self.exact_vectors)
    }
}

impl Fixture for Collection {
    fn open(&self) -> Box<dyn Store> {
        Box::new(self.store())
    }
}

/// The collection, or the end of a test for which there is no server.
macro_rules! collection {
    () => {
        match Collection::new() {
            Some(collection) => collection,
            None => return,
        }
    };
}

mod exact {
    use super::*;

    conformance!(collection!());
}

/// The same with an index of vectors that is there from the start.
struct Indexed(Collection);

impl Fixture for Indexed {
    fn open(&self) -> Box<dyn Store> {
        let store = self.0.store().with_exact_vectors(0);
        let index = format!(
            "CREATE INDEX IF NOT EXISTS vectors_by_direction ON vectors \
             USING hnsw ((vector::vector({})) vector_ip_ops)",
            crate::scripted::WIDTH
        );
        store.session.borrow_mut().batch(&index).unwrap();
        Box::new(store)
    }
}

mod indexed {
    use super::*;

    conformance!(Indexed(collection!()));
}

/// Passages by their texts with their scores.
fn scored(store: &dyn Store, words: &[String], limit: usize) -> Vec<(String, f64)> {
    let hits = store.lexical(words, &Filter::default(), limit).unwrap();
    let ids: Vec<PassageId> = hits.iter().map(|hit| hit.passage).collect();
    let passages = store.passages(&ids).unwrap();
    assert_eq!(passages.len(), hits.len());
    let texts = passages.into_iter().map(|passage| passage.with_titles());
    texts.zip(hits.iter().map(|hit| hit.score)).collect()
}

/// The same, whatever the order of those whose scores differ by rounding alone.
fn agree(mut a: Vec<(String, f64)>, mut b: Vec<(String, f64)>) -> Result<(), TestCaseError> {
    prop_assert_eq!(a.len(), b.len());
    for ((_, a), (_, b)) in a.iter().zip(&b) {
        prop_assert!((a - b).abs() <= 1e-6 * a.abs(), "{} is not {}", a, b);
    }
    a.sort_by(|a, b| a.0.cmp(&b.0));
    b.sort_by(|a, b| a.0.cmp(&b.0));
    for (a, b) in a.iter().zip(&b) {
        prop_assert_eq!(&a.0, &b.0);
        prop_assert!(
            (a.1 - b.1).abs() <= 1e-6 * a.1.abs(),
            "{:?} is not {:?}",
            a,
            b
        );
    }
    Ok(())
}

/// What is done to a document: its passages, each with a heading and a text; none removes it.
type Change = (usize, Option<Vec<(String, String)>>);

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let word = prop_oneof![
        "[a-e]{1,2}",
        "(run|oil|pump)(s|ed|ing)?",
        "[水泵油阀]{1,3}",
        "[0-9]{1,2}",
        "Ünï[ab]"
    ];
    let text = prop::collection::vec(word.clone(), 1..12).prop_map(|words| words.join(" "));
    let heading = prop::collection::vec(word, 0..3).prop_map(|words| words.join(" "));
    let passages = prop::collection::vec((heading, text), 0..4);
    let change = (0..6_usize, prop::option::weighted(0.8, passages));
    prop::collection::vec(change, 1..12)
}

fn documents_of(name: usize, passages: &[(String, String)]) -> Document {
    // A number of its own makes each text one that is there once.
    let passages = passages.iter().enumerate().map(|(n, (heading, text))| {
        let text = format!("{text} {name}x{n}");
        match heading.as_str() {
            "" => passage(&[], &text),
            heading => passage(&[heading], &text),
        }
    });
    let format = if name.is_multiple_of(2) {
        "rust"
    } else {
        "text"
    };
    Document {
        format: format.to_owned(),
        ..document(&name.to_string(), passages.collect())
    }
}

#[test]
fn whatever_is_written_both_stores_find_the_same_with_the_same_scores() {
    let collection = collection!();
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(48)
    };
    proptest!(config, |(changes in changes(), query in "[a-e]{1,2} (run|pumps) [水泵油]{2} [0-9] unia")| {
        let mut shared = collection.store();
        for listed in shared.documents().unwrap() {
            shared.remove_document(&listed.path).unwrap();
        }
        let mut last = std::collections::BTreeMap::new();
        for (name, passages) in &changes {
            let path = name.to_string();
            match passages {
                Some(passages) => {
                    shared.put_document(&documents_of(*name, passages)).unwrap();
                    last.insert(*name, passages);
                }
                None => {
                    prop_assert_eq!(shared.remove_document(&path).unwrap(), last.remove(name).is_some());
                }
            }
        }
        // SQLite's counts still have what was removed: the file is made of what is left.
        let mut file = SqliteStore::in_memory().unwrap();
        for (name, passages) in last {
            file.put_document(&documents_of(name, passages)).unwrap();
        }
        let words = terms(&query);
        prop_assert_eq!(shared.frequencies(&words).unwrap(), file.frequencies(&words).unwrap());
        agree(scored(&shared, &words, 100), scored(&file, &words, 100))?;
        for word in words {
            agree(scored(&shared, std::slice::from_ref(&word), 100), scored(&file, &[word], 100))?;
        }
    });
}

#[test]
fn a_search_by_the_index_finds_nearly_all_that_an_exact_one_finds() {
    let mut collection = collection!();
    collection.exact_vectors = 1_000;
    let mut store = collection.store();
    let vectors = crate::scripted::bundles(4_000);
    let keyed: Vec<_> = vectors
        .iter()
        .enumerate()
        .map(|(n, vector)| (VectorKey::of(&format!("text {n}")), vector.clone()))
        .collect();
    let numbered = |count: usize| {
        let passages = (0..count).map(|n| passage(&[], &format!("text {n}")));
        document("a", passages.collect())
    };
    store.put_vectors(&keyed[..2_500]).unwrap();
    store.put_document(&numbered(2_500)).unwrap();
    assert_eq!(store.about().unwrap().codes, 0);
    store.tidy().unwrap();
    assert_eq!(store.about().unwrap().codes, 2_500);
    store.put_vectors(&keyed[2_500..]).unwrap();
    store.put_document(&numbered(4_000)).unwrap();
    assert_eq!(store.about().unwrap().codes, 4_000);
    let exact = collection.store().with_exact_vectors(10_000);
    let mut found = 0;
    for query in vectors.iter().step_by(80) {
        let all = exact.nearest(query, &Filter::default(), 10).unwrap();
        let near = store.nearest(query, &Filter::default(), 10).unwrap();
        found += all
            .iter()
            .filter(|hit| near.iter().any(|n| n.passage == hit.passage))
            .count();
    }
    assert!(found >= 475, "{found} of 500");
    // Where few vectors are left the index goes.
    store.put_document(&numbered(5)).unwrap();
    store.tidy().unwrap();
    assert_eq!(
        (store.about().unwrap().vectors, store.about().unwrap().codes),
        (5, 0)
    );
}

#[test]
fn frequent_words_are_left_out_where_rare_ones_find_enough() {
    let mut store = collection!().store();
    let text = |n: usize| match n {
        7 => "common rare".to_owned(),
        8 => "rare".to_owned(),
        9 => "often common".to_owned(),
        n if n % 2 == 0 => format!("often {n}"),
        n => format!("common {n}"),
    };
    let passages = (0..60).map(|n| passage(&[], &text(n))).collect();
    store.put_document(&document("a", passages)).unwrap();
    let find = |store: &PostgresStore, words: &str, limit: usize| -> Vec<String> {
        let found = scored(store, &terms(words), limit);
        found.into_iter().map(|(text, _)| text).collect()
    };
    assert_eq!(find(&store, "common rare", 100).len(), 31);
    store.ranked_passages = 10;
    let few = find(&store, "common rare", 2);
    assert_eq!(few.len(), 2);
    assert!(few.iter().all(|text| text.contains("rare")), "{few:?}");
    assert_eq!(find(&store, "common", 100).len(), 30);
    assert_eq!(find(&store, "common rare", 100).len(), 31);
    assert_eq!(find(&store, "common misspelt", 2).len(), 2);
}

#[test]
fn in_a_large_collection_both_stores_find_the_same_too_and_nothing_scores_above_all_words() {
    let collection = collection!();
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(48)
    };
    let word = prop_oneof!["[a-c]", "[a-e]{1,2}", "pump(s|ed|ing)?"];
    let text =
        prop::collection::vec(word, 1..12).prop_map(|words| (String::new(), words.join(" ")));
    let passages = prop::collection::vec(text, 1..40);
    proptest!(config, |(passages in passages, limit in 1..12_usize)| {
        let (mut shared, mut file) = (collection.store(), SqliteStore::in_memory().unwrap());
        shared.remove_document("1").unwrap();
        let restart = "ALTER TABLE passages ALTER COLUMN id RESTART";
        shared.session.borrow_mut().batch(restart).unwrap();
        let document = documents_of(1, &passages);
        shared.put_document(&document).unwrap();
        file.put_document(&document).unwrap();
        let words = terms("a b c dd pump");
        let exact = scored(&file, &words, 100);
        shared.ranked_passages = 3;
        file.ranked_passages = 3;
        let found = scored(&file, &words, limit);
        agree(scored(&shared, &words, limit), found.clone())?;
        for (text, score) in found {
            let most = exact.iter().find(|(other, _)| *other == text).unwrap().1;
            prop_assert!(score <= most + 1e-9, "{} has {} of {}", text, score, most);
        }
    });
}

#[test]
fn a_collection_of_a_later_version_is_refused_and_one_that_is_not_there_is_none() {
    let collection = collection!();
    let (address, name) = (&collection.address, &collection.name);
    assert!(PostgresStore::find(address, name).unwrap().is_none());
    let store = collection.store();
    assert!(PostgresStore::find(address, name).unwrap().is_some());
    let later = "UPDATE facts SET value = '99' WHERE name = 'version'";
    store.session.borrow_mut().batch(later).unwrap();
    let error = PostgresStore::open(address, name).err().unwrap();
    assert!(
        matches!(error, RetrieveError::StoreVersion { found: 99, .. }),
        "{error}"
    );
    let error = PostgresStore::open(address, &"水".repeat(30))
        .err()
        .unwrap();
    assert!(error.to_string().contains("90 bytes"), "{error}");
}

#[test]
fn many_that_open_and_write_at_once_are_all_right() {
    let collection = collection!();
    std::thread::scope(|scope| {
        for writer in 0..4_usize {
            let collection = &collection;
            scope.spawn(move || {
                let mut store = collection.store();
                for round in 0..15_usize {
                    // All write one document, and each one of its own; texts and vectors are shared.
                    for path in ["all", &format!("own {writer}")] {
                        let texts = (0..=(round + writer) % 4).map(|n| format!("shared {n}"));
                        let passages: Vec<_> = texts.map(|text| passage(&[], &text)).collect();
                        let vectors: Vec<_> = passages
                            .iter()
                            .map(|p| (VectorKey::of(&p.text), Words::vector(&p.text)))
                            .collect();
                        store.put_vectors(&vectors).unwrap();
                        store.put_document(&document(path, passages)).unwrap();
                    }
                    if round % 5 == writer {
                        store.remove_document("all").unwrap();
                    }
                    if round % 7 == writer {
                        store.tidy().unwrap();
                    }
                }
            });
        }
    });
    let mut store = collection.store();
    store.tidy().unwrap();
    let listed = store.documents().unwrap();
    let passages: usize = listed.iter().map(|document| document.passages).sum();
    assert!((4..=5).contains(&listed.len()), "{listed:?}");
    assert_eq!(store.about().unwrap().passages, passages);
    assert_eq!(
        store.frequencies(&["shared".to_owned()]).unwrap(),
        [passages]
    );
    assert_eq!(leftovers(&store), [0; 4]);
}

/// Words of no passage, passages whose words were counted wrongly, vectors that passages name and
/// that are not there, and the difference of the totals.
fn leftovers(store: &PostgresStore) -> [i64; 4] {
    let sql = "SELECT \
        (SELECT count(*) FROM words w WHERE NOT EXISTS \
            (SELECT FROM passages p WHERE p.id = w.passage AND p.length = w.length)), \
        (SELECT count(*) FROM passages p WHERE p.length > 0 AND NOT EXISTS \
            (SELECT FROM words w WHERE w.passage = p.id)), \
        (SELECT count(*) FROM passages p WHERE p.vector IS NOT NULL AND NOT EXISTS \
            (SELECT FROM vectors v WHERE v.id = p.vector)), \
        (SELECT abs(t.passages - (SELECT count(*) FROM passages)) \
            + abs(t.words - (SELECT coalesce(sum(length), 0)::bigint FROM passages)) FROM totals t)";
    let mut session = store.session.borrow_mut();
    let row = session.query_one(sql, &[]).unwrap();
    [row.get(0), row.get(1), row.get(2), row.get(3)]
}

#[test]
fn texts_that_postgresql_cannot_hold_come_back_as_they_were() {
    let mut store = collection!().store();
    let mut odd = passage(&["a\0b"], "zero \0 text");
    odd.record = Some("id\0".to_owned());
    odd.meta.insert("na\0me".to_owned(), "va\0lue".into());
    odd.meta.insert("flag".to_owned(), true.into());
    store
        .put_document(&document("a", vec![odd.clone()]))
        .unwrap();
    for clause in ["flag=1", "na\0me=va\0lue"] {
        let filter = Filter::parse(&[clause]).unwrap();
        let hits = store.lexical(&["zero".to_owned()], &filter, 1).unwrap();
        let found = store.passages(&[hits[0].passage]).unwrap().remove(0);
        assert_eq!((&found.text, &found.titles), (&odd.text, &odd.titles));
        assert_eq!((&found.record, &found.meta), (&odd.record, &odd.meta));
    }
}

#[test]
fn a_connection_that_the_server_has_ended_is_made_anew() {
    let collection = collection!();
    let (store, other) = (collection.store(), collection.store());
    let mut asked = store.session.borrow_mut();
    let id: i32 = asked
        .query_one("SELECT pg_backend_pid()", &[])
        .unwrap()
        .get(0);
    drop(asked);
    let ended = other
        .session
        .borrow_mut()
        .query("SELECT pg_terminate_backend($1)", &[&id]);
    assert_eq!(ended.unwrap().len(), 1);
    assert_eq!(store.about().unwrap().documents, 0);
}

#[test]
fn one_process_at_a_time_has_the_lock() {
    let collection = collection!();
    let take = || PostgresLock::take(&collection.address, &collection.name).unwrap();
    let first = take();
    assert!(first.is_some() && take().is_none());
    drop(first);
    assert!((0..500).any(|_| take().is_some()));
}

#[test]
fn a_wrong_password_is_told_and_not_shown() {
    let Some(server) = Server::shared() else {
        return;
    };
    let address = PostgresAddress::parse(&server.guarded_address()).unwrap();
    let open =
        |password: &str| PostgresStore::find(&address.clone().with_password(password), "guarded");
    assert!(open(server::PASSWORD).unwrap().is_none());
    let error = open("battery staple").err().unwrap();
    let told = format!("{error} {error:?}");
    assert!(told.contains("authentication failed"), "{told}");
    assert!(!told.contains("battery"), "{told}");
}
