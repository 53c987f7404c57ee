//! A server as the engine asks it: within its limits, tried again where that may help, and left
//! when the caller cancels.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use autoglm_spec::{Cancel, EngineError};
use serde_json::Value;

use super::clock::Clock;
use super::error::RemoteError;
use super::http::{Failure, Http, is_stream, reader};
use super::limit::{RateLimiter, Slots};
use super::retry::{Backoff, Hope, Next, RetrySettings};
use super::sse::Events;
use super::wire::{Reply, TokenUsage};

/// The bytes that a token has at least on average, in any language: to guess tokens of a prompt
/// that only the server can count. A guess that is too high costs time, one that is too low the
/// server's patience.
const BYTES_A_TOKEN: usize = 3;

/// A server with everything that limits how it is asked.
pub(crate) struct Client {
    http: Http,
    limiter: RateLimiter,
    slots: Slots,
    retry: RetrySettings,
    clock: Arc<dyn Clock>,
    /// Decides the jitter of waits, together with a number that each request has for itself.
    seed: u64,
    requests: AtomicU64,
}

/// What limits how a server is asked.
pub(crate) struct ClientSettings {
    pub(crate) limiter: RateLimiter,
    pub(crate) slots: Slots,
    pub(crate) retry: RetrySettings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) seed: u64,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Lost {
    Cancelled,
    Failed(Failure),
}

impl From<Failure> for Lost {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Lost {
    /// Whether the server refused the request as one that it does not understand, so that another
    /// wording may do.
    pub(crate) fn is_refusal(&self) -> bool {
        let refused = |status| matches!(status, 400 | 404 | 405 | 415 | 422 | 500 | 501);
        match self {
            Self::Cancelled => false,
            Self::Failed(failure) => {
                let is_too_long = failure.complaint.context_exceeded().is_some();
                !is_too_long && failure.status().is_some_and(refused)
            }
        }
    }

    /// The error for the caller. A prompt that is too long is told as every engine tells it.
    pub(crate) fn into_error(self, reserved_tokens: usize) -> EngineError {
        match self {
            Self::Cancelled => EngineError::Cancelled,
            Self::Failed(failure) => match failure.complaint.context_exceeded() {
                Some((prompt_tokens, limit_tokens)) => EngineError::ContextExceeded {
                    prompt_tokens,
                    reserved_tokens,
                    limit_tokens,
                },
                None => EngineError::engine(*failure.error),
            },
        }
    }
}

/// What to ask, and with what patience.
#[derive(Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) path: &'a str,
    pub(crate) body: &'a Value,
    /// Whether a server error may be the server's way to say that it does not understand; then it
    /// is not tried again.
    pub(crate) is_probe: bool,
}

impl Client {
    pub(crate) fn new(http: Http, settings: ClientSettings) -> Self {
        Self {
            http,
            limiter: settings.limiter,
            slots: settings.slots,
            retry: settings.retry,
            clock: settings.clock,
            seed: settings.seed,
            requests: AtomicU64::new(0),
        }
    }

