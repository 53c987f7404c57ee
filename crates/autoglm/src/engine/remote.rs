//! The engine behind a server.

use std::hash::{BuildHasher, RandomState};
use std::io::Read;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use autoglm_engine::remote::{
    Address, ApiKey, PromptForm, RateLimits, RemoteEngine, RemoteSettings, RetrySettings,
    ScoringWay, SystemClock, call,
};
use autoglm_task::file::{ServerPrompts, ServerScoring, ServerSettings};
use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::environment;

/// The engine on this machine by its name on the command line.
const LOCAL: &str = "local";

/// How long a server may take to load a model.
const LOADING: Duration = Duration::from_mins(30);

/// Bytes that are read of a file with a key or with certificates at most.
const FILE_LIMIT_BYTES: u64 = 4 << 20;

/// A running `autoglm serve` that a command changes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Server")]
pub struct ServerArgs {
    /// The address of the server.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    server: Address,
    /// Read the key of an administrator from a file; else `AUTOGLM_API_KEY` holds it.
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// Send the key even unencrypted to another machine.
    #[arg(long)]
    plain_key: bool,
    /// Trust the authorities whose certificates are in this PEM file, in place of the usual ones.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

impl ServerArgs {
    /// Asks the server: posts a body, or gets where there is none.
    ///
    /// # Errors
    /// A key or file that cannot be used, a server that does not answer or refuses.
    pub fn call(&self, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let usual = RemoteSettings::new(self.server.clone());
        let settings = RemoteSettings {
            key: key(self.api_key_file.as_deref())?,
            plain_key: self.plain_key,
            authorities: self.ca_file.as_deref().map(read).transpose()?,
            // A large model takes its time to be loaded and examined.
            silence: LOADING,
            ..usual
        };
        Ok(call(&settings, path, body)?)
    }
}

/// A server in place of a model on this machine.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Server")]
pub struct RemoteArgs {
    /// Run on the server with this address, such as <http://127.0.0.1:8000/v1>: any that speaks
    /// OpenAI's protocol. `local` runs a task on this machine whatever its file says.
    #[arg(
        long,
        value_name = "URL",
        conflicts_with_all = [
            "threads", "cache_tokens", "cache_type", "memory_limit", "quantize", "adapter"
        ]
    )]
    engine: Option<String>,
    /// Read the server's key from a file; else `AUTOGLM_API_KEY` holds it.
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// Send the key even unencrypted to another machine.
    #[arg(long)]
    plain_key: bool,
    /// Trust the authorities whose certificates are in this PEM file, in place of the usual ones.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// How the model is given prompts: as turns where the server takes them, when not given.
    #[arg(long, value_name = "FORM")]
    prompts: Option<PromptsChoice>,
    /// How labels are scored: the best way that the server offers, when not given.
    #[arg(long, value_name = "WAY")]
    scoring: Option<ScoringChoice>,
    /// Answers that are asked for where labels are scored by votes [default: 10].
    #[arg(long, value_name = "N")]
    votes: Option<NonZeroUsize>,
    /// Tokens that the model's context holds, where the server does not tell.
    #[arg(long, value_name = "TOKENS")]
    context_tokens: Option<NonZeroUsize>,
    /// Requests at once [default: 4].
    #[arg(long, value_name = "N")]
    concurrency: Option<NonZeroUsize>,
    /// Requests that are begun in any 60 seconds at most.
    #[arg(long, value_name = "N")]
    requests_per_minute: Option<NonZeroU32>,
    /// Tokens of prompts and answers in any 60 seconds at most.
    #[arg(long, value_name = "N")]
    tokens_per_minute: Option<NonZeroU32>,
    /// Seconds for which the server may be silent [default: 120].
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<NonZeroU32>,
    /// How often a request is tried at most [default: 6].
    #[arg(long, value_name = "N")]
    attempts: Option<NonZeroU32>,
    /// Whether the address is a task file's.
    #[arg(skip)]
    is_of_task: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PromptsChoice {
    /// Turns, which the server's chat template renders.
    Chat,
    /// Plain text, which the model continues.
    Plain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ScoringChoice {
    /// By the log-probabilities of prompts that the server echoes.
    Echo,
    /// By the most likely first tokens.
    First,
    /// By how often the model gives each as its answer.
    Votes,
}

impl RemoteArgs {
    /// A server by its address, with its key in a file.
    pub fn at(url: String, api_key_file: Option<PathBuf>) -> Self {
        Self {
            engine: Some(url),
            api_key_file,
            ..Self::default()
        }
    }

    /// The address of the server that runs, if one does.
    ///
    /// # Errors
    /// Options for a server where none runs.
    pub fn url(&self) -> anyhow::Result<Option<&str>> {
        match self.engine.as_deref() {
            Some(url) if url != LOCAL => Ok(Some(url)),
            _ => match self.first_option() {
                Some(option) => anyhow::bail!(
                    "{option} is for a server, and none is named\nhint: --engine URL names one"
                ),
                None => Ok(None),
            },
        }
    }

    /// What the answers of a server depend on, besides the request.
    pub fn answers_depend_on(&self) -> impl std::fmt::Debug {
        (&self.engine, self.prompts, self.scoring, self.votes)
    }

    /// Whether a server runs.
    pub fn asks_for_server(&self) -> bool {
        self.engine.as_ref().is_some_and(|url| url != LOCAL)
    }

    /// The first option that only a server has.
    fn first_option(&self) -> Option<&'static str> {
        let given = [
            ("--api-key-file", self.api_key_file.is_some()),
            ("--plain-key", self.plain_key),
            ("--ca-file", self.ca_file.is_some()),
            ("--prompts", self.prompts.is_some()),
            ("--scoring", self.scoring.is_some()),
            ("--votes", self.votes.is_some()),
            ("--context-tokens", self.context_tokens.is_some()),
            ("--concurrency", self.concurrency.is_some()),
            ("--requests-per-minute", self.requests_per_minute.is_some()),
            ("--tokens-per-minute", self.tokens_per_minute.is_some()),
            ("--timeout", self.timeout.is_some()),
            ("--attempts", self.attempts.is_some()),
        ];
        given
            .iter()
            .find(|(_, given)| *given)
            .map(|(option, _)| *option)
    }

    /// Takes what a task says of a server, where the command line says nothing.
    pub fn or(&mut self, server: Option<&ServerSettings>) {
        let Some(server) = server.filter(|_| self.engine.is_none()) else {
            return;
        };
        self.engine = Some(server.url.clone());
        self.is_of_task = true;
        self.prompts = self.prompts.or(server.prompts.map(|prompts| match prompts {
            ServerPrompts::Chat => PromptsChoice::Chat,
            ServerPrompts::Plain => PromptsChoice::Plain,
        }));
        self.scoring = self.scoring.or(server.scoring.map(|scoring| match scoring {
            ServerScoring::Echo => ScoringChoice::Echo,
            ServerScoring::First => ScoringChoice::First,
            ServerScoring::Votes => ScoringChoice::Votes,
        }));
        self.votes = self.votes.or(server.votes);
        self.context_tokens = self.context_tokens.or(server.context_tokens);
        self.concurrency = self.concurrency.or(server.concurrency);
        self.requests_per_minute = self.requests_per_minute.or(server.requests_per_minute);
        self.tokens_per_minute = self.tokens_per_minute.or(server.tokens_per_minute);
        self.timeout = self.timeout.or(server.timeout_seconds);
    }

    /// What a task file says of this server.
    pub fn server_settings(&self, model: Option<&String>) -> Option<ServerSettings> {
        let url = self.engine.as_ref().filter(|_| self.asks_for_server())?;
        Some(ServerSettings {
            url: url.clone(),
            model: model.cloned(),
            prompts: self.prompts.map(|prompts| match prompts {
                PromptsChoice::Chat => ServerPrompts::Chat,
                PromptsChoice::Plain => ServerPrompts::Plain,
            }),
            scoring: self.scoring.map(|scoring| match scoring {
                ScoringChoice::Echo => ServerScoring::Echo,
                ScoringChoice::First => ServerScoring::First,
                ScoringChoice::Votes => ServerScoring::Votes,
            }),
            votes: self.votes,
            context_tokens: self.context_tokens,
            concurrency: self.concurrency,
            requests_per_minute: self.requests_per_minute,
            tokens_per_minute: self.tokens_per_minute,
            timeout_seconds: self.timeout,
        })
    }

    /// Opens the engine.
    ///
    /// # Errors
    /// An address, key or file that cannot be used, a server that does not answer.
    pub fn open(
        &self,
        url: &str,
        model: Option<&str>,
        thinking: Option<bool>,
    ) -> anyhow::Result<RemoteEngine> {
        let address: Address = url.parse()?;
        let usual = RemoteSettings::new(address);
        let retry = RetrySettings {
            attempts: self.attempts.map_or(usual.retry.attempts, NonZeroU32::get),
            ..usual.retry
        };
        let silence = self
            .timeout
            .map(|seconds| Duration::from_secs(seconds.get().into()));
        let settings = RemoteSettings {
            model: model.map(str::to_owned),
            key: self.key(&usual.address)?,
            plain_key: self.plain_key,
            authorities: self.ca_file.as_deref().map(read).transpose()?,
            prompts: self.prompts.map_or(PromptForm::Auto, PromptsChoice::form),
            scoring: self.scoring.map_or(ScoringWay::Auto, ScoringChoice::way),
            votes: self.votes.unwrap_or(usual.votes),
            context_tokens: self.context_tokens.map(NonZeroUsize::get),
            concurrency: self.concurrency.unwrap_or(usual.concurrency),
            limits: RateLimits {
                requests_per_minute: self.requests_per_minute,
                tokens_per_minute: self.tokens_per_minute,
            },
            retry,
            silence: silence.unwrap_or(usual.silence),
            thinking,
            seed: RandomState::new().hash_one(std::process::id()),
            // Requests that the server answers with the help of another one are one trace.
            trace: autoglm_server::traceparent,
            ..usual
        };
        Ok(RemoteEngine::open(
            &settings,
            Arc::new(SystemClock::default()),
        )?)
    }

    /// The key: that of the file, else that of the environment. The environment's key was not
    /// meant for a server that somebody's task file names.
    fn key(&self, address: &Address) -> anyhow::Result<Option<ApiKey>> {
        let is_foreign = self.is_of_task && !address.is_loopback();
        if is_foreign && self.api_key_file.is_none() {
            return Ok(None);
        }
        key(self.api_key_file.as_deref())
    }
}

