//! How good rankings are.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Estimate, estimate};

/// Ranks that are looked at for nDCG and the reciprocal rank.
const RANKS: usize = 10;
/// Ranks for recall.
const RECALL_RANKS: [usize; 3] = [5, 10, 100];

/// How good the rankings of some queries are.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RankingReport {
    /// Queries.
    pub queries: usize,
    /// Normalised discounted cumulative gain of the first ten.
    pub ndcg_10: Estimate,
    /// The reciprocal of the first right rank within ten.
    pub mrr_10: Estimate,
    /// The share of what is right among the first so many.
    pub recall: Vec<(usize, Estimate)>,
}

/// What is measured of one ranking.
type Measure<'a> = &'a dyn Fn(&[String], &Grades) -> f64;

/// What is relevant to a query, and how much.
pub type Grades = BTreeMap<String, u32>;

/// Measures rankings of documents, each with what is relevant to its query and how much.
pub fn measure_rankings(rankings: &[(Vec<String>, &Grades)]) -> RankingReport {
    let each = |value: Measure| {
        let values: Vec<f64> = rankings
            .iter()
            .map(|(ranking, grades)| value(ranking, grades))
            .collect();
        estimate(&values)
    };
    RankingReport {
        queries: rankings.len(),
        ndcg_10: each(&ndcg),
        mrr_10: each(&reciprocal_rank),
        recall: RECALL_RANKS
            .map(|ranks| {
                (
                    ranks,
                    each(&|ranking, grades| recall(ranking, grades, ranks)),
                )
            })
            .to_vec(),
    }
}

/// # Source
/// Järvelin, Kekäläinen 2002, with gains as they are, as `trec_eval` has it.
fn ndcg(ranking: &[String], grades: &Grades) -> f64 {
    let gained = |gains: &mut dyn Iterator<Item = u32>| -> f64 {
        let discounted = (2_u32..).zip(gains).take(RANKS);
        discounted
            .map(|(rank, gain)| f64::from(gain) / f64::from(rank).log2())
            .sum()
    };
    let mut ideal: Vec<u32> = grades.values().copied().collect();
    ideal.sort_unstable_by(|a, b| b.cmp(a));
    let best = gained(&mut ideal.into_iter());
    let found = gained(
        &mut ranking
            .iter()
            .map(|name| grades.get(name).copied().unwrap_or(0)),
    );
    if best > 0.0 { found / best } else { 0.0 }
}

fn reciprocal_rank(ranking: &[String], grades: &Grades) -> f64 {
    let right = |name: &String| grades.get(name).is_some_and(|grade| *grade > 0);
    let first = ranking.iter().take(RANKS).position(right);
    first.map_or(0.0, |at| 1.0 / (at + 1) as f64)
}

fn recall(ranking: &[String], grades: &Grades, ranks: usize) -> f64 {
    let wanted = grades.values().filter(|grade| **grade > 0).count();
    let right = |name: &&String| grades.get(*name).is_some_and(|grade| *grade > 0);
    let found = ranking.iter().take(ranks).filter(right).count();
    found as f64 / wanted.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_are_those_worked_out_by_hand() {
        let grades: BTreeMap<String, u32> = [("a".to_owned(), 2), ("b".to_owned(), 1)].into();
        let ranking = ["x", "b", "a"].map(str::to_owned).to_vec();
        let found = measure_rankings(&[(ranking, &grades)]);
        // (1/log₂3 + 2/log₂4) / (2/log₂2 + 1/log₂3)
        assert!((found.ndcg_10.mean - (0.63093 + 1.0) / 2.63093).abs() < 1e-4);
        assert_eq!(found.mrr_10.mean, 0.5);
        assert_eq!(found.recall[0].1.mean, 1.0);
        assert_eq!(ndcg(&[], &grades), 0.0);
    }
}
