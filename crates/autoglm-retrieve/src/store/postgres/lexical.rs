//! Search by words: BM25 as FTS5 computes it (k₁ = 1.2, b = 0.75), headings counted twice.

use std::collections::HashMap;

use postgres::Row;
use postgres::types::ToSql;

use super::super::telling::telling;
use super::super::{Filter, Hit};
use super::conditions::Conditions;
use super::session::{Fallible, Session};
use super::stems::Stem;
use crate::passage::PassageId;

/// What a word that is in half of all passages or more still says, as FTS5 has it.
const LEAST_IDF: f64 = 1e-6;

/// The passages with the most and the rarest of some words.
pub(super) fn search(
    session: &mut Session,
    stems: &[Stem],
    filter: &Filter,
    (ranked, limit): (usize, usize),
) -> Fallible<Vec<Hit>> {
    let row = session.query_one("SELECT passages, words FROM totals", &[])?;
    let (passages, all_words): (i64, i64) = (row.get(0), row.get(1));
    let mut words: Vec<i64> = stems.iter().map(|stem| stem.word).collect();
    if filter.is_empty() && passages > ranked as i64 {
        words = telling_words(session, words, (ranked, limit))?;
    }
    let found = count(session, &words)?;
    words.retain(|word| found.contains_key(word));
    let Some(average) =
        (passages > 0 && !words.is_empty()).then(|| all_words as f64 / passages as f64)
    else {
        return Ok(Vec::new());
    };
    let idf = |word: &i64| {
        let (all, with) = (passages as f64, found[word] as f64);
        let idf = ((all - with + 0.5) / (with + 0.5)).ln();
        if idf > 0.0 { idf } else { LEAST_IDF }
    };
    let idfs: Vec<f64> = words.iter().map(idf).collect();
    rank(session, (&words, &idfs), average, (filter, limit))
}

fn rank(
    session: &mut Session,
    (words, idfs): (&[i64], &[f64]),
    average: f64,
    (filter, limit): (&Filter, usize),
) -> Fallible<Vec<Hit>> {
    let conditions = Conditions::of(filter, 5);
    let passages = if filter.is_empty() {
        ""
    } else {
        "JOIN passages p ON p.id = w.passage"
    };
    // A sum differs in its last bits with the order of what is added: what is the same in seven
    // digits comes in the passages' order.
    let sql = format!(
        "SELECT passage, score FROM (SELECT w.passage, sum(q.idf * (w.weight * 2.2::float8) \
         / (w.weight + 1.2::float8 * (0.25::float8 + 0.75::float8 * w.length / $3))) AS score \
         FROM unnest($1::bigint[], $2::float8[]) AS q (word, idf) \
         JOIN words w ON w.word = q.word {passages} {} WHERE true {} \
         GROUP BY w.passage) AS ranked ORDER BY score::real DESC, passage LIMIT $4",
        conditions.joins, conditions.wheres
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut values: Vec<&(dyn ToSql + Sync)> = vec![&words, &idfs, &average, &limit];
    values.extend(conditions.values.iter().map(|v| v as &(dyn ToSql + Sync)));
    Ok(session.query(&sql, &values)?.iter().map(hit).collect())
}

pub(super) fn hit(row: &Row) -> Hit {
    Hit {
        passage: PassageId(row.get(0)),
        score: row.get(1),
    }
}

/// In how many passages each of some words is; those that are in none are left out.
fn count(session: &mut Session, words: &[i64]) -> Fallible<HashMap<i64, i64>> {
    let rows = session.query(
        "SELECT word, count(*) FROM words WHERE word = ANY($1) GROUP BY word",
        &[&words],
    )?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// The words that are looked for.
fn telling_words(
    session: &mut Session,
    words: Vec<i64>,
    (ranked, limit): (usize, usize),
) -> Fallible<Vec<i64>> {
    let rows = session.query(
        "SELECT (SELECT count(*) FROM \
         (SELECT FROM words w WHERE w.word = u.word LIMIT $2) AS counted) \
         FROM unnest($1::bigint[]) WITH ORDINALITY AS u (word, number) ORDER BY u.number",
        &[&words, &(ranked as i64 + 1)],
    )?;
    let counts = rows.iter().map(|row| row.get::<_, i64>(0));
    Ok(telling(counts.zip(words).collect(), ranked, limit))
}

/// In how many passages each of some stems is.
pub(super) fn frequencies(session: &mut Session, stems: &[Option<Stem>]) -> Fallible<Vec<usize>> {
    let words: Vec<i64> = stems.iter().flatten().map(|stem| stem.word).collect();
    let found = count(session, &words)?;
    let of = |stem: &Option<Stem>| stem.and_then(|stem| found.get(&stem.word).copied());
    Ok(stems
        .iter()
        .map(|stem| of(stem).unwrap_or(0) as usize)
        .collect())
}
