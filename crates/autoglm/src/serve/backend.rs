//! A model on this machine as the server sees it.

use autoglm_engine::{EngineStats, LocalEngine};
use autoglm_server::{Backend, Load, Reading, Talk, ToolChoice};
use autoglm_spec::{
    Cancel, Completion, Constraint, Delta, EngineError, Generate, GenerateRequest, ModelFacts,
    Prompt, Score, ScoreRequest, Scoring,
};
use autoglm_token::{Specials, TokenId, TokenKind};

/// A model on this machine.
pub(crate) struct LocalBackend(pub(crate) LocalEngine);

impl Generate for LocalBackend {
    fn facts(&self) -> &ModelFacts {
        self.0.facts()
    }

    fn generate(
        &self,
        requests: &[GenerateRequest],
        cancel: &Cancel,
        on_delta: &mut dyn FnMut(usize, &Delta),
    ) -> Vec<Result<Completion, EngineError>> {
        self.0.generate(requests, cancel, on_delta)
    }
}

impl Score for LocalBackend {
    fn score(
        &self,
        requests: &[ScoreRequest],
        cancel: &Cancel,
    ) -> Vec<Result<Scoring, EngineError>> {
        self.0.score(requests, cancel)
    }
}

impl Backend for LocalBackend {
    fn read(&self, talk: &Talk) -> Result<Reading, EngineError> {
        let conversation = self.0.converse(&talk.messages, &talk.options)?;
        let choice = match &talk.choice {
            ToolChoice::Auto => None,
            ToolChoice::Required => Some(autoglm_token::ToolChoice::Required),
            ToolChoice::Named(name) => Some(autoglm_token::ToolChoice::Named(name)),
        };
        let parser = &conversation.parser;
        let grammar = choice
            .map(|choice| parser.call_grammar(choice, talk.parallel))
            .transpose()
            .map_err(EngineError::engine)?;
        Ok(Reading {
            tokens: conversation.tokens,
            parser: conversation.parser,
            constraint: grammar.map(Constraint::Grammar),
        })
    }

    fn encode(&self, prompt: &Prompt) -> Result<Vec<TokenId>, EngineError> {
        self.0.encode(prompt)
    }

    fn encode_text(&self, text: &str) -> Vec<TokenId> {
        self.0.tokenizer().encode(text, Specials::AsText)
    }

    fn token_bytes(&self, token: TokenId) -> Vec<u8> {
        let tokenizer = self.0.tokenizer();
        if token as usize >= tokenizer.vocabulary_len()
            || tokenizer.kind(token) == TokenKind::Control
        {
            return Vec::new();
        }
        tokenizer.token_bytes(token).to_vec()
    }

    fn load(&self) -> Load {
        let stats = self.0.stats();
        let positions = |blocks: usize| blocks * EngineStats::BLOCK_TOKENS;
        Load {
            running: stats.running,
            waiting: stats.waiting,
            used_positions: positions(stats.used_blocks() - stats.evictable_blocks),
            kept_positions: positions(stats.evictable_blocks),
            positions: positions(stats.total_blocks),
            prompt_tokens: stats.prompt_tokens,
            cached_tokens: stats.cached_tokens,
            generated_tokens: stats.generated_tokens,
            passes: stats.passes,
        }
    }
}
