//! A request at work: its model runs on a thread of its own, what becomes known comes through a
//! bounded channel, and whoever drops the receiving end stops the model.

use std::sync::Arc;
use std::time::Duration;

use autoglm_spec::{
    Cancel, Completion, Delta, Embed, Embedding, EngineError, FinishReason, GenerateRequest,
    Prompt, ScoreRequest, Scoring,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::ServerError;
use crate::admission::Permit;
use crate::app::{App, Ticket};
use crate::backend::Backend;
use crate::client::Client;
use crate::http::Origin;
use crate::meaning::{Asked, Looked, Question};
use crate::metrics::AnswerCache;
use crate::models::{Models, Version};
use crate::observe::carried;
use crate::store::{AnswerKey, ServerStore};

/// Pieces that wait for a client that reads slowly.
pub(crate) const WAITING_PIECES: usize = 64;

/// How long a request may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeLimits {
    /// From when its body has come to the last byte of its answer.
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
pub(crate) struct CancelOnDrop(pub(crate) Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Requests to a model, before anything of them is computed.
pub(crate) struct Plan {
    version: Arc<Version>,
    models: Arc<Models>,
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) requests: Vec<GenerateRequest>,
    /// Where the answers may be remembered: nowhere if the same request may have another answer.
    memory: Option<Memory>,
    /// What was remembered of all of them, and by what.
    remembered: Option<(Vec<Completion>, Origin)>,
    /// What the cache of meanings learns from the answer.
    asked: Option<Box<Asked>>,
}

/// Where answers are remembered, and under what.
struct Memory {
    store: Arc<ServerStore>,
    keys: Vec<AnswerKey>,
}

impl Memory {
    /// The answers to all requests, if every one is there.
    fn recall(&self) -> Result<Option<Vec<Completion>>, ServerError> {
        let answers = self.keys.iter().map(|&key| self.store.answer(key));
        answers.collect()
    }

    /// Remembers answers that the model has ended. One that cannot be kept is made again.
    fn keep(&self, results: &[Result<Completion, EngineError>]) {
        for (&key, result) in self.keys.iter().zip(results) {
            if let Ok(completion) = result
                && completion.finish != FinishReason::Cancelled
            {
                let _ = self.store.put_answer(key, completion);
            }
        }
    }
}

impl Plan {
    /// A plan for requests to a version of a model. Looks up what is remembered, where the
    /// same request has the same answer again. May wait for a file.
    pub(crate) fn new(
        app: &App,
        version: &Arc<Version>,
        backend: Arc<dyn Backend>,
        requests: Vec<GenerateRequest>,
        is_repeatable: bool,
    ) -> Result<Self, ServerError> {
        let memory = app
            .store
            .as_ref()
            .filter(|_| is_repeatable)
            .map(|store| Memory {
                store: Arc::clone(store),
                keys: requests
                    .iter()
                    .map(|request| AnswerKey::of(&version.identity, request))
                    .collect(),
            });
        let remembered = memory.as_ref().map(Memory::recall).transpose()?.flatten();
        match &remembered {
            Some(completions) => {
                let saved = completions.iter().map(|c| c.usage.compute).max();
                let saved = saved.unwrap_or_default();
                app.metrics().cache_hit(AnswerCache::Exact, saved);
            }
            None if memory.is_some() => app.metrics().cache_miss(AnswerCache::Exact),
            None => {}
        }
        Ok(Self {
            version: Arc::clone(version),
            models: Arc::clone(&app.models),
            backend,
            requests,
            memory,
            remembered: remembered.map(|all| (all, Origin::Repeated)),
            asked: None,
        })
    }

    /// What tells the version that answers apart from others.
    pub(crate) fn identity(&self) -> &str {
        &self.version.identity
    }

    /// Looks the question up in the cache of meanings, where nothing else is remembered. Blocks.
    pub(crate) fn look_up(&mut self, app: &App, question: &Question<'_>) {
        let Some(meanings) = app.meanings.as_ref().filter(|_| self.remembered.is_none()) else {
            return;
        };
        match meanings.look_up(app, question) {
            Some(Looked::Found(mut answer)) => {
                // What was counted was the other question.
                if let Some(Prompt::Tokens(tokens)) = self.requests.first().map(|one| &one.prompt) {
                    answer.usage.prompt_tokens = tokens.len();
                    answer.usage.cached_tokens = tokens.len();
                }
                self.remembered = Some((vec![answer], Origin::Meant));
            }
            Some(Looked::Asked(asked)) => self.asked = Some(asked),
            None => {}
        }
    }

    /// Begins, when it is this client's turn. Answers that are remembered need no turn.
    pub(crate) async fn begin(
        mut self,
        app: &App,
        client: &Client,
        ticket: Ticket,
        wants_pieces: bool,
    ) -> Result<Running, ServerError> {
        let limits = app.settings.times;
        if let Some((completions, origin)) = self.remembered.take() {
            let mut running = Running::remembered(completions, ticket.deadline, limits);
            running.origin = origin;
            return Ok(running);
        }
        let permit = admitted(app, client, ticket.deadline).await?;
        let work = Work {
            plan: self,
            permit,
            limits,
            wants_pieces,
        };
        Ok(work.start(ticket.deadline))
    }
}

/// Requests whose turn it is.
struct Work {
    plan: Plan,
    permit: Permit,
    limits: TimeLimits,
    wants_pieces: bool,
}

/// A request at work. Dropping it stops the work.
pub(crate) struct Running {
    updates: mpsc::Receiver<Update>,
    deadline: Instant,
    limit: Duration,
    /// Where the answer comes from.
    pub(crate) origin: Origin,
    _cancel: CancelOnDrop,
}

impl Work {
    /// Begins. Must be called on a thread of the runtime.
    fn start(self, deadline: Instant) -> Running {
        let (sender, updates) = mpsc::channel(WAITING_PIECES);
        let cancel = Cancel::default();
        let running = Running {
            updates,
            deadline,
            limit: self.limits.request,
            origin: Origin::Model,
            _cancel: CancelOnDrop(cancel.clone()),
        };
        let runtime = tokio::runtime::Handle::current();
        let work = carried(move || self.run(&runtime, &sender, &cancel));
        tokio::task::spawn_blocking(work);
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
            if !send(runtime, sender, update, self.limits.unread) {
                cancel.cancel();
            }
        };
        let plan = &self.plan;
        let results = plan.backend.generate(&plan.requests, cancel, &mut on_delta);
        self.permit.used(tokens_of(&plan.requests, &results));
        if let Some(memory) = &plan.memory {
            memory.keep(&results);
        }
        plan.models.note(&plan.version, &results);
        let learnt = match (&plan.asked, &results[..]) {
            (Some(asked), [Ok(answer)]) => Some((asked, answer.clone())),
            _ => None,
        };
        let shadowed = plan
            .models
            .has_shadow(&plan.version)
            .then(|| clones(&results));
        // Nobody listens any more where the client has left.
        send(runtime, sender, Update::Done(results), self.limits.unread);
        if let Some((asked, answer)) = learnt {
            asked.learn(&answer);
        }
        if let Some(results) = shadowed {
            plan.models.shadow(&plan.version, &plan.requests, &results);
        }
    }
}

