//! A vocabulary as a model file states it. A reader of model files fills it, [`crate::Tokenizer`]
//! checks it.

/// The number of a token in its vocabulary.
pub type TokenId = u32;

/// What a token stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// A piece of text.
    Normal,
    /// Stands for text that the vocabulary cannot express.
    Unknown,
    /// Steers the model, such as `<bos>`; never part of a text.
    Control,
    /// A piece of text that is cut out before anything is merged.
    UserDefined,
    /// Reserved.
    Unused,
    /// One byte of a character that the vocabulary lacks, written `<0x0A>`.
    Byte,
}

impl TokenKind {
    /// The kind that GGUF writes as this number in `tokenizer.ggml.token_type`.
    pub fn from_gguf(number: i32) -> Option<Self> {
        Some(match number {
            1 => Self::Normal,
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            5 => Self::Unused,
            6 => Self::Byte,
            _ => return None,
        })
    }
}

/// How text is cut into tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VocabularyModel {
    /// SentencePiece byte-pair encoding: characters merge by the scores of the merged tokens.
    /// `llama` in GGUF.
    SentencePiece,
    /// Byte-level byte-pair encoding: bytes of words merge by a list of merges. `gpt2` in GGUF.
    ByteBpe,
}

impl VocabularyModel {
    /// The model that GGUF names so in `tokenizer.ggml.model`.
    pub fn from_gguf(name: &str) -> Option<Self> {
        Some(match name {
            "llama" => Self::SentencePiece,
            "gpt2" => Self::ByteBpe,
            _ => return None,
        })
    }
}

/// A vocabulary with everything that is needed to cut text into its tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Vocabulary {
    /// How text is cut.
    pub model: VocabularyModel,
    /// The pre-tokeniser, `tokenizer.ggml.pre` in GGUF; used by [`VocabularyModel::ByteBpe`] only.
    pub pre: String,
    /// Every token's text, by id.
    pub tokens: Vec<String>,
    /// Every token's score, by id; used by [`VocabularyModel::SentencePiece`] only.
    pub scores: Vec<f32>,
    /// Every token's kind, by id.
    pub kinds: Vec<TokenKind>,
    /// Pairs of tokens that merge, `left right`, most frequent first; used by
    /// [`VocabularyModel::ByteBpe`] only.
    pub merges: Vec<String>,
    /// Whether a space is put before a text that does not begin inside another.
    pub add_space_prefix: bool,
    /// Whether a plain prompt begins with [`Vocabulary::bos`].
    pub add_bos: bool,
    /// Begins a text.
    pub bos: Option<TokenId>,
    /// Ends a text.
    pub eos: Option<TokenId>,
    /// Ends a turn of a conversation.
    pub eot: Option<TokenId>,
    /// Stands for text that the vocabulary cannot express.
    pub unk: Option<TokenId>,
    /// Further tokens that end generation, as the file states them. Tokens that are known to end
    /// a turn by their text, such as `<|im_end|>`, are found without being named here.
    pub extra_ends: Vec<TokenId>,
}

impl Vocabulary {
    /// A vocabulary of plain tokens with everything else as a file leaves it unsaid: no merges,
    /// scores of zero, and a space and BOS before a text for SentencePiece only.
    pub fn new(model: VocabularyModel, tokens: Vec<String>) -> Self {
        let sentence_piece = model == VocabularyModel::SentencePiece;
        Self {
            model,
            pre: "default".to_owned(),
            scores: vec![0.0; tokens.len()],
            kinds: vec![TokenKind::Normal; tokens.len()],
            tokens,
            merges: Vec::new(),
            add_space_prefix: sentence_piece,
            add_bos: sentence_piece,
            bos: None,
            eos: None,
            eot: None,
            unk: None,
            extra_ends: Vec::new(),
        }
    }
}
