use std::path::PathBuf;

use tempfile::TempDir;

use super::super::conformance::{Fixture, conformance};
use super::*;
use crate::dense::dot;
use crate::scripted::{bundles, document, passage};

/// A file in a folder of its own.
struct InFile {
    _folder: TempDir,
    path: PathBuf,
}

impl InFile {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("sub/c.sqlite");
        Self {
            _folder: folder,
            path,
        }
    }
}

impl Fixture for InFile {
    fn open(&self) -> Box<dyn Store> {
        Box::new(SqliteStore::open(&self.path).unwrap())
    }
}

mod exact {
    use super::*;

    conformance!(InFile::new());
}

/// The same with codes from the first vector on.
struct Coded(InFile);

impl Fixture for Coded {
    fn open(&self) -> Box<dyn Store> {
        let store = SqliteStore::open(&self.0.path).unwrap();
        Box::new(Tidied(store.with_exact_vectors(0)))
    }
}

/// A store that tidies up behind each write of vectors, so that there are codes early.
struct Tidied(SqliteStore);

impl Store for Tidied {
    fn about(&self) -> Result<About, RetrieveError> {
        self.0.about()
    }
    fn space(&self) -> Result<Option<EmbeddingSpace>, RetrieveError> {
        self.0.space()
    }
    fn documents(&self) -> Result<Vec<Listed>, RetrieveError> {
        self.0.documents()
    }
    fn set_space(&mut self, space: Option<&EmbeddingSpace>) -> Result<(), RetrieveError> {
        self.0.set_space(space)
    }
    fn state(&self, path: &str) -> Result<Option<DocumentState>, RetrieveError> {
        self.0.state(path)
    }
    fn put_document(&mut self, document: &Document) -> Result<(), RetrieveError> {
        self.0.put_document(document)?;
        self.0.build_signs()
    }
    fn touch(&mut self, path: &str, modified_ns: Option<i64>) -> Result<(), RetrieveError> {
        self.0.touch(path, modified_ns)
    }
    fn remove_document(&mut self, path: &str) -> Result<bool, RetrieveError> {
        self.0.remove_document(path)
    }
    fn has_vectors(&self, keys: &[VectorKey]) -> Result<Vec<bool>, RetrieveError> {
        self.0.has_vectors(keys)
    }
    fn put_vectors(&mut self, vectors: &[(VectorKey, Vec<f32>)]) -> Result<(), RetrieveError> {
        self.0.put_vectors(vectors)
    }
    fn tidy(&mut self) -> Result<(), RetrieveError> {
        self.0.tidy()
    }
    fn lexical(
        &self,
        terms: &[String],
        filter: &Filter,
        limit: usize,
    ) -> Result<Vec<Hit>, RetrieveError> {
        self.0.lexical(terms, filter, limit)
    }
    fn frequencies(&self, terms: &[String]) -> Result<Vec<usize>, RetrieveError> {
        self.0.frequencies(terms)
    }
    fn nearest(
        &self,
        vector: &[f32],
        filter: &Filter,
        limit: usize,
    ) -> Result<Vec<Hit>, RetrieveError> {
        self.0.nearest(vector, filter, limit)
    }
    fn passages(&self, ids: &[PassageId]) -> Result<Vec<Passage>, RetrieveError> {
        self.0.passages(ids)
    }
    fn vectors(&self, ids: &[PassageId]) -> Result<Vec<Option<Vec<f32>>>, RetrieveError> {
        self.0.vectors(ids)
    }
}

mod coded {
    use super::*;

    conformance!(Coded(InFile::new()));
}

/// Passages by number.
fn numbered(count: usize) -> Document {
    let text = |n: usize| passage(&[], &format!("text {n}"));
    document("a", (0..count).map(text).collect())
}

