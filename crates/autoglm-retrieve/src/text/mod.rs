//! Words, sentences and languages of texts, Chinese and others.

mod language;
mod sentences;
mod words;

pub use language::TextLanguage;
pub use sentences::sentences;
pub(crate) use words::each_term;
pub use words::{content_words, identifier_parts, is_unspaced, terms};
