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

    /// The number that GGUF has for it.
    pub fn gguf_number(self) -> i32 {
        match self {
            Self::Normal => 1,
            Self::Unknown => 2,
            Self::Control => 3,
            Self::UserDefined => 4,
            Self::Unused => 5,
            Self::Byte => 6,
        }
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

    /// The name that GGUF has for it.
    pub fn gguf_name(self) -> &'static str {
        match self {
            Self::SentencePiece => "llama",
            Self::ByteBpe => "gpt2",
        }
    }
}

/// Into which words a text is cut, inside which a [`VocabularyModel::ByteBpe`] merges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Words {
    /// The pre-tokeniser that GGUF names so in `tokenizer.ggml.pre`.
    Named(String),
    /// Patterns of a file's own.
    Patterns {
        /// Regular expressions, applied one after the other to what the one before left; their
        /// matches are words, and so is what stands between two of them.
        patterns: Vec<String>,
        /// Whether a word that is a token is that token, whatever would merge.
        whole_words: bool,
    },
}

impl From<&str> for Words {
    fn from(name: &str) -> Self {
        Self::Named(name.to_owned())
    }
}

/// Which neighbours merge, and which first.
#[derive(Debug, Clone, PartialEq)]
pub enum MergeOrder {
    /// Any two that together are a token, the token of the highest score first: one score a token.
    Scores(Vec<f32>),
    /// These pairs, `left right`, the first of them first.
    Pairs(Vec<String>),
}

/// Where a [`VocabularyModel::SentencePiece`] puts a space that decoding takes away again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpacePrefix {
    /// Nowhere.
    Never,
    /// Before every text that does not begin inside another, behind control tokens too.
    Always,
    /// The same, where the text does not begin with a space.
    Missing,
    /// Before the first text only, where it does not begin with a space.
    FirstMissing,
}

/// A vocabulary with everything that is needed to cut text into its tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Vocabulary {
    /// How text is cut.
    pub model: VocabularyModel,
    /// Into which words text is cut; used by [`VocabularyModel::ByteBpe`] only.
    pub words: Words,
    /// Whether characters are composed (Unicode's form C) before text is cut; used by
    /// [`VocabularyModel::ByteBpe`] only.
    pub composes: bool,
    /// Every token's text, by id.
    pub tokens: Vec<String>,
    /// Every token's kind, by id.
    pub kinds: Vec<TokenKind>,
    /// Which tokens merge, and which first.
    pub merges: MergeOrder,
    /// Where a space is put; used by [`VocabularyModel::SentencePiece`] only.
    pub space_prefix: SpacePrefix,
    /// What a plain prompt begins with.
    pub prefix: Vec<TokenId>,
    /// Begins a text, as chat templates write it.
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
    /// A vocabulary of plain tokens with everything else as a file leaves it unsaid: scores of
    /// zero and a space before a text for SentencePiece, no merges for bytes, and no prefix.
    pub fn new(model: VocabularyModel, tokens: Vec<String>) -> Self {
        let (merges, space_prefix) = match model {
            VocabularyModel::SentencePiece => (
                MergeOrder::Scores(vec![0.0; tokens.len()]),
                SpacePrefix::Always,
            ),
            VocabularyModel::ByteBpe => (MergeOrder::Pairs(Vec::new()), SpacePrefix::Never),
        };
        Self {
            model,
            words: Words::from("default"),
            composes: false,
            kinds: vec![TokenKind::Normal; tokens.len()],
            tokens,
            merges,
            space_prefix,
            prefix: Vec::new(),
            bos: None,
            eos: None,
            eot: None,
            unk: None,
            extra_ends: Vec::new(),
        }
    }

    /// The first token of this text.
    pub fn find(&self, text: &str) -> Option<TokenId> {
        let found = self.tokens.iter().position(|token| token == text);
        found.map(|id| id as TokenId)
    }

    /// Adds a token behind the last.
    pub(crate) fn push(&mut self, text: String, kind: TokenKind) {
        self.tokens.push(text);
        self.kinds.push(kind);
        if let MergeOrder::Scores(scores) = &mut self.merges {
            scores.push(0.0);
        }
    }

    /// Makes the vocabulary as long as a model has rows: models are trained with some more, and
    /// some files name tokens that the model has no row for.
    pub(crate) fn fit_to(&mut self, rows: usize) {
        self.pad_to(rows);
        self.tokens.truncate(rows);
        self.kinds.truncate(rows);
        if let MergeOrder::Scores(scores) = &mut self.merges {
            scores.truncate(rows);
        }
    }

    /// Adds tokens without text until there are this many.
    pub(crate) fn pad_to(&mut self, len: usize) {
        while self.tokens.len() < len {
            self.push(String::new(), TokenKind::Unused);
        }
    }
}
