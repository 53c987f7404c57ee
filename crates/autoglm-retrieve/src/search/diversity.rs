//! Passages that are good and unlike each other.

use super::fuse::Fused;
use crate::dense::dot;

/// Chooses passages one by one, each the best by its score less its likeness to those before it.
/// Scores are scaled to [0, 1] first; passages without vectors are like no other.
///
/// # Source
/// Carbonell, Goldstein 1998, The Use of MMR, Diversity-Based Reranking, §2.
pub(super) fn choose(
    fused: Vec<Fused>,
    vectors: &[Option<Vec<f32>>],
    diversity: f64,
    limit: usize,
) -> Vec<Fused> {
    let best = fused.first().map_or(1.0, |first| first.score);
    let worst = fused.last().map_or(0.0, |last| last.score);
    let span = if best > worst { best - worst } else { 1.0 };
    let mut rest: Vec<(Fused, Option<&[f32]>, f64)> = fused
        .into_iter()
        .zip(vectors)
        .map(|(fused, vector)| (fused, vector.as_deref(), 0.0))
        .collect();
    let mut chosen = Vec::new();
    while chosen.len() < limit && !rest.is_empty() {
        let worth = |(fused, _, likeness): &(Fused, Option<&[f32]>, f64)| {
            (1.0 - diversity) * (fused.score - worst) / span - diversity * likeness
        };
        let mut at = 0;
        for other in 1..rest.len() {
            if worth(&rest[other]) > worth(&rest[at]) {
                at = other;
            }
        }
        let (next, vector, _) = rest.remove(at);
        for (_, other, likeness) in &mut rest {
            if let (Some(a), Some(b)) = (vector, &other) {
                *likeness = likeness.max(f64::from(dot(a, b)));
            }
        }
        chosen.push(next);
    }
    chosen
}
