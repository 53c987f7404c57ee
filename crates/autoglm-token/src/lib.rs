//! Text to token ids and back, and chat templates. Everything is built from what a model file
//! says about its own vocabulary; this crate reads no file itself.

mod answer;
mod byte_bpe;
mod call_grammar;
mod chat_template;
mod conversation;
mod ends;
mod error;
mod folder;
mod generation;
mod gguf;
mod mark;
mod merge;
mod merge_rules;
mod pre_tokenizer;
mod python_json;
mod sentence_piece;
mod specials;
mod table;
mod text_stream;
mod tokenizer;
mod tool_call;
mod tools_in_text;
mod vocabulary;
mod whole_words;
mod word_piece;

pub use answer::{Answer, AnswerParser, Piece};
pub use call_grammar::{CallRules, ToolChoice, call_grammar};
pub use chat_template::ChatTemplate;
pub use conversation::{ChatOptions, Message, ToolCall, ToolDefinition};
pub use error::TokenError;
pub use folder::{FolderTokenizer, TokenizerFiles};
pub use generation::GlmGeneration;
pub use text_stream::TextStream;
pub use tokenizer::{Specials, Tokenizer};
pub use tool_call::ToolCallFormat;
pub use tools_in_text::tools_in_text;
pub use vocabulary::{
    MergeOrder, SpacePrefix, TokenId, TokenKind, Vocabulary, VocabularyModel, WordRules, Words,
};
