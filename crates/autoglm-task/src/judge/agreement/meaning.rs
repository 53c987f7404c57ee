//! Texts of like meaning: clusters of free texts, and how much they scatter.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use autoglm_spec::{Cancel, Embed, EngineError};

use crate::words::{shared_words, words};

/// How near texts are to each other.
pub trait Similar: Debug + Send + Sync {
    /// A name that identifies the measure.
    fn name(&self) -> String;

    /// From which value on one text says what the other says.
    fn threshold(&self) -> f32;

    /// For each pair how far the first text covers the second, in `[from][to]`.
    ///
    /// # Errors
    /// When texts cannot be compared, as by an engine that fails.
    fn matrix(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EngineError>;
}

/// Which share of the one text's words the other has: what stands in where there are no vectors
/// of texts. It takes texts of the same words for the same, and knows nothing of synonyms.
#[derive(Debug, Clone, Copy)]
pub struct SharedWords;

/// Both texts must have this share of the other's words: with ten words each, seven.
const SHARED_WORDS: f32 = 0.7;

impl Similar for SharedWords {
    fn name(&self) -> String {
        "shared words".to_owned()
    }

    fn threshold(&self) -> f32 {
        SHARED_WORDS
    }

    fn matrix(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EngineError> {
        let texts: Vec<Vec<String>> = texts.iter().map(|text| words(text)).collect();
        let covers = |from: &Vec<String>, to: &Vec<String>| {
            if to.is_empty() {
                return f32::from(u8::from(from.is_empty()));
            }
            shared_words(from, to) as f32 / to.len() as f32
        };
        let row = |from| texts.iter().map(|to| covers(from, to)).collect();
        Ok(texts.iter().map(row).collect())
    }
}

/// The cosine from which on texts say the same, chosen with all-MiniLM-L6-v2
/// (`docs/agreement.md`).
pub const EMBEDDED_COSINE: f32 = 0.8;

/// Texts whose vectors are kept: those of the records of a window with all their samples.
const KEPT_VECTORS: usize = 4096;

/// By the angle between the texts' vectors. A vote looks at the same texts after every round, and
/// they are embedded once.
pub struct Embedded {
    engine: Arc<dyn Embed>,
    threshold: f32,
    known: Mutex<BTreeMap<String, Vec<f32>>>,
}

impl Embedded {
    /// Texts whose vectors have a cosine of at least [`EMBEDDED_COSINE`] say the same.
    pub fn new(engine: Arc<dyn Embed>) -> Self {
        Self {
            engine,
            threshold: EMBEDDED_COSINE,
            known: Mutex::default(),
        }
    }

    /// The texts' vectors; none for texts that are blank, which point nowhere.
    fn vectors(&self, texts: &[&str]) -> Result<Vec<Option<Vec<f32>>>, EngineError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut wanted: Vec<&str> = texts.iter().map(|text| text.trim()).collect();
        wanted.sort_unstable();
        wanted.dedup();
        wanted.retain(|text| !text.is_empty());
        let is_known = |known: &BTreeMap<String, Vec<f32>>, text: &str| known.contains_key(text);
        let unknown = wanted.iter().filter(|text| !is_known(&known, text)).count();
        if unknown > 0 && known.len() + unknown > KEPT_VECTORS {
            known.clear();
        }
        let fresh: Vec<&str> = wanted
            .into_iter()
            .filter(|text| !is_known(&known, text))
            .collect();
        if !fresh.is_empty() {
            let embedded = self.engine.embed(&fresh, &Cancel::default());
            for (text, embedding) in fresh.into_iter().zip(embedded) {
                known.insert(text.to_owned(), embedding?.vector);
            }
        }
        let of_text = |text: &&str| known.get(text.trim()).cloned();
        Ok(texts.iter().map(of_text).collect())
    }
}

impl Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedded")
            .field("space", self.engine.space())
            .field("threshold", &self.threshold)
            .finish_non_exhaustive()
    }
}

impl Similar for Embedded {
    fn name(&self) -> String {
        self.engine.space().name.clone()
    }

    fn threshold(&self) -> f32 {
        self.threshold
    }

