//! Text from a server: the request in its words, the answer put together from pieces, and a
//! constraint held against it.

use std::ops::ControlFlow;
use std::time::Duration;

use autoglm_spec::{
    AttentionPolicy, Cancel, Completion, Constraint, Delta, EngineError, FinishReason,
    GenerateRequest, Sampling, Usage,
};
use serde_json::{Map, Value, json};

use super::client::{Ask, Assemble, Lost};
use super::error::RemoteError;
use super::levels::Levels;
use super::server::{Form, Server, add_bias, add_stops};
use super::wire::{Reply, TokenUsage};
use crate::constraint::ConstraintCheck;
use crate::error::LocalError;
use crate::stop::StopMatcher;

/// Answers that are asked for at most until one satisfies the constraint.
const CONSTRAINED_ATTEMPTS: u32 = 3;

/// The least temperature of a further attempt: at 0 the same answer would come again.
const AGAIN_TEMPERATURE: f32 = 0.7;

/// Generates text.
pub(crate) struct Generator<'a> {
    pub(crate) server: &'a Server,
    /// Which way to ask for a constraint the server has taken.
    pub(crate) levels: &'a Levels,
    pub(crate) cancel: &'a Cancel,
    /// Whether the text is wanted while it comes.
    pub(crate) is_live: bool,
}

