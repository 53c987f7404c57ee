//! Vectors of texts.

use serde::{Deserialize, Serialize};

use crate::{Cancel, EngineError};

/// How near two vectors of a space are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Similarity {
    /// By the cosine of the angle between them: as vectors have length 1, their product.
    Cosine,
}

impl Similarity {
    /// How near two vectors are; more is nearer.
    ///
    /// # Panics
    /// If they differ in length.
    pub fn of(self, a: &[f32], b: &[f32]) -> f32 {
        assert_eq!(a.len(), b.len(), "vectors of different spaces");
        let Self::Cosine = self;
        let products = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
        products.sum::<f64>() as f32
    }
}

/// The space that the vectors of an engine lie in. Vectors of different spaces say nothing of each
/// other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmbeddingSpace {
    /// A name that identifies the weights and what is made of their results.
    pub name: String,
    /// Numbers of a vector.
    pub dimensions: usize,
    /// Tokens of a text that count at most, those that stand around every text included.
    pub max_tokens: usize,
    /// How vectors are compared.
    pub similarity: Similarity,
}

/// The vector of a text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Embedding {
    /// As long as the space has dimensions, of length 1.
    pub vector: Vec<f32>,
    /// Tokens that it is made of.
    pub tokens: usize,
    /// Tokens at the end of the text that did not count, because it is too long.
    pub cut_tokens: usize,
}

/// An engine that gives texts places in a space in which texts of like meaning are near each other.
pub trait Embed: Send + Sync {
    /// The space of the vectors.
    fn space(&self) -> &EmbeddingSpace;

    /// Embeds texts together, each as if it were alone; results come in the texts' order.
    fn embed(&self, texts: &[&str], cancel: &Cancel) -> Vec<Result<Embedding, EngineError>>;
}

#[cfg(test)]
mod tests {
    use super::Similarity;

    #[test]
    fn the_cosine_of_vectors_of_length_one_is_their_product() {
        let (a, b) = ([0.6, 0.8], [0.8, 0.6]);
        assert!((Similarity::Cosine.of(&a, &a) - 1.0).abs() < 1e-6);
        assert!((Similarity::Cosine.of(&a, &b) - 0.96).abs() < 1e-6);
    }

    #[test]
    #[should_panic(expected = "vectors of different spaces")]
    fn vectors_of_different_lengths_are_refused() {
        Similarity::Cosine.of(&[1.0], &[0.6, 0.8]);
    }
}
