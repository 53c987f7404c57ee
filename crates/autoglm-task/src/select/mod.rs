//! Examples chosen for each record: the labelled records that are most like it, and unlike each
//! other, the most similar last, as many as a prompt has room for.

mod bm25;
mod diverse;
mod room;
#[cfg(test)]
pub(crate) mod tests;
mod vectors;

use std::collections::{BTreeMap, BTreeSet};

use autoglm_spec::{Example, Field, Output, Record, TaskSpec};
use serde::{Deserialize, Serialize};

pub(crate) use room::Room;
pub use room::TokenCounter;
pub(crate) use vectors::vector_key;
pub use vectors::{VectorStore, vectors_of_examples};

use crate::library::{identity, record_text, task_fields};
use crate::strategy::content_hash;
use bm25::{Index, terms};
use diverse::{Candidate, pick};

/// What a rank counts: as in the paper, so that no first place decides alone.
const RANK_OFFSET: f64 = 60.0;

/// By what labelled records are near a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Nearness {
    /// By the words that they share, rare ones counting more.
    Words,
    /// By their vectors.
    Vectors,
    /// By the ranks that both give.
    Both,
}

/// How examples are chosen for each record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Selection {
    /// By what they are near it.
    pub by: Nearness,
    /// How many at most.
    pub count: usize,
    /// Tokens of a prompt at most; what the model's context has room for where none are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<usize>,
    /// What they are chosen from.
    pub pool: Pool,
}

/// What examples are chosen from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "examples")]
pub enum Pool {
    /// The labelled records that the task has in the store, whatever they are then.
    Library,
    /// These.
    Fixed(Vec<Example>),
}

/// What makes the same record get the same examples.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelectionKey {
    /// By what examples are near a record.
    pub by: Nearness,
    /// How many at most.
    pub count: usize,
    /// Tokens of a prompt at most, where it was said.
    pub tokens: Option<usize>,
    /// Hash of the labelled records that they are chosen from.
    pub pool: String,
    /// The space of the vectors that take part.
    pub space: Option<String>,
}

impl SelectionKey {
    /// How examples are chosen, less what they are chosen from.
    pub(crate) fn selection(&self) -> Selection {
        Selection {
            by: self.by,
            count: self.count,
            tokens: self.tokens,
            pool: Pool::Library,
        }
    }
}

/// An example that was chosen for a record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chosen {
    /// The example.
    #[serde(flatten)]
    pub example: Example,
    /// How near it is: the BM25 score, the cosine, or what both ranks add up to, of which 1 is first
    /// by both.
    pub score: f64,
}

/// Chooses examples for records.
#[derive(Debug, Clone)]
pub struct Selector {
    selection: Selection,
    fields: Vec<Field>,
    examples: Vec<Example>,
    /// What tells each example's record from others.
    identities: Vec<String>,
    /// Which examples take turns: those of a label, or all where answers are open.
    groups: Vec<usize>,
    words: Index,
    /// One an example, where vectors take part and there is one.
    vectors: Vec<Option<Vec<f32>>>,
}

impl Selector {
    /// Makes labelled records ready to be chosen from; those that do not fit the task are left out,
    /// and records that occur twice count once.
    pub fn new(spec: &TaskSpec, selection: &Selection, library: &[Example]) -> Self {
        let pool = match &selection.pool {
            Pool::Library => library,
            Pool::Fixed(examples) => examples,
        };
        let examples = fitting(spec, pool);
        let of = |example: &Example| identity(&spec.fields, &example.input);
        let text = |example: &Example| terms(&record_text(&spec.fields, &example.input));
        Self {
            selection: selection.clone(),
            fields: spec.fields.clone(),
            identities: examples.iter().map(of).collect(),
            groups: groups(spec, &examples),
            words: Index::new(examples.iter().map(text).collect()),
            vectors: vec![None; examples.len()],
            examples,
        }
    }

    /// The selector with a vector for each of [`Selector::examples`].
    ///
    /// # Panics
    /// When there is not one place for each.
    #[must_use]
    pub fn with_vectors(mut self, vectors: Vec<Option<Vec<f32>>>) -> Self {
        assert_eq!(
            vectors.len(),
            self.examples.len(),
            "want a place for each example's vector"
        );
        self.vectors = vectors;
        self
    }

    /// What is chosen from.
    pub fn examples(&self) -> &[Example] {
        &self.examples
    }

    /// Whether vectors of records take part.
    pub fn uses_vectors(&self) -> bool {
        self.selection.by != Nearness::Words
    }

    pub(crate) fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Tokens of a prompt at most, where it was said.
    pub(crate) fn most_tokens(&self) -> Option<usize> {
        self.selection.tokens
    }

    /// What makes the same record get the same examples.
    pub fn key(&self, space: Option<String>) -> SelectionKey {
        SelectionKey {
            by: self.selection.by,
            count: self.selection.count,
            tokens: self.selection.tokens,
            pool: content_hash(&self.examples),
            space,
        }
    }