impl Generator<'_> {
    /// Answers a request. What becomes known goes to `on_delta`: text that is final, and behind it
    /// the log-probabilities, which may be others where an attempt breaks off.
    ///
    /// # Errors
    /// What the server cannot do, or when it does not answer.
    pub(crate) fn answer(
        &self,
        request: &GenerateRequest,
        on_delta: &mut dyn FnMut(&Delta),
    ) -> Result<Completion, EngineError> {
        self.check(request).map_err(EngineError::engine)?;
        if request.max_tokens == 0 {
            return Ok(nothing());
        }
        let body = self.body(request)?;
        if let Some(constraint) = &request.constraint {
            let completion = self.constrained(request, &body, constraint)?;
            on_delta(&delta(&completion, completion.text.clone()));
            return Ok(completion);
        }
        let lost = |lost: Lost| lost.into_error(request.max_tokens);
        if self.is_live {
            let mut on_text = |text: &str| on_delta(&Delta::of_text(text));
            let told = self.once(request, body, Some(&mut on_text)).map_err(lost)?;
            on_delta(&delta(&told, String::new()));
            return Ok(told);
        }
        let completion = self.once(request, body, None).map_err(lost)?;
        on_delta(&delta(&completion, completion.text.clone()));
        Ok(completion)
    }

    /// Refuses what no server can do.
    fn check(&self, request: &GenerateRequest) -> Result<(), RemoteError> {
        if request.adapter.is_some() {
            let reason = "adapters are loaded at the server and have model names of their own";
            return Err(self.server.unsupported("adapter", reason));
        }
        if request.attention != AttentionPolicy::Full {
            let reason = "a server has its own attention";
            return Err(self.server.unsupported("attention", reason));
        }
        if request.decoding.top_logprobs > 0 {
            let reason = "a server tells the likeliest tokens by their texts, not by their numbers";
            return Err(self.server.unsupported("top_logprobs", reason));
        }
        if let Some(Constraint::Grammar(_)) = request.constraint {
            let reason = "servers read grammars in notations of their own";
            return Err(self.server.unsupported("grammar", reason));
        }
        Ok(())
    }

    fn body(&self, request: &GenerateRequest) -> Result<Map<String, Value>, EngineError> {
        let form = Form::of(&request.prompt);
        let mut body = self.server.body(&request.prompt, request.max_tokens);
        let sampled = self.server.add_sampling(&mut body, &request.sampling);
        sampled.map_err(EngineError::engine)?;
        add_bias(&mut body, &request.logit_bias);
        add_stops(&mut body, &request.stop);
        body.insert("stream".to_owned(), json!(true));
        if self.server.has_extensions() {
            body.insert("stream_options".to_owned(), json!({"include_usage": true}));
        }
        if request.decoding.logprobs {
            if self.server.top(form, self.cancel)?.is_some() {
                form.ask_for_top(&mut body, 1);
            } else {
                self.server.notes.state(
                    "the server gives no log-probabilities: nothing is known of how sure open \
                     answers are, their confidence is 0",
                );
            }
        }
        Ok(body)
    }

    /// One answer.
    fn once(
        &self,
        request: &GenerateRequest,
        body: Map<String, Value>,
        on_text: Option<&mut dyn FnMut(&str)>,
    ) -> Result<Completion, Lost> {
        let body = Value::Object(body);
        let ask = Ask {
            path: Form::of(&request.prompt).path(),
            body: &body,
            is_probe: false,
        };
        let clock = self.server.client.clock();
        let begun = clock.now();
        let mut draft = Draft {
            host: self.server.client.host(),
            stops: &request.stop,
            on_text,
            handed_out: String::new(),
            pieces: Pieces::new(&request.stop),
            has_diverged: false,
        };
        let mut completion = self.server.client.stream(ask, self.cancel, &mut draft)?;
        completion.usage.compute = clock.now().saturating_sub(begun);
        Ok(completion)
    }

    /// Asks until an answer satisfies the constraint, or is cut at the token limit as one of the
    /// local engine would be.
    fn constrained(
        &self,
        request: &GenerateRequest,
        body: &Map<String, Value>,
        constraint: &Constraint,
    ) -> Result<Completion, EngineError> {
        let wrong = |error| EngineError::engine(LocalError::Constraint(error));
        let check = ConstraintCheck::new(constraint).map_err(wrong)?;
        let mut usage = Usage::default();
        for attempt in 0..CONSTRAINED_ATTEMPTS {
            let body = self.again(request, body, attempt);
            let form = Form::of(&request.prompt);
            let completion = self
                .levels
                .ask(self.server, (form, constraint), &mut |extra| {
                    let mut body = body.clone();
                    body.extend(extra);
                    self.once(request, body, None)
                });
            let mut completion = completion.map_err(|lost| lost.into_error(request.max_tokens))?;
            usage += completion.usage;
            completion.usage = usage;
            if completion.finish != FinishReason::Stop {
                return Ok(completion);
            }
            if let Some(text) = satisfying(&check, constraint, &completion.text) {
                completion.text = text;
                return Ok(completion);
            }
            self.server
                .notes
                .add("an answer did not satisfy its constraint and was asked for again");
        }
        Err(EngineError::engine(RemoteError::Unsatisfied {
            host: self.server.client.host(),
            attempts: CONSTRAINED_ATTEMPTS,
        }))
    }

    /// The request for a further attempt: another seed, and enough heat for it to matter.
    fn again(
        &self,
        request: &GenerateRequest,
        body: &Map<String, Value>,
        attempt: u32,
    ) -> Map<String, Value> {
        let mut body = body.clone();
        if attempt > 0 {
            let sampling = Sampling {
                temperature: request.sampling.temperature.max(AGAIN_TEMPERATURE),
                seed: request.sampling.seed.wrapping_add(u64::from(attempt)),
                ..request.sampling
            };
            // It was taken for the first attempt, so it is taken now.
            let _ = self.server.add_sampling(&mut body, &sampling);
        }
        body
    }
}

/// The answer in the spelling that satisfies the constraint: as it is, or without the fence that
/// models put around JSON.
fn satisfying(check: &ConstraintCheck, constraint: &Constraint, text: &str) -> Option<String> {
    if check.is_satisfied_by(text) {
        return Some(text.to_owned());
    }
    let Constraint::JsonSchema(_) = constraint else {
        return None;
    };
    let inner = text.trim().strip_prefix("```")?.strip_suffix("```")?;
    let inner = inner.strip_prefix("json").unwrap_or(inner).trim();
    check.is_satisfied_by(inner).then(|| inner.to_owned())
}

/// What a request cost as the server tells it.
pub(crate) fn usage_of(told: Option<TokenUsage>, compute: Duration) -> Usage {
    let told = told.unwrap_or_default();
    Usage {
        prompt_tokens: told.prompt_tokens,
        cached_tokens: told.cached_tokens(),
        completion_tokens: told.completion_tokens,
        compute,
    }
}

/// What is handed out of a completion whose text was but for `text`.
fn delta(completion: &Completion, text: String) -> Delta {
    Delta {
        text,
        tokens: completion.tokens.clone(),
        logprobs: completion.logprobs.clone(),
        top: completion.top.clone(),
    }
}

