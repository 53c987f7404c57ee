//! A vocabulary as a trie of bytes, in which the parser looks tokens up.

use std::sync::Arc;

use autoglm_token::{Specials, TokenId, Tokenizer};
use toktrie::{TokEnv, TokRxInfo, TokTrie, TokenizerEnv};

use super::ConstraintError;

/// The trie numbers tokens with 24 bits, of which the last value says that there is none.
const TOKEN_LIMIT: usize = (1 << 24) - 1;

/// The trie is at most so deep. A longer token is never offered.
const TOKEN_LIMIT_BYTES: usize = 1024;

/// # Errors
/// [`ConstraintError::NoEndToken`] or [`ConstraintError::VocabularySize`].
pub(super) fn environment(tokenizer: &Arc<Tokenizer>) -> Result<TokEnv, ConstraintError> {
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
    Ok(Arc::new(Environment {
        trie,
        tokenizer: Arc::clone(tokenizer),
    }))
}

/// The vocabulary with its tokenizer. Where the grammar leaves no choice about the next bytes,
/// the parser allows only the tokens that the tokenizer makes of them: those that the model has
/// seen in its training.
struct Environment {
    trie: TokTrie,
    tokenizer: Arc<Tokenizer>,
}

impl TokenizerEnv for Environment {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        let tokens = self.trie.tokenize_with_greedy_fallback(bytes, |text| {
            self.tokenizer.encode(text, Specials::AsText)
        });
        let spelt = tokens.iter().flat_map(|&id| self.trie.token(id));
        if spelt.copied().eq(bytes.iter().copied()) {
            return tokens;
        }
        // Some tokenizers put a space in front, or have no token for a byte.
        self.trie.greedy_tokenize(bytes)
    }
}

/// The bytes under which a token is found: none for control tokens that no text contains, for
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
