//! Which passages say the same.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::passage::Passage;
use crate::text::{each_term, terms};

/// Terms that stand together and are compared as one.
const SHINGLE_TERMS: usize = 3;
/// Fewer terms than these are no text that could be the same by more than chance.
const LEAST_TERMS: usize = 12;

/// Passages that were seen.
#[derive(Default)]
pub(super) struct Seen {
    known: Vec<Said>,
}

/// What a passage says.
struct Said {
    /// The words of its last heading: the same said of another thing is not the same.
    heading: HashSet<String>,
    /// Its different shingles, in ascending order.
    shingles: Vec<u64>,
}

impl Seen {
    /// Whether a passage says anything that no one before it says; from now on it is one of those.
    pub(super) fn is_new(&mut self, passage: &Passage) -> bool {
        let mut hashes = Vec::new();
        each_term(&passage.text, &mut |term| hashes.push(hash(&term)));
        if hashes.len() < LEAST_TERMS {
            return true;
        }
        let said = Said {
            heading: heading(passage),
            shingles: shingles(&hashes),
        };
        let is_new = !self.known.iter().any(|known| known.says(&said));
        if is_new {
            self.known.push(said);
        }
        is_new
    }
}

impl Said {
    /// Whether all of another passage is said here.
    fn says(&self, other: &Self) -> bool {
        let has = |shingle| self.shingles.binary_search(shingle).is_ok();
        other.shingles.iter().all(has) && other.heading.is_subset(&self.heading)
    }
}

/// The words of the last heading; numbers count it only.
fn heading(passage: &Passage) -> HashSet<String> {
    let last = passage.titles.last().map_or("", String::as_str);
    let mut words = terms(last);
    words.retain(|word| !word.chars().any(|c| c.is_ascii_digit()));
    words.into_iter().collect()
}

/// Hashes of terms that stand together, each once, in ascending order.
fn shingles(terms: &[u64]) -> Vec<u64> {
    let mut shingles: Vec<u64> = terms.windows(SHINGLE_TERMS).map(|s| hash(&s)).collect();
    shingles.sort_unstable();
    shingles.dedup();
    shingles
}

fn hash<T: Hash>(value: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::Seen;
    use crate::scripted::passage;

    #[test]
    fn the_same_text_in_other_lines_is_not_new_and_one_with_another_word_is() {
        let text = "The pump must be oiled every 3 months with mineral oil. It takes 20 drops each time, \
                    no more than that, and the valve needs none at all, nor does the rim of the wheel.";
        let mut seen = Seen::default();
        let mut is_new = |titles: &[&str], text: &str| seen.is_new(&passage(titles, text));
        assert!(is_new(&["Care", "1.2. Pump"], text));
        assert!(!is_new(&["1. Pump"], &text.replace(' ', "\n")));
        assert!(!is_new(&[], &text.to_uppercase()));
        assert!(!is_new(
            &["Pump"],
            "It takes 20 drops each time, no more than that, and the valve needs none."
        ));
        for (one, other) in [("20", "25"), ("must", "must not"), ("wheel", "door")] {
            assert!(is_new(&["Pump"], &text.replace(one, other)), "{other}");
        }
        assert!(is_new(&["Pump of the ship"], text));
        assert!(is_new(
            &["Pump"],
            &format!("{text} The valve is opened with a key of copper.")
        ));
        assert!(is_new(&[], "Short.") && is_new(&[], "Short."));
    }
}
