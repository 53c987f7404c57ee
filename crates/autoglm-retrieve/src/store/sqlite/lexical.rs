//! Search by words: BM25 as FTS5 computes it (k₁ = 1.2, b = 0.75), headings counted twice.

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};

use super::super::{Clause, Filter, Hit};
use crate::passage::PassageId;

/// The weights of headings and text. A word of a heading counts for two.
const RANK: &str = "bm25(2.0, 1.0)";

/// Passages that a search ranks at most, about a microsecond each. In a collection of more, the most
/// frequent words of a query, which tell passages apart the least, are left out where the others are
/// in as many passages as are wanted. With a filter, which may leave out what these find, none is.
pub(super) const RANKED_PASSAGES: usize = 50_000;

pub(super) fn search(
    connection: &Connection,
    terms: &[String],
    filter: &Filter,
    (ranked, limit): (usize, usize),
) -> rusqlite::Result<Vec<Hit>> {
    let terms = if filter.is_empty() {
        telling(connection, terms, (ranked, limit))?
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
    let sql = format!(
        "SELECT words.rowid, words.rank FROM words {joins} \
         WHERE words MATCH ? AND words.rank MATCH '{RANK}' {wheres} ORDER BY words.rank LIMIT ?"
    );
    let quoted: Vec<String> = terms.iter().map(|term| format!("\"{term}\"")).collect();
    let values = std::iter::once(Value::Text(quoted.join(" OR ")))
        .chain(values)
        .chain([Value::Integer(limit as i64)]);
    let mut query = connection.prepare_cached(&sql)?;
    let rows = query.query_map(params_from_iter(values), hit)?;
    rows.collect()
}

/// The rarest terms that together are in at most `ranked` passages, and as many more as it takes for
/// one of them to be in as many passages as are wanted.
fn telling<'a>(
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
    counted.sort_by_key(|(found, _)| *found);
    let (mut total, mut most) = (0, 0);
    let within = counted.iter().take_while(|(found, _)| {
        total += found;
        let is_wanted = total <= ranked as i64 || most < limit as i64;
        most = *found;
        is_wanted
    });
    Ok(within.map(|(_, term)| *term).collect())
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
