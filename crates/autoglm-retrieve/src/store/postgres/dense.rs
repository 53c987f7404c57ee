//! Search by vectors: all of them where there are few, an HNSW index of pgvector otherwise.

use postgres::types::ToSql;

use super::super::{Filter, Hit};
use super::conditions::Conditions;
use super::lexical::hit;
use super::session::{Fallible, Session};

/// Vectors up to which all are looked at.
pub(super) const EXACT_VECTORS: usize = 20_000;

/// Numbers of a vector that pgvector can index.
const MOST_INDEXED_NUMBERS: usize = 2_000;

/// What the index looks at for a search, at least: twice and a half its default, for a recall that
/// `docs/knowledge.md` tells.
const LEAST_LOOKED_AT: usize = 100;

/// What pgvector takes for that at most; a search goes on behind it where passages are missing.
const MOST_LOOKED_AT: usize = 1_000;

/// The passages whose vectors are nearest to one.
pub(super) fn search(
    session: &mut Session,
    vector: &[f32],
    filter: &Filter,
    (exact, limit): (usize, usize),
) -> Fallible<Vec<Hit>> {
    let conditions = Conditions::of(filter, 3);
    let indexed = is_indexed(session)? && (filter.is_empty() || !are_few(session, filter, exact)?);
    let cast = if indexed {
        let looked_at = (2 * limit).clamp(LEAST_LOOKED_AT, MOST_LOOKED_AT);
        // Without its last lines the planner may compute and sort all distances instead, as it does
        // where it knows nothing of the tables yet.
        session.batch(&format!(
            "SET LOCAL hnsw.ef_search = {looked_at}; \
             SET LOCAL hnsw.iterative_scan = strict_order; \
             SET LOCAL enable_sort = off; SET LOCAL enable_hashjoin = off; \
             SET LOCAL enable_seqscan = off"
        ))?;
        format!("::vector({})", vector.len())
    } else {
        String::new()
    };
    let sql = format!(
        "SELECT id, -distance FROM (\
         SELECT p.id, v.vector{cast} <#> $1::real[]::vector{cast} AS distance \
         FROM vectors v JOIN passages p ON p.vector = v.id {} WHERE true {} \
         ORDER BY distance LIMIT $2) AS near ORDER BY distance, id",
        conditions.joins, conditions.wheres
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut values: Vec<&(dyn ToSql + Sync)> = vec![&vector, &limit];
    values.extend(conditions.values.iter().map(|v| v as &(dyn ToSql + Sync)));
    Ok(session.query(&sql, &values)?.iter().map(hit).collect())
}

fn is_indexed(session: &mut Session) -> Fallible<bool> {
    let sql = "SELECT to_regclass('vectors_by_direction') IS NOT NULL";
    Ok(session.query_one(sql, &[])?.get(0))
}

/// Whether so few passages are let through that all of theirs are looked at.
fn are_few(session: &mut Session, filter: &Filter, exact: usize) -> Fallible<bool> {
    let conditions = Conditions::of(filter, 2);
    let sql = format!(
        "SELECT count(*) FROM (SELECT FROM passages p {} \
         WHERE p.vector IS NOT NULL {} LIMIT $1) AS counted",
        conditions.joins, conditions.wheres
    );
    let most = exact as i64 + 1;
    let mut values: Vec<&(dyn ToSql + Sync)> = vec![&most];
    values.extend(conditions.values.iter().map(|v| v as &(dyn ToSql + Sync)));
    Ok(session.query_one(&sql, &values)?.get::<_, i64>(0) < most)
}

/// Makes the index where there are many vectors, and drops it where there are few.
pub(super) fn build(session: &mut Session, exact: usize) -> Fallible<()> {
    let row = session.query_one(
        "SELECT (SELECT count(*) FROM vectors), \
         (SELECT vector_dims(vector) FROM vectors LIMIT 1)",
        &[],
    )?;
    let (vectors, numbers): (i64, Option<i32>) = (row.get(0), row.get(1));
    let Some(numbers) = numbers
        .filter(|numbers| vectors > exact as i64 && *numbers as usize <= MOST_INDEXED_NUMBERS)
    else {
        return session.batch("DROP INDEX IF EXISTS vectors_by_direction");
    };
    session.batch(&format!(
        "CREATE INDEX IF NOT EXISTS vectors_by_direction ON vectors \
         USING hnsw ((vector::vector({numbers})) vector_ip_ops)"
    ))
}