#[test]
fn a_search_by_codes_finds_nearly_all_that_an_exact_one_finds() {
    const COUNT: usize = 4_000;
    let mut store = SqliteStore::in_memory().unwrap().with_exact_vectors(1_000);
    let vectors = bundles(COUNT);
    let keyed: Vec<_> = vectors
        .iter()
        .enumerate()
        .map(|(n, vector)| (VectorKey::of(&format!("text {n}")), vector.clone()))
        .collect();
    // A part of them before there are codes, the others after.
    store.put_vectors(&keyed[..2_500]).unwrap();
    store.put_document(&numbered(2_500)).unwrap();
    store.build_signs().unwrap();
    assert_eq!(store.about().unwrap().codes, 2_500);
    store.put_vectors(&keyed[2_500..]).unwrap();
    store.put_document(&numbered(COUNT)).unwrap();
    assert_eq!(store.about().unwrap().codes, COUNT);
    let mut found = 0;
    for query in vectors.iter().step_by(80) {
        let mut exact: Vec<(usize, f32)> =
            vectors.iter().map(|v| dot(query, v)).enumerate().collect();
        exact.sort_by(|a, b| b.1.total_cmp(&a.1));
        let near = store.nearest(query, &Filter::default(), 10).unwrap();
        let ids: Vec<PassageId> = near.iter().map(|hit| hit.passage).collect();
        let passages = store.passages(&ids).unwrap();
        let is_found = |n: &usize| passages.iter().any(|p| p.text == format!("text {n}"));
        found += exact[..10].iter().filter(|(n, _)| is_found(n)).count();
    }
    assert!(found >= 475, "{found} of 500");
}

#[test]
fn codes_go_with_their_vectors() {
    let mut store = SqliteStore::in_memory().unwrap().with_exact_vectors(0);
    let vectors = bundles(20);
    let keyed: Vec<_> = (0..20)
        .map(|n| (VectorKey::of(&format!("text {n}")), vectors[n].clone()))
        .collect();
    store.put_vectors(&keyed).unwrap();
    store.put_document(&numbered(20)).unwrap();
    store.tidy().unwrap();
    assert_eq!(store.about().unwrap().codes, 20);
    store.put_document(&numbered(5)).unwrap();
    store.tidy().unwrap();
    assert_eq!(store.about().unwrap().codes, 5);
    let near = store.nearest(&vectors[12], &Filter::default(), 10).unwrap();
    assert_eq!(near.len(), 5);
}

#[test]
fn a_file_with_clusters_becomes_one_without() {
    let file = InFile::new();
    std::fs::create_dir_all(file.path.parent().unwrap()).unwrap();
    let connection = Connection::open(&file.path).unwrap();
    connection.execute_batch(MIGRATIONS[0]).unwrap();
    connection
        .execute_batch(
            "INSERT INTO vectors (key, cluster, vector) VALUES (x'00', 3, zeroblob(8)); \
             INSERT INTO codes VALUES (3, 1, x'00'); INSERT INTO centroids VALUES (3, x'00'); \
             PRAGMA user_version = 1;",
        )
        .unwrap();
    drop(connection);
    let store = SqliteStore::open(&file.path).unwrap();
    let about = store.about().unwrap();
    assert_eq!((about.vectors, about.codes), (1, 0));
}

