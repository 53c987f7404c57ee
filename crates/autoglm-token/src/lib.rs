//! Text to token ids and back, and chat templates. Everything is built from what a model file
//! says about its own vocabulary; this crate reads no file itself.

mod error;
mod vocabulary;

pub use error::TokenError;
pub use vocabulary::{TokenId, TokenKind, Vocabulary, VocabularyModel};

/// What happens to the text of control tokens, such as `<|im_end|>`, inside a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Specials {
    /// Text that is the text of a control token becomes that token. For text that we wrote:
    /// templates, prompts of our own.
    Parse,
    /// Text stays text: no control token comes out, whatever the text says. For text from
    /// outside: records, documents, messages.
    AsText,
}
