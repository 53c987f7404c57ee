//! What is read.

use autoglm_spec::EmbeddingSpace;
use rusqlite::{Connection, OptionalExtension, Row};

use super::{About, Listed, VectorKey, failed, numbers_of};
use crate::RetrieveError;
use crate::passage::{DocumentState, Passage, PassageId};
use crate::text::TextLanguage;

pub(super) fn about(connection: &Connection) -> Result<About, RetrieveError> {
    let count = |table: &str| -> rusqlite::Result<usize> {
        let query = format!("SELECT count(*) FROM {table}");
        connection.query_row(&query, [], |row| row.get::<_, i64>(0).map(|n| n as usize))
    };
    let counts = || -> rusqlite::Result<[usize; 4]> {
        Ok([
            count("documents")?,
            count("passages")?,
            count("vectors")?,
            count("signs")?,
        ])
    };
    let [documents, passages, vectors, codes] = counts().map_err(failed("count"))?;
    Ok(About {
        documents,
        passages,
        vectors,
        codes,
        space: space(connection)?,
    })
}

pub(super) fn space(connection: &Connection) -> Result<Option<EmbeddingSpace>, RetrieveError> {
    let text: Option<String> = connection
        .query_row("SELECT value FROM facts WHERE name = 'space'", [], |row| {
            row.get(0)
        })
        .optional()
        .map_err(failed("read the vectors' space"))?;
    text.map(|text| {
        serde_json::from_str(&text).map_err(|_| RetrieveError::Damaged {
            what: "the vectors' space is not understood",
        })
    })
    .transpose()
}

pub(super) fn documents(connection: &Connection) -> rusqlite::Result<Vec<Listed>> {
    let mut query = connection.prepare(
        "SELECT path, format, (SELECT count(*) FROM passages p WHERE p.document = d.id) \
         FROM documents d ORDER BY path",
    )?;
    let rows = query.query_map([], |row| {
        Ok(Listed {
            path: row.get(0)?,
            format: row.get(1)?,
            passages: row.get::<_, i64>(2)? as usize,
        })
    })?;
    rows.collect()
}

pub(super) fn state(connection: &Connection, path: &str) -> rusqlite::Result<DocumentState> {
    connection
        .prepare_cached("SELECT hash, size_bytes, modified_ns FROM documents WHERE path = ?1")?
        .query_row([path], |row| {
            Ok(DocumentState {
                hash: row.get(0)?,
                size_bytes: row.get::<_, i64>(1)? as u64,
                modified_ns: row.get(2)?,
            })
        })
}

pub(super) fn has_vectors(
    connection: &Connection,
    keys: &[VectorKey],
) -> rusqlite::Result<Vec<bool>> {
    let mut query = connection.prepare_cached("SELECT 1 FROM vectors WHERE key = ?1")?;
    keys.iter().map(|key| query.exists([key.0])).collect()
}

pub(super) fn passages(
    connection: &Connection,
    ids: &[PassageId],
) -> Result<Vec<Passage>, RetrieveError> {
    // One state of the file for all of them.
    let snapshot = connection
        .unchecked_transaction()
        .map_err(failed("read passages"))?;
    let mut query = snapshot
        .prepare_cached(
            "SELECT p.id, d.path, p.titles, p.record, p.place, p.language, p.meta, p.tokens, p.text \
             FROM passages p JOIN documents d ON d.id = p.document WHERE p.id = ?1",
        )
        .map_err(failed("read passages"))?;
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        let row = query.query_row([id.0], |row| Ok(passage(row)));
        if let Some(passage) = row.optional().map_err(failed("read passages"))? {
            found.push(passage.map_err(failed("read passages"))?.ok_or(
                RetrieveError::Damaged {
                    what: "a passage is not understood",
                },
            )?);
        }
    }
    Ok(found)
}

/// A passage of a row; none where its parts are not understood.
fn passage(row: &Row<'_>) -> rusqlite::Result<Option<Passage>> {
    let titles: String = row.get(2)?;
    let place: String = row.get(4)?;
    let language: String = row.get(5)?;
    let meta: Option<String> = row.get(6)?;
    let meta = meta.map_or(Ok(serde_json::Map::new()), |meta| {
        serde_json::from_str(&meta)
    });
    let (Ok(titles), Ok(place), Ok(meta)) = (
        serde_json::from_str(&titles),
        serde_json::from_str(&place),
        meta,
    ) else {
        return Ok(None);
    };
    let Some(language) = TextLanguage::named(&language) else {
        return Ok(None);
    };
    Ok(Some(Passage {
        id: PassageId(row.get(0)?),
        document: row.get(1)?,
        titles,
        record: row.get(3)?,
        place,
        language,
        meta,
        tokens: row.get::<_, i64>(7)? as usize,
        text: row.get(8)?,
    }))
}

pub(super) fn vectors(
    connection: &Connection,
    ids: &[PassageId],
) -> rusqlite::Result<Vec<Option<Vec<f32>>>> {
    let mut query = connection.prepare_cached(
        "SELECT v.vector FROM passages p JOIN vectors v ON v.id = p.vector WHERE p.id = ?1",
    )?;
    let mut vector = |id: &PassageId| {
        let vector = query.query_row([id.0], |row| Ok(numbers_of(row.get_ref(0)?.as_blob()?)));
        vector.optional()
    };
    ids.iter().map(&mut vector).collect()
}
