//! Scores by echo: the server computes prompt and option as one prompt and tells the
//! log-probability of each of its tokens. Those of the option are cut out.
//!
//! Servers differ in the unit of the tokens' places, and one that is widely used is off by one
//! token for some models; so a server's echo is held against the first tokens that it tells.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use autoglm_model::log_sum_exp;
use autoglm_spec::{
    Cancel, EngineError, Normalise, OptionScore, Prompt, ScoreRequest, Scoring, Usage,
};
use autoglm_token::TokenId;
use serde_json::{Value, json};

use super::super::client::Lost;
use super::super::generate::usage_of;
use super::super::server::{Form, Server, add_greedy};
use super::super::wire::TokenScore;
use super::{Asked, normalised, plain_text};
use crate::options::OptionPlan;

/// What a server is tried with: prompts behind which many words may come.
const PROBES: [&str; 2] = ["The capital of France is", "She went to the"];

/// How far the log-probabilities of the same token, echoed and as a first token, may be apart:
/// servers compute prompts and single tokens in different order and precision.
const PROBE_TOLERANCE: f32 = 0.25;

/// Characters at a prompt's end that decide how an option behind it is cut into tokens.
const SEAM_CHARS: usize = 8;

/// Seams whose first tokens are remembered at most. A task has one; beyond so many, all are found
/// out anew.
const MOST_SEAMS: usize = 256;

/// The options' first tokens, by options and by what stands before them, where all of them differ.
#[derive(Debug, Default)]
pub(super) struct Firsts(Mutex<BTreeMap<Seam, Option<Vec<String>>>>);

/// Options and the end of what stands before them.
type Seam = (Vec<String>, String);

/// A token of an echoed text.
#[derive(Debug, Clone, PartialEq)]
struct Piece {
    /// Where it starts, in the unit of the text's length.
    start: usize,
    text: String,
    logprob: Option<f32>,
}

/// An option's tokens and how long the prompt before them is.
#[derive(Debug, Clone, PartialEq)]
struct Echoed {
    /// All tokens of prompt and option.
    pieces: Vec<Piece>,
    /// Where the option starts.
    seam: usize,
}

/// Options' tokens from the last place before them at which all can be cut.
#[derive(Debug, PartialEq)]
struct Tails {
    tails: Vec<Vec<Piece>>,
    /// Whether the place is where the options start.
    is_clean: bool,
}

/// Whether a server echoes prompts with log-probabilities that agree with those that it tells of
/// first tokens. An unlikely token is echoed: those next to it in a wrong place are likelier.
///
/// # Errors
/// When it does not answer.
pub(super) fn is_offered(
    server: &Server,
    top: Option<usize>,
    cancel: &Cancel,
) -> Result<bool, EngineError> {
    let told = |lost: Lost| lost.into_error(1);
    let Some(top) = top else {
        return Ok(false);
    };
    for probe in PROBES {
        let prompt = Prompt::Plain(probe.to_owned());
        let (_, token) = server
            .first_token(&prompt, top, true, cancel)
            .map_err(told)?;
        for (text, first) in unlikely_words(&token.map_or_else(Vec::new, |token| token.top)) {
            let echoed = match echo(server, (probe, &text), true, cancel) {
                Ok((Some(echoed), _)) => echoed,
                Ok((None, _)) => return Ok(false),
                Err(lost) if lost.is_refusal() => return Ok(false),
                Err(lost) => return Err(told(lost)),
            };
            // A word that is cut otherwise behind the prompt says nothing.
            if let [tail] = Tails::of(&[echoed]).tails.as_slice()
                && let [piece] = tail.as_slice()
                && piece.text == text
            {
                let agrees = piece
                    .logprob
                    .is_some_and(|p| (p - first).abs() <= PROBE_TOLERANCE);
                if !agrees {
                    server.notes.state(
                        "the server echoes prompts with log-probabilities that are not those of \
                         its first tokens, they are not used",
                    );
                }
                return Ok(agrees);
            }
        }
    }
    Ok(false)
}

/// The two least likely of the tokens told that are words with the space before them.
fn unlikely_words(told: &[(String, f32)]) -> Vec<(String, f32)> {
    let is_word = |text: &str| {
        let word = text.strip_prefix(' ');
        word.is_some_and(|word| word.len() > 1 && word.chars().all(|c| c.is_ascii_alphabetic()))
    };
    let words = told.iter().filter(|(text, _)| is_word(text));
    let mut words: Vec<(String, f32)> = words.cloned().collect();
    words.sort_by(|a, b| a.1.total_cmp(&b.1));
    words.truncate(2);
    words
}

