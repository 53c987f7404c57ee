//! One call of a model, and how it is measured.

use std::sync::Arc;
use std::time::Duration;

use autoglm_spec::{
    Completion, Delta, Embedding, EngineError, FinishReason, GenerateRequest, Sampling, Scoring,
};
use serde_json::{Value, json};

use super::Observer;
use super::current::current;
use super::request::{Observation, Tokens};
use crate::metrics::{Answered, Finish, ModelMetrics};

/// What a model is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Text.
    Generate,
    /// Probabilities of given texts.
    Score,
    /// Vectors.
    Embed,
}

impl Operation {
    fn word(self) -> &'static str {
        match self {
            Self::Generate => "generate",
            Self::Score => "score",
            Self::Embed => "embed",
        }
    }
}

/// How a text was to be generated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct CallSettings {
    /// Tokens at most.
    pub(crate) max_tokens: usize,
    /// How tokens were chosen.
    pub(crate) sampling: Sampling,
}

/// One call of a model. Times are those of the clock.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    /// What it was asked for.
    pub(crate) operation: Operation,
    /// The name that requests call the model by.
    pub(crate) model: String,
    /// The name of its weights.
    pub(crate) weights: String,
    /// When the call began.
    pub(crate) begun: Duration,
    /// When the first token of any answer came.
    pub(crate) first: Option<Duration>,
    /// When the call ended.
    pub(crate) ended: Duration,
    /// Answers that were asked for.
    pub(crate) choices: usize,
    /// Tokens; a prompt that has several answers counts once.
    pub(crate) tokens: Tokens,
    /// How the answers ended.
    pub(crate) finishes: Vec<Finish>,
    /// How texts were to be generated.
    pub(crate) settings: Option<CallSettings>,
    /// The answers, where they are recorded.
    pub(crate) output: Option<Value>,
}

/// A model whose calls are measured.
#[derive(Clone)]
pub(super) struct Measured {
    pub(super) observer: Arc<Observer>,
    pub(super) model: String,
    pub(super) weights: String,
    pub(super) metrics: Arc<ModelMetrics>,
}

/// Measures one call.
pub(super) struct Meter {
    measured: Measured,
    observation: Option<Arc<Observation>>,
    operation: Operation,
    begun: Duration,
    answers: Vec<Progress>,
}

/// What has come of one answer.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    first: Option<Duration>,
    last: Option<Duration>,
    tokens: usize,
}

impl Measured {
    /// Begins a call that asks for so many answers.
    pub(super) fn begin(&self, operation: Operation, answers: usize) -> Meter {
        Meter {
            measured: self.clone(),
            observation: current(),
            operation,
            begun: self.observer.clock.now(),
            answers: vec![Progress::default(); answers],
        }
    }
}

impl Meter {
    /// When the request came; for work that no request asked for, when the call began.
    fn arrived(&self) -> Duration {
        let observation = self.observation.as_ref();
        observation.map_or(self.begun, |observation| observation.arrived)
    }

    fn now(&self) -> Duration {
        self.measured.observer.clock.now()
    }

    /// A piece of an answer has come.
    pub(super) fn piece(&mut self, index: usize, delta: &Delta) {
        if delta.is_empty() {
            return;
        }
        let (now, arrived) = (self.now(), self.arrived());
        let metrics = &self.measured.metrics;
        let Some(progress) = self.answers.get_mut(index) else {
            return;
        };
        match progress.last {
            None => metrics.first_token(now.saturating_sub(arrived)),
            // Text that was held back comes without tokens of its own.
            Some(_) if delta.tokens.is_empty() && progress.tokens > 0 => {}
            Some(last) => metrics.later_token(now.saturating_sub(last)),
        }
        progress.first.get_or_insert(now);
        progress.last = Some(now);
        progress.tokens += delta.tokens.len();
        metrics.generated(delta.tokens.len());
    }

    /// Texts were generated.
    pub(super) fn generated(
        self,
        requests: &[GenerateRequest],
        results: &[Result<Completion, EngineError>],
    ) {
        let ended = self.now();
        self.measured.metrics.asked(requests.len());
        let pairs = requests.iter().zip(results).enumerate();
        let finishes =
            pairs.map(|(index, (request, result))| self.count(index, request, result, ended));
        let finishes = finishes.collect();
        let call = Call {
            settings: requests.first().map(CallSettings::of),
            output: self.records_content().then(|| output_of(results)),
            ..self.call(ended, tokens_of(requests, results), finishes)
        };
        self.note(call);
    }

    /// Counts an answer.
    fn count(
        &self,
        index: usize,
        request: &GenerateRequest,
        result: &Result<Completion, EngineError>,
        ended: Duration,
    ) -> Finish {
        let metrics = &self.measured.metrics;
        let answer = self.answered(index, request, result, ended);
        let cached = result
            .as_ref()
            .map(|completion| completion.usage.cached_tokens);
        metrics.read(answer.prompt_tokens, cached.unwrap_or_default());
        // Tokens that came in pieces are counted already.
        let counted = self.answers[index].tokens;
        metrics.generated(answer.generated_tokens.saturating_sub(counted));
        metrics.answered(&answer);
        answer.finish
    }

