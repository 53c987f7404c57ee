//! The best of many.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// The entries with the highest scores, at most so many; of equal ones the lower numbers.
pub(crate) struct Top {
    limit: usize,
    /// The worst on top.
    heap: BinaryHeap<Reverse<Entry>>,
}

#[derive(PartialEq)]
struct Entry {
    score: f32,
    number: i64,
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_score = self.score.total_cmp(&other.score);
        by_score.then(other.number.cmp(&self.number))
    }
}

impl Top {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            heap: BinaryHeap::with_capacity(limit + 1),
        }
    }

    /// Whether an entry with this score may be among them.
    pub(crate) fn wants(&self, score: f32) -> bool {
        self.heap.len() < self.limit || self.heap.peek().is_some_and(|worst| score >= worst.0.score)
    }

    pub(crate) fn add(&mut self, number: i64, score: f32) {
        let entry = Entry { score, number };
        if self.heap.len() < self.limit {
            self.heap.push(Reverse(entry));
        } else if self.heap.peek().is_some_and(|worst| entry > worst.0) {
            self.heap.pop();
            self.heap.push(Reverse(entry));
        }
    }

    /// Numbers with scores, the best first.
    pub(crate) fn best(self) -> Vec<(i64, f32)> {
        let sorted = self.heap.into_sorted_vec();
        sorted
            .into_iter()
            .map(|Reverse(entry)| (entry.number, entry.score))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Top;

    proptest! {
        #[test]
        fn the_best_are_those_of_a_sorted_list(scores in prop::collection::vec(0_u8..9, 0..40), limit in 0_usize..12) {
            let mut top = Top::new(limit);
            let mut all: Vec<(i64, f32)> = Vec::new();
            for (number, score) in (0_i64..).zip(&scores) {
                top.add(number, f32::from(*score));
                all.push((number, f32::from(*score)));
            }
            all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            all.truncate(limit);
            prop_assert_eq!(top.best(), all);
        }
    }
}
