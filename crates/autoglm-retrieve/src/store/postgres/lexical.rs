//! Search by words: BM25 as FTS5 computes it (k₁ = 1.2, b = 0.75), headings counted twice.

use std::collections::HashMap;

use postgres::Row;
use postgres::types::ToSql;

use super::super::telling::{self, Words};
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
    if passages == 0 {
        return Ok(Vec::new());
    }
    let ranking = Ranking {
        passages: passages as f64,
        average: all_words as f64 / passages as f64,
    };
    let stems: Vec<i64> = stems.iter().map(|stem| stem.word).collect();
    if !filter.is_empty() || passages <= ranked as i64 {
        return ranking.any_of(session, (&stems, &[]), filter, limit);
    }
    let newest = session.query_one("SELECT coalesce(max(id), 0) FROM passages", &[])?;
    let newest: i64 = newest.get(0);
    let counted = estimates(session, &stems, ranked, newest)?;
    let words = Words::of(counted, newest, (ranked, limit));
    let mut hits = ranking.any_of(session, (&words.rare, words.weighty()), filter, limit)?;
    for words in words.fillers() {
        if hits.len() >= limit {
            break;
        }
        telling::add_new(
            &mut hits,
            ranking.first_with(session, words, ranked.max(limit))?,
        );
    }
    hits.sort_by(|a, b| {
        let by_score = (b.score as f32).total_cmp(&(a.score as f32));
        by_score.then(a.passage.cmp(&b.passage))
    });
    hits.truncate(limit);
    Ok(hits)
}

/// BM25 in a collection.
struct Ranking {
    passages: f64,
    /// Words of a passage on average.
    average: f64,
}

/// What a word adds to the score of a passage that is a row `w` of `words`, with the average length as
/// `$3`.
fn adds(idf: &str, w: &str) -> String {
    format!(
        "{idf} * ({w}.weight * 2.2::float8) \
         / ({w}.weight + 1.2::float8 * (0.25::float8 + 0.75::float8 * {w}.length / $3))"
    )
}

impl Ranking {
    /// The words that are in any passage, and what each says.
    fn idfs(&self, session: &mut Session, words: &[i64]) -> Fallible<(Vec<i64>, Vec<f64>)> {
        let found = count(session, words)?;
        let known = words.iter().filter(|word| found.contains_key(word));
        let with_idf = known.map(|word| {
            let with = found[word] as f64;
            let idf = ((self.passages - with + 0.5) / (with + 0.5)).ln();
            (*word, if idf > 0.0 { idf } else { LEAST_IDF })
        });
        Ok(with_idf.unzip())
    }

    /// The best passages with any of some words, where others count, too.
    fn any_of(
        &self,
        session: &mut Session,
        (words, others): (&[i64], &[i64]),
        filter: &Filter,
        limit: usize,
    ) -> Fallible<Vec<Hit>> {
        let (all, idfs) = self.idfs(session, &[words, others].concat())?;
        if words.is_empty() || all.is_empty() {
            return Ok(Vec::new());
        }
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut values: Vec<&(dyn ToSql + Sync)> = vec![&all, &idfs, &self.average, &limit];
        let mut among = "";
        if !others.is_empty() {
            among = "AND w.passage IN (SELECT o.passage FROM words o WHERE o.word = ANY($5))";
            values.push(&words);
        }
        let conditions = Conditions::of(filter, values.len() + 1);
        values.extend(conditions.values.iter().map(|v| v as &(dyn ToSql + Sync)));
        let passages = if filter.is_empty() {
            ""
        } else {
            "JOIN passages p ON p.id = w.passage"
        };
        // A sum differs in its last bits with the order of what is added: what is the same in seven
        // digits comes in the passages' order.
        let sql = format!(
            "SELECT passage, score FROM (SELECT w.passage, sum({}) AS score \
             FROM unnest($1::bigint[], $2::float8[]) AS q (word, idf) \
             JOIN words w ON w.word = q.word {passages} {} WHERE true {among} {} \
             GROUP BY w.passage) AS ranked ORDER BY score::real DESC, passage LIMIT $4",
            adds("q.idf", "w"),
            conditions.joins,
            conditions.wheres
        );
        Ok(session.query(&sql, &values)?.iter().map(hit).collect())
    }

    /// The first passages of the collection with all of some words, the rarest first.
    fn first_with(&self, session: &mut Session, words: &[i64], most: usize) -> Fallible<Vec<Hit>> {
        let (words, idfs) = self.idfs(session, words)?;
        if words.is_empty() {
            return Ok(Vec::new());
        }
        let rows: Vec<String> = (1..=words.len()).map(|n| format!("w{n}")).collect();
        let each = || (1..).zip(&rows);
        let scores: Vec<String> = each()
            .map(|(n, w)| adds(&format!("($2::float8[])[{n}]"), w))
            .collect();
        let others: Vec<String> = each()
            .skip(1)
            .map(|(n, w)| {
                format!(
                    "JOIN words {w} ON {w}.passage = w1.passage AND {w}.word = ($1::bigint[])[{n}]"
                )
            })
            .collect();
        // In this order an index gives the rows, and no more of them are read than are wanted.
        let sql = format!(
            "SELECT w1.passage, {} AS score FROM words w1 {} \
             WHERE w1.word = ($1::bigint[])[1] ORDER BY w1.passage LIMIT $4",
            scores.join(" + "),
            others.join(" ")
        );
        let values: [&(dyn ToSql + Sync); 4] = [&words, &idfs, &self.average, &(most as i64)];
        Ok(session.query(&sql, &values)?.iter().map(hit).collect())
    }
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

/// In how many passages each of some words is, about where these are more than are ranked.
fn estimates(
    session: &mut Session,
    words: &[i64],
    ranked: usize,
    newest: i64,
) -> Fallible<Vec<(i64, i64)>> {
    let rows = session.query(
        "SELECT (SELECT w.passage FROM words w WHERE w.word = u.word \
             ORDER BY w.passage OFFSET $2 LIMIT 1), \
         (SELECT count(*) FROM (SELECT FROM words w WHERE w.word = u.word LIMIT $2) AS counted) \
         FROM unnest($1::bigint[]) WITH ORDINALITY AS u (word, number) ORDER BY u.number",
        &[&words, &(ranked as i64)],
    )?;
    let counts = rows.iter().map(|row| match row.get(0) {
        Some(number) => telling::estimate(ranked, number, newest),
        None => row.get(1),
    });
    Ok(counts.zip(words.iter().copied()).collect())
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
