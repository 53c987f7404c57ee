//! Search by words: BM25 as FTS5 computes it (k₁ = 1.2, b = 0.75), headings counted twice.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, params_from_iter};

use super::super::telling::{self, Words};
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
    let all = any(terms.iter());
    if !filter.is_empty() {
        return Ok(best(matches(connection, &all, filter)?, limit));
    }
    let newest: i64 = connection
        .prepare_cached("SELECT coalesce(max(id), 0) FROM passages")?
        .query_row([], |row| row.get(0))?;
    if newest <= ranked as i64 {
        return Ok(best(matches(connection, &all, filter)?, limit));
    }
    let counted = count(connection, terms, ranked, newest)?;
    let words = Words::of(counted, newest, (ranked, limit));
    let (rare, frequent) = (any(&words.rare), any(words.weighty()));
    let mut hits = Vec::new();
    if !rare.is_empty() && !frequent.is_empty() {
        hits = matches(connection, &format!("({rare}) AND ({frequent})"), filter)?;
    }
    telling::add_new(&mut hits, matches(connection, &rare, filter)?);
    for words in words.fillers() {
        if hits.len() >= limit {
            break;
        }
        telling::add_new(&mut hits, first_with(connection, words, ranked.max(limit))?);
    }
    Ok(best(hits, limit))
}

/// Passages that an expression of FTS5 finds, in no order.
fn matches(
    connection: &Connection,
    expression: &str,
    filter: &Filter,
) -> rusqlite::Result<Vec<Hit>> {
    if expression.is_empty() {
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
    let values = std::iter::once(Value::Text(expression.to_owned())).chain(values);
    let mut query = connection.prepare_cached(&sql)?;
    let rows = query.query_map(params_from_iter(values), hit)?;
    rows.collect()
}

/// The first passages of the collection with all of some terms.
fn first_with(
    connection: &Connection,
    terms: &[&String],
    most: usize,
) -> rusqlite::Result<Vec<Hit>> {
    let sql = format!("SELECT rowid, {RANK} FROM words WHERE words MATCH ? LIMIT ?");
    let all: Vec<String> = terms.iter().map(|term| quoted(term)).collect();
    let mut query = connection.prepare_cached(&sql)?;
    let rows = query.query_map((all.join(" AND "), most as i64), hit)?;
    rows.collect()
}

/// An expression that finds what has any of some terms.
fn any<'a>(terms: impl IntoIterator<Item = &'a (impl AsRef<str> + 'a)>) -> String {
    let quoted: Vec<String> = terms
        .into_iter()
        .map(|term| quoted(term.as_ref()))
        .collect();
    quoted.join(" OR ")
}

fn quoted(term: &str) -> String {
    format!("\"{term}\"")
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

/// In how many passages each of some terms is, about where these are more than are ranked.
fn count<'a>(
    connection: &Connection,
    terms: &'a [String],
    ranked: usize,
    newest: i64,
) -> rusqlite::Result<Vec<(i64, &'a String)>> {
    let sql = "SELECT rowid FROM words WHERE words MATCH ? LIMIT 1 OFFSET ?";
    let mut too_many = connection.prepare_cached(sql)?;
    let mut all = connection.prepare_cached("SELECT count(*) FROM words WHERE words MATCH ?")?;
    let mut count = |term: &str| {
        let number = too_many.query_row((quoted(term), ranked as i64), |row| row.get(0));
        match number.optional()? {
            Some(number) => Ok(telling::estimate(ranked, number, newest)),
            None => all.query_row([quoted(term)], |row| row.get(0)),
        }
    };
    terms.iter().map(|term| Ok((count(term)?, term))).collect()
}

pub(super) fn frequencies(
    connection: &Connection,
    terms: &[String],
) -> rusqlite::Result<Vec<usize>> {
    let mut query = connection.prepare_cached("SELECT count(*) FROM words WHERE words MATCH ?1")?;
    let mut count = |term: &String| -> rusqlite::Result<usize> {
        let found: i64 = query.query_row([quoted(term)], |row| row.get(0))?;
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
