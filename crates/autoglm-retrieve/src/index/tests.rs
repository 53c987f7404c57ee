use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::passage::PassageId;
use crate::scripted::Words;
use crate::store::{Filter, SqliteStore};
use crate::text::terms;

/// A folder of documents and a collection beside it.
struct Desk {
    folder: TempDir,
    words: Words,
    now_ns: i64,
    chunks: ChunkSettings,
}

impl Desk {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("docs")).unwrap();
        Self {
            folder,
            words: Words::new("words"),
            // Long after anything is written here.
            now_ns: i64::MAX,
            chunks: ChunkSettings { max_tokens: 40 },
        }
    }

    fn docs(&self) -> PathBuf {
        self.folder.path().join("docs")
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.docs().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn store(&self) -> SqliteStore {
        SqliteStore::open(&self.folder.path().join("c.sqlite")).unwrap()
    }

    fn run(&self, paths: &[&Path]) -> Result<Outcome, RetrieveError> {
        let count = |text: &str| terms(text).len();
        let mut store = self.store();
        let mut indexer = Indexer {
            store: &mut store,
            embed: Some(&self.words),
            vectors_know_chinese: true,
            tokens: &count,
            chunks: self.chunks,
            limits: Limits::default(),
            now_ns: self.now_ns,
            cancel: &Cancel::default(),
        };
        indexer.run(paths, &mut |_| {})
    }

    fn index(&self) -> Outcome {
        self.run(&[&self.docs()]).unwrap()
    }

    fn find(&self, words: &str) -> Vec<String> {
        let store = self.store();
        let hits = store
            .lexical(&terms(words), &Filter::default(), 100)
            .unwrap();
        let ids: Vec<PassageId> = hits.iter().map(|hit| hit.passage).collect();
        store
            .passages(&ids)
            .unwrap()
            .into_iter()
            .map(|p| p.text)
            .collect()
    }
}

/// Documents that are kept elsewhere, each marked by its own text.
fn kept(commit: &str, texts: &[(&str, &str)]) -> Kept {
    let document = |(name, text): &(&str, &str)| KeptDocument {
        path: format!("git:/r@main:{name}"),
        format: Format::Plain,
        size_bytes: text.len() as u64,
        mark: Sha256::digest(text).into(),
    };
    let mut meta = serde_json::Map::new();
    meta.insert("commit".to_owned(), commit.into());
    Kept {
        prefix: "git:/r@main:".to_owned(),
        meta,
        documents: texts.iter().map(document).collect(),
    }
}

fn index_kept(desk: &Desk, commit: &str, texts: &[(&str, &str)]) -> (Outcome, Vec<String>) {
    let count = |text: &str| terms(text).len();
    let mut store = desk.store();
    let mut indexer = Indexer {
        store: &mut store,
        embed: Some(&desk.words),
        vectors_know_chinese: true,
        tokens: &count,
        chunks: desk.chunks,
        limits: Limits {
            file_bytes: 100,
            ..Limits::default()
        },
        now_ns: desk.now_ns,
        cancel: &Cancel::default(),
    };
    let mut fetched = Vec::new();
    let mut fetch = |document: &KeptDocument| {
        fetched.push(document.path.clone());
        let (_, name) = document.path.rsplit_once(':').unwrap();
        let text = texts.iter().find(|(other, _)| *other == name).unwrap().1;
        Ok(text.as_bytes().to_vec())
    };
    let outcome = indexer
        .run_kept(&kept(commit, texts), &mut fetch, &mut |_| {})
        .unwrap();
    (outcome, fetched)
}