/// The answers that there are.
fn clones(results: &[Result<Completion, EngineError>]) -> Vec<Option<Completion>> {
    let one = |result: &Result<Completion, EngineError>| result.as_ref().ok().cloned();
    results.iter().map(one).collect()
}

/// Hands an update on; `false` where nobody has taken it in time.
pub(crate) fn send<T>(
    runtime: &tokio::runtime::Handle,
    sender: &mpsc::Sender<T>,
    update: T,
    limit: Duration,
) -> bool {
    // The timer needs the runtime, which this thread is not part of.
    let _runtime = runtime.enter();
    let sent = runtime.block_on(tokio::time::timeout(limit, sender.send(update)));
    matches!(sent, Ok(Ok(())))
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
    /// Answers that were given before: each comes as one piece.
    fn remembered(completions: Vec<Completion>, deadline: Instant, limits: TimeLimits) -> Self {
        let (sender, updates) = mpsc::channel(completions.len() + 1);
        let all = completions.iter().enumerate().map(|(index, completion)| {
            let delta = Delta {
                text: completion.text.clone(),
                tokens: completion.tokens.clone(),
                logprobs: completion.logprobs.clone(),
                top: completion.top.clone(),
            };
            Update::Piece(index, delta)
        });
        for update in all {
            // There is room for all of them.
            let _ = sender.try_send(update);
        }
        let _ = sender.try_send(Update::Done(completions.into_iter().map(Ok).collect()));
        Self {
            updates,
            deadline,
            limit: limits.request,
            origin: Origin::Repeated,
            _cancel: CancelOnDrop(Cancel::default()),
        }
    }

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
    let joined = tokio::task::spawn_blocking(carried(work)).await;
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

/// Leave to work on a request, within its time.
///
/// # Errors
/// [`ServerError::Deadline`], and as [`Client::admit`].
pub(crate) async fn admitted(
    app: &App,
    client: &Client,
    deadline: Instant,
) -> Result<Permit, ServerError> {
    let admitted = timeout_at(deadline, client.admit(&app.admission)).await;
    admitted.map_err(|_| ServerError::Deadline {
        limit: app.settings.times.request,
    })?
}

/// Runs work on a thread of its own until it is done, its time is over, or nobody waits for it.
///
/// # Errors
/// The work's own, and [`ServerError::Deadline`].
pub(crate) async fn until<T: Send + 'static>(
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
