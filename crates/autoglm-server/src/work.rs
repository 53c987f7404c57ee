//! A request at work: its model runs on a thread of its own, what becomes known comes through a
//! bounded channel, and whoever drops the receiving end stops the model.

use std::sync::Arc;
use std::time::Duration;

use autoglm_spec::{
    Cancel, Completion, Delta, Embed, Embedding, EngineError, GenerateRequest, ScoreRequest,
    Scoring,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::ServerError;
use crate::admission::Permit;
use crate::backend::Backend;

/// Pieces that wait for a client that reads slowly.
const WAITING_PIECES: usize = 64;

/// How long a request may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeLimits {
    /// From the first byte of its body to the last of its answer.
    pub request: Duration,
    /// How long a client may leave pieces of its answer unread.
    pub unread: Duration,
}

impl Default for TimeLimits {
    fn default() -> Self {
        Self {
            request: Duration::from_mins(10),
            unread: Duration::from_secs(30),
        }
    }
}

/// What becomes known of a request.
#[derive(Debug)]
pub(crate) enum Update {
    /// A piece of an answer.
    Piece(usize, Delta),
    /// All answers.
    Done(Vec<Result<Completion, EngineError>>),
}

/// Raises the flag when it is dropped.
pub(crate) struct CancelOnDrop(Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// What a request needs to begin.
pub(crate) struct Work {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) requests: Vec<GenerateRequest>,
    pub(crate) permit: Permit,
    pub(crate) limits: TimeLimits,
    pub(crate) deadline: Instant,
    /// Whether pieces are wanted, or only whole answers.
    pub(crate) wants_pieces: bool,
}

/// A request at work. Dropping it stops the work.
pub(crate) struct Running {
    updates: mpsc::Receiver<Update>,
    deadline: Instant,
    limit: Duration,
    _cancel: CancelOnDrop,
}

impl Work {
    /// Begins. Must be called on a thread of the runtime.
    pub(crate) fn start(self) -> Running {
        let (sender, updates) = mpsc::channel(WAITING_PIECES);
        let cancel = Cancel::default();
        let running = Running {
            updates,
            deadline: self.deadline,
            limit: self.limits.request,
            _cancel: CancelOnDrop(cancel.clone()),
        };
        let runtime = tokio::runtime::Handle::current();
        tokio::task::spawn_blocking(move || self.run(&runtime, &sender, &cancel));
        running
    }

    /// Runs the model and hands on what it says. The permit is given back when the model is done,
    /// not when its client has left.
    fn run(self, runtime: &tokio::runtime::Handle, sender: &mpsc::Sender<Update>, cancel: &Cancel) {
        let mut on_delta = |index: usize, delta: &Delta| {
            if !self.wants_pieces || cancel.is_cancelled() {
                return;
            }
            let update = Update::Piece(index, delta.clone());
            let sent = tokio::time::timeout(self.limits.unread, sender.send(update));
            if !matches!(runtime.block_on(sent), Ok(Ok(()))) {
                cancel.cancel();
            }
        };
        let results = self.backend.generate(&self.requests, cancel, &mut on_delta);
        self.permit.used(tokens_of(&self.requests, &results));
        // Nobody listens any more where the client has left.
        let last = tokio::time::timeout(self.limits.unread, sender.send(Update::Done(results)));
        let _ = runtime.block_on(last);
    }
}

/// Tokens of prompts and answers; several answers to one prompt share it, as in what is told of
/// their usage.
fn tokens_of(requests: &[GenerateRequest], results: &[Result<Completion, EngineError>]) -> usize {
    let mut before = None;
    let mut tokens = 0;
    for (request, result) in requests.iter().zip(results) {
        let Ok(completion) = result else { continue };
        if before != Some(&request.prompt) {
            tokens += completion.usage.prompt_tokens;
        }
        tokens += completion.usage.completion_tokens;
        before = Some(&request.prompt);
    }
    tokens
}

impl Running {
    /// The next thing that becomes known.
    ///
    /// # Errors
    /// [`ServerError::Deadline`]; a thread that ended without an answer.
    pub(crate) async fn next(&mut self) -> Result<Update, ServerError> {
        match timeout_at(self.deadline, self.updates.recv()).await {
            Ok(Some(update)) => Ok(update),
            Ok(None) => Err(ServerError::Bug {
                what: "the model's thread ended without an answer".to_owned(),
            }),
            Err(_) => Err(ServerError::Deadline { limit: self.limit }),
        }
    }

    /// All answers, where no pieces are wanted.
    ///
    /// # Errors
    /// As [`Running::next`], and the first error of an answer.
    pub(crate) async fn completions(mut self) -> Result<Vec<Completion>, ServerError> {
        loop {
            if let Update::Done(results) = self.next().await? {
                let all: Result<Vec<_>, _> = results.into_iter().collect();
                return Ok(all?);
            }
        }
    }
}

/// Runs work that computes for some time on a thread that may.
///
/// # Errors
/// The work's own, and a panic in it.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ServerError> + Send + 'static,
) -> Result<T, ServerError> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.unwrap_or_else(|error| {
        Err(ServerError::Bug {
            what: format!("work on a request ended early: {error}"),
        })
    })
}

/// Vectors of texts, within the limits of a request.
///
/// # Errors
/// The first text's that has none, and [`ServerError::Deadline`].
pub(crate) async fn embed(
    embedder: Arc<dyn Embed>,
    texts: Vec<String>,
    permit: Permit,
    (deadline, limits): (Instant, TimeLimits),
) -> Result<Vec<Embedding>, ServerError> {
    let work = move |cancel: &Cancel| {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let results = embedder.embed(&texts, cancel);
        permit.used(results.iter().flatten().map(|vector| vector.tokens).sum());
        let all: Result<Vec<_>, _> = results.into_iter().collect();
        Ok(all?)
    };
    until(deadline, limits, work).await
}

/// Scores of options, within the limits of a request.
///
/// # Errors
/// As for [`embed`].
pub(crate) async fn score(
    backend: Arc<dyn Backend>,
    requests: Vec<ScoreRequest>,
    permit: Permit,
    (deadline, limits): (Instant, TimeLimits),
) -> Result<Vec<Scoring>, ServerError> {
    let work = move |cancel: &Cancel| {
        let results = backend.score(&requests, cancel);
        let scored = results.iter().flatten();
        permit.used(scored.map(|scoring| scoring.usage.prompt_tokens).sum());
        let all: Result<Vec<_>, _> = results.into_iter().collect();
        Ok(all?)
    };
    until(deadline, limits, work).await
}

/// Runs work on a thread of its own until it is done, its time is over, or nobody waits for it.
async fn until<T: Send + 'static>(
    deadline: Instant,
    limits: TimeLimits,
    work: impl FnOnce(&Cancel) -> Result<T, ServerError> + Send + 'static,
) -> Result<T, ServerError> {
    let cancel = Cancel::default();
    let _stopped = CancelOnDrop(cancel.clone());
    match timeout_at(deadline, blocking(move || work(&cancel))).await {
        Ok(result) => result,
        Err(_) => Err(ServerError::Deadline {
            limit: limits.request,
        }),
    }
}