    /// The examples for a record, the nearest last; a record is never its own example. Labels take
    /// turns, so that none has two more than another while there are any.
    pub fn choose(&self, record: &Record, vector: Option<&[f32]>) -> Vec<Chosen> {
        let own = identity(&self.fields, record);
        let is_other = |place: &usize| self.identities[*place] != own;
        let others: Vec<usize> = (0..self.examples.len()).filter(is_other).collect();
        let scores = self.scores(record, vector, &others);
        let candidate = |(&place, &score): (&usize, &f64)| Candidate {
            place,
            group: self.groups[place],
            score,
        };
        let candidates = others.iter().zip(&scores).map(candidate).collect();
        let likeness = |a: usize, b: usize| self.likeness(a, b);
        let mut picked = pick(candidates, self.selection.count, &likeness);
        // Stable from the back: of equals the one that came first is nearest to the record.
        picked.sort_by(|a, b| a.score.total_cmp(&b.score).then(b.place.cmp(&a.place)));
        let chosen = |candidate: Candidate| Chosen {
            example: self.examples[candidate.place].clone(),
            score: candidate.score,
        };
        picked.into_iter().map(chosen).collect()
    }

    /// How near each of `others` is to the record.
    fn scores(&self, record: &Record, vector: Option<&[f32]>, others: &[usize]) -> Vec<f64> {
        let by_words = || {
            let all = self
                .words
                .scores(&terms(&record_text(&self.fields, record)));
            others.iter().map(|&place| all[place]).collect()
        };
        let by_vectors = |vector: &[f32]| -> Vec<f64> {
            let of = |&place: &usize| {
                let other = self.vectors[place].as_deref();
                other.map_or(0.0, |other| cosine(vector, other))
            };
            others.iter().map(of).collect()
        };
        match (self.selection.by, vector) {
            (Nearness::Vectors, Some(vector)) => by_vectors(vector),
            (Nearness::Both, Some(vector)) => fused(&[by_words(), by_vectors(vector)]),
            // A record of which no vector can be made, such as an empty one, has its words.
            (Nearness::Words | Nearness::Vectors | Nearness::Both, _) => by_words(),
        }
    }

    /// How like two examples are, from 0 to 1.
    fn likeness(&self, a: usize, b: usize) -> f64 {
        let words = self.words.likeness(a, b);
        let vectors = match (&self.vectors[a], &self.vectors[b]) {
            (Some(a), Some(b)) if self.uses_vectors() => Some(cosine(a, b).max(0.0)),
            _ => None,
        };
        match (self.selection.by, vectors) {
            (Nearness::Vectors, Some(vectors)) => vectors,
            (Nearness::Both, Some(vectors)) => f64::midpoint(words, vectors),
            (Nearness::Words | Nearness::Vectors | Nearness::Both, _) => words,
        }
    }
}

/// The examples that have the task's fields and an answer that it knows, each once.
fn fitting(spec: &TaskSpec, pool: &[Example]) -> Vec<Example> {
    let labels = spec.output.labels();
    let mut seen = BTreeSet::new();
    let fit = |example: &Example| {
        let is_known = labels.is_empty() || labels.iter().any(|l| l.name == example.output);
        let input = task_fields(spec, &example.input)
            .ok()
            .filter(|_| is_known)?;
        let is_first = seen.insert(identity(&spec.fields, &input));
        is_first.then(|| Example {
            input,
            output: example.output.clone(),
        })
    };
    pool.iter().filter_map(fit).collect()
}

fn groups(spec: &TaskSpec, examples: &[Example]) -> Vec<usize> {
    let Output::Labels { labels } = &spec.output else {
        return vec![0; examples.len()];
    };
    let places = labels.iter().enumerate();
    let places: BTreeMap<&str, usize> = places.map(|(i, l)| (l.name.as_str(), i)).collect();
    let place = |example: &Example| places[example.output.as_str()];
    examples.iter().map(place).collect()
}

/// The cosine of vectors of length 1.
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let products = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
    products.sum()
}

/// What ranks by several scores add up to, 1 for what is first by all. What has no score above 0
/// has no rank.
///
/// # Source
/// Cormack, Clarke, Buettcher 2009, Reciprocal Rank Fusion outperforms Condorcet and individual
/// Rank Learning Methods.
fn fused(scores: &[Vec<f64>]) -> Vec<f64> {
    let most = scores.len() as f64 / (RANK_OFFSET + 1.0);
    let mut sums = vec![0.0; scores.first().map_or(0, Vec::len)];
    for scores in scores {
        let mut order: Vec<usize> = (0..scores.len()).filter(|&i| scores[i] > 0.0).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
        for (rank, place) in order.into_iter().enumerate() {
            sums[place] += 1.0 / (RANK_OFFSET + rank as f64 + 1.0) / most;
        }
    }
    sums
}
