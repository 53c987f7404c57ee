//! Ranked passages for a query: lists by words and by meaning, put together, and what each list said.

mod diversity;
mod fuse;
mod rerank;
mod rewrite;
mod same;
#[cfg(test)]
mod tests;

use std::panic::resume_unwind;
use std::thread;

use autoglm_spec::{Cancel, Embed};
use serde::Serialize;

use crate::RetrieveError;
use crate::passage::{Passage, PassageId};
use crate::store::{Filter, Hit, Store};
use crate::text::{TextLanguage, content_words};

pub use fuse::{Fusion, ListName, Share};
pub(crate) use rerank::cut_bytes;
pub use rerank::{Relevance, Rerank};
pub use rewrite::{Turn, rewrite};

/// How a search works.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchSettings {
    /// Passages that are wanted.
    pub limit: usize,
    /// Passages of each list that are looked at.
    pub depth: usize,
    /// How lists become one.
    pub fusion: Fusion,
    /// What the list by words counts; 0 leaves it out.
    pub lexical_weight: f64,
    /// What the list by meaning counts; 0 leaves it out.
    pub dense_weight: f64,
    /// Whether vectors say something of Chinese. Where they do not, meaning is left out of queries
    /// with Chinese in them.
    pub vectors_know_chinese: bool,
    /// How much being unlike those before it counts for a passage, from 0, not at all, to 1.
    pub diversity: f64,
    /// Which passages are looked at.
    pub filter: Filter,
}

impl Default for SearchSettings {
    /// Weights that were measured (`docs/knowledge.md`).
    fn default() -> Self {
        Self {
            limit: 10,
            depth: 100,
            fusion: Fusion::Blend,
            lexical_weight: 0.3,
            dense_weight: 0.7,
            vectors_know_chinese: true,
            diversity: 0.0,
            filter: Filter::default(),
        }
    }
}

/// A passage that was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ranked {
    /// The passage.
    #[serde(flatten)]
    pub passage: Passage,
    /// What it is ranked by.
    pub score: f64,
    /// What each list says of it and adds to its score.
    pub lists: Vec<Share>,
    /// What the model says of it, where it was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relevance: Option<f64>,
}

/// Searches a collection.
pub struct Searcher<'a> {
    /// The collection.
    pub store: &'a dyn Store,
    /// What makes vectors of queries, in the collection's space; none leaves the list by meaning
    /// out.
    pub embed: Option<&'a dyn Embed>,
}

/// A query and its vector.
type Query<'a> = (&'a str, Option<Vec<f32>>);

