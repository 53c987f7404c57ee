//! Which tokens end generation.

use crate::{TokenId, TokenKind, Vocabulary};

/// Texts of tokens that end a text or a turn in every vocabulary that has them; files often fail
/// to mark such a token as a control token.
///
/// # Source
/// llama.cpp's list of end-of-generation tokens.
const ENDS: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<｜end▁of▁sentence｜>",
];

/// Texts of control tokens that end generation because what follows is not the model's: another
/// speaker's turn in the GLM family, another file in models of code.
const ENDS_IF_CONTROL: &[&str] = &[
    "<|user|>",
    "<|observation|>",
    "<|fim_pad|>",
    "<fim-pad>",
    "<fim_pad>",
    "<|fim_repo|>",
    "<|repo_name|>",
    "<fim-repo>",
    "<reponame>",
    "<|file_sep|>",
];

/// The kinds of a vocabulary's tokens, where those that end generation are control tokens.
pub(crate) fn corrected_kinds(vocabulary: &Vocabulary) -> Vec<TokenKind> {
    let mut kinds = vocabulary.kinds.clone();
    for (kind, text) in kinds.iter_mut().zip(&vocabulary.tokens) {
        if ENDS.contains(&text.as_str()) {
            *kind = TokenKind::Control;
        }
    }
    kinds
}

/// The tokens that end generation, in ascending order.
pub(crate) fn end_tokens(vocabulary: &Vocabulary, kinds: &[TokenKind]) -> Vec<TokenId> {
    let by_text = (0..kinds.len()).filter(|&id| {
        let text = vocabulary.tokens[id].as_str();
        kinds[id] == TokenKind::Control && (ENDS.contains(&text) || ENDS_IF_CONTROL.contains(&text))
    });
    let named = [vocabulary.eos, vocabulary.eot].into_iter().flatten();
    let mut ends: Vec<_> = by_text.map(|id| id as TokenId).collect();
    ends.extend(named.chain(vocabulary.extra_ends.iter().copied()));
    ends.sort_unstable();
    ends.dedup();
    ends
}
