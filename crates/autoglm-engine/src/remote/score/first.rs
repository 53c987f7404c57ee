//! Scores by the most likely first tokens: the probability that an answer begins like an option and
//! like no other.

use autoglm_spec::{EngineError, Normalise, OptionScore, Scoring};

use super::super::generate::usage_of;
use super::{Asked, normalised};

/// Of the probability that falls on the options' beginnings, the part that may fall on beginnings
/// of several: more decides nothing.
const UNDECIDED_PART: f64 = 0.5;

/// What the first tokens say about each option.
#[derive(Debug, PartialEq)]
struct Found {
    /// The options' log-probabilities.
    logprobs: Vec<f32>,
    /// Options that are not among the first tokens and have the most that they could have.
    bounded: usize,
    /// Whether a token that counts is not all of its option.
    has_more: bool,
}

/// Scores a request; none where the first tokens say nothing about the options.
pub(super) fn score(asked: &Asked<'_>, top: usize) -> Result<Option<Scoring>, EngineError> {
    let clock = asked.server.client.clock();
    let begun = clock.now();
    let request = asked.request;
    let first = asked
        .server
        .first_token(&request.prompt, top, false, asked.cancel);
    let (reply, token) = first.map_err(|lost| lost.into_error(1))?;
    let told = token.map_or_else(Vec::new, |token| token.top);
    let Some(found) = find(&told, &request.options) else {
        return Ok(None);
    };
    if found.bounded > 0 {
        asked
            .server
            .notes
            .add("a record had labels that were not among the first tokens told");
    }
    let logprobs = match request.normalise {
        Normalise::Options => normalised(&found.logprobs),
        Normalise::Vocabulary if found.has_more => {
            let reason = "only first tokens are known, an option has more";
            let error = asked.server.unsupported("normalise", reason);
            return Err(EngineError::engine(error));
        }
        Normalise::Vocabulary => found.logprobs,
    };
    let options = logprobs
        .into_iter()
        .map(|logprob| OptionScore { logprob, tokens: 1 });
    Ok(Some(Scoring {
        states: Vec::new(),
        options: options.collect(),
        usage: usage_of(reply.usage, clock.now().saturating_sub(begun)),
    }))
}

/// Distributes the tokens that are told over the options that begin with them.
fn find(told: &[(String, f32)], options: &[String]) -> Option<Found> {
    let mut own = vec![0.0_f64; options.len()];
    let (mut shared, mut listed, mut least) = (0.0_f64, 0.0_f64, 1.0_f64);
    let mut has_more = false;
    for (token, logprob) in told.iter().filter(|(token, _)| !token.is_empty()) {
        let probability = f64::from(*logprob).exp();
        listed += probability;
        least = least.min(probability);
        let mut beginning = (0..options.len()).filter(|&o| options[o].starts_with(token.as_str()));
        match (beginning.next(), beginning.next()) {
            (Some(only), None) => {
                own[only] += probability;
                has_more |= options[only] != *token;
            }
            (Some(_), Some(_)) => shared += probability,
            (None, _) => {}
        }
    }
    let decided: f64 = own.iter().sum();
    if decided <= 0.0 || shared > UNDECIDED_PART * (decided + shared) {
        return None;
    }
    let most = least.min((1.0 - listed).max(f64::MIN_POSITIVE));
    let bounded = own.iter().filter(|p| **p <= 0.0).count();
    let logprob = |p: f64| if p > 0.0 { p.ln() } else { most.ln() } as f32;
    Some(Found {
        logprobs: own.into_iter().map(logprob).collect(),
        bounded,
        has_more: has_more || bounded > 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(told: &[(&str, f64)], options: &[&str]) -> Option<Found> {
        let told: Vec<(String, f32)> = told
            .iter()
            .map(|(t, p)| ((*t).to_owned(), p.ln() as f32))
            .collect();
        let options: Vec<String> = options.iter().map(|&o| o.to_owned()).collect();
        find(&told, &options)
    }

    fn probabilities(found: &Found) -> Vec<f32> {
        found
            .logprobs
            .iter()
            .map(|p| (p.exp() * 1e4).round() / 1e4)
            .collect()
    }

    #[test]
    fn options_that_part_at_the_first_token_get_its_probability() {
        let found = found(
            &[("yes", 0.6), ("no", 0.3), ("maybe", 0.05)],
            &["yes", "no"],
        )
        .unwrap();
        assert_eq!(probabilities(&found), [0.6, 0.3]);
        assert!(!found.has_more);
    }

    #[test]
    fn an_option_that_is_not_told_gets_the_most_that_it_could_have() {
        let found = found(&[("yes", 0.6), ("perhaps", 0.3)], &["yes", "no"]).unwrap();
        assert_eq!(probabilities(&found), [0.6, 0.1]);
        assert_eq!(found.bounded, 1);
        let least = self::found(&[("yes", 0.6), ("perhaps", 0.02)], &["yes", "no"]).unwrap();
        assert_eq!(probabilities(&least), [0.6, 0.02]);
    }

    #[test]
    fn several_beginnings_of_one_option_add_up_and_are_known_to_be_beginnings() {
        let found = found(
            &[("pos", 0.5), ("positive", 0.2), ("neg", 0.1)],
            &["positive", "negative"],
        );
        let found = found.unwrap();
        assert_eq!(probabilities(&found), [0.7, 0.1]);
        assert!(found.has_more);
    }

    #[test]
    fn beginnings_of_several_options_decide_nothing() {
        assert_eq!(
            found(&[("in", 0.8), ("inside", 0.1)], &["inside", "inner"]),
            None
        );
        assert_eq!(found(&[("x", 0.9)], &["yes", "no"]), None);
        assert_eq!(found(&[], &["yes", "no"]), None);
    }
}