    fn answered(
        &self,
        index: usize,
        request: &GenerateRequest,
        result: &Result<Completion, EngineError>,
        ended: Duration,
    ) -> Answered {
        let progress = self.answers[index];
        let end = progress.last.unwrap_or(ended);
        let usage = result.as_ref().map(|completion| completion.usage);
        let usage = usage.unwrap_or_default();
        let queued = self.observation.as_ref().map(|it| it.queued());
        Answered {
            finish: finish_of(result),
            whole: end.saturating_sub(self.arrived()),
            queued: queued.unwrap_or_default(),
            prefill: progress.first.map(|first| first.saturating_sub(self.begun)),
            decode: progress.first.map(|first| end.saturating_sub(first)),
            prompt_tokens: usage.prompt_tokens,
            generated_tokens: usage.completion_tokens,
            max_tokens: request.max_tokens,
        }
    }

    /// Texts were scored.
    pub(super) fn scored(self, results: &[Result<Scoring, EngineError>]) {
        let mut tokens = Tokens::default();
        for scoring in results.iter().flatten() {
            let usage = scoring.usage;
            self.measured
                .metrics
                .read(usage.prompt_tokens, usage.cached_tokens);
            tokens.prompt += usage.prompt_tokens;
            tokens.cached += usage.cached_tokens;
        }
        self.end(tokens, results.iter().all(Result::is_ok));
    }

    /// Vectors were made.
    pub(super) fn embedded(self, results: &[Result<Embedding, EngineError>]) {
        let tokens = results.iter().flatten().map(|vector| vector.tokens);
        let tokens = Tokens {
            prompt: tokens.sum(),
            ..Tokens::default()
        };
        self.measured.metrics.read(tokens.prompt, 0);
        self.end(tokens, results.iter().all(Result::is_ok));
    }

    fn end(self, tokens: Tokens, is_ok: bool) {
        let finish = if is_ok { Finish::Stop } else { Finish::Error };
        let call = self.call(self.now(), tokens, vec![finish]);
        self.note(call);
    }

    fn call(&self, ended: Duration, tokens: Tokens, finishes: Vec<Finish>) -> Call {
        Call {
            operation: self.operation,
            model: self.measured.model.clone(),
            weights: self.measured.weights.clone(),
            begun: self.begun,
            first: self.answers.iter().filter_map(|answer| answer.first).min(),
            ended,
            choices: self.answers.len(),
            tokens,
            finishes,
            settings: None,
            output: None,
        }
    }

    fn note(&self, call: Call) {
        let outcome = if call.is_failed() { "error" } else { "ok" };
        let labels = [self.measured.model.as_str(), self.operation.word(), outcome];
        let server = &self.measured.observer.metrics.server;
        server.calls.with_label_values(&labels).inc();
        if let Some(observation) = &self.observation {
            observation.noted().called(call);
        }
    }

    fn records_content(&self) -> bool {
        let observation = self.observation.as_ref();
        observation.is_some_and(|it| it.context.is_sampled && it.observer.records_content())
    }
}

impl Call {
    /// Whether an answer ended in an error.
    pub(crate) fn is_failed(&self) -> bool {
        self.finishes.contains(&Finish::Error)
    }
}

impl CallSettings {
    fn of(request: &GenerateRequest) -> Self {
        Self {
            max_tokens: request.max_tokens,
            sampling: request.sampling,
        }
    }
}

/// Tokens of answers, and of their prompts; several answers to one prompt stand side by side.
fn tokens_of(requests: &[GenerateRequest], results: &[Result<Completion, EngineError>]) -> Tokens {
    let mut tokens = Tokens::default();
    for (index, result) in results.iter().enumerate().take(requests.len()) {
        let Ok(Completion { usage, .. }) = result else {
            continue;
        };
        if index == 0 || requests[index - 1].prompt != requests[index].prompt {
            tokens.prompt += usage.prompt_tokens;
            tokens.cached += usage.cached_tokens;
        }
        tokens.generated += usage.completion_tokens;
    }
    tokens
}

fn finish_of(result: &Result<Completion, EngineError>) -> Finish {
    match result {
        Ok(completion) => match completion.finish {
            FinishReason::Stop => Finish::Stop,
            FinishReason::Length => Finish::Length,
            FinishReason::Cancelled => Finish::Abort,
        },
        Err(EngineError::Cancelled) => Finish::Abort,
        Err(_) => Finish::Error,
    }
}

/// Answers as the conventions for generative AI have them.
fn output_of(results: &[Result<Completion, EngineError>]) -> Value {
    let told = |completion: &Completion| {
        json!({
            "role": "assistant",
            "parts": [{"type": "text", "content": completion.text}],
            "finish_reason": finish_of(&Ok(completion.clone())).word(),
        })
    };
    results.iter().flatten().map(told).collect()
}