#[test]
fn what_is_kept_elsewhere_is_fetched_where_its_mark_is_new() {
    let desk = Desk::new();
    desk.write("f.txt", "A fan.");
    desk.index();
    let large = "x ".repeat(100);
    let texts = [
        ("a.txt", "Oil it."),
        ("b.txt", "Turn it."),
        ("c.txt", large.as_str()),
    ];
    let (first, fetched) = index_kept(&desk, "1", &texts);
    assert_eq!((first.added, first.broken.len()), (2, 1), "{first:?}");
    assert_eq!(fetched, ["git:/r@main:a.txt", "git:/r@main:b.txt"]);
    let (second, fetched) = index_kept(&desk, "2", &[("a.txt", "Oil it."), ("d.txt", "Wash it.")]);
    assert_eq!((second.unchanged, second.added, second.removed), (1, 1, 1));
    assert_eq!(fetched, ["git:/r@main:d.txt"]);
    let commits = |words: &str| {
        let store = desk.store();
        let hits = store.lexical(&terms(words), &Filter::default(), 9).unwrap();
        let ids: Vec<PassageId> = hits.iter().map(|hit| hit.passage).collect();
        let passages = store.passages(&ids).unwrap();
        passages
            .iter()
            .map(|p| p.meta["commit"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (commits("oil"), commits("wash")),
        (vec!["1".into()], vec!["2".into()])
    );
    // Neither kind of source takes the other's documents for gone.
    assert_eq!(desk.index().removed, 0);
    assert_eq!((desk.find("fan").len(), desk.find("wash").len()), (1, 1));
}

#[test]
fn what_has_not_changed_is_not_read_and_what_is_gone_is_gone() {
    let desk = Desk::new();
    desk.write("a.md", "# Pump\n\nOil it.\n");
    desk.write("sub/b.txt", "A fan.\n");
    let first = desk.index();
    assert_eq!((first.added, first.passages, first.embedded), (2, 2, 2));
    let second = desk.index();
    assert_eq!(
        (
            second.unchanged,
            second.added + second.changed + second.passages
        ),
        (2, 0)
    );
    desk.write("a.md", "# Pump\n\nOil it.\n\n# Valve\n\nTurn it.\n");
    let third = desk.index();
    assert_eq!(
        (third.changed, third.unchanged, third.embedded),
        (1, 1, 1),
        "the old text keeps its vector"
    );
    fs::remove_dir_all(desk.docs().join("sub")).unwrap();
    let fourth = desk.index();
    assert_eq!((fourth.removed, fourth.unchanged), (1, 1));
    assert_eq!(desk.find("fan"), [""; 0]);
    assert_eq!(*desk.words.asked.lock().unwrap(), 3);
}

#[test]
fn documents_are_read_again_where_they_are_to_be_cut_in_another_way() {
    let mut desk = Desk::new();
    desk.write("a.md", "Oil the pump. ".repeat(10));
    let texts = [("b.txt", "The valve is shut.")];
    assert_eq!(desk.index().passages, 1);
    assert_eq!(index_kept(&desk, "one", &texts).0.added, 1);
    desk.chunks.max_tokens = 16;
    let cut = desk.index();
    assert_eq!((cut.changed, cut.passages > 1), (1, true), "{cut:?}");
    assert_eq!(index_kept(&desk, "one", &texts).0.changed, 1);
    let again = (desk.index(), index_kept(&desk, "one", &texts).0);
    assert_eq!((again.0.unchanged, again.1.unchanged), (1, 1));
}

#[test]
fn a_file_written_just_now_is_looked_at_again_and_found_unchanged_by_its_bytes() {
    let mut desk = Desk::new();
    desk.now_ns = 0;
    desk.write("a.txt", "one");
    desk.index();
    let again = desk.index();
    assert_eq!((again.unchanged, again.changed, again.embedded), (1, 0, 0));
}

#[test]
fn only_what_lies_below_the_paths_is_touched() {
    let desk = Desk::new();
    desk.write("x/a.txt", "one");
    desk.write("y/b.txt", "two");
    desk.index();
    fs::remove_dir_all(desk.docs().join("x")).unwrap();
    desk.write("y/b.txt", "three");
    let outcome = desk.run(&[&desk.docs().join("x")]).unwrap();
    assert_eq!((outcome.removed, outcome.changed), (1, 0));
    assert_eq!(desk.find("two"), ["two"]);
    let error = desk.run(&[&desk.docs().join("never")]).unwrap_err();
    assert!(matches!(error, RetrieveError::NoSuchPath { .. }), "{error}");
}

#[test]
fn a_broken_document_is_named_and_the_rest_is_indexed() {
    let desk = Desk::new();
    desk.write("a.pdf", "not a PDF");
    desk.write("b.docx", "not a zip archive");
    desk.write("c.jsonl", "{\"text\": \"kept\"}\n{torn\n");
    desk.write("d.txt", "fine");
    desk.write("e.bin2", [0_u8, 159, 146, 150]);
    desk.write("f.png", [0_u8; 9]);
    let outcome = desk.index();
    assert_eq!(outcome.added, 2);
    let broken: Vec<(&str, bool)> = outcome
        .broken
        .iter()
        .map(|b| (b.path.rsplit('/').next().unwrap(), b.in_part))
        .collect();
    assert_eq!(
        broken,
        [("a.pdf", false), ("b.docx", false), ("c.jsonl", true)]
    );
    assert_eq!((desk.find("kept").len(), desk.find("fine").len()), (1, 1));
}

#[test]
fn hidden_and_ignored_files_are_left_out() {
    let desk = Desk::new();
    desk.write(".secret.txt", "hidden");
    desk.write(".gitignore", "made/\n");
    desk.write("made/a.txt", "ignored");
    desk.write("a.txt", "seen");
    assert_eq!(desk.index().added, 1);
}

#[test]
fn a_collection_of_one_model_is_not_mixed_with_vectors_of_another() {
    let mut desk = Desk::new();
    desk.write("a.txt", "one");
    desk.index();
    desk.words = Words::new("others");
    let error = desk.run(&[&desk.docs()]).unwrap_err().to_string();
    assert!(
        error.contains("of the model words, the model given is others"),
        "{error}"
    );
    desk.store().set_space(Some(desk.words.space())).unwrap();
    assert_eq!(
        (desk.index().changed, desk.store().about().unwrap().vectors),
        (1, 1)
    );
}

#[test]
fn chinese_has_no_vectors_of_a_model_that_knows_none() {
    let desk = Desk::new();
    desk.write("a.txt", "给水泵加油。");
    desk.write("b.txt", "Oil the pump.");
    let count = |text: &str| terms(text).len();
    let mut store = desk.store();
    let mut indexer = Indexer {
        store: &mut store,
        embed: Some(&desk.words),
        vectors_know_chinese: false,
        tokens: &count,
        chunks: ChunkSettings { max_tokens: 40 },
        limits: Limits::default(),
        now_ns: i64::MAX,
        cancel: &Cancel::default(),
    };
    assert_eq!(
        indexer.run(&[&desk.docs()], &mut |_| {}).unwrap().embedded,
        1
    );
    assert_eq!(desk.find("水泵").len(), 1);
}

/// Random numbers that are the same everywhere.
struct Stream(u64);

impl Stream {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % limit
    }
}

/// Adds, changes and deletes files at random, and indexes in between with engines that break off in
/// the middle. Whatever happened, a run that ends leaves exactly the passages of the files.
fn random_operations(operations: usize) {
    let mut desk = Desk::new();
    let mut files: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut stream = Stream(7);
    let mut crashes = 0;
    for operation in 0..operations {
        let name = format!("{}.txt", stream.below(60));
        if stream.below(3) == 0 {
            let was_there = files.remove(&name).is_some();
            assert_eq!(fs::remove_file(desk.docs().join(&name)).is_ok(), was_there);
        } else {
            // Words of its own, so that paragraphs are passages of their own.
            let paragraphs: Vec<String> = (0..=stream.below(3))
                .map(|p| {
                    (0..30)
                        .map(|w| format!("o{operation}p{p}w{w}"))
                        .collect::<Vec<_>>()
                        .join(" ")
                })
                .collect();
            desk.write(&name, paragraphs.join("\n\n"));
            files.insert(name, paragraphs);
        }
        match stream.below(8) {
            0 => {
                let asked = *desk.words.asked.lock().unwrap();
                desk.words.broken_after = Some(asked + stream.below(6));
                crashes += usize::from(desk.run(&[&desk.docs()]).is_err());
                desk.words.broken_after = None;
            }
            1 => check_exact(&desk, &files),
            _ => {}
        }
    }
    check_exact(&desk, &files);
    assert!(crashes > operations / 40, "{crashes} crashes");
}

fn check_exact(desk: &Desk, files: &BTreeMap<String, Vec<String>>) {
    desk.index();
    let store = desk.store();
    let about = store.about().unwrap();
    let wanted: BTreeSet<&String> = files.values().flatten().collect();
    assert_eq!(
        (about.documents, about.passages, about.vectors),
        (files.len(), wanted.len(), wanted.len())
    );
    for text in wanted {
        let found = desk_find_one(&store, text);
        assert_eq!(found.as_deref(), Some(text.as_str()));
    }
}

fn desk_find_one(store: &SqliteStore, text: &str) -> Option<String> {
    let word = terms(text).into_iter().next()?;
    let hits = store.lexical(&[word], &Filter::default(), 10).unwrap();
    assert_eq!(hits.len(), 1, "{text}");
    let near = store
        .nearest(&Words::vector(text), &Filter::default(), 100)
        .unwrap();
    assert!(near.iter().any(|hit| hit.passage == hits[0].passage));
    Some(store.passages(&[hits[0].passage]).unwrap().remove(0).text)
}

#[test]
fn nothing_is_lost_and_no_ghost_stays_over_random_operations_with_crashes() {
    random_operations(300);
}