impl Searcher<'_> {
    /// The passages for one query, the best first.
    ///
    /// # Errors
    /// A store or an engine that fails, or an engine of another space.
    pub fn search(
        &self,
        query: &str,
        settings: &SearchSettings,
        cancel: &Cancel,
    ) -> Result<Vec<Ranked>, RetrieveError> {
        let mut found = self.search_all(&[query], settings, cancel)?;
        Ok(found.pop().unwrap_or_default())
    }

    /// The passages for each of some queries; their vectors are made together.
    ///
    /// # Errors
    /// As for [`Searcher::search`].
    pub fn search_all(
        &self,
        queries: &[&str],
        settings: &SearchSettings,
        cancel: &Cancel,
    ) -> Result<Vec<Vec<Ranked>>, RetrieveError> {
        self.search_all_on(&mut [], queries, settings, cancel)
    }

    /// As [`Searcher::search_all`], with a thread more for each further connection to the same
    /// collection.
    ///
    /// # Errors
    /// As for [`Searcher::search`].
    pub fn search_all_on(
        &self,
        others: &mut [Box<dyn Store>],
        queries: &[&str],
        settings: &SearchSettings,
        cancel: &Cancel,
    ) -> Result<Vec<Vec<Ranked>>, RetrieveError> {
        let vectors = self.vectors(queries, settings, cancel)?;
        let queries: Vec<Query<'_>> = queries.iter().copied().zip(vectors).collect();
        let share = queries.len().div_ceil(others.len() + 1).max(1);
        let mut shares = queries.chunks(share);
        let own = shares.next().unwrap_or_default();
        thread::scope(|scope| {
            let mut running = Vec::new();
            for (store, share) in others.iter_mut().zip(shares) {
                running.push(scope.spawn(move || {
                    let (store, embed) = (&**store, None);
                    Searcher { store, embed }.rank_all(share, settings)
                }));
            }
            let mut found = self.rank_all(own, settings)?;
            for share in running {
                found.extend(share.join().unwrap_or_else(|panic| resume_unwind(panic))?);
            }
            Ok(found)
        })
    }

    fn rank_all(
        &self,
        queries: &[Query<'_>],
        settings: &SearchSettings,
    ) -> Result<Vec<Vec<Ranked>>, RetrieveError> {
        let rank = |(query, vector): &Query<'_>| self.rank(query, vector.as_deref(), settings);
        queries.iter().map(rank).collect()
    }

    /// Vectors of queries, where meaning counts.
    fn vectors(
        &self,
        queries: &[&str],
        settings: &SearchSettings,
        cancel: &Cancel,
    ) -> Result<Vec<Option<Vec<f32>>>, RetrieveError> {
        let space = self.store.space()?;
        let (Some(embed), Some(space)) = (self.embed, space) else {
            return Ok(vec![None; queries.len()]);
        };
        if settings.dense_weight == 0.0 {
            return Ok(vec![None; queries.len()]);
        }
        if space != *embed.space() {
            return Err(RetrieveError::Space {
                found: space.name,
                wanted: embed.space().name.clone(),
            });
        }
        let counts = |query: &str| settings.vectors_know_chinese || !has_chinese(query);
        let texts: Vec<&str> = queries
            .iter()
            .copied()
            .filter(|query| counts(query))
            .collect();
        let mut embedded = embed.embed(&texts, cancel).into_iter();
        let vectors = queries.iter().map(|query| {
            if !counts(query) {
                return Ok(None);
            }
            let embedding = embedded.next().ok_or(RetrieveError::ResultCount {
                given: 0,
                wanted: texts.len(),
            })?;
            Ok(Some(embedding?.vector))
        });
        vectors.collect()
    }

    fn rank(
        &self,
        query: &str,
        vector: Option<&[f32]>,
        settings: &SearchSettings,
    ) -> Result<Vec<Ranked>, RetrieveError> {
        let depth = depth(settings);
        let lexical = if settings.lexical_weight > 0.0 {
            let words = content_words(query);
            self.store.lexical(&words, &settings.filter, depth)?
        } else {
            Vec::new()
        };
        let dense = match vector {
            Some(vector) => {
                let near = self.store.nearest(vector, &settings.filter, depth)?;
                self.with_products(vector, near, &lexical)?
            }
            None => Vec::new(),
        };
        let fused = fuse::fuse(&lexical, &dense, settings);
        let chosen = self.choose(fused, settings)?;
        self.different(&chosen, settings.limit)
    }

    /// The list by meaning with the products of passages that were found by words alone, so that
    /// both lists say something of each.
    fn with_products(
        &self,
        vector: &[f32],
        mut near: Vec<Hit>,
        lexical: &[Hit],
    ) -> Result<Vec<Hit>, RetrieveError> {
        let is_new = |hit: &&Hit| !near.iter().any(|other| other.passage == hit.passage);
        let new: Vec<PassageId> = lexical
            .iter()
            .filter(is_new)
            .map(|hit| hit.passage)
            .collect();
        for (passage, other) in new.iter().zip(self.store.vectors(&new)?) {
            let Some(other) = other.filter(|other| other.len() == vector.len()) else {
                continue;
            };
            near.push(Hit {
                passage: *passage,
                score: f64::from(crate::dense::dot(vector, &other)),
            });
        }
        near.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.passage.cmp(&b.passage)));
        Ok(near)
    }

    /// The passages that are wanted, by their scores and how unlike each other they are.
    fn choose(
        &self,
        mut fused: Vec<fuse::Fused>,
        settings: &SearchSettings,
    ) -> Result<Vec<fuse::Fused>, RetrieveError> {
        if settings.diversity > 0.0 {
            let ids: Vec<PassageId> = fused.iter().map(|fused| fused.passage).collect();
            let vectors = self.store.vectors(&ids)?;
            fused = diversity::choose(fused, &vectors, settings.diversity, depth(settings));
        }
        Ok(fused)
    }

    /// The first passages, without those that say the same as one before them: documentation comes as
    /// pages, as a book and as plain text at once.
    fn different(
        &self,
        chosen: &[fuse::Fused],
        limit: usize,
    ) -> Result<Vec<Ranked>, RetrieveError> {
        let mut found: Vec<Ranked> = Vec::new();
        let mut seen = same::Seen::default();
        for lot in chosen.chunks(limit.max(1)) {
            for ranked in self.passages(lot)? {
                if found.len() < limit && seen.is_new(&ranked.passage) {
                    found.push(ranked);
                }
            }
            if found.len() >= limit {
                break;
            }
        }
        Ok(found)
    }

    fn passages(&self, chosen: &[fuse::Fused]) -> Result<Vec<Ranked>, RetrieveError> {
        let ids: Vec<PassageId> = chosen.iter().map(|fused| fused.passage).collect();
        // A passage that was removed since is left out.
        let mut passages = self.store.passages(&ids)?.into_iter().peekable();
        let ranked = chosen.iter().filter_map(|fused| {
            let passage = passages.next_if(|passage| passage.id == fused.passage)?;
            Some(Ranked {
                passage,
                score: fused.score,
                lists: fused.shares.clone(),
                relevance: None,
            })
        });
        Ok(ranked.collect())
    }
}

/// Passages of each list that are looked at.
fn depth(settings: &SearchSettings) -> usize {
    settings.depth.max(settings.limit)
}

fn has_chinese(text: &str) -> bool {
    matches!(
        TextLanguage::of(text),
        TextLanguage::Chinese | TextLanguage::Mixed
    )
}