/// Scores a request. `top` says how many first tokens the server tells: where the options are known
/// to part at the first token and all are among those, one short request gives the same numbers.
pub(super) fn score(
    asked: &Asked<'_>,
    top: Option<usize>,
    firsts: &Firsts,
) -> Result<Scoring, EngineError> {
    let text = plain_text(&asked.request.prompt);
    let key = (asked.request.options.clone(), seam_text(&text));
    let wants_firsts = asked.request.normalise == Normalise::Options && top.is_some();
    let mut usage = Usage::default();
    let mut full = None;
    if wants_firsts && !firsts.knows(&key) {
        let tails = echo_all(asked, &text, &mut usage)?;
        firsts.learn(key.clone(), tails.firsts());
        full = Some(tails);
    }
    if let (true, Some(top), Some(tokens)) = (wants_firsts, top, firsts.of(&key))
        && let Some(mut scoring) = by_firsts(asked, top, &tokens)?
    {
        scoring.usage += usage;
        return Ok(scoring);
    }
    let tails = match full {
        Some(tails) => tails,
        None => echo_all(asked, &text, &mut usage)?,
    };
    let options = tails.scores(asked.request).map_err(|found| {
        let wanted = "log-probabilities of all tokens";
        EngineError::engine(*asked.server.client.odd(found, wanted).error)
    })?;
    Ok(Scoring {
        options,
        states: Vec::new(),
        usage,
    })
}

/// Scores by one request for the first token, where all options' tokens are told.
fn by_firsts(
    asked: &Asked<'_>,
    top: usize,
    tokens: &[String],
) -> Result<Option<Scoring>, EngineError> {
    let clock = asked.server.client.clock();
    let begun = clock.now();
    let first = asked
        .server
        .first_token(&asked.request.prompt, top, false, asked.cancel);
    let (reply, told) = first.map_err(|lost| lost.into_error(1))?;
    let told = told.map_or_else(Vec::new, |token| token.top);
    let logprob = |wanted: &String| {
        let same = told.iter().filter(|(text, _)| text == wanted);
        same.map(|(_, logprob)| *logprob).max_by(f32::total_cmp)
    };
    let Some(logprobs) = tokens.iter().map(logprob).collect::<Option<Vec<f32>>>() else {
        return Ok(None);
    };
    let options = normalised(&logprobs);
    Ok(Some(Scoring {
        states: Vec::new(),
        options: options
            .into_iter()
            .map(|logprob| OptionScore { logprob, tokens: 1 })
            .collect(),
        usage: usage_of(reply.usage, clock.now().saturating_sub(begun)),
    }))
}

/// The tokens of all options, each echoed behind the prompt.
fn echo_all(asked: &Asked<'_>, text: &str, usage: &mut Usage) -> Result<Tails, EngineError> {
    let clock = asked.server.client.clock();
    let begun = clock.now();
    let mut all = Vec::new();
    for option in &asked.request.options {
        let echoed = echo(asked.server, (text, option), false, asked.cancel);
        let (echoed, cost) = echoed.map_err(|lost| lost.into_error(1))?;
        *usage += cost;
        all.push(echoed.ok_or_else(|| {
            let found = "an echo in which the option cannot be found";
            let failure = asked
                .server
                .client
                .odd(found, "the prompt's tokens with their places");
            EngineError::engine(*failure.error)
        })?);
    }
    usage.compute += clock.now().saturating_sub(begun);
    Ok(Tails::of(&all))
}

/// Has the server compute a prompt with an option; none where its answer does not show the tokens.
fn echo(
    server: &Server,
    (prompt, option): (&str, &str),
    is_probe: bool,
    cancel: &Cancel,
) -> Result<(Option<Echoed>, Usage), Lost> {
    // No server takes 0 everywhere, and some take it for "without limit".
    let mut body = server.body(&Prompt::Plain(format!("{prompt}{option}")), 1);
    add_greedy(&mut body, server.has_extensions());
    body.insert("echo".to_owned(), Value::Bool(true));
    body.insert("logprobs".to_owned(), json!(1));
    let reply = server.ask(Form::Plain, body, is_probe, cancel)?;
    let choice = reply.choices.first();
    let echoed = choice.and_then(|c| Echoed::of(&c.tokens(), c.text(), prompt, option));
    Ok((echoed, usage_of(reply.usage, std::time::Duration::ZERO)))
}

