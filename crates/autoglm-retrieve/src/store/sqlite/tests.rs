use std::num::NonZeroUsize;
use std::path::PathBuf;

use tempfile::TempDir;

use super::super::conformance::{Fixture, conformance};
use super::*;
use crate::dense::dot;
use crate::scripted::{document, passage};

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

/// The same with clusters from the first vector on, all of which are looked at.
struct Clustered(InFile);

impl Fixture for Clustered {
    fn open(&self) -> Box<dyn Store> {
        let store = SqliteStore::open(&self.0.path).unwrap();
        Box::new(Tidied(store.with_clusters(ClusterSettings {
            from_vectors: 1,
            probes: 100,
            threads: NonZeroUsize::MIN,
        })))
    }
}

/// A store that tidies up behind each write of vectors, so that there are clusters early.
struct Tidied(SqliteStore);

impl Store for Tidied {
    fn about(&self) -> Result<About, RetrieveError> {
        self.0.about()
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
        self.0.build_clusters()
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

mod clustered {
    use super::*;

    conformance!(Clustered(InFile::new()));
}

/// Vectors around some directions, as those of texts are.
fn bundles(count: usize) -> Vec<Vec<f32>> {
    let vector = |n: usize| -> Vec<f32> {
        let (bundle, within) = ((n * 7919 % 40) as f32, n as f32);
        let numbers: Vec<f32> = (0..16)
            .map(|d| {
                (bundle * 1.7 + d as f32 * 2.3).sin() + 0.5 * (within * 0.37 + d as f32 * 1.1).sin()
            })
            .collect();
        let length = dot(&numbers, &numbers).sqrt();
        numbers.into_iter().map(|x| x / length).collect()
    };
    (0..count).map(vector).collect()
}

#[test]
fn a_search_in_a_few_clusters_finds_nearly_all_that_an_exact_one_finds() {
    let settings = ClusterSettings {
        from_vectors: 1_000,
        probes: 12,
        threads: NonZeroUsize::MIN,
    };
    let mut store = SqliteStore::in_memory().unwrap().with_clusters(settings);
    let vectors = bundles(2_000);
    let passages = (0..2_000)
        .map(|n| passage(&[], &format!("text {n}")))
        .collect();
    let keyed: Vec<_> = vectors
        .iter()
        .enumerate()
        .map(|(n, vector)| (VectorKey::of(&format!("text {n}")), vector.clone()))
        .collect();
    // Half of them before there are clusters, half after.
    store.put_vectors(&keyed[..1_000]).unwrap();
    store.put_document(&document("a", passages)).unwrap();
    store.build_clusters().unwrap();
    store.put_vectors(&keyed[1_000..]).unwrap();
    store
        .put_document(&document(
            "a",
            (0..2_000)
                .map(|n| passage(&[], &format!("text {n}")))
                .collect(),
        ))
        .unwrap();
    assert!(store.about().unwrap().clusters > 50);
    let mut found = 0;
    for query in vectors.iter().step_by(40) {
        let mut exact: Vec<(usize, f32)> =
            vectors.iter().map(|v| dot(query, v)).enumerate().collect();
        exact.sort_by(|a, b| b.1.total_cmp(&a.1));
        let near = store.nearest(query, &Filter::default(), 10).unwrap();
        let ids: Vec<PassageId> = near.iter().map(|hit| hit.passage).collect();
        let texts: Vec<String> = store
            .passages(&ids)
            .unwrap()
            .into_iter()
            .map(|p| p.text)
            .collect();
        found += exact[..10]
            .iter()
            .filter(|(n, _)| texts.contains(&format!("text {n}")))
            .count();
    }
    assert!(found >= 475, "{found} of 500");
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
