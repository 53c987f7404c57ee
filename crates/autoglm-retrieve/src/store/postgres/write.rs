//! What is written, inside one transaction each.

use std::collections::BTreeMap;

use autoglm_spec::EmbeddingSpace;
use serde_json::{Map, Value};

use super::super::VectorKey;
use super::conditions::storable;
use super::failed;
use super::session::{Fallible, Session};
use super::stems::Stems;
use crate::RetrieveError;
use crate::passage::{Document, Passage};
use crate::text::{identifier_parts, terms};

/// Passages that one statement writes: a file of records may have a million.
const BATCH_PASSAGES: usize = 500;

pub(super) fn set_space(session: &mut Session, space: Option<&EmbeddingSpace>) -> Fallible<()> {
    session.batch(
        "DROP INDEX IF EXISTS vectors_by_direction; \
         UPDATE passages SET vector = NULL WHERE vector IS NOT NULL; DELETE FROM vectors; \
         UPDATE documents SET hash = decode(repeat('00', 32), 'hex'), modified_ns = NULL; \
         DELETE FROM facts WHERE name = 'space'",
    )?;
    if let Some(space) = space {
        let text = serde_json::to_string(space).expect("a space is plain data");
        session.execute("INSERT INTO facts VALUES ('space', $1)", &[&text])?;
    }
    Ok(())
}

/// Puts a document in the place of the one with its path. The row of the document is locked until
/// the end, so that of two that write it the second replaces what the first has put.
pub(super) fn put_document(
    session: &mut Session,
    stems: &mut Stems,
    document: &Document,
) -> Result<(), RetrieveError> {
    let state = &document.state;
    let row = session.query_one(
        "INSERT INTO documents (path, format, hash, size_bytes, modified_ns) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (path) DO UPDATE SET format = excluded.format, \
         hash = excluded.hash, size_bytes = excluded.size_bytes, \
         modified_ns = excluded.modified_ns RETURNING id",
        &[
            &document.path,
            &document.format,
            &&state.hash[..],
            &(state.size_bytes as i64),
            &state.modified_ns,
        ],
    );
    let id: i64 = row.map_err(failed("write a document"))?.get(0);
    let gone = remove_passages(session, id).map_err(failed("write a document"))?;
    let (mut passages, mut words) = (-gone.0, -gone.1);
    let is_code = crate::read::is_code(&document.format);
    for batch in document.passages.chunks(BATCH_PASSAGES) {
        let counted = count_words(stems, batch, is_code)?;
        put_passages(session, id, batch, &counted).map_err(failed("write a document"))?;
        passages += batch.len() as i64;
        words += counted.iter().map(|counted| counted.length).sum::<i64>();
    }
    add_totals(session, (passages, words)).map_err(failed("write a document"))
}

/// The words of a passage.
struct Counted {
    /// All of them, those that are there several times as often.
    length: i64,
    /// What each weighs.
    weights: BTreeMap<i64, i32>,
}

/// The words of passages, a heading's counted twice, as the SQLite store takes them.
fn count_words(
    stems: &mut Stems,
    passages: &[Passage],
    is_code: bool,
) -> Result<Vec<Counted>, RetrieveError> {
    let count = |passage: &Passage| {
        let mut text = terms(&passage.text);
        if is_code {
            text.extend(identifier_parts(&passage.text));
        }
        let mut counted = Counted {
            length: 0,
            weights: BTreeMap::new(),
        };
        for (terms, weight) in [(terms(&passage.titles.join(" ")), 2), (text, 1)] {
            for stem in stems.of(&terms)?.into_iter().flatten() {
                *counted.weights.entry(stem.word).or_default() += weight;
                counted.length += stem.words;
            }
        }
        Ok(counted)
    };
    passages.iter().map(count).collect()
}

fn put_passages(
    session: &mut Session,
    document: i64,
    passages: &[Passage],
    counted: &[Counted],
) -> Fallible<()> {
    let each = |text: fn(&Passage) -> String| passages.iter().map(text).collect::<Vec<_>>();
    let keys = passages.iter().map(|p| VectorKey::of(&p.with_titles()).0);
    let keys: Vec<[u8; 16]> = keys.collect();
    let keys: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
    let rows = session.query(
        "INSERT INTO passages (document, titles, record, place, language, meta, fields, tokens, \
         length, vector, text) \
         SELECT $1, u.titles, u.record, u.place, u.language, u.meta, u.fields::jsonb, u.tokens, \
         u.length, v.id, u.text \
         FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], \
         $8::bigint[], $9::bigint[], $10::bytea[], $11::bytea[]) WITH ORDINALITY \
         AS u (titles, record, place, language, meta, fields, tokens, length, key, text, number) \
         LEFT JOIN vectors v ON v.key = u.key ORDER BY u.number RETURNING id",
        &[
            &document,
            &each(|p| json(&p.titles)),
            &records(passages),
            &each(|p| json(&p.place)),
            &each(|p| p.language.name().to_owned()),
            &optional(passages, json),
            &optional(passages, |meta| json(&fields(meta))),
            &numbers(passages.iter().map(|p| p.tokens as i64)),
            &numbers(counted.iter().map(|c| c.length)),
            &keys,
            &passages
                .iter()
                .map(|p| p.text.as_bytes())
                .collect::<Vec<_>>(),
        ],
    )?;
    let mut ids: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    // Numbers are given in the passages' order, in whichever order they come back.
    ids.sort_unstable();
    put_words(session, &ids, counted)
}

