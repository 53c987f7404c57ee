//! Which passages say the same.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::text::terms;

/// Terms that stand together and are compared as one.
const SHINGLE_TERMS: usize = 3;
/// Fewer terms than these are no text that could be the same by more than chance.
const LEAST_TERMS: usize = 12;
/// The part of the shorter passage that the longer one has.
const SAME: f64 = 0.9;

/// Passages that were seen.
#[derive(Default)]
pub(super) struct Seen {
    /// Of each, its terms with digits: texts that differ in a number differ.
    numbers: Vec<HashSet<String>>,
    /// In which of them a shingle is.
    places: HashMap<u64, Vec<usize>>,
}

impl Seen {
    /// Whether a text says anything that none before it says; from now on it is one of those.
    pub(super) fn is_new(&mut self, text: &str) -> bool {
        let terms = terms(text);
        if terms.len() < LEAST_TERMS {
            return true;
        }
        let shingles: BTreeSet<u64> = terms.windows(SHINGLE_TERMS).map(hash).collect();
        let has_digit = |term: &&String| term.chars().any(|c| c.is_ascii_digit());
        let numbers: HashSet<String> = terms.iter().filter(has_digit).cloned().collect();
        let mut shared: BTreeMap<usize, usize> = BTreeMap::new();
        for at in shingles.iter().filter_map(|s| self.places.get(s)).flatten() {
            *shared.entry(*at).or_default() += 1;
        }
        let least = SAME * shingles.len() as f64;
        let says_it = |(at, shared): (&usize, &usize)| {
            *shared as f64 >= least && numbers.is_subset(&self.numbers[*at])
        };
        if shared.iter().any(says_it) {
            return false;
        }
        for shingle in shingles {
            self.places
                .entry(shingle)
                .or_default()
                .push(self.numbers.len());
        }
        self.numbers.push(numbers);
        true
    }
}

fn hash(shingle: &[String]) -> u64 {
    let mut hasher = DefaultHasher::new();
    shingle.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::Seen;

    #[test]
    fn the_same_text_in_other_lines_is_not_new_and_one_with_another_number_is() {
        let text = "The pump is oiled every 3 months with mineral oil. It takes 20 drops each time, \
                    and no more than that.";
        let mut seen = Seen::default();
        assert!(seen.is_new(text));
        assert!(!seen.is_new(&text.replace(' ', "\n")));
        assert!(!seen.is_new(&text.to_uppercase()));
        assert!(seen.is_new(&text.replace("20", "25")));
        assert!(seen.is_new(&format!("{text} The valve is opened with a key of copper.")));
        assert!(seen.is_new("Short.") && seen.is_new("Short."));
    }
}
