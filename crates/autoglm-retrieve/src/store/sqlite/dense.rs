//! Search by vectors: all of them where there are few, those with the nearest codes otherwise.

use std::collections::HashSet;

use autoglm_kernel::products;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::super::{Filter, Hit};
use super::lexical::conditions;
use super::{Cached, SqliteStore, failed, numbers_of};
use crate::RetrieveError;
use crate::dense::{Top, dot};
use crate::passage::PassageId;

/// Vectors up to which all are looked at.
pub(super) const EXACT_VECTORS: usize = 50_000;

/// Vectors whose products are made before any is looked at.
const ROWS_AT_ONCE: usize = 256;

/// All vectors, one after the other.
pub(super) struct Matrix {
    /// Numbers of each.
    width: usize,
    ids: Vec<i64>,
    rows: Vec<f32>,
}

impl Matrix {
    /// All vectors with so many numbers; a collection has no others.
    fn read(connection: &Connection, width: usize) -> rusqlite::Result<Self> {
        let mut query = connection.prepare_cached("SELECT id, vector FROM vectors ORDER BY id")?;
        let mut rows = query.query([])?;
        let mut matrix = Self {
            width,
            ids: Vec::new(),
            rows: Vec::new(),
        };
        while let Some(row) = rows.next()? {
            let (numbers, _) = row.get_ref(1)?.as_blob()?.as_chunks::<4>();
            if numbers.len() == width {
                matrix.ids.push(row.get(0)?);
                let numbers = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes));
                matrix.rows.extend(numbers);
            }
        }
        Ok(matrix)
    }

    fn nearest(
        &self,
        vector: &[f32],
        allowed: Option<&HashSet<i64>>,
        limit: usize,
    ) -> Vec<(i64, f32)> {
        let mut top = Top::new(limit);
        if vector.len() != self.width || vector.is_empty() {
            return top.best();
        }
        let mut found = [0.0; ROWS_AT_ONCE];
        let rows = self.rows.chunks(ROWS_AT_ONCE * self.width);
        for (ids, rows) in self.ids.chunks(ROWS_AT_ONCE).zip(rows) {
            let found = &mut found[..ids.len()];
            products(vector, rows, found);
            for (id, product) in ids.iter().zip(found) {
                if top.wants(*product) && allowed.is_none_or(|allowed| allowed.contains(id)) {
                    top.add(*id, *product);
                }
            }
        }
        top.best()
    }
}

impl SqliteStore {
    pub(super) fn nearest_passages(
        &self,
        vector: &[f32],
        filter: &Filter,
        limit: usize,
    ) -> Result<Vec<Hit>, RetrieveError> {
        let search = failed("search vectors");
        let allowed = if filter.is_empty() {
            None
        } else {
            Some(allowed_vectors(&self.connection, filter).map_err(&search)?)
        };
        let near = self.nearest_vectors(vector, allowed.as_ref(), limit)?;
        self.passages_of(&near, filter, limit).map_err(search)
    }

    /// Vectors by their numbers with their products, the nearest first.
    fn nearest_vectors(
        &self,
        vector: &[f32],
        allowed: Option<&HashSet<i64>>,
        limit: usize,
    ) -> Result<Vec<(i64, f32)>, RetrieveError> {
        if let Some(allowed) = allowed.filter(|allowed| allowed.len() <= self.exact_vectors) {
            let ids: Vec<i64> = allowed.iter().copied().collect();
            return self.exact_among(vector, &ids, limit);
        }
        match self.approximate(vector, allowed, limit)? {
            Some(near) => Ok(near),
            None => self
                .exact(vector, allowed, limit)
                .map_err(failed("search vectors")),
        }
    }

    fn exact(
        &self,
        vector: &[f32],
        allowed: Option<&HashSet<i64>>,
        limit: usize,
    ) -> rusqlite::Result<Vec<(i64, f32)>> {
        let version = self.version()?;
        let mut cached = self.matrix.borrow_mut();
        if cached
            .as_ref()
            .is_none_or(|cached| cached.version != version)
        {
            *cached = Some(Cached {
                version,
                value: Matrix::read(&self.connection, vector.len())?,
            });
        }
        let matrix = cached.as_ref().map(|cached| &cached.value);
        Ok(matrix.map_or_else(Vec::new, |m| m.nearest(vector, allowed, limit)))
    }

    /// The nearest of some vectors, by their products in full.
    pub(super) fn exact_among(
        &self,
        vector: &[f32],
        ids: &[i64],
        limit: usize,
    ) -> Result<Vec<(i64, f32)>, RetrieveError> {
        let search = || -> rusqlite::Result<Vec<(i64, f32)>> {
            let mut query = self
                .connection
                .prepare_cached("SELECT vector FROM vectors WHERE id = ?1")?;
            let mut top = Top::new(limit);
            for id in ids {
                let mut rows = query.query([id])?;
                if let Some(row) = rows.next()? {
                    let numbers = numbers_of(row.get_ref(0)?.as_blob()?);
                    if numbers.len() == vector.len() {
                        top.add(*id, dot(vector, &numbers));
                    }
                }
            }
            Ok(top.best())
        };
        search().map_err(failed("search vectors"))
    }

    /// The passages that have some vectors, in the vectors' order.
    fn passages_of(
        &self,
        near: &[(i64, f32)],
        filter: &Filter,
        limit: usize,
    ) -> rusqlite::Result<Vec<Hit>> {
        let (joins, wheres, values) = conditions(filter);
        let joins = if filter.is_empty() { "" } else { joins };
        let sql = format!(
            "SELECT p.id FROM passages p {joins} WHERE p.vector = ? {wheres} ORDER BY p.id"
        );
        let mut query = self.connection.prepare_cached(&sql)?;
        let mut hits = Vec::new();
        for (vector, score) in near {
            let values = std::iter::once(Value::Integer(*vector)).chain(values.iter().cloned());
            let ids = query.query_map(params_from_iter(values), |row| row.get(0))?;
            for id in ids {
                hits.push(Hit {
                    passage: PassageId(id?),
                    score: f64::from(*score),
                });
            }
            if hits.len() >= limit {
                break;
            }
        }
        hits.truncate(limit);
        Ok(hits)
    }
}

/// The vectors of the passages that a filter lets through.
fn allowed_vectors(connection: &Connection, filter: &Filter) -> rusqlite::Result<HashSet<i64>> {
    let (joins, wheres, values) = conditions(filter);
    let sql =
        format!("SELECT p.vector FROM passages p {joins} WHERE p.vector IS NOT NULL {wheres}");
    let mut query = connection.prepare_cached(&sql)?;
    let ids = query.query_map(params_from_iter(values), |row| row.get(0))?;
    ids.collect()
}
