//! How a server is reached and used.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::address::Address;
use super::key::ApiKey;
use super::limit::RateLimits;
use super::retry::RetrySettings;
use super::trace::TraceSource;

/// Answers that are counted as votes where nothing else is asked for.
const USUAL_VOTES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(9);

/// Requests at once where nothing else is asked for.
const USUAL_CONCURRENCY: NonZeroUsize = NonZeroUsize::MIN.saturating_add(3);

/// How prompts are given to the model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PromptForm {
    /// As turns where the server takes them, else as plain text.
    #[default]
    Auto,
    /// As turns, which the server's chat template renders.
    Chat,
    /// As plain text that the model continues.
    Plain,
}

/// How the probabilities of given continuations are found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ScoringWay {
    /// The first of the others that the server can do.
    #[default]
    Auto,
    /// By the log-probabilities of prompts that the server echoes.
    Echo,
    /// By the most likely first tokens.
    First,
    /// By how often the model gives each as its answer.
    Votes,
}

/// How a server is reached and used.
#[derive(Debug, Clone)]
pub struct RemoteSettings {
    /// Where the server is.
    pub address: Address,
    /// The model by the server's name; the server's first where none is named.
    pub model: Option<String>,
    /// The server's key.
    pub key: Option<ApiKey>,
    /// Whether the key may go unencrypted to another machine.
    pub plain_key: bool,
    /// Certificates of authorities in PEM, in place of the usual ones, which are compiled in.
    pub authorities: Option<Vec<u8>>,
    /// How prompts are given to the model.
    pub prompts: PromptForm,
    /// How given continuations are scored.
    pub scoring: ScoringWay,
    /// Answers that are asked for where scores are counted as votes.
    pub votes: NonZeroUsize,
    /// Tokens that the context holds; what the server tells where none are given.
    pub context_tokens: Option<usize>,
    /// Requests at once.
    pub concurrency: NonZeroUsize,
    /// What the server allows in a minute.
    pub limits: RateLimits,
    /// How often and how long requests are tried.
    pub retry: RetrySettings,
    /// How long the server may be silent.
    pub silence: Duration,
    /// Whether the model shall think before it answers; `None` leaves it to the server.
    pub thinking: Option<bool>,
    /// Decides the jitter of waits.
    pub seed: u64,
    /// The trace that requests belong to, asked for on the thread of each call.
    pub trace: TraceSource,
}

impl RemoteSettings {
    /// The usual settings for a server.
    pub fn new(address: Address) -> Self {
        Self {
            address,
            model: None,
            key: None,
            plain_key: false,
            authorities: None,
            prompts: PromptForm::default(),
            scoring: ScoringWay::default(),
            votes: USUAL_VOTES,
            context_tokens: None,
            concurrency: USUAL_CONCURRENCY,
            limits: RateLimits::default(),
            retry: RetrySettings::default(),
            silence: Duration::from_mins(2),
            thinking: None,
            seed: 0,
            trace: || None,
        }
    }
}
