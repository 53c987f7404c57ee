//! Which logits a set of options needs: the tree of their tokens.

use autoglm_spec::Normalise;
use autoglm_token::TokenId;

/// One factor of an option's probability: the logit of `token` against those of `rivals`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Factor {
    /// Tokens of the option that stand before this one.
    pub(crate) depth: usize,
    /// The option's token at this depth.
    pub(crate) token: TokenId,
    /// The tokens it is normalised over, itself included; `None` is the whole vocabulary.
    pub(crate) rivals: Option<Vec<TokenId>>,
}

/// What has to be computed for one request's options.
#[derive(Debug)]
pub(crate) struct OptionPlan {
    /// The factors of each option; none where its probability is 1.
    pub(crate) factors: Vec<Vec<Factor>>,
    /// Token runs to feed behind the prompt so that all factors at depth ≥ 1 can be computed.
    pub(crate) feeds: Vec<Vec<TokenId>>,
    /// For each option the index of the feed that begins with its tokens, where it needs one.
    pub(crate) feed_of: Vec<Option<usize>>,
}

impl OptionPlan {
    /// Plans the options, given as token runs that are not empty and differ from each other.
    ///
    /// Where one option's tokens begin another one's, decoding confined to the options could not
    /// tell where the shorter one ends; then all are normalised over the vocabulary.
    pub(crate) fn new(options: &[Vec<TokenId>], normalise: Normalise) -> Self {
        let over_options = normalise == Normalise::Options && prefix_free(options);
        let factors: Vec<Vec<Factor>> = options
            .iter()
            .map(|option| option_factors(option, options, over_options))
            .collect();
        let (feeds, feed_of) = plan_feeds(options, &factors);
        Self {
            factors,
            feeds,
            feed_of,
        }
    }
}

fn prefix_free(options: &[Vec<TokenId>]) -> bool {
    let begins = |a: &Vec<TokenId>, b: &Vec<TokenId>| a != b && b.starts_with(a);
    !options.iter().any(|a| options.iter().any(|b| begins(a, b)))
}

fn option_factors(option: &[TokenId], options: &[Vec<TokenId>], over_options: bool) -> Vec<Factor> {
    let mut factors = Vec::new();
    for (depth, &token) in option.iter().enumerate() {
        let rivals = over_options.then(|| next_tokens(&option[..depth], options));
        if rivals.as_ref().is_none_or(|rivals| rivals.len() > 1) {
            factors.push(Factor {
                depth,
                token,
                rivals,
            });
        }
    }
    factors
}

/// The distinct tokens that options have behind a common beginning.
fn next_tokens(beginning: &[TokenId], options: &[Vec<TokenId>]) -> Vec<TokenId> {
    let alike = options
        .iter()
        .filter(|option| option.starts_with(beginning));
    let mut tokens: Vec<TokenId> = alike
        .filter_map(|o| o.get(beginning.len()).copied())
        .collect();
    tokens.sort_unstable();
    tokens.dedup();
    tokens
}

/// The fewest token runs that have every needed beginning of an option as their own beginning.
fn plan_feeds(
    options: &[Vec<TokenId>],
    factors: &[Vec<Factor>],
) -> (Vec<Vec<TokenId>>, Vec<Option<usize>>) {
    let needed = |index: usize| {
        let deepest = factors[index]
            .iter()
            .map(|factor| factor.depth)
            .max()
            .unwrap_or(0);
        &options[index][..deepest]
    };
    let mut by_length: Vec<usize> = (0..options.len()).collect();
    by_length.sort_by_key(|&index| std::cmp::Reverse(needed(index).len()));
    let mut feeds: Vec<Vec<TokenId>> = Vec::new();
    let mut feed_of = vec![None; options.len()];
    for index in by_length {
        let tokens = needed(index);
        if tokens.is_empty() {
            continue;
        }
        let known = feeds.iter().position(|feed| feed.starts_with(tokens));
        feed_of[index] = Some(known.unwrap_or_else(|| {
            feeds.push(tokens.to_vec());
            feeds.len() - 1
        }));
    }
    (feeds, feed_of)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(options: &[&[TokenId]], normalise: Normalise) -> OptionPlan {
        let options: Vec<Vec<TokenId>> = options.iter().map(|o| o.to_vec()).collect();
        OptionPlan::new(&options, normalise)
    }

    #[test]
    fn single_token_options_need_nothing_behind_the_prompt() {
        let plan = plan(&[&[5], &[7]], Normalise::Options);
        assert!(plan.feeds.is_empty());
        assert_eq!(
            plan.factors[1],
            [Factor {
                depth: 0,
                token: 7,
                rivals: Some(vec![5, 7])
            }]
        );
    }

    #[test]
    fn tokens_where_options_do_not_part_need_no_factor() {
        let plan = plan(&[&[1, 2, 3], &[4, 5]], Normalise::Options);
        assert!(plan.feeds.is_empty());
        assert_eq!(plan.factors[0].len(), 1);
    }

    #[test]
    fn options_that_part_late_feed_their_common_beginning_once() {
        let plan = plan(&[&[1, 2, 3], &[1, 2, 4], &[9]], Normalise::Options);
        assert_eq!(plan.feeds, [vec![1, 2]]);
        assert_eq!(plan.feed_of, [Some(0), Some(0), None]);
        let depths: Vec<usize> = plan.factors[0].iter().map(|f| f.depth).collect();
        assert_eq!(depths, [0, 2]);
    }

    #[test]
    fn over_the_vocabulary_every_token_has_a_factor() {
        let plan = plan(&[&[1, 2, 3], &[4]], Normalise::Vocabulary);
        assert_eq!(plan.feeds, [vec![1, 2]]);
        assert_eq!(
            plan.factors.iter().map(Vec::len).collect::<Vec<_>>(),
            [3, 1]
        );
        assert!(plan.factors[0].iter().all(|factor| factor.rivals.is_none()));
    }

    #[test]
    fn an_option_that_begins_another_one_makes_all_use_the_vocabulary() {
        let plan = plan(&[&[1], &[1, 2]], Normalise::Options);
        assert!(
            plan.factors
                .iter()
                .flatten()
                .all(|factor| factor.rivals.is_none())
        );
    }
}
