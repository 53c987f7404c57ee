//! What can be wrong with a vocabulary, a chat template or a conversation.

use autoglm_spec::{Blame, Blamed};

use crate::TokenId;

/// Why a vocabulary, a chat template or a conversation was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// A list of the vocabulary has not one entry a token.
    #[error("the vocabulary's {field} has {given} entries, want one for each of {wanted} tokens")]
    UnevenVocabulary {
        /// The list.
        field: &'static str,
        /// Its length.
        given: usize,
        /// The number of tokens.
        wanted: usize,
    },
    /// The vocabulary is empty or too large for 32-bit ids.
    #[error("the vocabulary has {given} tokens, want 1 to {limit}")]
    VocabularySize {
        /// Tokens of the vocabulary.
        given: usize,
        /// The most that can be numbered.
        limit: usize,
    },
    /// A named token is not in the vocabulary.
    #[error("the vocabulary's {field} is token {id}, but it has only {vocabulary_len} tokens")]
    NoSuchToken {
        /// The name, such as `bos`.
        field: &'static str,
        /// The token's id.
        id: TokenId,
        /// Tokens of the vocabulary.
        vocabulary_len: usize,
    },
    /// The pre-tokeniser is not one that we know.
    #[error("unknown pre-tokeniser {given:?}, known are: {}", known.join(", "))]
    UnknownPreTokenizer {
        /// The name in the file.
        given: String,
        /// The names that we know.
        known: Vec<&'static str>,
    },
    /// A pattern by which text is cut into words is one that we cannot use.
    #[error("the pattern of words {given:?} cannot be used: {reason}")]
    WordPattern {
        /// The pattern in the file.
        given: String,
        /// What it has that is not supported.
        reason: String,
    },
    /// A folder has none of the files that hold a tokenizer.
    #[error("the folder has no tokenizer: want tokenizer.json, tokenizer.model or vocab.txt")]
    NoTokenizerFile,
    /// A file of a folder is not the JSON that it should be.
    #[error("{file} cannot be read")]
    FolderJson {
        /// The file's name.
        file: &'static str,
        /// What is wrong, and where.
        #[source]
        source: serde_json::Error,
    },
    /// A component of a tokenizer is one that we do not have.
    #[error("{file}: {component} is {found}, want {wanted}")]
    Unsupported {
        /// The file's name.
        file: &'static str,
        /// Where in the file, such as `pre_tokenizer`.
        component: String,
        /// What stands there.
        found: String,
        /// What we have.
        wanted: &'static str,
    },
    /// A tokenizer has what GGUF has no key for.
    #[error("GGUF cannot express this tokenizer: {component} is {found}, want {wanted}")]
    NoGguf {
        /// What it has.
        component: &'static str,
        /// How it has it.
        found: String,
        /// What GGUF can say.
        wanted: &'static str,
    },
    /// `tokenizer.model` is not what it should be.
    #[error("tokenizer.model: {found} at {place}, want {wanted}")]
    ModelFile {
        /// Byte, piece or line.
        place: String,
        /// What stands there.
        found: String,
        /// What should.
        wanted: &'static str,
    },
    /// A merge is not two tokens whose concatenation is a token.
    #[error("merge {index} of the vocabulary, {given:?}, is not two tokens that make a third")]
    BadMerge {
        /// Position in the list of merges.
        index: usize,
        /// The merge.
        given: String,
    },
    /// The texts of special tokens are too many or too long to search for.
    #[error("the vocabulary's {count} special tokens cannot be searched for")]
    SpecialTokens {
        /// Special tokens of the vocabulary.
        count: usize,
        /// What the search says.
        #[source]
        source: aho_corasick::BuildError,
    },
    /// A WordPiece vocabulary does not say what stands for words without pieces.
    #[error("the WordPiece vocabulary has no unknown token")]
    NoUnknownToken,
    /// The vocabulary cannot express this byte, so it cannot express every text.
    #[error("the vocabulary has no token for the byte {byte:#04x} and no unknown token")]
    MissingByte {
        /// The byte.
        byte: u8,
    },
    /// The chat template is not valid Jinja, or uses what is not allowed.
    #[error("the chat template cannot be read")]
    TemplateSyntax {
        /// What the template engine says.
        #[source]
        source: Box<minijinja::Error>,
    },
    /// The chat template, or what it rendered, is longer than allowed.
    #[error("the {what} has {given_bytes} bytes, at most {limit_bytes} are allowed")]
    TemplateSize {
        /// `chat template` or `rendered conversation`.
        what: &'static str,
        /// Its size.
        given_bytes: usize,
        /// The largest size allowed.
        limit_bytes: usize,
    },
    /// The chat template failed on these messages.
    #[error("the chat template failed")]
    TemplateFailed {
        /// What the template engine says.
        #[source]
        source: Box<minijinja::Error>,
    },
    /// The chat template left out or changed text of a message that must come out unchanged.
    #[error("the chat template does not write {what} as it stands")]
    TemplateLostText {
        /// The text.
        what: &'static str,
    },
    /// A tool must be called and there is none, or none of this name.
    #[error("there is no tool {}, known are: {}", wanted.as_deref().unwrap_or("at all"), known.join(", "))]
    NoSuchTool {
        /// The name that was asked for, where one was.
        wanted: Option<String>,
        /// The tools that there are.
        known: Vec<String>,
    },
    /// A tool's calls cannot be written in the model's format so that they are read back.
    #[error("the model cannot be held to calls of the tool {tool:?}: {reason}")]
    NoCallGrammar {
        /// The tool.
        tool: String,
        /// What stands in the way.
        reason: String,
    },
    /// The chat template refused these messages by `raise_exception`.
    #[error("the chat template refuses the conversation: {message}")]
    TemplateRefused {
        /// What the template says.
        message: String,
    },
}

impl Blamed for TokenError {
    fn blame(&self) -> Blame {
        match self {
            Self::TemplateRefused { .. } | Self::NoSuchTool { .. } | Self::NoCallGrammar { .. } => {
                Blame::Caller
            }
            _ => Blame::Data,
        }
    }
}
