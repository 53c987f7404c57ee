//! What is read.

use std::collections::HashMap;

use autoglm_spec::EmbeddingSpace;
use postgres::Row;

use super::super::{About, Listed, VectorKey};
use super::failed;
use super::session::{Fallible, Session};
use crate::RetrieveError;
use crate::passage::{DocumentState, Passage, PassageId};
use crate::text::TextLanguage;

pub(super) fn about(session: &mut Session) -> Result<About, RetrieveError> {
    let row = session.query_one(
        "SELECT (SELECT count(*) FROM documents), (SELECT count(*) FROM passages), \
         (SELECT count(*) FROM vectors), to_regclass('vectors_by_direction') IS NOT NULL",
        &[],
    );
    let row = row.map_err(failed("count"))?;
    let count = |column: usize| row.get::<_, i64>(column) as usize;
    Ok(About {
        documents: count(0),
        passages: count(1),
        vectors: count(2),
        codes: if row.get(3) { count(2) } else { 0 },
        space: space(session)?,
    })
}

pub(super) fn space(session: &mut Session) -> Result<Option<EmbeddingSpace>, RetrieveError> {
    let rows = session.query("SELECT value FROM facts WHERE name = 'space'", &[]);
    let rows = rows.map_err(failed("read the vectors' space"))?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let space = serde_json::from_str(row.get(0));
    Ok(Some(space.map_err(|_| RetrieveError::Damaged {
        what: "the vectors' space is not understood",
    })?))
}

pub(super) fn documents(session: &mut Session) -> Fallible<Vec<Listed>> {
    let rows = session.query(
        "SELECT d.path, d.format, count(p.id) FROM documents d \
         LEFT JOIN passages p ON p.document = d.id GROUP BY d.id ORDER BY d.path",
        &[],
    )?;
    let listed = |row: &Row| Listed {
        path: row.get(0),
        format: row.get(1),
        passages: row.get::<_, i64>(2) as usize,
    };
    Ok(rows.iter().map(listed).collect())
}

pub(super) fn state(
    session: &mut Session,
    path: &str,
) -> Result<Option<DocumentState>, RetrieveError> {
    let rows = session.query(
        "SELECT hash, size_bytes, modified_ns FROM documents WHERE path = $1",
        &[&path],
    );
    let rows = rows.map_err(failed("look for a document"))?;
    let state = |row: &Row| {
        let hash: &[u8] = row.get(0);
        Ok(DocumentState {
            hash: hash.try_into().map_err(|_| RetrieveError::Damaged {
                what: "a document's hash has another length",
            })?,
            size_bytes: row.get::<_, i64>(1) as u64,
            modified_ns: row.get(2),
        })
    };
    rows.first().map(state).transpose()
}

pub(super) fn has_vectors(session: &mut Session, keys: &[VectorKey]) -> Fallible<Vec<bool>> {
    let keys: Vec<&[u8]> = keys.iter().map(|key| &key.0[..]).collect();
    let rows = session.query(
        "SELECT EXISTS (SELECT FROM vectors v WHERE v.key = u.key) \
         FROM unnest($1::bytea[]) WITH ORDINALITY AS u (key, number) ORDER BY u.number",
        &[&keys],
    )?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

pub(super) fn passages(
    session: &mut Session,
    ids: &[PassageId],
) -> Result<Vec<Passage>, RetrieveError> {
    let rows = session.query(
        "SELECT p.id, d.path, p.titles, p.record, p.place, p.language, p.meta, p.tokens, p.text \
         FROM passages p JOIN documents d ON d.id = p.document WHERE p.id = ANY($1)",
        &[&numbers(ids)],
    );
    let rows = rows.map_err(failed("read passages"))?;
    let mut found = HashMap::with_capacity(rows.len());
    for row in &rows {
        let passage = passage(row).ok_or(RetrieveError::Damaged {
            what: "a passage is not understood",
        })?;
        found.insert(passage.id, passage);
    }
    Ok(ids.iter().filter_map(|id| found.get(id).cloned()).collect())
}

/// A passage of a row; none where its parts are not understood.
fn passage(row: &Row) -> Option<Passage> {
    let meta: Option<&str> = row.get(6);
    let record: Option<&str> = row.get(3);
    Some(Passage {
        id: PassageId(row.get(0)),
        document: row.get(1),
        titles: serde_json::from_str(row.get(2)).ok()?,
        record: record.map(serde_json::from_str).transpose().ok()?,
        place: serde_json::from_str(row.get(4)).ok()?,
        language: TextLanguage::named(row.get(5))?,
        meta: meta
            .map(serde_json::from_str)
            .transpose()
            .ok()?
            .unwrap_or_default(),
        tokens: row.get::<_, i64>(7) as usize,
        text: String::from_utf8(row.get(8)).ok()?,
    })
}

pub(super) fn vectors(session: &mut Session, ids: &[PassageId]) -> Fallible<Vec<Option<Vec<f32>>>> {
    let rows = session.query(
        "SELECT p.id, v.vector::real[] FROM passages p JOIN vectors v ON v.id = p.vector \
         WHERE p.id = ANY($1)",
        &[&numbers(ids)],
    )?;
    let found: HashMap<i64, Vec<f32>> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    Ok(ids.iter().map(|id| found.get(&id.0).cloned()).collect())
}

fn numbers(ids: &[PassageId]) -> Vec<i64> {
    ids.iter().map(|id| id.0).collect()
}
