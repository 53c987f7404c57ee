//! One list of two.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::SearchSettings;
use crate::passage::PassageId;
use crate::store::Hit;

/// How lists become one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fusion {
    /// Scores are added: of words as a part of the best one's, of meaning as they are.
    ///
    /// # Source
    /// Bruch, Gai, Ingber 2023, An Analysis of Fusion Functions for Hybrid Retrieval, §4.
    Blend,
    /// Each list adds its weight divided by `constant` and the rank, whatever the scores are.
    ///
    /// # Source
    /// Cormack, Clarke, Büttcher 2009, Reciprocal Rank Fusion, §2; there the constant is 60.
    ReciprocalRank {
        /// How little the first ranks stand out.
        constant: f64,
    },
}

/// The lists that a search makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ListName {
    /// By words.
    Words,
    /// By meaning.
    Meaning,
}

/// What a list says of a passage.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// The list.
    pub list: ListName,
    /// The passage's rank in it, from 1.
    pub rank: usize,
    /// Its score there.
    pub score: f64,
    /// What the list adds to the passage's score.
    pub adds: f64,
}

/// A passage with its score of all lists.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fused {
    pub(super) passage: PassageId,
    pub(super) score: f64,
    pub(super) shares: Vec<Share>,
}

/// Puts lists together, the best first.
pub(super) fn fuse(lexical: &[Hit], dense: &[Hit], settings: &SearchSettings) -> Vec<Fused> {
    let mut shares: BTreeMap<PassageId, Vec<Share>> = BTreeMap::new();
    let lists = [
        (ListName::Words, lexical, settings.lexical_weight),
        (ListName::Meaning, dense, settings.dense_weight),
    ];
    for (list, hits, weight) in lists {
        let best = hits.first().map_or(1.0, |hit| hit.score);
        for (rank, hit) in (1..).zip(hits) {
            let adds = match settings.fusion {
                Fusion::ReciprocalRank { constant } => weight / (constant + f64::from(rank)),
                Fusion::Blend if list == ListName::Words => weight * hit.score / best,
                Fusion::Blend => weight * hit.score,
            };
            shares.entry(hit.passage).or_default().push(Share {
                list,
                rank: rank as usize,
                score: hit.score,
                adds,
            });
        }
    }
    let mut fused: Vec<Fused> = shares
        .into_iter()
        .map(|(passage, shares)| Fused {
            passage,
            score: shares.iter().map(|share| share.adds).sum(),
            shares,
        })
        .collect();
    fused.sort_by(|a, b| b.score.total_cmp(&a.score));
    fused
}
