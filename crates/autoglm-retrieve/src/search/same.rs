//! Which passages say the same.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::passage::Passage;
use crate::text::terms;

/// Terms that stand together and are compared as one.
const SHINGLE_TERMS: usize = 3;
/// Fewer terms than these are no text that could be the same by more than chance.
const LEAST_TERMS: usize = 12;

/// Passages that were seen.
#[derive(Default)]
pub(super) struct Seen {
    /// Of each, the words of its last heading: the same said of another thing is not the same.
    headings: Vec<HashSet<String>>,
    /// In which of them a shingle is.
    places: HashMap<u64, Vec<usize>>,
}

impl Seen {
    /// Whether a passage says anything that no one before it says; from now on it is one of those.
    pub(super) fn is_new(&mut self, passage: &Passage) -> bool {
        let terms = terms(&passage.text);
        if terms.len() < LEAST_TERMS {
            return true;
        }
        let shingles: BTreeSet<u64> = terms.windows(SHINGLE_TERMS).map(hash).collect();
        let heading = heading(passage);
        let mut shared: BTreeMap<usize, usize> = BTreeMap::new();
        for at in shingles.iter().filter_map(|s| self.places.get(s)).flatten() {
            *shared.entry(*at).or_default() += 1;
        }
        let says_it = |(at, shared): (&usize, &usize)| {
            *shared == shingles.len() && heading.is_subset(&self.headings[*at])
        };
        if shared.iter().any(says_it) {
            return false;
        }
        for shingle in shingles {
            let places = self.places.entry(shingle).or_default();
            places.push(self.headings.len());
        }
        self.headings.push(heading);
        true
    }
}

/// The words of the last heading; numbers count it only.
fn heading(passage: &Passage) -> HashSet<String> {
    let last = passage.titles.last().map_or("", String::as_str);
    let mut words = terms(last);
    words.retain(|word| !word.chars().any(|c| c.is_ascii_digit()));
    words.into_iter().collect()
}

fn hash(shingle: &[String]) -> u64 {
    let mut hasher = DefaultHasher::new();
    shingle.hash(&mut hasher);
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