impl Echoed {
    /// Finds the places of an echo's tokens; none where the text is no echo or they do not add up
    /// to it.
    fn of(tokens: &[TokenScore], text: &str, prompt: &str, option: &str) -> Option<Self> {
        if !text.strip_prefix(prompt)?.starts_with(option) {
            return None;
        }
        let starts = starts(tokens);
        let length = unit(tokens, &starts);
        let seam = length(prompt);
        let end = starts.last()? + length(&tokens.last()?.text);
        // Places may count the space that some tokenizers put in front, or leave it out.
        let shifted = [Some(seam), Some(seam + 1), seam.checked_sub(1)];
        let fits = |seam: &usize| {
            let total = seam + length(option);
            starts.contains(&total) || end == total
        };
        let seam = shifted.into_iter().flatten().find(fits)?;
        let total = seam + length(option);
        let pieces = tokens
            .iter()
            .zip(starts)
            .filter(|(_, start)| *start < total);
        let pieces = pieces.map(|(token, start)| Piece {
            start,
            text: token.text.clone(),
            logprob: token.logprob,
        });
        Some(Self {
            pieces: pieces.collect(),
            seam,
        })
    }

    /// The last place up to `place` at which a token starts.
    fn cut_before(&self, place: usize) -> usize {
        let starts = self.pieces.iter().map(|piece| piece.start);
        starts.filter(|&start| start <= place).max().unwrap_or(0)
    }
}

/// How a server measures texts: in characters, or in bytes where that explains more of its tokens'
/// places.
fn unit(tokens: &[TokenScore], starts: &[usize]) -> fn(&str) -> usize {
    let explained = |length: fn(&str) -> usize| {
        let steps = tokens.iter().zip(starts.windows(2));
        steps
            .filter(|(token, step)| step[0] + length(&token.text) == step[1])
            .count()
    };
    let chars: fn(&str) -> usize = |text| text.chars().count();
    if explained(str::len) > explained(chars) {
        return str::len;
    }
    chars
}

/// Where tokens start: as the server says, else behind the ones before.
fn starts(tokens: &[TokenScore]) -> Vec<usize> {
    if let Some(told) = tokens.iter().map(|token| token.start).collect() {
        return told;
    }
    let mut place = 0;
    let start = |token: &TokenScore| {
        let start = place;
        place += token.text.chars().count();
        start
    };
    tokens.iter().map(start).collect()
}

impl Tails {
    /// Cuts all options at one place: the last one, at most where they start, at which a token of
    /// each starts. Where it lies before them, all have the same text up to them.
    fn of(all: &[Echoed]) -> Self {
        let seam = all.first().map_or(0, |echoed| echoed.seam);
        let mut cut = seam;
        loop {
            let least = all
                .iter()
                .map(|echoed| echoed.cut_before(cut))
                .min()
                .unwrap_or(0);
            if least == cut {
                break;
            }
            cut = least;
        }
        let behind = |echoed: &Echoed| {
            let pieces = echoed.pieces.iter().filter(|piece| piece.start >= cut);
            pieces.cloned().collect()
        };
        Self {
            tails: all.iter().map(behind).collect(),
            is_clean: cut == seam,
        }
    }

    /// The first tokens, where they are the options' own, whole characters, and all different.
    fn firsts(&self) -> Option<Vec<String>> {
        let first = |tail: &Vec<Piece>| Some(tail.first()?.text.clone());
        let firsts: Vec<String> = self.tails.iter().map(first).collect::<Option<_>>()?;
        let differ = (1..firsts.len()).all(|index| !firsts[..index].contains(&firsts[index]));
        (self.is_clean && differ && !firsts.iter().any(|text| is_lossy(text))).then_some(firsts)
    }

