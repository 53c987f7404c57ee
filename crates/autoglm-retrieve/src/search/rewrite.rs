//! Questions that lean on what was said before, made to stand alone.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use autoglm_spec::{
    AttentionPolicy, Cancel, Decoding, Generate, GenerateRequest, Prompt, Role, Sampling, Segment,
};
use serde::{Deserialize, Serialize};

use crate::RetrieveError;
use crate::text::{TextLanguage, content_words, is_unspaced};

/// Tokens of a question at most.
const QUESTION_TOKENS: usize = 64;

/// Something that was asked before, and the answer where there is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// The question.
    pub question: String,
    /// The answer; empty where none is known.
    #[serde(default)]
    pub answer: String,
}

/// The question as one that stands alone, for a search.
///
/// The model's wording is taken where it keeps the question's own words and has no word that was not
/// said; else, and where there is no model, the words of the question before stand in front of it.
///
/// # Errors
/// An engine that fails.
pub fn rewrite(
    generate: Option<&dyn Generate>,
    turns: &[Turn],
    question: &str,
    cancel: &Cancel,
) -> Result<String, RetrieveError> {
    let Some(last) = turns.last() else {
        return Ok(question.to_owned());
    };
    if let Some(generate) = generate {
        let request = request(turns, question, generate.facts().chat);
        let mut results = generate.generate(&[request], cancel, &mut |_, _| {});
        let text = results
            .pop()
            .ok_or(RetrieveError::ResultCount {
                given: 0,
                wanted: 1,
            })??
            .text;
        let line = text.trim().lines().next().unwrap_or_default().trim();
        if is_faithful(line, turns, question) {
            return Ok(line.to_owned());
        }
    }
    // Of Chinese, words are not known, only pairs of characters, which nobody reads.
    if last.question.chars().any(is_unspaced) {
        return Ok(format!("{} {question}", last.question.trim()));
    }
    let before = content_words(&last.question);
    let own = content_words(question);
    let new: Vec<&str> = before
        .iter()
        .filter(|word| !own.contains(word))
        .map(String::as_str)
        .collect();
    Ok(format!("{} {question}", new.join(" ")).trim().to_owned())
}

/// Whether a wording says the question, with words that were said.
fn is_faithful(wording: &str, turns: &[Turn], question: &str) -> bool {
    let own: BTreeSet<String> = content_words(question).into_iter().collect();
    let mut said = own.clone();
    for turn in turns {
        said.extend(content_words(&turn.question));
        said.extend(content_words(&turn.answer));
    }
    let words: BTreeSet<String> = content_words(wording).into_iter().collect();
    !words.is_empty() && words.is_subset(&said) && own.intersection(&words).count() * 2 >= own.len()
}

fn request(turns: &[Turn], question: &str, chat: bool) -> GenerateRequest {
    let is_chinese = TextLanguage::of(question) == TextLanguage::Chinese;
    let (instruction, ask, reply, last) = if is_chinese {
        (
            "把最后一个问题改写成不看上文也能懂的问题。只写问题。",
            "问",
            "答",
            "改写",
        )
    } else {
        (
            "Rewrite the last question so that it is understood without the ones before it. Write \
             the question alone.",
            "Q",
            "A",
            "Rewritten",
        )
    };
    let mut text = format!("{instruction}\n\n");
    for turn in turns {
        let _ = writeln!(text, "{ask}: {}", turn.question);
        if !turn.answer.is_empty() {
            let _ = writeln!(text, "{reply}: {}", turn.answer);
        }
    }
    let _ = write!(text, "{ask}: {question}\n{last}:");
    let prompt = if chat {
        Prompt::Chat(vec![Segment {
            role: Role::User,
            text,
        }])
    } else {
        Prompt::Plain(text)
    };
    GenerateRequest {
        prompt,
        max_tokens: QUESTION_TOKENS,
        sampling: Sampling::GREEDY,
        stop: vec!["\n".to_owned()],
        constraint: None,
        logit_bias: Vec::new(),
        decoding: Decoding::default(),
        attention: AttentionPolicy::Full,
        adapter: None,
    }
}
