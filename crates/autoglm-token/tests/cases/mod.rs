//! Reads the token ids that `tools/reference/tokenizer_golden.py` writes.

use autoglm_token::TokenId;
use serde::Deserialize;

/// A text with its tokens by llama.cpp.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Case {
    /// The text.
    pub(crate) text: String,
    /// Its tokens where control tokens are text.
    pub(crate) ids: Vec<TokenId>,
    /// Its tokens where control tokens are recognised, if those are others.
    pub(crate) parsed: Option<Vec<TokenId>>,
}
