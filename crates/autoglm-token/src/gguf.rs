//! A vocabulary in the terms of GGUF, for writing it to a file.

use std::collections::HashSet;

use hashbrown::HashMap;

use crate::ends::{end_tokens, mark_end_tokens};
use crate::pre_tokenizer::gguf_name;
use crate::{
    MergeOrder, SpacePrefix, TokenError, TokenId, TokenKind, Vocabulary, VocabularyModel, Words,
};

impl Vocabulary {
    /// The same vocabulary, cutting every text into the same tokens, in what GGUF has keys for:
    /// words by name, scores for [`VocabularyModel::SentencePiece`], pairs for
    /// [`VocabularyModel::ByteBpe`], a space before every text or none, one further end at most,
    /// and no two tokens of the same text.
    ///
    /// # Errors
    /// [`TokenError::NoGguf`] with what cannot be said.
    pub fn for_gguf(&self) -> Result<Self, TokenError> {
        let mut out = self.clone();
        match self.model {
            VocabularyModel::ByteBpe => {
                out.words = Words::Named(named_words(&self.words)?);
                if let MergeOrder::Scores(scores) = &self.merges {
                    out.merges = MergeOrder::Pairs(pairs_of(self, scores));
                }
            }
            VocabularyModel::SentencePiece => {
                if matches!(
                    self.space_prefix,
                    SpacePrefix::Missing | SpacePrefix::FirstMissing
                ) {
                    return Err(refused(
                        "a space before a text that has none",
                        format!("{:?}", self.space_prefix),
                        "a space before every text, or none",
                    ));
                }
                if let MergeOrder::Pairs(pairs) = &self.merges {
                    out.merges = MergeOrder::Scores(scores_of(self, pairs)?);
                }
            }
        }
        place_ends(self, &mut out)?;
        name_unused(&mut out);
        Ok(out)
    }
}

fn refused(component: &'static str, found: String, wanted: &'static str) -> TokenError {
    TokenError::NoGguf {
        component,
        found,
        wanted,
    }
}

/// The name of a way to cut words.
fn named_words(words: &Words) -> Result<String, TokenError> {
    match words {
        Words::Named(name) => Ok(name.clone()),
        Words::Patterns {
            patterns,
            whole_words,
        } => gguf_name(patterns, *whole_words).map_or_else(
            || {
                Err(refused(
                    "the pre-tokeniser",
                    format!("{patterns:?}, whole words {whole_words}"),
                    "one that has a name in GGUF",
                ))
            },
            |name| Ok(name.to_owned()),
        ),
    }
}

/// The ways to cut a text in two.
fn splits(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let cuts = text.char_indices().skip(1);
    cuts.map(|(at, _)| text.split_at(at))
}

/// Whether text can become this token by merging.
fn merges(kind: TokenKind, text: &str) -> bool {
    matches!(
        kind,
        TokenKind::Normal | TokenKind::Unused | TokenKind::UserDefined
    ) && !text.is_empty()
}

/// The tokens that text can become by merging, with their ids.
fn mergeable(vocabulary: &Vocabulary) -> HashMap<&str, TokenId> {
    let mut ids = HashMap::with_capacity(vocabulary.tokens.len());
    let tokens = vocabulary.tokens.iter().zip(&vocabulary.kinds);
    for (id, (text, &kind)) in (0..).zip(tokens) {
        if merges(kind, text) {
            ids.entry(text.as_str()).or_insert(id);
        }
    }
    ids
}

/// Every pair of tokens that together are a token, those of the highest score first.
pub(crate) fn pairs_of(vocabulary: &Vocabulary, scores: &[f32]) -> Vec<String> {
    let ids = mergeable(vocabulary);
    let mut order: Vec<(&str, TokenId)> = ids.iter().map(|(&text, &id)| (text, id)).collect();
    order.sort_unstable_by(|(_, a), (_, b)| {
        let by_score = scores[*b as usize].total_cmp(&scores[*a as usize]);
        by_score.then(a.cmp(b))
    });
    let known = |(left, right): &(&str, &str)| ids.contains_key(left) && ids.contains_key(right);
    let pairs = order.into_iter().flat_map(|(text, _)| splits(text));
    pairs
        .filter(known)
        .map(|(left, right)| format!("{left} {right}"))
        .collect()
}

/// A score for each token that orders merges as a list of pairs does: the list must have every pair
/// of tokens that together are a token, and pairs that make the same token side by side.
fn scores_of(vocabulary: &Vocabulary, pairs: &[String]) -> Result<Vec<f32>, TokenError> {
    let ids = mergeable(vocabulary);
    let listed: HashSet<&str> = pairs.iter().map(String::as_str).collect();
    let mut scores = vec![0.0; vocabulary.tokens.len()];
    let (mut seen, mut last) = (HashSet::new(), None);
    for (index, pair) in pairs.iter().enumerate() {
        let made = pair.replacen(' ', "", 1);
        let Some(&id) = ids.get(made.as_str()) else {
            // It makes a control token, which text never becomes.
            continue;
        };
        if last == Some(id) {
            continue;
        }
        if !seen.insert(id) {
            let found = format!("{pair:?} apart from others that make the same token");
            return Err(refused("a merge", found, "merges that scores can order"));
        }
        // Whole numbers below 2²⁴, which f32 holds exactly.
        scores[id as usize] = -(index as f32);
        last = Some(id);
    }
    let tokens = vocabulary.tokens.iter();
    for text in tokens.filter(|text| ids.contains_key(text.as_str())) {
        let missing = splits(text).find(|(left, right)| {
            ids.contains_key(left)
                && ids.contains_key(right)
                && !listed.contains(format!("{left} {right}").as_str())
        });
        if let Some((left, right)) = missing {
            let found = format!("missing for {left:?} and {right:?}, which are a token together");
            return Err(refused("a merge", found, "merges that scores can order"));
        }
    }
    Ok(scores)
}

/// Puts ends of text that are not known by their own text where GGUF has keys for them.
fn place_ends(from: &Vocabulary, to: &mut Vocabulary) -> Result<(), TokenError> {
    let ends = |vocabulary: &Vocabulary| {
        let mut marked = vocabulary.clone();
        mark_end_tokens(&mut marked);
        end_tokens(&marked)
    };
    let wanted = ends(from);
    to.extra_ends.clear();
    let found = ends(to);
    let mut rest = wanted
        .iter()
        .copied()
        .filter(|id| found.binary_search(id).is_err());
    if to.eos.is_none() {
        to.eos = rest.next();
    }
    if to.eot.is_none() {
        to.eot = rest.next();
    }
    to.extra_ends.extend(rest.next());
    match rest.next() {
        None => Ok(()),
        Some(id) => {
            let text = from.tokens.get(id as usize).cloned().unwrap_or_default();
            let found = format!("{text:?} beside {} others", wanted.len() - 1);
            let wanted = "eos, eot, eom and those that are known by their text";
            Err(refused("an end of text", found, wanted))
        }
    }
}

/// Gives tokens without text, and those whose text an earlier token has, a text of their own.
fn name_unused(vocabulary: &mut Vocabulary) {
    let mut seen = HashSet::with_capacity(vocabulary.tokens.len());
    for (id, text) in vocabulary.tokens.iter_mut().enumerate() {
        if text.is_empty() || !seen.insert(text.clone()) {
            *text = format!("[PAD{id}]");
            vocabulary.kinds[id] = TokenKind::Unused;
            seen.insert(text.clone());
        }
    }
}