    fn matrix(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EngineError> {
        let similarity = self.engine.space().similarity;
        let vectors = self.vectors(texts)?;
        let near = |from: &Option<Vec<f32>>, to: &Option<Vec<f32>>| match (from, to) {
            (Some(from), Some(to)) => similarity.of(from, to),
            (None, None) => 1.0,
            _ => 0.0,
        };
        let row = |from| vectors.iter().map(|to| near(from, to)).collect();
        Ok(vectors.iter().map(row).collect())
    }
}

/// The cluster of each text, numbered in the order in which they first come up: two texts are of
/// one cluster where each covers the other, and where a chain of such pairs joins them.
///
/// Which texts are together does not depend on their order, unlike in the original, which compares
/// a text to the first member of each cluster only.
///
/// # Errors
/// As for [`Similar::matrix`].
///
/// # Source
/// Farquhar et al. 2024, Detecting hallucinations in large language models using semantic entropy,
/// methods: clusters by bidirectional entailment. Here nearness takes the place of entailment.
pub fn clusters(texts: &[&str], similar: &dyn Similar) -> Result<Vec<usize>, EngineError> {
    let near = similar.matrix(texts)?;
    let least = similar.threshold();
    let mut cluster: Vec<usize> = (0..texts.len()).collect();
    for one in 0..texts.len() {
        for other in 0..one {
            if near[one][other] >= least && near[other][one] >= least {
                let (from, to) = (cluster[one], cluster[other]);
                for place in &mut cluster {
                    if *place == from {
                        *place = to;
                    }
                }
            }
        }
    }
    Ok(numbered(&cluster))
}

/// Names as numbers in the order in which they first come up.
pub(super) fn numbered<T: PartialEq>(names: &[T]) -> Vec<usize> {
    let mut seen: Vec<&T> = Vec::new();
    let number = |name| {
        seen.iter()
            .position(|other| *other == name)
            .unwrap_or_else(|| {
                seen.push(name);
                seen.len() - 1
            })
    };
    names.iter().map(number).collect()
}

/// `−Σ p ln p` over the shares of clusters, in nats: semantic entropy as it is estimated from
/// counts alone, which needs no probabilities from the engine.
///
/// # Source
/// Farquhar et al. 2024, methods, discrete semantic entropy; Kuhn et al. 2023, Semantic
/// Uncertainty, equation 4.
pub fn entropy(counts: &[usize]) -> f64 {
    let all: usize = counts.iter().sum();
    let term = |count: &usize| {
        let share = *count as f64 / all as f64;
        -share * share.ln()
    };
    let sum: f64 = counts.iter().filter(|count| **count > 0).map(term).sum();
    // A single cluster gives −0.
    sum.max(0.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_of_the_same_words_are_of_one_cluster() {
        let texts = [
            "Paris is the capital of France.",
            "The capital of France is Paris",
            "Lyon is a large city in France, on the Rhône",
            "法国的首都是巴黎",
            "巴黎是法国的首都。",
            "",
        ];
        assert_eq!(clusters(&texts, &SharedWords).unwrap(), [0, 0, 1, 2, 2, 3]);
    }

    #[test]
    fn a_text_that_only_covers_the_other_says_more() {
        let texts = ["It is red", "It is red and it costs ten euros in the shop"];
        assert_eq!(clusters(&texts, &SharedWords).unwrap(), [0, 1]);
    }

    /// Vectors that point where a text's first letter says.
    struct Compass {
        space: autoglm_spec::EmbeddingSpace,
        embedded: Mutex<Vec<String>>,
    }

    impl Embed for Compass {
        fn space(&self) -> &autoglm_spec::EmbeddingSpace {
            &self.space
        }

        fn embed(
            &self,
            texts: &[&str],
            _: &Cancel,
        ) -> Vec<Result<autoglm_spec::Embedding, EngineError>> {
            let embed = |text: &&str| {
                self.embedded.lock().unwrap().push((*text).to_owned());
                let angle = match text.chars().next() {
                    Some('n') => 0.0f32,
                    Some('e') => 1.5,
                    Some('?') => return Err(EngineError::Cancelled),
                    _ => 0.3,
                };
                Ok(autoglm_spec::Embedding {
                    vector: vec![angle.cos(), angle.sin()],
                    tokens: 1,
                    cut_tokens: 0,
                })
            };
            texts.iter().map(embed).collect()
        }
    }

    #[test]
    fn vectors_that_point_the_same_way_are_of_one_cluster() {
        let similar = Embedded::new(Arc::new(compass()));
        let texts = ["north", "east", "a little east of north", "new"];
        assert_eq!(clusters(&texts, &similar).unwrap(), [0, 1, 0, 0]);
        assert!(clusters(&["north", "?"], &similar).is_err());
        assert_eq!(similar.name(), "compass");
    }

    #[test]
    fn texts_are_embedded_once_and_blank_ones_never() {
        let compass = Arc::new(compass());
        let similar = Embedded::new(Arc::clone(&compass) as Arc<dyn Embed>);
        let texts = ["north", "", "east", " \n", "north"];
        for _ in 0..2 {
            assert_eq!(clusters(&texts, &similar).unwrap(), [0, 1, 2, 1, 0]);
        }
        assert_eq!(clusters(&["new", "east"], &similar).unwrap(), [0, 1]);
        assert_eq!(*compass.embedded.lock().unwrap(), ["east", "north", "new"]);
    }

    fn compass() -> Compass {
        Compass {
            space: autoglm_spec::EmbeddingSpace {
                name: "compass".to_owned(),
                dimensions: 2,
                max_tokens: 9,
                similarity: autoglm_spec::Similarity::Cosine,
            },
            embedded: Mutex::default(),
        }
    }

    #[test]
    fn entropy_is_that_of_the_shares() {
        assert_eq!(entropy(&[5]), 0.0);
        assert!((entropy(&[2, 2]) - 2f64.ln()).abs() < 1e-12);
        assert!((entropy(&[1; 8]) - 8f64.ln()).abs() < 1e-12);
        assert_eq!(entropy(&[]), 0.0);
    }

    proptest! {
        #[test]
        fn clusters_do_not_depend_on_the_order(
            texts in prop::collection::vec("[ab]( [abc]){0,4}", 1..8),
            shift in 0usize..8,
        ) {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let mut turned = texts.clone();
            turned.rotate_left(shift % texts.len());
            turned.reverse();
            let together = |texts: &[&str]| {
                let found = clusters(texts, &SharedWords).unwrap();
                let mut pairs = Vec::new();
                for (i, a) in texts.iter().enumerate() {
                    for (j, b) in texts.iter().enumerate() {
                        pairs.push((String::from(*a), String::from(*b), found[i] == found[j]));
                    }
                }
                pairs.sort_unstable();
                pairs.dedup();
                pairs
            };
            prop_assert_eq!(together(&texts), together(&turned));
        }
    }
}
