//! Text generation for many requests at once: each pass takes a piece of every active request,
//! requests join and leave between passes (continuous batching).

use std::collections::VecDeque;
use std::time::Instant;

use autoglm_model::{KvCache, Outputs, Sequence, Step, log_sum_exp};
use autoglm_spec::{
    AttentionPolicy, Cancel, Completion, EngineError, FinishReason, Sampling, Usage,
};
use autoglm_token::{TextStream, TokenId, Tokenizer};

use crate::constraint::ConstraintState;
use crate::error::LocalError;
use crate::runner::{PASS_TOKENS, Runner};
use crate::sampler::Sampler;
use crate::stop::StopMatcher;

/// Requests that decode together at most. 16 rows use a weight tile 16 times; the keys and values
/// of more would crowd each other out of the cache on a small machine.
const MAX_ACTIVE: usize = 16;

/// A request with its tokens.
pub(crate) struct GenerateJob {
    pub(crate) prompt: Vec<TokenId>,
    pub(crate) max_tokens: usize,
    pub(crate) sampling: Sampling,
    pub(crate) stop: Vec<String>,
    pub(crate) constraint: Option<ConstraintState>,
    pub(crate) attention: AttentionPolicy,
}

/// A request that is being worked on.
struct Active {
    index: usize,
    sequence: Sequence,
    /// The prompt and what was generated; the first `sequence.len()` are in the cache.
    tokens: Vec<TokenId>,
    prompt_tokens: usize,
    cached_tokens: usize,
    max_tokens: usize,
    sampler: Sampler,
    constraint: Option<ConstraintState>,
    text: String,
    stream: TextStream,
    stops: StopMatcher,
    stopped_by_text: bool,
    /// Whether generated tokens attend to a part of their past.
    gated: bool,
    logprobs: Vec<f32>,
    finish: Option<FinishReason>,
    failure: Option<EngineError>,
    started: Instant,
}

/// One call's generation.
pub(crate) struct Generation<'a, 'r> {
    pub(crate) runner: &'a mut Runner<'r>,
    pub(crate) tokenizer: &'a Tokenizer,
    pub(crate) on_text: &'a mut dyn FnMut(usize, &str),
}

/// The results by request.
pub(crate) type Results = Vec<Option<Result<Completion, EngineError>>>;

impl Generation<'_, '_> {
    /// Generates for all jobs; `results[i]` is filled for each job `(i, _)`.
    pub(crate) fn run(
        &mut self,
        jobs: Vec<(usize, GenerateJob)>,
        cancel: &Cancel,
        results: &mut Results,
    ) {
        let prompts: Vec<&[TokenId]> = jobs.iter().map(|(_, job)| &job.prompt[..]).collect();
        // A prefix that does not fit into the cache is no error yet: each job is tried alone.
        let _ = self.runner.cache_shared_prefix(&prompts);
        let mut waiting: VecDeque<(usize, GenerateJob)> = jobs.into();
        let mut active: Vec<Active> = Vec::new();
        loop {
            self.admit(&mut waiting, &mut active);
            if cancel.is_cancelled() {
                self.cancel(waiting, active, results);
                return;
            }
            if active.is_empty() {
                return;
            }
            if let Err(error) = self.pass(&mut active) {
                // The youngest request gives way; alone it cannot be helped.
                let item = active.pop().expect("a pass has an active request");
                results[item.index] = Some(Err(error));
                self.runner.release(item.sequence);
            }
            self.collect(&mut active, results);
        }
    }

    /// Takes waiting requests in, as long as the cache has room for all that they may need.
    fn admit(&mut self, waiting: &mut VecDeque<(usize, GenerateJob)>, active: &mut Vec<Active>) {
        while active.len() < MAX_ACTIVE {
            let Some((_, job)) = waiting.front() else {
                return;
            };
            let mut wanted: usize = active.iter().map(Active::blocks_to_come).sum();
            wanted += KvCache::blocks_for(0, job.prompt.len() + job.max_tokens);
            if !self.runner.make_room(wanted) && !active.is_empty() {
                return;
            }
            let (index, job) = waiting.pop_front().expect("the queue has a front");
            let mut sequence = self.runner.begin(&job.prompt);
            if let AttentionPolicy::Gated(settings) = job.attention {
                sequence.gate(self.runner.gating(settings, job.prompt.len()));
            }
            active.push(Active::new(index, job, sequence));
        }
    }

    /// One forward pass over all active requests, and a token for each whose prompt is done.
    fn pass(&mut self, active: &mut [Active]) -> Result<(), EngineError> {
        let mut budget = PASS_TOKENS;
        let mut steps = Vec::with_capacity(active.len());
        let mut sampled = Vec::with_capacity(active.len());
        for (index, item) in active.iter_mut().enumerate() {
            let pending = &item.tokens[item.sequence.len()..];
            let taken = pending.len().min(budget);
            if taken == 0 {
                continue;
            }
            budget -= taken;
            let done = taken == pending.len();
            let outputs = if done { Outputs::Last } else { Outputs::None };
            let tokens = &pending[..taken];
            steps.push(Step {
                sequence: &mut item.sequence,
                tokens,
                outputs,
            });
            if done {
                sampled.push(index);
            }
        }
        let rows = self.runner.forward(&mut steps)?;
        drop(steps);
        let rows: Vec<usize> = rows.into_iter().flatten().collect();
        for (index, logits) in sampled.into_iter().zip(self.runner.logits(&rows)) {
            self.choose(&mut active[index], logits);
        }
        Ok(())
    }

