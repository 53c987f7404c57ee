//! Vectors as the learner sees them: what all have in common taken off, and of length 1.

/// Takes off the mean of the vectors that were known when it was made. The hidden states of
/// language models all point nearly the same way, and only the rest tells records apart.
#[derive(Debug, Clone, Default)]
pub(super) struct Lens {
    mean: Vec<f32>,
}

impl Lens {
    /// A lens for these vectors.
    pub(super) fn over<'v>(vectors: impl Iterator<Item = &'v Vec<f32>>) -> Self {
        let mut mean: Vec<f32> = Vec::new();
        let mut count = 0.0;
        for vector in vectors {
            mean.resize(vector.len(), 0.0);
            count += 1.0;
            for (mean, x) in mean.iter_mut().zip(vector) {
                *mean += (x - *mean) / count;
            }
        }
        Self { mean }
    }

    /// Numbers of a vector; 0 where there were none.
    pub(super) fn length(&self) -> usize {
        self.mean.len()
    }

    /// A vector seen through the lens; empty where it has another length.
    pub(super) fn see(&self, vector: &[f32]) -> Vec<f32> {
        if vector.len() != self.mean.len() {
            return Vec::new();
        }
        let centred: Vec<f32> = vector.iter().zip(&self.mean).map(|(x, m)| x - m).collect();
        let norm = centred.iter().map(|x| x * x).sum::<f32>().sqrt();
        if norm == 0.0 {
            return centred;
        }
        centred.into_iter().map(|x| x / norm).collect()
    }
}
