//! Opening the engine that a command asks for: a model on this machine, or one behind a server.

mod identity;
mod local;
mod pool;
mod remote;

use std::path::Path;
use std::sync::Arc;

use autoglm_engine::remote::RemoteEngine;
use autoglm_engine::{EngineStats, LocalEngine};
use autoglm_spec::{
    Cancel, Completion, Delta, EngineError, Generate, GenerateRequest, ModelFacts, Prompt, Score,
    ScoreRequest, Scoring,
};
use autoglm_task::file::ServerSettings;
use autoglm_token::{AnswerParser, ChatOptions};
use clap::Args;

pub use local::{CacheTypeName, LocalArgs, available_threads, quantized_type};
pub(crate) use local::{adapter_bytes, size};
pub(crate) use pool::Pool;
pub use remote::{RemoteArgs, ServerArgs};

use crate::models::Need;

/// Which engine runs.
#[derive(Debug, Clone, Args)]
pub struct EngineArgs {
    #[command(flatten)]
    pub local: LocalArgs,
    #[command(flatten)]
    pub remote: RemoteArgs,
}

impl EngineArgs {
    /// Opens the engine, fetching the model where that is needed.
    ///
    /// # Errors
    /// No such model, a file that is not usable, a server that does not answer.
    pub fn open(&self, home: &Path, need: Need) -> anyhow::Result<OpenEngine> {
        self.open_for_chat(home, need, ChatOptions::default())
    }

    /// Opens the engine with options for all its conversations.
    ///
    /// # Errors
    /// As for [`EngineArgs::open`], and options that the engine cannot follow.
    pub fn open_for_chat(
        &self,
        home: &Path,
        need: Need,
        chat: ChatOptions,
    ) -> anyhow::Result<OpenEngine> {
        if let Some(url) = self.remote.url()? {
            anyhow::ensure!(
                chat.tools.is_empty(),
                "a server's model is not told of tools\nhint: --tools needs a model on this machine"
            );
            let engine = self
                .remote
                .open(url, self.local.model.as_deref(), chat.thinking)?;
            return Ok(OpenEngine::Remote(engine));
        }
        let engine = self.local.open(home, need)?;
        anyhow::ensure!(
            chat.tools.is_empty() || engine.facts().chat,
            "the model {} has no chat template that could tell it of tools",
            engine.facts().name
        );
        Ok(OpenEngine::Local(Arc::new(engine.with_chat(chat))))
    }

    /// Opens the engine, or shares one of this machine that is open already.
    ///
    /// # Errors
    /// As for [`EngineArgs::open`].
    pub(crate) fn open_shared(
        &self,
        pool: &Pool,
        home: &Path,
        need: Need,
    ) -> anyhow::Result<OpenEngine> {
        if let Some(url) = self.remote.url()? {
            let model = self.local.model.as_deref();
            return Ok(OpenEngine::Remote(self.remote.open(url, model, None)?));
        }
        Ok(OpenEngine::Local(pool.open(&self.local, home, need)?))
    }

    /// The arguments, with what a task says where they say nothing.
    pub fn or(&self, model: Option<&String>, server: Option<&ServerSettings>) -> Self {
        let mut args = self.clone();
        args.remote.or(server);
        let of_server = server.and_then(|server| server.model.as_ref());
        let fallback = match (args.remote.asks_for_server(), self.remote.asks_for_server()) {
            // Another server than the task's need not know the task's model.
            (true, true) => None,
            (true, false) => of_server,
            (false, _) => model,
        };
        args.local.model = args.local.model.or_else(|| fallback.cloned());
        args
    }
}

/// An engine that is open.
pub enum OpenEngine {
    /// A model on this machine.
    Local(Arc<LocalEngine>),
    /// A model behind a server.
    Remote(RemoteEngine),
}

/// Counts the tokens of a prompt, where the engine can.
pub type Counter = dyn Fn(&Prompt) -> Option<usize> + Send + Sync;

impl OpenEngine {
    /// A parser for what the model answers to a prompt.
    ///
    /// # Errors
    /// A prompt that the model's chat template fails on.
    pub fn answer_parser(&self, prompt: &Prompt) -> Result<AnswerParser, EngineError> {
        match self {
            Self::Local(engine) => engine.answer_parser(prompt),
            Self::Remote(_) => Ok(AnswerParser::new(None, &[], false)),
        }
    }

    /// The tokens of a prompt, where the engine can count them.
    pub fn count_tokens(&self, prompt: &Prompt) -> Option<usize> {
        match self {
            Self::Local(engine) => engine.encode(prompt).ok().map(|tokens| tokens.len()),
            Self::Remote(_) => None,
        }
    }

    /// What counts the tokens of prompts, where the engine can.
    pub fn counter(&self) -> Box<Counter> {
        match self {
            Self::Local(engine) => {
                let engine = Arc::clone(engine);
                Box::new(move |prompt| engine.encode(prompt).ok().map(|tokens| tokens.len()))
            }
            Self::Remote(_) => Box::new(|_| None),
        }
    }

    /// What the engine on this machine has done.
    pub fn stats(&self) -> Option<EngineStats> {
        match self {
            Self::Local(engine) => Some(engine.stats()),
            Self::Remote(_) => None,
        }
    }

    /// Tells on standard error what a user should know of how a server was used.
    #[expect(
        clippy::print_stderr,
        reason = "talk to the user goes to standard error"
    )]
    pub fn tell_notes(&self) {
        if let Self::Remote(engine) = self {
            for note in engine.notes() {
                eprintln!("note: {note}");
            }
        }
    }
}

impl Generate for OpenEngine {
    fn facts(&self) -> &ModelFacts {
        match self {
            Self::Local(engine) => engine.facts(),
            Self::Remote(engine) => engine.facts(),
        }
    }

    fn generate(
        &self,
        requests: &[GenerateRequest],
        cancel: &Cancel,
        on_delta: &mut dyn FnMut(usize, &Delta),
    ) -> Vec<Result<Completion, EngineError>> {
        match self {
            Self::Local(engine) => engine.generate(requests, cancel, on_delta),
            Self::Remote(engine) => engine.generate(requests, cancel, on_delta),
        }
    }
}

impl Score for OpenEngine {
    fn score(
        &self,
        requests: &[ScoreRequest],
        cancel: &Cancel,
    ) -> Vec<Result<Scoring, EngineError>> {
        match self {
            Self::Local(engine) => engine.score(requests, cancel),
            Self::Remote(engine) => engine.score(requests, cancel),
        }
    }
}