    /// Chooses the next token of a request and takes it in. A broken constraint ends the request
    /// with its error, which [`Self::collect`] hands out.
    fn choose(&mut self, item: &mut Active, mut logits: Vec<f32>) {
        let normaliser = log_sum_exp(&logits);
        let unmodified = item.changes_logits().then(|| logits.clone());
        if let Some(constraint) = &mut item.constraint
            && let Err(error) = constraint.apply(&mut logits)
        {
            item.failure = Some(EngineError::engine(LocalError::Constraint(error)));
            return;
        }
        let token = item.sampler.choose(&mut logits, &item.tokens);
        let logit = unmodified.as_ref().unwrap_or(&logits)[token as usize];
        if self.tokenizer.is_end(token) {
            item.finish = Some(FinishReason::Stop);
            return;
        }
        item.logprobs.push(logit - normaliser);
        item.tokens.push(token);
        self.take_text(item, token);
        item.advance_constraint(token);
        if item.finish.is_none() && item.logprobs.len() >= item.max_tokens {
            item.finish = Some(FinishReason::Length);
        }
    }

    /// Turns a token into text and hands out what has become final.
    fn take_text(&mut self, item: &mut Active, token: TokenId) {
        let piece = item.stream.push(self.tokenizer, token);
        let (text, stopped) = item.stops.push(&piece);
        self.emit(item, &text);
        if stopped {
            item.finish = Some(FinishReason::Stop);
            item.stopped_by_text = true;
        }
    }

    fn emit(&mut self, item: &mut Active, text: &str) {
        if !text.is_empty() {
            item.text.push_str(text);
            (self.on_text)(item.index, text);
        }
    }

    /// Moves finished and failed requests to the results.
    fn collect(&mut self, active: &mut Vec<Active>, results: &mut Results) {
        let (ended, going): (Vec<_>, Vec<_>) = std::mem::take(active)
            .into_iter()
            .partition(|item| item.finish.is_some() || item.failure.is_some());
        *active = going;
        for item in ended {
            self.end(item, results);
        }
    }

    fn end(&mut self, mut item: Active, results: &mut Results) {
        if let Some(error) = item.failure.take() {
            results[item.index] = Some(Err(error));
            self.runner.release(item.sequence);
            return;
        }
        if !item.stopped_by_text {
            let (text, _) = item.stops.push(&item.stream.finish());
            let rest = text + &item.stops.finish();
            self.emit(&mut item, &rest);
        }
        results[item.index] = Some(Ok(item.completion()));
        if item.gated {
            // What was computed with a part of the past must not reach other requests.
            self.runner.truncate(&mut item.sequence, item.prompt_tokens);
        }
        item.tokens.truncate(item.sequence.len());
        self.runner.keep(item.tokens, item.sequence);
    }

    /// Ends everything: active requests with the text that they have, waiting ones with an error.
    fn cancel(
        &mut self,
        waiting: VecDeque<(usize, GenerateJob)>,
        active: Vec<Active>,
        results: &mut Results,
    ) {
        for mut item in active {
            item.finish = Some(FinishReason::Cancelled);
            self.end(item, results);
        }
        for (index, _) in waiting {
            results[index] = Some(Err(EngineError::Cancelled));
        }
    }
}

impl Active {
    fn new(index: usize, job: GenerateJob, sequence: Sequence) -> Self {
        Self {
            index,
            cached_tokens: sequence.len(),
            sequence,
            prompt_tokens: job.prompt.len(),
            tokens: job.prompt,
            max_tokens: job.max_tokens,
            sampler: Sampler::new(job.sampling),
            constraint: job.constraint,
            text: String::new(),
            stream: TextStream::default(),
            stops: StopMatcher::new(&job.stop),
            stopped_by_text: false,
            gated: job.attention != AttentionPolicy::Full,
            logprobs: Vec::new(),
            finish: None,
            failure: None,
            started: Instant::now(),
        }
    }

    /// Blocks that the request may still take.
    fn blocks_to_come(&self) -> usize {
        let total = self.prompt_tokens + self.max_tokens;
        KvCache::blocks_for(self.sequence.len(), total - self.sequence.len())
    }

    /// Whether choosing a token changes the logits, so that a copy of them must be kept.
    fn changes_logits(&self) -> bool {
        self.constraint.is_some() || self.sampler.penalises()
    }

    fn advance_constraint(&mut self, token: TokenId) {
        let Some(constraint) = &mut self.constraint else {
            return;
        };
        match constraint.accept(token) {
            Ok(true) => self.finish = Some(FinishReason::Stop),
            Ok(false) => {}
            Err(error) => {
                self.failure = Some(EngineError::engine(LocalError::Constraint(error)));
            }
        }
    }

    fn completion(&mut self) -> Completion {
        Completion {
            text: std::mem::take(&mut self.text),
            tokens: self.tokens[self.prompt_tokens..].to_vec(),
            finish: self.finish.expect("only finished requests are completed"),
            usage: Usage {
                prompt_tokens: self.prompt_tokens,
                cached_tokens: self.cached_tokens,
                completion_tokens: self.logprobs.len(),
                compute: self.started.elapsed(),
            },
            logprobs: std::mem::take(&mut self.logprobs),
        }
    }
}
