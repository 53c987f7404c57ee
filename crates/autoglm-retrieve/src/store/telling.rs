//! Which words of a query are looked for in a large collection.

/// Passages that a search by words ranks at most, about a microsecond each. In a collection of more,
/// the most frequent words of a query, which tell passages apart the least, are left out where the
/// others are in as many passages as are wanted. With a filter, which may leave out what these find,
/// none is.
pub(super) const RANKED_PASSAGES: usize = 50_000;

/// The rarest words that together are in at most `ranked` passages, and as many more as it takes for
/// one of them to be in `wanted` passages.
pub(super) fn telling<T>(mut counted: Vec<(i64, T)>, ranked: usize, wanted: usize) -> Vec<T> {
    counted.sort_by_key(|(found, _)| *found);
    let (mut total, mut most) = (0, 0);
    let within = counted.into_iter().take_while(|(found, _)| {
        total += found;
        let is_wanted = total <= ranked as i64 || most < wanted as i64;
        most = *found;
        is_wanted
    });
    within.map(|(_, word)| word).collect()
}

#[cfg(test)]
mod tests {
    use super::telling;

    #[test]
    fn rare_words_are_looked_for_and_frequent_ones_until_enough_is_found() {
        let counted = vec![(90, "pump"), (2, "valve"), (30, "oil"), (5, "rim")];
        assert_eq!(telling(counted.clone(), 10, 4), ["valve", "rim"]);
        assert_eq!(telling(counted.clone(), 10, 10), ["valve", "rim", "oil"]);
        assert_eq!(telling(counted.clone(), 40, 1), ["valve", "rim", "oil"]);
        assert_eq!(telling(counted.clone(), 1, 0), [""; 0]);
        assert_eq!(telling(counted, 127, 0).len(), 4);
    }
}
