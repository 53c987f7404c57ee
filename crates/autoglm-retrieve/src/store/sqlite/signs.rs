//! Approximate search: codes of a bit a number of all vectors, which every search looks at, and the
//! products in full of those that seem nearest.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, params};

use super::{Cached, SqliteStore, bytes_of, failed, numbers_of};
use crate::RetrieveError;
use crate::dense::{Code, Coder, Codes, Top};

/// Candidates by their codes for each vector that is wanted; their products are then computed in
/// full.
const CANDIDATES_PER_RESULT: usize = 10;
/// Candidates at least.
const CANDIDATES: usize = 400;

/// The codes of all vectors.
pub(super) struct SignCodes {
    coder: Coder,
    ids: Vec<i64>,
    codes: Codes,
}

impl SignCodes {
    fn read(connection: &Connection, coder: Coder) -> rusqlite::Result<Self> {
        let mut query =
            connection.prepare_cached("SELECT vector, code FROM signs ORDER BY vector")?;
        let mut rows = query.query([])?;
        let (mut ids, mut codes) = (Vec::new(), Codes::default());
        while let Some(row) = rows.next()? {
            let code = Code::of_bytes(row.get_ref(1)?.as_blob()?);
            if let Some(code) = code.filter(|code| code.words() == coder.words()) {
                ids.push(row.get(0)?);
                codes.push(&code);
            }
        }
        Ok(Self { coder, ids, codes })
    }

    /// The vectors that seem nearest.
    fn candidates(&self, vector: &[f32], allowed: Option<&HashSet<i64>>, limit: usize) -> Vec<i64> {
        let mut top = Top::new(limit);
        let query = self.coder.query(vector);
        self.codes.for_each_product(&query, |place, product| {
            let id = self.ids[place];
            if top.wants(product) && allowed.is_none_or(|allowed| allowed.contains(&id)) {
                top.add(id, product);
            }
        });
        top.best().into_iter().map(|(id, _)| id).collect()
    }
}

/// What makes the codes; nothing where search is exact.
pub(super) fn coder(connection: &Connection) -> rusqlite::Result<Option<Coder>> {
    let centre = connection
        .prepare_cached("SELECT vector FROM centre")?
        .query_row([], |row| Ok(numbers_of(row.get_ref(0)?.as_blob()?)))
        .optional()?;
    Ok(centre.map(Coder::new))
}

/// Writes the code of a vector.
pub(super) fn put_code(
    connection: &Connection,
    coder: &Coder,
    id: i64,
    vector: &[f32],
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO signs (vector, code) VALUES (?1, ?2)")?
        .execute(params![id, coder.encode(vector).to_bytes()])?;
    Ok(())
}

impl SqliteStore {
    /// Makes codes where there are many vectors, and anew around their centre where there are twice
    /// as many as when it was found.
    pub(super) fn build_signs(&mut self) -> Result<(), RetrieveError> {
        let exact_vectors = self.exact_vectors;
        self.write("make codes of vectors", |connection| {
            let count = |query: &str| -> rusqlite::Result<usize> {
                connection.query_row(query, [], |row| row.get::<_, i64>(0).map(|n| n as usize))
            };
            let vectors = count("SELECT count(*) FROM vectors")?;
            let of_centre = count("SELECT coalesce(max(vectors), 0) FROM centre")?;
            if vectors > exact_vectors && vectors >= 2 * of_centre {
                build(connection, vectors)?;
            }
            Ok(())
        })
    }

    /// The nearest of all vectors by their codes, in the order of their products in full; nothing
    /// where there are no codes.
    pub(super) fn approximate(
        &self,
        vector: &[f32],
        allowed: Option<&HashSet<i64>>,
        limit: usize,
    ) -> Result<Option<Vec<(i64, f32)>>, RetrieveError> {
        let candidates = (limit * CANDIDATES_PER_RESULT).max(CANDIDATES);
        let ids = self
            .with_signs(|signs| signs.candidates(vector, allowed, candidates))
            .map_err(failed("search vectors"))?;
        ids.map(|ids| self.exact_among(vector, &ids, limit))
            .transpose()
    }

    /// Does something with the codes as they are now, where there are any.
    fn with_signs<T>(&self, work: impl FnOnce(&SignCodes) -> T) -> rusqlite::Result<Option<T>> {
        let version = self.version()?;
        let mut cached = self.signs.borrow_mut();
        if cached
            .as_ref()
            .is_none_or(|cached| cached.version != version)
        {
            *cached = match coder(&self.connection)? {
                Some(coder) => Some(Cached {
                    version,
                    value: SignCodes::read(&self.connection, coder)?,
                }),
                None => None,
            };
        }
        Ok(cached.as_ref().map(|cached| work(&cached.value)))
    }
}

/// Makes the codes of all vectors around their centre.
fn build(connection: &Connection, vectors: usize) -> rusqlite::Result<()> {
    let mut sum: Vec<f64> = Vec::new();
    for_each_vector(connection, |_, vector| {
        sum.resize(vector.len(), 0.0);
        sum.iter_mut()
            .zip(vector)
            .for_each(|(sum, x)| *sum += f64::from(*x));
        Ok(())
    })?;
    let centre: Vec<f32> = sum
        .iter()
        .map(|sum| (sum / vectors as f64) as f32)
        .collect();
    connection.execute("DELETE FROM signs", [])?;
    connection.execute(
        "INSERT OR REPLACE INTO centre (id, vectors, vector) VALUES (0, ?1, ?2)",
        params![vectors as i64, bytes_of(&centre)],
    )?;
    let coder = Coder::new(centre);
    for_each_vector(connection, |id, vector| {
        put_code(connection, &coder, id, vector)
    })
}

fn for_each_vector(
    connection: &Connection,
    mut f: impl FnMut(i64, &[f32]) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut query = connection.prepare("SELECT id, vector FROM vectors ORDER BY id")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        f(row.get(0)?, &numbers_of(row.get_ref(1)?.as_blob()?))?;
    }
    Ok(())
}