    /// The options' scores, or what is missing.
    fn scores(&self, request: &ScoreRequest) -> Result<Vec<OptionScore>, &'static str> {
        let logprobs = |tail: &Vec<Piece>| tail.iter().map(|piece| piece.logprob).collect();
        let logprobs: Vec<Vec<f32>> = self
            .tails
            .iter()
            .map(logprobs)
            .collect::<Option<_>>()
            .ok_or("a token of an option without its log-probability")?;
        let scores = match request.normalise {
            Normalise::Vocabulary => logprobs.iter().map(|own| own.iter().sum()).collect(),
            Normalise::Options => self.among_options(&logprobs),
        };
        let counted = scores.into_iter().zip(&logprobs);
        Ok(counted
            .map(|(logprob, own)| OptionScore {
                logprob,
                tokens: own.len(),
            })
            .collect())
    }

    /// Probabilities among the options, factor by factor as the local engine has them. Tokens that
    /// are no whole characters cannot be told apart; then options are compared as wholes.
    fn among_options(&self, logprobs: &[Vec<f32>]) -> Vec<f32> {
        if self
            .tails
            .iter()
            .flatten()
            .any(|piece| is_lossy(&piece.text))
        {
            let wholes: Vec<f32> = logprobs.iter().map(|own| own.iter().sum()).collect();
            return normalised(&wholes);
        }
        let ids = self.ids();
        let plan = OptionPlan::new(&ids, Normalise::Options);
        let scores = plan.factors.iter().enumerate().map(|(option, factors)| {
            let factor = |factor: &crate::options::Factor| {
                let own = logprobs[option][factor.depth];
                let rivals = factor.rivals.as_ref().map(|rivals| {
                    let beginning = &ids[option][..factor.depth];
                    let logprob = |&rival: &TokenId| behind(&ids, logprobs, beginning, rival);
                    log_sum_exp(&rivals.iter().filter_map(logprob).collect::<Vec<f32>>())
                });
                own - rivals.unwrap_or(0.0)
            };
            factors.iter().map(factor).sum()
        });
        scores.collect()
    }

    /// The tokens as numbers, equal ones by their texts.
    fn ids(&self) -> Vec<Vec<TokenId>> {
        let mut known: BTreeMap<&str, TokenId> = BTreeMap::new();
        let mut all = Vec::new();
        for tail in &self.tails {
            let mut ids = Vec::new();
            for piece in tail {
                let next = known.len() as TokenId;
                ids.push(*known.entry(piece.text.as_str()).or_insert(next));
            }
            all.push(ids);
        }
        all
    }
}

/// The log-probability of a token behind a beginning, from any option that has them.
fn behind(
    ids: &[Vec<TokenId>],
    logprobs: &[Vec<f32>],
    beginning: &[TokenId],
    token: TokenId,
) -> Option<f32> {
    let depth = beginning.len();
    let has = |ids: &Vec<TokenId>| ids.starts_with(beginning) && ids.get(depth) == Some(&token);
    let option = ids.iter().position(has)?;
    logprobs[option].get(depth).copied()
}

/// Whether a token's text is not all of it: a part of a character.
fn is_lossy(text: &str) -> bool {
    text.is_empty() || text.contains('\u{fffd}')
}

fn seam_text(prompt: &str) -> String {
    let from = prompt.char_indices().rev().nth(SEAM_CHARS - 1);
    prompt[from.map_or(0, |(at, _)| at)..].to_owned()
}