impl PromptsChoice {
    fn form(self) -> PromptForm {
        match self {
            Self::Chat => PromptForm::Chat,
            Self::Plain => PromptForm::Plain,
        }
    }
}

impl ScoringChoice {
    fn way(self) -> ScoringWay {
        match self {
            Self::Echo => ScoringWay::Echo,
            Self::First => ScoringWay::First,
            Self::Votes => ScoringWay::Votes,
        }
    }
}

/// The key in a file, else that of the environment.
fn key(file: Option<&Path>) -> anyhow::Result<Option<ApiKey>> {
    let text = match file {
        Some(file) => {
            let text = String::from_utf8(read(file)?).ok();
            Some(text.context("the file with the server's key is no text")?)
        }
        None => environment::api_key(),
    };
    Ok(text.map(|text| ApiKey::new(&text)).transpose()?)
}

/// A small file.
fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let shown = path.display();
    let cannot = || format!("cannot read {shown}");
    let file = std::fs::File::open(path).with_context(cannot)?;
    let mut bytes = Vec::new();
    file.take(FILE_LIMIT_BYTES + 1)
        .read_to_end(&mut bytes)
        .with_context(cannot)?;
    anyhow::ensure!(
        bytes.len() as u64 <= FILE_LIMIT_BYTES,
        "{shown} has more than {FILE_LIMIT_BYTES} bytes"
    );
    Ok(bytes)
}
