//! What is written, inside one transaction each.

use autoglm_spec::EmbeddingSpace;
use rusqlite::{Connection, OptionalExtension, params};

use super::{VectorKey, bytes_of, signs};
use crate::passage::{Document, Passage};
use crate::text::{identifier_parts, terms};

/// Words are counted anew where more than one passage is gone for so many that are there.
const PASSAGES_OF_GONE: i64 = 5;

pub(super) fn set_space(
    connection: &Connection,
    space: Option<&EmbeddingSpace>,
) -> rusqlite::Result<()> {
    connection.execute_batch(
        "UPDATE passages SET vector = NULL; DELETE FROM vectors; DELETE FROM signs; \
         DELETE FROM centre; DELETE FROM loose; \
         UPDATE documents SET hash = zeroblob(32), modified_ns = NULL;",
    )?;
    match space {
        Some(space) => {
            let text = serde_json::to_string(space).expect("a space is plain data");
            connection.execute("INSERT OR REPLACE INTO facts VALUES ('space', ?1)", [text])?;
        }
        None => {
            connection.execute("DELETE FROM facts WHERE name = 'space'", [])?;
        }
    }
    Ok(())
}

pub(super) fn put_document(connection: &Connection, document: &Document) -> rusqlite::Result<()> {
    remove_document(connection, &document.path)?;
    connection
        .prepare_cached(
            "INSERT INTO documents (path, format, hash, size_bytes, modified_ns) \
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            document.path,
            document.format,
            document.state.hash,
            document.state.size_bytes as i64,
            document.state.modified_ns
        ])?;
    let id = connection.last_insert_rowid();
    for passage in &document.passages {
        put_passage(connection, id, passage)?;
        let passage_id = connection.last_insert_rowid();
        let texts = (&*passage.titles.join(" "), &*passage.text);
        put_words(connection, passage_id, texts, &document.format)?;
    }
    Ok(())
}

fn put_passage(connection: &Connection, document: i64, passage: &Passage) -> rusqlite::Result<()> {
    let key = VectorKey::of(&passage.with_titles());
    let vector: Option<i64> = connection
        .prepare_cached("SELECT id FROM vectors WHERE key = ?1")?
        .query_row([key.0], |row| row.get(0))
        .optional()?;
    let meta = (!passage.meta.is_empty()).then(|| json(&passage.meta));
    connection
        .prepare_cached(
            "INSERT INTO passages \
             (document, titles, record, place, language, meta, tokens, vector, text) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            document,
            json(&passage.titles),
            passage.record,
            json(&passage.place),
            passage.language.name(),
            meta,
            passage.tokens as i64,
            vector,
            passage.text
        ])?;
    Ok(())
}

fn put_words(
    connection: &Connection,
    id: i64,
    (titles, text): (&str, &str),
    format: &str,
) -> rusqlite::Result<()> {
    let mut words = terms(text);
    if crate::read::is_code(format) {
        words.extend(identifier_parts(text));
    }
    connection
        .prepare_cached("INSERT INTO words (rowid, titles, text) VALUES (?1, ?2, ?3)")?
        .execute(params![id, terms(titles).join(" "), words.join(" ")])?;
    Ok(())
}

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("passages are plain data")
}

pub(super) fn touch(
    connection: &Connection,
    path: &str,
    modified_ns: Option<i64>,
) -> rusqlite::Result<()> {
    connection.execute(
        "UPDATE documents SET modified_ns = ?2 WHERE path = ?1",
        params![path, modified_ns],
    )?;
    Ok(())
}

pub(super) fn remove_document(connection: &Connection, path: &str) -> rusqlite::Result<bool> {
    let id: Option<i64> = connection
        .prepare_cached("SELECT id FROM documents WHERE path = ?1")?
        .query_row([path], |row| row.get(0))
        .optional()?;
    let Some(id) = id else { return Ok(false) };
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO loose \
             SELECT vector FROM passages WHERE document = ?1 AND vector IS NOT NULL",
        )?
        .execute([id])?;
    connection
        .prepare_cached(
            "DELETE FROM words WHERE rowid IN (SELECT id FROM passages WHERE document = ?1)",
        )?
        .execute([id])?;
    connection
        .prepare_cached("DELETE FROM passages WHERE document = ?1")?
        .execute([id])?;
    connection
        .prepare_cached("DELETE FROM documents WHERE id = ?1")?
        .execute([id])?;
    Ok(true)
}

/// Keeps vectors; where there are codes, with theirs.
pub(super) fn put_vectors(
    connection: &Connection,
    vectors: &[(VectorKey, Vec<f32>)],
) -> rusqlite::Result<()> {
    let coder = signs::coder(connection)?;
    let mut insert =
        connection.prepare_cached("INSERT OR IGNORE INTO vectors (key, vector) VALUES (?1, ?2)")?;
    let mut loosen = connection.prepare_cached("INSERT OR IGNORE INTO loose VALUES (?1)")?;
    for (key, vector) in vectors {
        let added = insert.execute(params![key.0, bytes_of(vector)])?;
        if added == 0 {
            continue;
        }
        let id = connection.last_insert_rowid();
        loosen.execute([id])?;
        if let Some(coder) = &coder {
            signs::put_code(connection, coder, id, vector)?;
        }
    }
    Ok(())
}

/// Counts all words anew where many passages are gone, which FTS5 would go on counting: BM25 is then
/// as if they had never been.
pub(super) fn recount_words(connection: &Connection) -> rusqlite::Result<()> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let there = number("SELECT count(*) FROM passages")?;
    let numbered =
        number("SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'passages'), 0)")?;
    let uncounted = number(
        "SELECT coalesce((SELECT CAST(value AS INTEGER) FROM facts WHERE name = 'uncounted'), 0)",
    )?;
    let gone = numbered - there;
    if (gone - uncounted) * PASSAGES_OF_GONE <= there {
        return Ok(());
    }
    connection.execute("INSERT INTO words (words) VALUES ('delete-all')", [])?;
    let mut passages = connection.prepare(
        "SELECT p.id, p.text, d.format, (SELECT group_concat(t.value, ' ') \
             FROM json_each(iif(json_valid(p.titles), p.titles, '[]')) t) \
         FROM passages p JOIN documents d ON d.id = p.document ORDER BY p.id",
    )?;
    let mut rows = passages.query([])?;
    while let Some(row) = rows.next()? {
        let (text, format): (String, String) = (row.get(1)?, row.get(2)?);
        let titles: Option<String> = row.get(3)?;
        let texts = (titles.as_deref().unwrap_or_default(), &*text);
        put_words(connection, row.get(0)?, texts, &format)?;
    }
    connection.execute(
        "INSERT OR REPLACE INTO facts VALUES ('uncounted', ?1)",
        [gone],
    )?;
    Ok(())
}

/// Forgets the vectors of no passage.
pub(super) fn forget_vectors(connection: &Connection) -> rusqlite::Result<()> {
    const FORGOTTEN: &str = "SELECT l.vector FROM loose l \
         WHERE NOT EXISTS (SELECT 1 FROM passages p WHERE p.vector = l.vector)";
    connection.execute_batch(&format!(
        "DELETE FROM signs WHERE vector IN ({FORGOTTEN}); \
         DELETE FROM vectors WHERE id IN ({FORGOTTEN}); \
         DELETE FROM loose;"
    ))
}
