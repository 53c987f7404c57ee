//! Which passages say the same.

use std::collections::HashSet;
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
pub(super) struct Seen(Vec<Shape>);

/// What is compared of a passage.
struct Shape {
    shingles: HashSet<u64>,
    /// Terms with digits: texts that differ in a number differ.
    numbers: HashSet<String>,
}

impl Seen {
    /// Whether a text says anything that none before it says; from now on it is one of those.
    pub(super) fn is_new(&mut self, text: &str) -> bool {
        let terms = terms(text);
        if terms.len() < LEAST_TERMS {
            return true;
        }
        let shape = Shape::of(&terms);
        let is_new = !self.0.iter().any(|other| other.has(&shape));
        if is_new {
            self.0.push(shape);
        }
        is_new
    }
}

impl Shape {
    fn of(terms: &[String]) -> Self {
        let hash = |shingle: &[String]| {
            let mut hasher = DefaultHasher::new();
            shingle.hash(&mut hasher);
            hasher.finish()
        };
        let has_digit = |term: &&String| term.chars().any(|c| c.is_ascii_digit());
        Self {
            shingles: terms.windows(SHINGLE_TERMS).map(hash).collect(),
            numbers: terms.iter().filter(has_digit).cloned().collect(),
        }
    }

    /// Whether another one says the same or less.
    fn has(&self, other: &Self) -> bool {
        let shared = self.shingles.intersection(&other.shingles).count();
        let least = other.shingles.len();
        shared as f64 >= SAME * least as f64 && other.numbers.is_subset(&self.numbers)
    }
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
