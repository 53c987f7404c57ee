//! The engine on another machine: any server that speaks OpenAI's protocol. What it cannot do is
//! refused by name or told in a note, never silently left out.
//!
//! The client blocks and has no runtime; each call has a crew of threads that wait for the server.

mod address;
mod client;
mod clock;
mod crew;
mod error;
mod generate;
mod http;
mod key;
mod levels;
mod limit;
mod notes;
mod retry;
mod score;
mod server;
mod settings;
mod sse;
#[cfg(test)]
mod test_clock;
mod trace;
mod wire;

use std::num::NonZeroUsize;
use std::sync::Arc;

use serde_json::Value;

use autoglm_spec::{
    Blame, Cancel, Completion, Delta, EngineError, FinishReason, Generate, GenerateRequest,
    ModelFacts, Score, ScoreRequest, Scoring, Usage,
};

pub use address::Address;
pub use clock::{Clock, SystemClock};
pub use error::RemoteError;
pub use key::ApiKey;
pub use limit::RateLimits;
pub use retry::RetrySettings;
pub use settings::{PromptForm, RemoteSettings, ScoringWay};
pub use trace::TraceSource;

use client::{Client, ClientSettings};
use crew::{Ended, Work, answer_all};
use generate::Generator;
use http::{Http, HttpSettings};
use levels::Levels;
use limit::{RateLimiter, Slots};
use score::Scorer;
use server::Server;

/// A model behind a server.
pub struct RemoteEngine {
    facts: ModelFacts,
    concurrency: NonZeroUsize,
    trace: TraceSource,
    shared: Arc<Shared>,
}

/// What the threads of all calls use.
struct Shared {
    server: Server,
    levels: Levels,
    scorer: Scorer,
}

impl RemoteEngine {
    /// Finds out which models the server has and how it wants to be asked, by some short requests.
    ///
    /// # Errors
    /// A key that would go unencrypted, certificates that cannot be read, a server that cannot be
    /// reached, refuses, or has no such model.
    pub fn open(settings: &RemoteSettings, clock: Arc<dyn Clock>) -> Result<Self, EngineError> {
        let client = client(settings, clock).map_err(EngineError::engine)?;
        let (server, facts) = Server::open(client, settings, &Cancel::default())?;
        Ok(Self {
            facts,
            concurrency: settings.concurrency,
            trace: settings.trace,
            shared: Arc::new(Shared {
                server,
                levels: Levels::default(),
                scorer: Scorer::new(settings.scoring, settings.votes),
            }),
        })
    }

    /// What a user should know of how the server was used so far: which way labels are scored,
    /// what could not be asked for, how often answers had to be asked for again.
    pub fn notes(&self) -> Vec<String> {
        self.shared.server.notes.all()
    }
}

