//! Scores by votes: the model answers several times, each answer that names an option is a vote for
//! it.

use std::num::NonZeroUsize;

use autoglm_model::log_sum_exp;
use autoglm_spec::{EngineError, Normalise, OptionScore, Sampling, Scoring, Usage};
use serde_json::{Map, Value, json};

use super::super::client::Lost;
use super::super::generate::usage_of;
use super::super::server::Form;
use super::super::wire::Reply;
use super::Asked;

/// What each option has before anybody votes, so that one without votes is not impossible.
///
/// # Source
/// Krichevsky and Trofimov 1981, the minimax estimate for unknown frequencies.
const PRIOR_VOTES: f64 = 0.5;

/// Tokens of an answer at most beyond the longest option's bytes: quotes, a space, a full stop.
const SPARE_TOKENS: usize = 8;

/// Tokens of an answer at most.
const MOST_TOKENS: usize = 128;

/// Scores a request by this many answers.
pub(super) fn score(asked: &Asked<'_>, votes: NonZeroUsize) -> Result<Scoring, EngineError> {
    let clock = asked.server.client.clock();
    let begun = clock.now();
    let options = &asked.request.options;
    let mut counts = vec![0_usize; options.len()];
    let mut usage = Usage::default();
    for vote in 0..votes.get() {
        let reply = ask(asked, vote as u64).map_err(|lost| lost.into_error(MOST_TOKENS))?;
        usage += usage_of(reply.usage, std::time::Duration::ZERO);
        let text = reply.choices.first().map_or("", |choice| choice.text());
        match named(text, options) {
            Some(option) => counts[option] += 1,
            None => asked
                .server
                .notes
                .add("an answer named no label and was not counted"),
        }
    }
    usage.compute = clock.now().saturating_sub(begun);
    let logprobs = smoothed(&counts, votes.get(), asked.request.normalise);
    let score = |logprob| OptionScore { logprob, tokens: 1 };
    Ok(Scoring {
        states: Vec::new(),
        options: logprobs.into_iter().map(score).collect(),
        usage,
    })
}

/// One answer, confined to the options where the server does that.
fn ask(asked: &Asked<'_>, vote: u64) -> Result<Reply, Lost> {
    let request = asked.request;
    let form = Form::of(&request.prompt);
    let longest = request.options.iter().map(String::len).max().unwrap_or(0);
    let mut body = asked
        .server
        .body(&request.prompt, (longest + SPARE_TOKENS).min(MOST_TOKENS));
    let sampling = Sampling {
        temperature: 1.0,
        seed: vote,
        ..Sampling::GREEDY
    };
    // Nothing in it that a server could not do.
    let _ = asked.server.add_sampling(&mut body, &sampling);
    if asked.server.has_extensions() && asked.server.takes_choices() {
        let mut confined = body.clone();
        confined.extend(choice(&request.options));
        match asked.server.ask(form, confined, false, asked.cancel) {
            Err(lost) if lost.is_refusal() => asked.server.refuses_choices(),
            other => return other,
        }
    }
    asked.server.ask(form, body, false, asked.cancel)
}

/// The fields by which servers confine answers to a choice, each server its own.
fn choice(options: &[String]) -> Map<String, Value> {
    let quoted: Vec<String> = options
        .iter()
        .map(|option| json!(option).to_string())
        .collect();
    let grammar = format!("root ::= {}", quoted.join(" | "));
    let mut fields = Map::new();
    fields.insert("structured_outputs".to_owned(), json!({"choice": options}));
    fields.insert("guided_choice".to_owned(), json!(options));
    fields.insert("grammar".to_owned(), json!(grammar));
    fields
}