fn put_words(session: &mut Session, ids: &[i64], counted: &[Counted]) -> Fallible<()> {
    let (mut words, mut passages) = (Vec::new(), Vec::new());
    let (mut weights, mut lengths) = (Vec::new(), Vec::new());
    for (id, counted) in ids.iter().zip(counted) {
        for (word, weight) in &counted.weights {
            words.push(*word);
            passages.push(*id);
            weights.push(*weight);
            lengths.push(counted.length as i32);
        }
    }
    session.execute(
        "INSERT INTO words (word, passage, weight, length) \
         SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::integer[], $4::integer[])",
        &[&words, &passages, &weights, &lengths],
    )?;
    Ok(())
}

fn numbers(numbers: impl Iterator<Item = i64>) -> Vec<i64> {
    numbers.collect()
}

fn records(passages: &[Passage]) -> Vec<Option<String>> {
    let record = |passage: &Passage| passage.record.as_ref().map(json);
    passages.iter().map(record).collect()
}

fn optional(
    passages: &[Passage],
    text: impl Fn(&Map<String, Value>) -> String,
) -> Vec<Option<String>> {
    let one = |passage: &Passage| (!passage.meta.is_empty()).then(|| text(&passage.meta));
    passages.iter().map(one).collect()
}

/// Fields as filters compare them: the texts that SQLite makes of them.
fn fields(meta: &Map<String, Value>) -> Map<String, Value> {
    let text = |value: &Value| match value {
        Value::Null => None,
        Value::Bool(is_true) => Some(u8::from(*is_true).to_string()),
        Value::String(text) => Some(storable(text)),
        other => Some(storable(&other.to_string())),
    };
    let field = |(name, value): (&String, &Value)| Some((storable(name), text(value)?.into()));
    meta.iter().filter_map(field).collect()
}

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("passages are plain data")
}

pub(super) fn touch(session: &mut Session, path: &str, modified_ns: Option<i64>) -> Fallible<()> {
    session.execute(
        "UPDATE documents SET modified_ns = $2 WHERE path = $1",
        &[&path, &modified_ns],
    )?;
    Ok(())
}

pub(super) fn remove_document(session: &mut Session, path: &str) -> Fallible<bool> {
    let rows = session.query(
        "SELECT id FROM documents WHERE path = $1 FOR UPDATE",
        &[&path],
    )?;
    let Some(row) = rows.first() else {
        return Ok(false);
    };
    let id: i64 = row.get(0);
    let (passages, words) = remove_passages(session, id)?;
    session.execute("DELETE FROM documents WHERE id = $1", &[&id])?;
    add_totals(session, (-passages, -words))?;
    Ok(true)
}

/// Removes a document's passages, and gives their number and the number of their words.
fn remove_passages(session: &mut Session, document: i64) -> Fallible<(i64, i64)> {
    let row = session.query_one(
        "WITH gone AS (DELETE FROM passages WHERE document = $1 RETURNING id, length), \
         forgotten AS (DELETE FROM words USING gone WHERE words.passage = gone.id) \
         SELECT count(*), coalesce(sum(length), 0)::bigint FROM gone",
        &[&document],
    )?;
    Ok((row.get(0), row.get(1)))
}

fn add_totals(session: &mut Session, (passages, words): (i64, i64)) -> Fallible<()> {
    session.execute(
        "UPDATE totals SET passages = passages + $1, words = words + $2",
        &[&passages, &words],
    )?;
    Ok(())
}

/// Keeps vectors, in the order of their keys: two that keep the same never wait for each other at once.
pub(super) fn put_vectors(
    session: &mut Session,
    vectors: &[(VectorKey, Vec<f32>)],
) -> Fallible<()> {
    let mut vectors: Vec<&(VectorKey, Vec<f32>)> = vectors.iter().collect();
    vectors.sort_by_key(|(key, _)| *key);
    for batch in vectors.chunks(BATCH_PASSAGES) {
        let keys: Vec<&[u8]> = batch.iter().map(|(key, _)| &key.0[..]).collect();
        // An array of arrays would have to be of one length; a text of each is cheap to read.
        let texts: Vec<String> = batch.iter().map(|(_, vector)| text_of(vector)).collect();
        session.execute(
            "INSERT INTO vectors (key, vector) \
             SELECT key, vector::vector FROM unnest($1::bytea[], $2::text[]) AS u (key, vector) \
             ON CONFLICT (key) DO NOTHING",
            &[&keys, &texts],
        )?;
    }
    Ok(())
}

/// A vector as pgvector reads it; numbers come back as they were.
fn text_of(vector: &[f32]) -> String {
    let numbers: Vec<String> = vector.iter().map(ToString::to_string).collect();
    format!("[{}]", numbers.join(","))
}

/// Forgets the vectors of no passage.
pub(super) fn forget_vectors(session: &mut Session) -> Fallible<()> {
    session.execute(
        "DELETE FROM vectors v WHERE NOT EXISTS \
         (SELECT FROM passages p WHERE p.vector = v.id)",
        &[],
    )?;
    Ok(())
}