#[test]
fn frequent_words_are_left_out_where_rare_ones_find_enough() {
    let mut store = SqliteStore::in_memory().unwrap();
    let text = |n: usize| match n {
        7 => "common rare".to_owned(),
        8 => "rare".to_owned(),
        9 => "often common".to_owned(),
        n if n % 2 == 0 => format!("often {n}"),
        n => format!("common {n}"),
    };
    let passages = (0..60).map(|n| passage(&[], &text(n))).collect();
    store.put_document(&document("a", passages)).unwrap();
    let find = |store: &SqliteStore, terms: &[&str], limit: usize| -> Vec<String> {
        let terms: Vec<String> = terms.iter().map(|term| (*term).to_owned()).collect();
        let hits = store.lexical(&terms, &Filter::default(), limit).unwrap();
        let ids: Vec<PassageId> = hits.iter().map(|hit| hit.passage).collect();
        let found = store.passages(&ids).unwrap();
        found.into_iter().map(|passage| passage.text).collect()
    };
    let all = find(&store, &["common", "rare"], 100);
    assert_eq!(all.len(), 31);
    store.ranked_passages = 10;
    let few = find(&store, &["common", "rare"], 2);
    assert_eq!(few.len(), 2, "{few:?}");
    assert!(few.iter().all(|text| text.contains("rare")), "{few:?}");
    // A word is looked for however frequent it is, where the others find too little.
    assert_eq!(find(&store, &["common"], 100).len(), 30);
    assert_eq!(find(&store, &["common", "rare"], 100).len(), 31);
    assert_eq!(find(&store, &["common", "misspelt"], 2).len(), 2);
    // Frequent words are looked for together, and count beside a rare one.
    let mut store = SqliteStore::in_memory().unwrap();
    store.ranked_passages = 10;
    let text = |n: usize| {
        let words = [(3, 0, "oak"), (4, 0, "ash"), (15, 12, "elm")];
        let of = words.iter().filter(|(step, first, _)| n % step == *first);
        let of: Vec<&str> = of.map(|(.., word)| *word).collect();
        format!("{} {n}", of.join(" ")).trim_start().to_owned()
    };
    let passages = (0..60).map(|n| passage(&[], &text(n))).collect();
    store.put_document(&document("a", passages)).unwrap();
    let both = ["oak ash 0", "oak ash 24", "oak ash 36"];
    assert_eq!(find(&store, &["oak", "ash"], 3), both);
    // What has a rare word has the score that it has where all words are looked for.
    let all = Filter::parse(&["path=*"]).unwrap();
    let words = ["elm".to_owned(), "oak".to_owned()];
    let found = store.lexical(&words, &Filter::default(), 4).unwrap();
    assert_eq!(found, store.lexical(&words, &all, 4).unwrap());
}

#[test]
fn what_is_gone_does_not_count_once_it_is_much() {
    let titled = |n: usize| {
        passage(
            &["Pump", "Care of 水泵"],
            &format!("oil {}{n}", "often ".repeat(n % 4)),
        )
    };
    let put = |store: &mut SqliteStore, path: &str, first: usize| {
        let passages = (first..first + 10).map(titled).collect();
        store.put_document(&document(path, passages)).unwrap();
    };
    let scores = |store: &SqliteStore| -> Vec<f64> {
        let words = ["often", "care", "水泵", "7"].map(str::to_owned);
        let hits = store.lexical(&words, &Filter::default(), 100).unwrap();
        hits.iter().map(|hit| hit.score).collect()
    };
    let mut fresh = SqliteStore::in_memory().unwrap();
    put(&mut fresh, "a", 0);
    put(&mut fresh, "b", 10);
    let mut store = SqliteStore::in_memory().unwrap();
    for first in [30, 50, 70, 0] {
        put(&mut store, "a", first);
    }
    put(&mut store, "b", 10);
    assert_ne!(scores(&store), scores(&fresh));
    store.tidy().unwrap();
    assert_eq!(scores(&store), scores(&fresh));
    // A little more may be gone before all is counted again.
    put(&mut store, "c", 20);
    store.remove_document("c").unwrap();
    assert_ne!(scores(&store), scores(&fresh));
    put(&mut store, "c", 20);
    store.tidy().unwrap();
    put(&mut fresh, "c", 20);
    assert_eq!(scores(&store), scores(&fresh));
}

#[test]
fn a_file_of_a_later_version_is_refused() {
    let file = InFile::new();
    let store = SqliteStore::open(&file.path).unwrap();
    store
        .connection
        .pragma_update(None, "user_version", 99)
        .unwrap();
    drop(store);
    let error = SqliteStore::open(&file.path).err().unwrap();
    assert!(
        matches!(error, RetrieveError::StoreVersion { found: 99, .. }),
        "{error}"
    );
}
