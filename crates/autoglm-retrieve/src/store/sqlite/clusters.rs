//! Approximate search: vectors sorted into clusters, of which a search looks at the nearest. All of
//! it lives in the file, so that a search reads what it needs and a process starts at once.
//!
//! # Source
//! Jégou, Douze, Schmid 2011, Product Quantization for Nearest Neighbor Search, §IV (inverted files
//! with re-ranking), with codes of 8 bits a number in place of product codes.

use std::collections::HashSet;
use std::num::NonZeroUsize;

use rusqlite::{Connection, params};

use super::dense::EXACT_VECTORS;
use super::{Cached, SqliteStore, bytes_of, failed, numbers_of};
use crate::RetrieveError;
use crate::dense::{Query, Top, Tree, encode, tree};

/// Vectors that train a cluster.
const SAMPLE_PER_CLUSTER: usize = 48;
/// Candidates by their codes for each vector that is wanted; their products are then computed in
/// full.
const CANDIDATES_PER_RESULT: usize = 4;
/// Candidates at least.
const CANDIDATES: usize = 100;

/// How approximate search works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterSettings {
    /// From so many vectors on there are clusters.
    pub from_vectors: usize,
    /// Clusters that a search looks at.
    pub probes: usize,
    /// Threads that sort vectors into clusters.
    pub threads: NonZeroUsize,
}

impl Default for ClusterSettings {
    /// Exact search up to 50,000 vectors; what is found beyond is told in `docs/knowledge.md`.
    fn default() -> Self {
        Self {
            from_vectors: EXACT_VECTORS + 1,
            probes: 48,
            threads: NonZeroUsize::MIN,
        }
    }
}

/// The centres of clusters; none where search is exact.
pub(super) struct Centroids(Option<Tree>);

impl Centroids {
    fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let mut query = connection.prepare_cached("SELECT vector FROM centroids ORDER BY id")?;
        let mut rows = query.query([])?;
        let (mut all, mut width) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            let numbers = numbers_of(row.get_ref(0)?.as_blob()?);
            width = numbers.len();
            all.extend(numbers);
        }
        Ok(Self((width > 0).then(|| Tree::of(all, width))))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The cluster of a vector.
    pub(super) fn of(&self, vector: &[f32]) -> Option<usize> {
        self.0.as_ref().and_then(|tree| tree.group_of(vector))
    }

    /// The nearest clusters to a vector.
    fn nearest(&self, vector: &[f32], count: usize) -> Vec<usize> {
        let ranked = self.0.as_ref().map(|tree| tree.ranked(vector));
        let ranked = ranked.unwrap_or_default().into_iter();
        ranked.take(count).map(|(cluster, _)| cluster).collect()
    }
}

impl SqliteStore {
    /// Does something with the centres of clusters as they are now.
    pub(super) fn with_centroids<T>(
        &self,
        work: impl FnOnce(&Centroids) -> T,
    ) -> Result<T, RetrieveError> {
        let failed = failed("read clusters");
        // Centres change when they are made anew, not whenever something is written.
        let made = self
            .connection
            .query_row(
                "SELECT coalesce(max(value), '0') FROM facts WHERE name = 'clusters'",
                [],
                |row| row.get::<_, String>(0),
            )
            .map_err(&failed)?;
        let version = (made.parse().unwrap_or(0), 0);
        let mut cached = self.centroids.borrow_mut();
        if cached
            .as_ref()
            .is_none_or(|cached| cached.version != version)
        {
            let value = Centroids::read(&self.connection).map_err(failed)?;
            *cached = Some(Cached { version, value });
        }
        let cached = cached.as_ref().map(|cached| &cached.value);
        Ok(work(cached.unwrap_or(&Centroids(None))))
    }

    /// Makes clusters where there are enough vectors, and anew where there are twice as many as when
    /// they were made.
    pub(super) fn build_clusters(&mut self) -> Result<(), RetrieveError> {
        let settings = self.settings;
        self.write("sort vectors into clusters", |connection| {
            let count = |query: &str| -> rusqlite::Result<usize> {
                connection.query_row(query, [], |row| row.get::<_, i64>(0).map(|n| n as usize))
            };
            let vectors = count("SELECT count(*) FROM vectors")?;
            let made_of = count(
                "SELECT coalesce(max(CAST(value AS INTEGER)), 0) FROM facts WHERE name = 'clustered'",
            )?;
            let is_enough = vectors >= settings.from_vectors;
            if is_enough && vectors >= 2 * made_of {
                build(connection, vectors, settings.threads)?;
            }
            Ok(())
        })
    }

