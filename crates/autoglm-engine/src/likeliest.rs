//! The largest of many logits, without sorting them.

use autoglm_token::TokenId;

/// The `count` largest logits with their tokens, the largest first, of equals the smaller token.
///
/// # Shapes
/// `logits: [V]`; one pass, and few steps for each logit that is among the largest so far.
pub(crate) fn likeliest(logits: &[f32], count: usize) -> Vec<(TokenId, f32)> {
    let mut found: Vec<(TokenId, f32)> = Vec::with_capacity(count + 1);
    for (id, &logit) in logits.iter().enumerate() {
        let is_behind = |last: &(TokenId, f32)| logit <= last.1;
        if found.len() == count && found.last().is_none_or(is_behind) {
            continue;
        }
        let place = found.partition_point(|(_, other)| *other >= logit);
        found.insert(place, (id as TokenId, logit));
        found.truncate(count);
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn they_are_those_of_a_sorted_vocabulary(
            logits in prop::collection::vec((-8_i16..8).prop_map(f32::from), 0..60),
            count in 0_usize..25,
        ) {
            let mut sorted: Vec<(TokenId, f32)> = (0..).zip(logits.iter().copied()).collect();
            sorted.sort_by(|a, b| b.1.total_cmp(&a.1));
            sorted.truncate(count);
            prop_assert_eq!(likeliest(&logits, count), sorted);
        }
    }
}
