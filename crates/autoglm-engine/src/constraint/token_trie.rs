//! A vocabulary as a trie of bytes, in which the parser looks tokens up.

use std::sync::Arc;

use autoglm_token::{TokenId, Tokenizer};
use toktrie::{ApproximateTokEnv, TokEnv, TokRxInfo, TokTrie};

use super::ConstraintError;

/// The trie numbers tokens with 24 bits, of which the last value says that there is none.
const TOKEN_LIMIT: usize = (1 << 24) - 1;

/// The trie is at most so deep. A longer token is never offered.
const TOKEN_LIMIT_BYTES: usize = 1024;

/// # Errors
/// [`ConstraintError::NoEndToken`] or [`ConstraintError::VocabularySize`].
pub(super) fn environment(tokenizer: &Tokenizer) -> Result<TokEnv, ConstraintError> {
    let given = tokenizer.vocabulary_len();
    if given > TOKEN_LIMIT {
        return Err(ConstraintError::VocabularySize {
            given,
            limit: TOKEN_LIMIT,
        });
    }
    let ends = tokenizer.end_ids();
    let &first_end = ends.first().ok_or(ConstraintError::NoEndToken)?;
    let info = TokRxInfo::new(given as u32, first_end);
    let words: Vec<Vec<u8>> = (0..given as TokenId)
        .map(|id| word(tokenizer, id))
        .collect();
    let trie = TokTrie::from(&info, &words).with_eos_tokens(ends);
    // Tokens are chosen by the model one by one, never forced, so that nothing is tokenised here.
    Ok(Arc::new(ApproximateTokEnv::new(trie)))
}

/// The bytes under which a token is found: none for control tokens, which no text contains, for
/// tokens that end generation, and for those that begin with the byte by which the trie knows its
/// own special tokens.
fn word(tokenizer: &Tokenizer, id: TokenId) -> Vec<u8> {
    let bytes = tokenizer.token_bytes(id);
    let is_own_mark = bytes.first() == Some(&TokTrie::SPECIAL_TOKEN_MARKER);
    if is_own_mark || tokenizer.is_end(id) || bytes.len() > TOKEN_LIMIT_BYTES {
        return Vec::new();
    }
    bytes.to_vec()
}