    /// The nearest vectors in the nearest clusters.
    pub(super) fn approximate(
        &self,
        vector: &[f32],
        allowed: Option<&HashSet<i64>>,
        limit: usize,
    ) -> Result<Vec<(i64, f32)>, RetrieveError> {
        let probes = self.settings.probes;
        let clusters = self.with_centroids(|centroids| centroids.nearest(vector, probes))?;
        let candidates = (limit * CANDIDATES_PER_RESULT).max(CANDIDATES);
        let near = self
            .scan(vector, &clusters, allowed, candidates)
            .map_err(failed("search vectors"))?;
        let ids: Vec<i64> = near.into_iter().map(|(id, _)| id).collect();
        self.exact_among(vector, &ids, limit)
    }

    /// The nearest vectors of some clusters by their codes.
    fn scan(
        &self,
        vector: &[f32],
        clusters: &[usize],
        allowed: Option<&HashSet<i64>>,
        limit: usize,
    ) -> rusqlite::Result<Vec<(i64, f32)>> {
        let query = Query::new(vector);
        let mut top = Top::new(limit);
        let mut codes = self
            .connection
            .prepare_cached("SELECT vector, code FROM codes WHERE cluster = ?1")?;
        for cluster in clusters {
            let mut rows = codes.query([*cluster as i64])?;
            while let Some(row) = rows.next()? {
                let id = row.get(0)?;
                if allowed.is_none_or(|allowed| allowed.contains(&id))
                    && let Some(product) = query.product(row.get_ref(1)?.as_blob()?)
                {
                    top.add(id, product);
                }
            }
        }
        Ok(top.best())
    }
}

/// About as many clusters as vectors in each, times four: looking for the nearest clusters then
/// takes a part of the time that looking into them takes.
fn clusters_for(vectors: usize) -> usize {
    ((vectors as f64).sqrt() * 2.0) as usize
}

/// Sorts all vectors into clusters.
fn build(connection: &Connection, vectors: usize, threads: NonZeroUsize) -> rusqlite::Result<()> {
    let clusters = clusters_for(vectors);
    let step = (vectors / (clusters * SAMPLE_PER_CLUSTER)).max(1);
    let (sample, width) = sample(connection, step)?;
    let tree = tree(&sample, width, clusters, threads);
    drop(sample);
    connection.execute_batch("DELETE FROM codes; DELETE FROM centroids;")?;
    let mut put = connection.prepare("INSERT INTO centroids (id, vector) VALUES (?1, ?2)")?;
    for (id, centre) in tree.centres().enumerate() {
        put.execute(params![id as i64, bytes_of(centre)])?;
    }
    // What is read back orders its coarse groups by itself; vectors go where it puts them.
    let centroids = Centroids::read(connection)?;
    sort_in(connection, &centroids)?;
    connection.execute_batch(
        "INSERT OR REPLACE INTO facts SELECT 'clustered', count(*) FROM vectors; \
         INSERT OR REPLACE INTO facts \
         SELECT 'clusters', coalesce(max(CAST(value AS INTEGER)), 0) + 1 FROM facts \
         WHERE name = 'clusters';",
    )
}

/// Every so many-th vector, one after the other, and how many numbers one has.
fn sample(connection: &Connection, step: usize) -> rusqlite::Result<(Vec<f32>, usize)> {
    let mut query = connection.prepare("SELECT vector FROM vectors ORDER BY id")?;
    let mut rows = query.query([])?;
    let (mut all, mut width, mut n) = (Vec::new(), 0, 0);
    while let Some(row) = rows.next()? {
        if n % step == 0 {
            let numbers = numbers_of(row.get_ref(0)?.as_blob()?);
            width = numbers.len();
            all.extend(numbers);
        }
        n += 1;
    }
    Ok((all, width))
}

/// Puts every vector into its cluster. Codes are written cluster by cluster, so that the file grows
/// at its end.
fn sort_in(connection: &Connection, centroids: &Centroids) -> rusqlite::Result<()> {
    let mut places: Vec<(i64, i64)> = Vec::new();
    let mut query = connection.prepare("SELECT id, vector FROM vectors")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let vector = numbers_of(row.get_ref(1)?.as_blob()?);
        places.push((centroids.of(&vector).unwrap_or(0) as i64, row.get(0)?));
    }
    places.sort_unstable();
    let mut set = connection.prepare("UPDATE vectors SET cluster = ?2 WHERE id = ?1")?;
    let mut get = connection.prepare("SELECT vector FROM vectors WHERE id = ?1")?;
    for (cluster, id) in places {
        set.execute([id, cluster])?;
        let vector = get.query_row([id], |row| Ok(numbers_of(row.get_ref(0)?.as_blob()?)))?;
        put_code(connection, cluster, id, &vector)?;
    }
    Ok(())
}

/// Writes the code of a vector.
pub(super) fn put_code(
    connection: &Connection,
    cluster: i64,
    id: i64,
    vector: &[f32],
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO codes (cluster, vector, code) VALUES (?1, ?2, ?3)")?
        .execute(params![cluster, id, encode(vector)])?;
    Ok(())
}