impl Firsts {
    fn knows(&self, key: &Seam) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.contains_key(key)
    }

    fn of(&self, key: &Seam) -> Option<Vec<String>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(key).cloned().flatten()
    }

    fn learn(&self, key: Seam, firsts: Option<Vec<String>>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_SEAMS {
            known.clear();
        }
        known.insert(key, firsts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str, logprob: f32) -> TokenScore {
        TokenScore {
            text: text.to_owned(),
            logprob: Some(logprob),
            start: None,
            top: Vec::new(),
        }
    }

    fn tokens(texts: &[&str]) -> Vec<TokenScore> {
        let numbered = texts.iter().enumerate();
        numbered
            .map(|(index, text)| token(text, -(index as f32)))
            .collect()
    }

    /// Tokens with the places that a server tells.
    fn placed(texts: &[(&str, usize)]) -> Vec<TokenScore> {
        let mut all = tokens(&texts.iter().map(|(text, _)| *text).collect::<Vec<_>>());
        for (token, (_, start)) in all.iter_mut().zip(texts) {
            token.start = Some(*start);
        }
        all
    }

    /// What a server's echo with these tokens becomes.
    fn echoed(tokens: &[TokenScore], prompt: &str, option: &str) -> Option<Echoed> {
        Echoed::of(tokens, &format!("{prompt}{option}"), prompt, option)
    }

    fn tail(tokens: &[TokenScore], prompt: &str, option: &str) -> Vec<String> {
        let echoed = echoed(tokens, prompt, option).unwrap();
        let tails = Tails::of(&[echoed]);
        tails.tails[0]
            .iter()
            .map(|piece| piece.text.clone())
            .collect()
    }

    #[test]
    fn the_options_tokens_are_cut_out_of_the_echo() {
        let echo = tokens(&["A", " b", ":", " yes", " indeed", "generated"]);
        assert_eq!(tail(&echo, "A b:", " yes indeed"), [" yes", " indeed"]);
    }

    #[test]
    fn places_may_be_counted_in_bytes_or_be_off_by_a_space() {
        let bytes = placed(&[("的", 0), ("：", 3), ("好", 6), ("x", 9)]);
        assert_eq!(tail(&bytes, "的：", "好"), ["好"]);
        let shifted = placed(&[("A", 1), (":", 2), (" y", 3), ("z", 5)]);
        assert_eq!(tail(&shifted, "A:", " y"), [" y"]);
    }

    #[test]
    fn an_echo_that_is_none_is_noticed() {
        let generated = tokens(&["generated"]);
        assert_eq!(Echoed::of(&generated, "generated", "A b:", " yes"), None);
        assert_eq!(echoed(&tokens(&["a"]), "A b:", " yes"), None);
        assert_eq!(echoed(&[], "A", "b"), None);
    }

    #[test]
    fn where_a_token_spans_the_seam_all_options_are_cut_before_it() {
        let one = echoed(&tokens(&["A", ":y", "es", "."]), "A:", "yes").unwrap();
        let other = echoed(&tokens(&["A", ":", "no", "."]), "A:", "no").unwrap();
        let tails = Tails::of(&[one, other]);
        let texts: Vec<Vec<&str>> = tails
            .tails
            .iter()
            .map(|tail| tail.iter().map(|piece| piece.text.as_str()).collect())
            .collect();
        assert_eq!(texts, [vec![":y", "es"], vec![":", "no"]]);
        assert!(!tails.is_clean);
        assert_eq!(tails.firsts(), None);
    }

    fn tails(options: &[&[(&str, f32)]]) -> Tails {
        let tail = |option: &&[(&str, f32)]| {
            let piece = |(text, logprob): &(&str, f32)| Piece {
                start: 0,
                text: (*text).to_owned(),
                logprob: Some(*logprob),
            };
            option.iter().map(piece).collect()
        };
        Tails {
            tails: options.iter().map(tail).collect(),
            is_clean: true,
        }
    }

    fn scores(tails: &Tails, normalise: Normalise) -> Vec<f32> {
        let request = ScoreRequest {
            prompt: Prompt::Plain(String::new()),
            options: Vec::new(),
            normalise,
            states: false,
            adapter: None,
        };
        let scores = tails.scores(&request).unwrap();
        scores.iter().map(|score| score.logprob.exp()).collect()
    }

    fn check(found: &[f32], wanted: &[f32]) {
        assert_eq!(found.len(), wanted.len());
        let close = found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(close, "{found:?} {wanted:?}");
    }

    #[test]
    fn over_the_vocabulary_all_tokens_count() {
        let tails = tails(&[
            &[("a", 0.5_f32.ln()), ("b", 0.5_f32.ln())],
            &[("c", 0.1_f32.ln())],
        ]);
        check(&scores(&tails, Normalise::Vocabulary), &[0.25, 0.1]);
    }

    #[test]
    fn among_options_only_the_tokens_where_they_part_count() {
        let half = 0.5_f32.ln();
        let parting = tails(&[&[("a", half), ("b", -9.0)], &[("c", 0.25_f32.ln())]]);
        check(
            &scores(&parting, Normalise::Options),
            &[2.0 / 3.0, 1.0 / 3.0],
        );
        let late = tails(&[
            &[("a", half), ("x", 0.6_f32.ln())],
            &[("a", half), ("y", 0.2_f32.ln())],
            &[("c", half)],
        ]);
        check(&scores(&late, Normalise::Options), &[0.375, 0.125, 0.5]);
    }

    #[test]
    fn parts_of_characters_make_options_be_compared_as_wholes() {
        let tails = tails(&[
            &[("", -1.0), ("", 0.5_f32.ln() + 1.0)],
            &[("c", 0.25_f32.ln())],
        ]);
        check(&scores(&tails, Normalise::Options), &[2.0 / 3.0, 1.0 / 3.0]);
        assert_eq!(tails.firsts(), None);
    }

    #[test]
    fn no_more_seams_are_remembered_than_are_bounded() {
        let firsts = Firsts::default();
        for number in 0..3 * MOST_SEAMS {
            let key = (Vec::new(), number.to_string());
            firsts.learn(key.clone(), None);
            assert!(firsts.knows(&key));
            assert!(firsts.0.lock().unwrap().len() <= MOST_SEAMS);
        }
    }

    #[test]
    fn a_missing_log_probability_is_an_error() {
        let mut tails = tails(&[&[("a", -1.0)], &[("b", -1.0)]]);
        tails.tails[1][0].logprob = None;
        let request = ScoreRequest {
            prompt: Prompt::Plain(String::new()),
            options: Vec::new(),
            normalise: Normalise::Options,
            states: false,
            adapter: None,
        };
        assert!(tails.scores(&request).is_err());
    }
}
