//! What the server asks of a model. The binary puts the engine behind it; tests a scripted one.

use std::sync::Arc;

use autoglm_spec::{Constraint, Embed, EngineError, Generate, Prompt, Score};
use autoglm_token::{AnswerParser, ChatOptions, Message, TokenId};

/// Whether and which tool an answer must call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ToolChoice {
    /// The model decides.
    #[default]
    Auto,
    /// One of the tools.
    Required,
    /// This one.
    Named(String),
}

/// A conversation that a model is to go on with.
#[derive(Debug, Clone, PartialEq)]
pub struct Talk {
    /// What was said.
    pub messages: Vec<Message>,
    /// Tools, and whether to think first.
    pub options: ChatOptions,
    /// Whether a tool must be called.
    pub choice: ToolChoice,
    /// Whether several tools may be called at once.
    pub parallel: bool,
}

/// A conversation as its model reads it.
#[derive(Debug)]
pub struct Reading {
    /// The tokens.
    pub tokens: Vec<TokenId>,
    /// What takes the answer apart.
    pub parser: AnswerParser,
    /// What the answer must satisfy so that it calls a tool.
    pub constraint: Option<Constraint>,
}

/// How busy a model is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Requests that the engine works on.
    pub running: usize,
    /// Requests that wait for room in its cache.
    pub waiting: usize,
    /// Positions of the cache that requests use.
    pub used_positions: usize,
    /// Positions that hold what requests may share, and are given up when room is needed.
    pub kept_positions: usize,
    /// Positions in all.
    pub positions: usize,
    /// Tokens of prompts so far.
    pub prompt_tokens: u64,
    /// Of these, tokens that the cache had.
    pub cached_tokens: u64,
    /// Tokens that were generated so far.
    pub generated_tokens: u64,
    /// Passes through the model so far.
    pub passes: u64,
}

/// A language model that is served. Calls block; each has a thread of its own.
pub trait Backend: Generate + Score {
    /// Reads a conversation.
    ///
    /// # Errors
    /// A model without a chat template, or a conversation that its template refuses.
    fn read(&self, talk: &Talk) -> Result<Reading, EngineError>;

    /// The tokens of a prompt.
    ///
    /// # Errors
    /// As [`Backend::read`] for turns.
    fn encode(&self, prompt: &Prompt) -> Result<Vec<TokenId>, EngineError>;

    /// The tokens of a text alone, without what the model wants before every text.
    fn encode_text(&self, text: &str) -> Vec<TokenId>;

    /// The bytes that a token stands for; none for control tokens and for ids that are none.
    fn token_bytes(&self, token: TokenId) -> Vec<u8>;

    /// How busy it is.
    fn load(&self) -> Load;
}

/// What a served model can do.
#[derive(Clone)]
pub enum Skill {
    /// Generate and score text.
    Write(Arc<dyn Backend>),
    /// Make vectors of texts.
    Embed(Arc<dyn Embed>),
}
