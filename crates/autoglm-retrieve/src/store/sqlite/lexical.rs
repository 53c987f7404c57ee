//! Search by words: BM25 as FTS5 computes it (k₁ = 1.2, b = 0.75), headings counted twice.

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};

use super::super::telling::telling;
use super::super::{Clause, Filter, Hit};
use crate::passage::PassageId;

/// How well a passage suits, the best lowest. A word of a heading counts for two.
const RANK: &str = "bm25(words, 2.0, 1.0)";

pub(super) fn search(
    connection: &Connection,
    terms: &[String],
    filter: &Filter,
    (ranked, limit): (usize, usize),
) -> rusqlite::Result<Vec<Hit>> {
    let terms = if filter.is_empty() {
        telling_terms(connection, terms, (ranked, limit))?
    } else {
        terms.iter().collect()
    };
    if terms.is_empty() {
        return Ok(Vec::new());
    }
    let (joins, wheres, values) = conditions(filter);
    let joins = if filter.is_empty() {
        String::new()
    } else {
        format!("JOIN passages p ON p.id = words.rowid {joins}")
    };
    // FTS5 sorts what it finds together with all places of words; the best are chosen here.
    let sql = format!("SELECT words.rowid, {RANK} FROM words {joins} WHERE words MATCH ? {wheres}");
    let quoted: Vec<String> = terms.iter().map(|term| format!("\"{term}\"")).collect();
    let values = std::iter::once(Value::Text(quoted.join(" OR "))).chain(values);
    let mut query = connection.prepare_cached(&sql)?;
    let rows = query.query_map(params_from_iter(values), hit)?;
    Ok(best(rows.collect::<rusqlite::Result<_>>()?, limit))
}

/// The best hits, the best first.
fn best(mut hits: Vec<Hit>, limit: usize) -> Vec<Hit> {
    let order = |a: &Hit, b: &Hit| b.score.total_cmp(&a.score).then(a.passage.cmp(&b.passage));
    if limit < hits.len() {
        hits.select_nth_unstable_by(limit, order);
        hits.truncate(limit);
    }
    hits.sort_unstable_by(order);
    hits
}

/// The terms that are looked for.
fn telling_terms<'a>(
    connection: &Connection,
    terms: &'a [String],
    (ranked, limit): (usize, usize),
) -> rusqlite::Result<Vec<&'a String>> {
    let newest: i64 = connection
        .prepare_cached("SELECT coalesce(max(id), 0) FROM passages")?
        .query_row([], |row| row.get(0))?;
    if newest <= ranked as i64 {
        return Ok(terms.iter().collect());
    }
    let mut count = connection.prepare_cached(
        "SELECT count(*) FROM (SELECT 1 FROM words WHERE words MATCH ?1 LIMIT ?2)",
    )?;
    let mut counted: Vec<(i64, &String)> = Vec::new();
    for term in terms {
        let most = ranked as i64 + 1;
        let found = count.query_row((format!("\"{term}\""), most), |row| row.get(0))?;
        counted.push((found, term));
    }
    Ok(telling(counted, ranked, limit))
}

pub(super) fn frequencies(
    connection: &Connection,
    terms: &[String],
) -> rusqlite::Result<Vec<usize>> {
    let mut query = connection.prepare_cached("SELECT count(*) FROM words WHERE words MATCH ?1")?;
    let mut count = |term: &String| -> rusqlite::Result<usize> {
        let found: i64 = query.query_row([format!("\"{term}\"")], |row| row.get(0))?;
        Ok(found as usize)
    };
    terms.iter().map(&mut count).collect()
}

/// FTS5 ranks the best lowest.
fn hit(row: &Row<'_>) -> rusqlite::Result<Hit> {
    Ok(Hit {
        passage: PassageId(row.get(0)?),
        score: -row.get::<_, f64>(1)?,
    })
}

/// A filter as joins to the passages `p`, as conditions that each begin with `AND`, and as their
/// values.
pub(super) fn conditions(filter: &Filter) -> (&'static str, String, Vec<Value>) {
    let mut wheres = String::new();
    let mut values = Vec::new();
    for clause in &filter.clauses {
        let (condition, value) = match clause {
            Clause::Path(pattern) => (" AND d.path GLOB ?", pattern.clone()),
            Clause::Format(format) => (" AND d.format = ?", format.clone()),
            Clause::Language(language) => (" AND p.language = ?", language.name().to_owned()),
            Clause::Field { name, value } => {
                // In a path of SQLite's JSON a quote cannot be escaped; names do not have any.
                let path = format!("$.\"{}\"", name.replace('"', ""));
                values.push(Value::Text(path));
                (
                    " AND CAST(json_extract(p.meta, ?) AS TEXT) = ?",
                    value.clone(),
                )
            }
        };
        wheres.push_str(condition);
        values.push(Value::Text(value));
    }
    ("JOIN documents d ON d.id = p.document", wheres, values)
}
