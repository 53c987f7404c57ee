//! Which words of a query are looked for in a large collection, so that what a search ranks is
//! bounded.

use std::collections::HashSet;

use super::Hit;
use crate::passage::PassageId;

/// Passages that are ranked at a time at most, about a microsecond each. In a collection of more,
/// passages with rare words of the query are looked for, and others only where these are too few.
/// With a filter, which may leave out any of them, all are.
pub(super) const RANKED_PASSAGES: usize = 20_000;

/// For each passage that is ranked, passages that words are counted in, which is much faster.
const COUNTED_PER_RANKED: usize = 15;

/// In how many of `passages` a word is that is in more than are ranked, from the number of the first
/// one that is too many, as if all were spread evenly.
pub(super) fn estimate(ranked: usize, number: i64, passages: i64) -> i64 {
    (ranked as i64 + 1).saturating_mul(passages) / number.max(1)
}

/// The words of a query by how they are looked for.
#[derive(Debug, PartialEq)]
pub(super) struct Words<T> {
    /// The rarest, together in no more passages than are ranked: whatever has any of them is found.
    pub(super) rare: Vec<T>,
    /// The others, the rarest first, without those that are in so many passages that they say
    /// nothing; one at least.
    frequent: Vec<T>,
    /// How many of the frequent words say something.
    saying: usize,
    /// How many of the frequent words enough passages have together, if each came by itself.
    together: usize,
}

impl<T> Words<T> {
    /// Words with the numbers of passages that have them, in a collection of so many passages, for
    /// so many results.
    pub(super) fn of(
        mut counted: Vec<(i64, T)>,
        passages: i64,
        (ranked, wanted): (usize, usize),
    ) -> Self {
        counted.sort_by_key(|(count, _)| *count);
        let within = |counted: &[(i64, T)], most: usize| {
            let mut total = 0;
            let within = counted.iter().take_while(|(count, _)| {
                total += count;
                total <= most as i64
            });
            within.count()
        };
        let mut frequent = counted.split_off(within(&counted, ranked));
        // What is in most passages has no weight in BM25.
        let saying = frequent.iter().filter(|(count, _)| 2 * count <= passages);
        let saying = saying
            .count()
            .min(within(&frequent, COUNTED_PER_RANKED * ranked));
        frequent.truncate(saying.max(1));
        let mut expected = passages as f64;
        let together = frequent.iter().take_while(|(count, _)| {
            expected *= *count as f64 / passages as f64;
            expected >= wanted as f64
        });
        Self {
            saying,
            together: together.count().max(1).min(frequent.len()),
            rare: counted.into_iter().map(|(_, word)| word).collect(),
            frequent: frequent.into_iter().map(|(_, word)| word).collect(),
        }
    }

    /// Words that count where a rare one is, too.
    pub(super) fn weighty(&self) -> &[T] {
        &self.frequent[..self.saying]
    }

    /// What fills up a list that rare words have left too short: passages with all of several
    /// frequent words, then with all but one of these, and so on.
    pub(super) fn fillers(&self) -> impl Iterator<Item = &[T]> {
        (1..=self.together)
            .rev()
            .map(|count| &self.frequent[..count])
    }
}

/// Adds hits of passages that are not there yet.
pub(super) fn add_new(hits: &mut Vec<Hit>, others: Vec<Hit>) {
    let known: HashSet<PassageId> = hits.iter().map(|hit| hit.passage).collect();
    hits.extend(
        others
            .into_iter()
            .filter(|hit| !known.contains(&hit.passage)),
    );
}

#[cfg(test)]
mod tests {
    use super::Words;

    fn words(counted: &[(i64, &'static str)], ranked: usize, wanted: usize) -> Words<&'static str> {
        Words::of(counted.to_vec(), 100, (ranked, wanted))
    }

    #[test]
    fn rare_words_are_looked_for_and_frequent_ones_that_say_something_count() {
        let counted = [
            (60, "pump"),
            (2, "valve"),
            (30, "oil"),
            (50, "gear"),
            (5, "rim"),
        ];
        let few = words(&counted, 10, 15);
        assert_eq!(few.rare, ["valve", "rim"]);
        assert_eq!(few.weighty(), ["oil", "gear"]);
        assert_eq!(words(&counted, 3, 15).weighty(), ["rim", "oil"]);
        assert_eq!(words(&counted, 177, 1).rare.len(), 5);
        // Where there is no other it is looked for all the same.
        assert_eq!(
            words(&[(90, "pump"), (80, "oil")], 10, 1)
                .fillers()
                .collect::<Vec<_>>(),
            [["oil"]]
        );
    }

    #[test]
    fn frequent_words_fill_up_together_where_enough_is_expected() {
        let fillers = |counted: &[(i64, &'static str)], wanted| {
            let words = words(counted, 10, wanted);
            words.fillers().map(<[_]>::to_vec).collect::<Vec<_>>()
        };
        // Half of 30 have the gear, too.
        let counted = [(30, "oil"), (50, "gear"), (5, "rim")];
        assert_eq!(fillers(&counted, 15), [vec!["oil", "gear"], vec!["oil"]]);
        assert_eq!(fillers(&counted, 16), [["oil"]]);
        assert_eq!(fillers(&counted, 1000), [["oil"]]);
        assert_eq!(fillers(&counted[2..], 10), [[""; 0]; 0]);
    }
}