fn nothing() -> Completion {
    Completion {
        text: String::new(),
        tokens: Vec::new(),
        logprobs: Vec::new(),
        top: Vec::new(),
        finish: FinishReason::Length,
        usage: Usage::default(),
    }
}

/// An answer that is being put together.
struct Draft<'a, 't> {
    host: String,
    stops: &'a [String],
    /// Where text goes while it comes, if anywhere.
    on_text: Option<&'t mut dyn FnMut(&str)>,
    /// What went there, in this attempt or an earlier one.
    handed_out: String,
    pieces: Pieces,
    /// Whether an earlier attempt began with another text.
    has_diverged: bool,
}

/// What came in one attempt.
struct Pieces {
    stops: StopMatcher,
    text: String,
    logprobs: Vec<f32>,
    /// Pieces with text: about as many as there are tokens.
    count: usize,
    finish: Option<FinishReason>,
    withheld: Option<String>,
    usage: Option<TokenUsage>,
}

impl Pieces {
    fn new(stops: &[String]) -> Self {
        Self {
            stops: StopMatcher::new(stops),
            text: String::new(),
            logprobs: Vec::new(),
            count: 0,
            finish: None,
            withheld: None,
            usage: None,
        }
    }

    /// Takes a piece in; says whether a stop text ended the answer.
    fn take(&mut self, reply: &Reply) -> bool {
        self.usage = reply.usage.or(self.usage);
        let Some(choice) = reply.choices.first() else {
            return false;
        };
        self.logprobs
            .extend(choice.tokens().iter().filter_map(|token| token.logprob));
        self.count += usize::from(!choice.text().is_empty());
        match choice.finish_reason.as_deref() {
            None => {}
            Some("length") => self.finish = Some(FinishReason::Length),
            Some(word @ ("content_filter" | "sensitive")) => self.withheld = Some(word.to_owned()),
            Some(_) => self.finish = Some(FinishReason::Stop),
        }
        let (text, stopped) = self.stops.push(choice.text());
        self.text.push_str(&text);
        if stopped {
            self.finish = Some(FinishReason::Stop);
        }
        stopped
    }

    fn completion(&mut self) -> Completion {
        self.text.push_str(&self.stops.finish());
        let mut usage = usage_of(self.usage, Duration::ZERO);
        if usage.completion_tokens == 0 {
            usage.completion_tokens = self.count.max(self.logprobs.len());
        }
        Completion {
            text: std::mem::take(&mut self.text),
            tokens: Vec::new(),
            logprobs: std::mem::take(&mut self.logprobs),
            top: Vec::new(),
            finish: self.finish.unwrap_or(FinishReason::Stop),
            usage,
        }
    }
}

impl Draft<'_, '_> {
    /// Hands out what is new. What was handed out cannot be taken back: a further attempt has to
    /// begin with it.
    fn hand_out(&mut self, text: &str) {
        let Some(on_text) = &mut self.on_text else {
            return;
        };
        if let Some(fresh) = text.strip_prefix(self.handed_out.as_str()) {
            if !fresh.is_empty() {
                on_text(fresh);
                self.handed_out.push_str(fresh);
            }
        } else if !self.handed_out.starts_with(text) {
            self.has_diverged = true;
        }
    }
}

impl Assemble for Draft<'_, '_> {
    type Output = Completion;

    fn begin(&mut self) {
        self.pieces = Pieces::new(self.stops);
    }

    fn take(&mut self, reply: &Reply) -> ControlFlow<()> {
        let stopped = self.pieces.take(reply);
        let text = std::mem::take(&mut self.pieces.text);
        self.hand_out(&text);
        self.pieces.text = text;
        if stopped || self.has_diverged {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn end(&mut self) -> Result<Completion, RemoteError> {
        if let Some(reason) = self.pieces.withheld.take() {
            let host = self.host.clone();
            return Err(RemoteError::Withheld { host, reason });
        }
        let completion = self.pieces.completion();
        self.hand_out(&completion.text);
        if self.on_text.is_some() && completion.text != self.handed_out {
            let host = self.host.clone();
            return Err(RemoteError::BrokenOff { host });
        }
        Ok(completion)
    }
}