/// Asks an AutoGLM server for something that lies beside its API, such as `admin/models`: posts a
/// body, or gets where there is none. Once: what changes a server is not asked for twice.
///
/// # Errors
/// A key that would go unencrypted, certificates that cannot be read, a server that cannot be
/// reached or refuses.
pub fn call(
    settings: &RemoteSettings,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, RemoteError> {
    let http = http(settings, settings.address.beside())?;
    let answer = match body {
        Some(body) => http.post(path, body).and_then(|answer| http.json(answer)),
        None => http.get(path),
    };
    answer.map_err(|failure| *failure.error)
}

/// A server at an address, with the key and all else that the settings say.
fn http(settings: &RemoteSettings, address: Address) -> Result<Http, RemoteError> {
    if settings.key.is_some() && !settings.plain_key && !address.is_private() {
        let host = address.host().to_owned();
        return Err(RemoteError::PlainKey { host });
    }
    Http::new(HttpSettings {
        address,
        key: settings.key.clone(),
        silence: settings.silence,
        connections: settings.concurrency,
        authorities: settings.authorities.clone(),
    })
}

fn client(settings: &RemoteSettings, clock: Arc<dyn Clock>) -> Result<Client, RemoteError> {
    let http = http(settings, settings.address.clone())?;
    let limits = ClientSettings {
        limiter: RateLimiter::new(settings.limits),
        slots: Slots::new(settings.concurrency),
        retry: settings.retry,
        clock,
        seed: settings.seed,
    };
    Ok(Client::new(http, limits))
}

impl Generate for RemoteEngine {
    fn facts(&self) -> &ModelFacts {
        &self.facts
    }

    /// Text is handed out while it comes where there is one request without a constraint; else
    /// when a request is done, so that one that breaks off can be asked for again.
    fn generate(
        &self,
        requests: &[GenerateRequest],
        cancel: &Cancel,
        on_delta: &mut dyn FnMut(usize, &Delta),
    ) -> Vec<Result<Completion, EngineError>> {
        let work: Arc<dyn Work<_>> = Arc::new(Call {
            shared: Arc::clone(&self.shared),
            requests: requests.to_vec(),
            cancel: cancel.clone(),
            trace: (self.trace)(),
        });
        let size = (requests.len(), self.concurrency.get());
        let ended = answer_all(size, &work, cancel, on_delta);
        ended.into_iter().map(completion).collect()
    }
}

impl Score for RemoteEngine {
    fn score(
        &self,
        requests: &[ScoreRequest],
        cancel: &Cancel,
    ) -> Vec<Result<Scoring, EngineError>> {
        let work: Arc<dyn Work<_>> = Arc::new(Call {
            shared: Arc::clone(&self.shared),
            requests: requests.to_vec(),
            cancel: cancel.clone(),
            trace: (self.trace)(),
        });
        let size = (requests.len(), self.concurrency.get());
        let ended = answer_all(size, &work, cancel, &mut |_, _| {});
        ended.into_iter().map(|(one, _)| result(one)).collect()
    }
}

/// One call of the engine, as its threads see it.
struct Call<R> {
    shared: Arc<Shared>,
    requests: Vec<R>,
    cancel: Cancel,
    /// The trace of the caller's work.
    trace: Option<String>,
}

impl Work<Result<Completion, EngineError>> for Call<GenerateRequest> {
    fn answer(
        &self,
        index: usize,
        on_delta: &mut dyn FnMut(&Delta),
    ) -> Result<Completion, EngineError> {
        let generator = Generator {
            server: &self.shared.server,
            levels: &self.shared.levels,
            cancel: &self.cancel,
            is_live: self.requests.len() == 1,
        };
        trace::within(self.trace.clone(), || {
            generator.answer(&self.requests[index], on_delta)
        })
    }

    fn is_hopeless(&self, answer: &Result<Completion, EngineError>) -> bool {
        is_hopeless(answer)
    }
}

impl Work<Result<Scoring, EngineError>> for Call<ScoreRequest> {
    fn answer(&self, index: usize, _: &mut dyn FnMut(&Delta)) -> Result<Scoring, EngineError> {
        let Shared { server, scorer, .. } = &*self.shared;
        trace::within(self.trace.clone(), || {
            scorer.score(server, &self.requests[index], &self.cancel)
        })
    }

    fn is_hopeless(&self, answer: &Result<Scoring, EngineError>) -> bool {
        is_hopeless(answer)
    }
}

/// Whether other requests of the call would fail too: the server does not answer, or not to this
/// caller. What is wrong with one record is its own affair.
fn is_hopeless<T>(answer: &Result<T, EngineError>) -> bool {
    match answer {
        Err(EngineError::Engine { blame, .. }) => *blame != Blame::Data,
        Ok(_) | Err(_) => false,
    }
}

fn result<T>(ended: Ended<Result<T, EngineError>>) -> Result<T, EngineError> {
    match ended {
        Ended::Done(result) => result,
        Ended::Cancelled => Err(EngineError::Cancelled),
        Ended::NotBegun => Err(EngineError::engine(RemoteError::NotBegun)),
        Ended::Panicked => Err(EngineError::engine(RemoteError::Panicked)),
    }
}

/// A request's result. One that was cancelled behind its first text has that text, as one of the
/// local engine.
fn completion(
    (ended, text): (Ended<Result<Completion, EngineError>>, String),
) -> Result<Completion, EngineError> {
    match result(ended) {
        Err(EngineError::Cancelled) if !text.is_empty() => Ok(Completion {
            text,
            tokens: Vec::new(),
            logprobs: Vec::new(),
            top: Vec::new(),
            finish: FinishReason::Cancelled,
            usage: Usage::default(),
        }),
        result => result,
    }
}