    pub(crate) fn host(&self) -> String {
        self.http.host()
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// The failure that an answer is not what the protocol has.
    pub(crate) fn odd(&self, found: impl Into<String>, wanted: &'static str) -> Failure {
        self.http.odd(found, wanted)
    }

    /// Gets a JSON value.
    ///
    /// # Errors
    /// When there is none in the end.
    pub(crate) fn get(&self, path: &str, cancel: &Cancel) -> Result<Value, Lost> {
        self.persist(0, false, cancel, &mut || Ok((self.http.get(path)?, None)))
    }

    /// Asks for a whole answer.
    ///
    /// # Errors
    /// When there is none in the end.
    pub(crate) fn ask(&self, ask: Ask<'_>, cancel: &Cancel) -> Result<Reply, Lost> {
        self.persist(guess(ask.body), ask.is_probe, cancel, &mut || {
            let response = self.http.post(ask.path, ask.body)?;
            let reply = self.reply(self.http.json(response)?)?;
            let usage = reply.usage;
            Ok((reply, usage))
        })
    }

    /// Asks for an answer in pieces. A server that does not stream gives one piece.
    ///
    /// # Errors
    /// When there is none in the end.
    pub(crate) fn stream<T>(
        &self,
        ask: Ask<'_>,
        cancel: &Cancel,
        parts: &mut dyn Assemble<Output = T>,
    ) -> Result<T, Lost> {
        self.persist(guess(ask.body), ask.is_probe, cancel, &mut || {
            parts.begin();
            let response = self.http.post(ask.path, ask.body)?;
            if !is_stream(&response) {
                let reply = self.reply(self.http.json(response)?)?;
                let usage = reply.usage;
                // There is no more to come, whether enough has come or not.
                let _ = parts.take(&reply);
                return Ok((finished(parts)?, usage));
            }
            let mut events = Events::new(reader(response));
            let (usage, is_whole) = self.pieces(&mut events, cancel, parts)?;
            if !is_whole {
                return Err(self.http.odd("a part of an answer", "all of it"));
            }
            Ok((finished(parts)?, usage))
        })
    }

    /// Takes the pieces of a stream in; says whether all came.
    fn pieces<T>(
        &self,
        events: &mut Events<impl std::io::Read>,
        cancel: &Cancel,
        parts: &mut dyn Assemble<Output = T>,
    ) -> Result<(Option<TokenUsage>, bool), Failure> {
        let mut usage = None;
        let mut is_whole = false;
        loop {
            let event = events.next().map_err(|error| self.http.broken(error))?;
            let Some(data) = event else {
                return Ok((usage, is_whole));
            };
            if data.trim() == "[DONE]" {
                return Ok((usage, true));
            }
            let value = serde_json::from_str(&data);
            let value = value.map_err(|_| self.http.odd("an event that is no JSON", "JSON"))?;
            let reply = self.reply(value)?;
            usage = reply.usage.or(usage);
            is_whole |= reply
                .choices
                .iter()
                .any(|choice| choice.finish_reason.is_some());
            if parts.take(&reply).is_break() || cancel.is_cancelled() {
                return Ok((usage, true));
            }
        }
    }

    fn reply(&self, value: Value) -> Result<Reply, Failure> {
        let wanted = "an object with `choices`";
        let reply: Reply = serde_json::from_value(value)
            .map_err(|_| self.http.odd("another JSON value", wanted))?;
        if reply.error.is_some() {
            // What went wrong may be told in a message that repeats the prompt.
            return Err(self.http.odd("an error in place of an answer", wanted));
        }
        Ok(reply)
    }

    /// Makes attempts until one succeeds, none can any more, or the caller cancels.
    fn persist<T>(
        &self,
        tokens: u64,
        is_probe: bool,
        cancel: &Cancel,
        attempt: &mut dyn FnMut() -> Result<(T, Option<TokenUsage>), Failure>,
    ) -> Result<T, Lost> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let seed = self.seed.wrapping_add(number);
        let mut backoff = Backoff::new(self.retry, seed, self.clock.now());
        loop {
            let failure = match self.attempt(tokens, cancel, attempt)? {
                Ok(value) => return Ok(value),
                Err(failure) => failure,
            };
            let hope = match failure.status() {
                Some(500 | 501) if is_probe => Hope::None,
                _ => failure.hope,
            };
            match backoff.next(hope, self.clock.now()) {
                Next::Wait(wait) => self.clock.sleep(wait, cancel),
                Next::GiveUp => return Err(given_up(failure, backoff.attempts()).into()),
                Next::TooLong(asked) => return Err(self.too_long(failure, asked).into()),
            }
        }
    }

    /// One attempt within the limits.
    fn attempt<T>(
        &self,
        tokens: u64,
        cancel: &Cancel,
        attempt: &mut dyn FnMut() -> Result<(T, Option<TokenUsage>), Failure>,
    ) -> Result<Result<T, Failure>, Lost> {
        let ticket = self.limiter.begin(tokens, self.clock(), cancel);
        let ticket = ticket.ok_or(Lost::Cancelled)?;
        let _slot = self.slots.take(cancel).ok_or(Lost::Cancelled)?;
        let outcome = attempt();
        if cancel.is_cancelled() {
            return Err(Lost::Cancelled);
        }
        Ok(outcome.map(|(value, usage)| {
            if let Some(usage) = usage {
                let used = usage.prompt_tokens + usage.completion_tokens;
                self.limiter.settle(ticket, used as u64);
            }
            value
        }))
    }

    fn too_long(&self, failure: Failure, asked: std::time::Duration) -> Failure {
        let error = RemoteError::Wait {
            host: self.host(),
            status: failure.status().unwrap_or(429),
            asked,
            limit: self.retry.total,
        };
        Failure {
            error: Box::new(error),
            ..failure
        }
    }
}

/// Makes an answer of pieces.
pub(crate) trait Assemble {
    /// What the answer becomes.
    type Output;

    /// An attempt begins; what came of an earlier one is void.
    fn begin(&mut self);

    /// Takes a piece in, and says whether enough has come.
    fn take(&mut self, reply: &Reply) -> ControlFlow<()>;

    /// The answer.
    ///
    /// # Errors
    /// When the pieces make none.
    fn end(&mut self) -> Result<Self::Output, RemoteError>;
}

fn finished<T>(parts: &mut dyn Assemble<Output = T>) -> Result<T, Failure> {
    parts.end().map_err(|error| Failure::new(error, Hope::None))
}

fn given_up(failure: Failure, attempts: u32) -> Failure {
    Failure {
        error: Box::new(failure.error.after(attempts)),
        ..failure
    }
}

/// About how many tokens a request takes.
fn guess(body: &Value) -> u64 {
    let answer = ["max_tokens", "max_completion_tokens"];
    let answer = answer.iter().find_map(|field| body.get(field)?.as_u64());
    (body.to_string().len() / BYTES_A_TOKEN) as u64 + answer.unwrap_or(0)
}