/// The option that an answer names: the longest that it begins with, or else the only one in it.
/// Case and what is no letter or digit do not count.
fn named(answer: &str, options: &[String]) -> Option<usize> {
    let answer = answer.rsplit("</think>").next().unwrap_or(answer);
    let answer = words(answer);
    let options: Vec<String> = options.iter().map(|option| words(option)).collect();
    let whole = |option: &str, at: usize| {
        let next = answer[at + option.len()..].chars().next();
        let latin = option
            .chars()
            .next_back()
            .is_some_and(|c| c.is_ascii_alphanumeric());
        !latin || next.is_none_or(|c| !c.is_ascii_alphanumeric())
    };
    let begins = |&o: &usize| {
        let option = options[o].as_str();
        !option.is_empty() && answer.starts_with(option) && whole(option, 0)
    };
    let longest = (0..options.len())
        .filter(begins)
        .max_by_key(|&o| options[o].len());
    longest.or_else(|| {
        let inside = |&o: &usize| {
            let option = options[o].as_str();
            !option.is_empty()
                && answer.match_indices(option).any(|(at, _)| {
                    let before = answer[..at].chars().next_back();
                    before.is_none_or(|c| !c.is_ascii_alphanumeric()) && whole(option, at)
                })
        };
        let mut named = (0..options.len()).filter(inside);
        named.next().filter(|_| named.next().is_none())
    })
}

/// Letters and digits in lower case, with single spaces between words.
fn words(text: &str) -> String {
    let spaced: String = text
        .chars()
        .map(|c| if c.is_alphanumeric() { c } else { ' ' })
        .collect();
    let words: Vec<&str> = spaced.split_whitespace().collect();
    words.join(" ").to_lowercase()
}

/// Log-probabilities of votes. Over the vocabulary, answers that name no option count too.
fn smoothed(counts: &[usize], votes: usize, normalise: Normalise) -> Vec<f32> {
    let own: Vec<f32> = counts
        .iter()
        .map(|&count| (count as f64 + PRIOR_VOTES).ln() as f32)
        .collect();
    let none = votes - counts.iter().sum::<usize>();
    let total = match normalise {
        Normalise::Options => log_sum_exp(&own),
        Normalise::Vocabulary => {
            let other = (none as f64 + PRIOR_VOTES).ln() as f32;
            log_sum_exp(&[own.as_slice(), &[other]].concat())
        }
    };
    own.into_iter().map(|logprob| logprob - total).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(answer: &str, options: &[&str], wanted: Option<&str>) {
        let texts: Vec<String> = options.iter().map(|&o| o.to_owned()).collect();
        assert_eq!(
            named(answer, &texts).map(|o| options[o]),
            wanted,
            "{answer}"
        );
    }

    #[test]
    fn an_answer_names_the_label_that_it_begins_with_or_the_only_one_in_it() {
        let both = ["positive", "negative"];
        check(" Positive.", &both, Some("positive"));
        check("\"negative\"\n", &both, Some("negative"));
        check("I would say it is positive", &both, Some("positive"));
        check("positive, not negative", &both, Some("positive"));
        check("either positive or negative", &both, None);
        check("positively", &both, None);
        check("<think>negative?</think>positive", &both, Some("positive"));
        check("", &both, None);
        check("not spam", &["spam", "not spam"], Some("not spam"));
        check("答案是正面的", &["正面", "负面"], Some("正面"));
        check("news tech", &["news", "news tech"], Some("news tech"));
    }

    #[test]
    fn votes_are_smoothed_and_add_up() {
        let all = smoothed(&[9, 0, 0], 10, Normalise::Options);
        let sum: f32 = all.iter().map(|p| p.exp()).sum();
        assert!((sum - 1.0).abs() < 1e-5);
        assert!((all[0].exp() - 9.5 / 10.5).abs() < 1e-5);
        let open = smoothed(&[9, 0, 0], 10, Normalise::Vocabulary);
        assert!((open[0].exp() - 9.5 / 12.0).abs() < 1e-5);
    }

    #[test]
    fn labels_stand_quoted_in_the_grammar() {
        let fields = choice(&["a \"b\"".to_owned(), "正".to_owned()]);
        assert_eq!(fields["grammar"], "root ::= \"a \\\"b\\\"\" | \"正\"");
    }
}
