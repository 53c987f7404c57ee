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

/// Makes the tokens that end generation control tokens.
pub(crate) fn mark_end_tokens(vocabulary: &mut Vocabulary) {
    for (kind, text) in vocabulary.kinds.iter_mut().zip(&vocabulary.tokens) {
        if ENDS.contains(&text.as_str()) {
            *kind = TokenKind::Control;
        }
    }
}

/// The tokens that end generation, in ascending order.
pub(crate) fn end_tokens(vocabulary: &Vocabulary) -> Vec<TokenId> {
    let by_text = vocabulary
        .tokens
        .iter()
        .zip(&vocabulary.kinds)
        .map(|(text, &kind)| {
            let text = text.as_str();
            kind == TokenKind::Control && (ENDS.contains(&text) || ENDS_IF_CONTROL.contains(&text))
        });
    let by_text = (0..)
        .zip(by_text)
        .filter_map(|(id, ends)| ends.then_some(id));
    let named = [vocabulary.eos, vocabulary.eot].into_iter().flatten();
    let stated = vocabulary.extra_ends.iter().copied();
    let mut ends: Vec<TokenId> = by_text.chain(named).chain(stated).collect();
    ends.sort_unstable();
    ends.dedup();
    ends
}
