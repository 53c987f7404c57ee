//! One request for text: which tokens it wants in the next pass, and what it makes of the logits.
//!
//! `tokens` holds what is settled (the prompt and what was chosen or forced, `settled` of them)
//! and behind it, during a pass, proposals. A row of logits is used as long as everything that was
//! fed before it is what was settled; so proposals never change what is chosen, only how many
//! rows of one pass are of use.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use autoglm_model::{Adapter, KvCache, Model, Outputs, Sequence, Step, log_sum_exp};
use autoglm_spec::{
    AttentionPolicy, Completion, Decoding, Delta, EngineError, FinishReason, Sampling, Usage,
};
use autoglm_token::{TextStream, TokenId, Tokenizer};

use crate::constraint::ConstraintState;
use crate::error::LocalError;
use crate::likeliest::likeliest;
use crate::lookup::Lookup;
use crate::runner::gating;
use crate::sampler::Sampler;
use crate::stats::EngineStats;
use crate::stop::StopMatcher;

/// A request with its tokens.
pub(crate) struct GenerateJob {
    pub(crate) prompt: Vec<TokenId>,
    pub(crate) max_tokens: usize,
    pub(crate) sampling: Sampling,
    pub(crate) logit_bias: Vec<(TokenId, f32)>,
    pub(crate) stop: Vec<String>,
    pub(crate) constraint: Option<ConstraintState>,
    pub(crate) decoding: Decoding,
    pub(crate) attention: AttentionPolicy,
    pub(crate) adapter: Option<Arc<Adapter>>,
}

/// A request that is being worked on.
pub(crate) struct Generation {
    pub(crate) sequence: Sequence,
    pub(crate) cached_tokens: usize,
    tokens: Vec<TokenId>,
    settled: usize,
    /// First position at which something else was fed than what was settled.
    agreed: usize,
    prompt_tokens: usize,
    max_tokens: usize,
    decoding: Decoding,
    lookup: Lookup,
    sampler: Sampler,
    constraint: Option<ConstraintState>,
    text: String,
    /// Text that is final and was not handed out yet.
    fresh_text: String,
    stream: TextStream,
    stops: StopMatcher,
    stopped_by_text: bool,
    /// What generated tokens attend to.
    attention: AttentionPolicy,
    /// Whether the sequence has its gates.
    has_gates: bool,
    logprobs: Vec<f32>,
    /// The likeliest tokens at the places of `logprobs`.
    top: Vec<Vec<(TokenId, f32)>>,
    /// Generated tokens that were handed out.
    told: usize,
    finish: Option<FinishReason>,
    failure: Option<EngineError>,
    started: Instant,
}

impl Generation {
    pub(crate) fn new(job: GenerateJob) -> Self {
        let mut decoding = job.decoding;
        decoding.logprobs |= decoding.top_logprobs > 0;
        Self {
            sequence: Sequence::default().under(job.adapter),
            cached_tokens: 0,
            settled: job.prompt.len(),
            agreed: usize::MAX,
            prompt_tokens: job.prompt.len(),
            tokens: job.prompt,
            max_tokens: job.max_tokens,
            decoding,
            lookup: Lookup::new(decoding.lookup_tokens),
            sampler: Sampler::new(job.sampling).with_bias(job.logit_bias),
            constraint: job.constraint,
            text: String::new(),
            fresh_text: String::new(),
            stream: TextStream::default(),
            stops: StopMatcher::new(&job.stop),
            stopped_by_text: false,
            attention: job.attention,
            has_gates: false,
            logprobs: Vec::new(),
            top: Vec::new(),
            told: 0,
            finish: (job.max_tokens == 0).then_some(FinishReason::Length),
            failure: None,
            started: Instant::now(),
        }
    }

    pub(crate) fn prompt(&self) -> &[TokenId] {
        &self.tokens[..self.prompt_tokens]
    }

    /// First positions that stand for no token.
    fn virtual_tokens(&self) -> usize {
        let adapter = self.sequence.adapter();
        adapter.map_or(0, |adapter| adapter.virtual_tokens())
    }

    /// The tokens whose keys and values later requests may use. What was computed with a part of
    /// the past must not reach them.
    pub(crate) fn reusable(&self) -> &[TokenId] {
        let cached = self.sequence.len();
        let len = if self.is_gated() {
            cached.min(self.prompt_tokens)
        } else {
            cached
        };
        &self.tokens[..len]
    }

    /// Whether generated tokens attend to a part of their past only. They are computed one by
    /// one, for the gates follow what each of them finds.
    pub(crate) fn is_gated(&self) -> bool {
        self.attention != AttentionPolicy::Full
    }

    /// Gives the sequence its gates when the prompt is done.
    pub(crate) fn set_gates(&mut self, model: &Model) {
        if let AttentionPolicy::Gated(settings) = self.attention
            && !self.has_gates
            && !self.is_in_prompt()
        {
            let gates = gating(model, settings, self.prompt_tokens);
            self.sequence.gate(gates);
            self.has_gates = true;
        }
    }

    /// Whether no token was chosen yet.
    pub(crate) fn is_in_prompt(&self) -> bool {
        self.settled == self.prompt_tokens
    }

    /// Settled tokens that the model has not seen.
    pub(crate) fn pending(&self) -> usize {
        self.settled - self.sequence.len()
    }

    /// Blocks that the request may still take.
    pub(crate) fn blocks_to_come(&self) -> usize {
        let total = self.prompt_tokens + self.max_tokens;
        KvCache::blocks_for(self.sequence.len(), total - self.sequence.len())
    }

    /// Adds at most `most` proposals behind the settled tokens; says how many.
    pub(crate) fn propose(&mut self, most: usize) -> usize {
        let left = self.max_tokens + self.prompt_tokens - self.settled;
        let most = most.min(left.saturating_sub(1));
        if self.finish.is_some() || self.is_in_prompt() || self.is_gated() {
            return 0;
        }
        let proposed = self
            .lookup
            .propose(&self.tokens[self.virtual_tokens()..], most)
            .to_vec();
        self.tokens.extend(&proposed);
        proposed.len()
    }

    /// Takes the proposals back.
    pub(crate) fn withdraw_proposals(&mut self) {
        self.tokens.truncate(self.settled);
    }

    /// The step that feeds the next `count` tokens.
    pub(crate) fn step(&mut self, count: usize) -> Step<'_> {
        let start = self.sequence.len();
        let end = start + count;
        let outputs = match end.saturating_sub(self.first_row_wanted().max(start)) {
            0 => Outputs::None,
            1 => Outputs::Last,
            _ => Outputs::All,
        };
        self.agreed = end;
        Step {
            sequence: &mut self.sequence,
            tokens: &self.tokens[start..end],
            outputs,
        }
    }

    /// The first position whose logits are of use.
    fn first_row_wanted(&self) -> usize {
        if self.decoding.logprobs {
            self.prompt_tokens + self.logprobs.len() - 1
        } else {
            self.settled - 1
        }
    }

    /// The rows of use among those that a pass gave, each with its position. They are the
    /// sequence's last.
    pub(crate) fn useful_rows(&self, rows: Range<usize>) -> Vec<(usize, usize)> {
        let first = self.sequence.len() - rows.len();
        let skipped = self.first_row_wanted().saturating_sub(first);
        rows.zip(first..).skip(skipped).collect()
    }

    /// Uses the logits of a position: they tell a settled token's probability, or the next token
    /// is chosen.
    pub(crate) fn take(
        &mut self,
        tokenizer: &Tokenizer,
        position: usize,
        logits: &mut [f32],
        stats: &mut EngineStats,
    ) {
        if position >= self.agreed || self.has_ended() {
            return;
        }
        if position + 1 < self.settled {
            if self.decoding.logprobs {
                let token = self.tokens[position + 1] as usize;
                let normaliser = log_sum_exp(logits);
                self.logprobs.push(logits[token] - normaliser);
                self.top.extend(self.top_of(logits, normaliser));
            }
        } else if self.finish.is_none() {
            self.choose(tokenizer, logits, stats);
        }
    }

    /// Chooses the next token and takes it in. A broken constraint ends the request with its
    /// error.
    fn choose(&mut self, tokenizer: &Tokenizer, logits: &mut [f32], stats: &mut EngineStats) {
        let wants_logprobs = self.decoding.logprobs;
        let normaliser = wants_logprobs.then(|| log_sum_exp(logits));
        let top = normaliser.and_then(|normaliser| self.top_of(logits, normaliser));
        if let Some(constraint) = &mut self.constraint
            && let Err(error) = constraint.apply(logits)
        {
            self.fail(error);
            return;
        }
        let place = self.settled - self.prompt_tokens;
        let history = &self.tokens[self.virtual_tokens()..self.settled];
        let token = self.sampler.choose(logits, history, place);
        if tokenizer.is_end(token) {
            self.finish = Some(FinishReason::Stop);
            self.diverge(self.settled);
            return;
        }
        if let Some(normaliser) = normaliser {
            self.logprobs
                .push(self.sampler.unmodified(token, logits) - normaliser);
            self.top.extend(top);
        }
        self.settle(tokenizer, token);
        stats.generated_tokens += 1;
        self.advance_constraint(tokenizer, token, stats);
    }

    /// The likeliest tokens of a distribution with their log-probabilities, where the request wants
    /// them.
    fn top_of(&self, logits: &[f32], normaliser: f32) -> Option<Vec<(TokenId, f32)>> {
        let count = self.decoding.top_logprobs;
        (count > 0).then(|| {
            let mut found = likeliest(logits, count);
            for (_, logit) in &mut found {
                *logit -= normaliser;
            }
            found
        })
    }

    /// Takes a token in that is certain.
    fn settle(&mut self, tokenizer: &Tokenizer, token: TokenId) {
        let at = self.settled;
        if self.tokens.get(at) != Some(&token) {
            self.diverge(at);
            self.tokens.push(token);
        }
        self.settled += 1;
        let piece = self.stream.push(tokenizer, token);
        let (text, stopped) = self.stops.push(&piece);
        self.fresh_text.push_str(&text);
        if stopped {
            self.finish = Some(FinishReason::Stop);
            self.stopped_by_text = true;
        } else if self.settled - self.prompt_tokens >= self.max_tokens {
            self.finish = Some(FinishReason::Length);
        }
    }

    /// From position `at` on, what was fed is not what follows.
    fn diverge(&mut self, at: usize) {
        self.tokens.truncate(at);
        self.agreed = self.agreed.min(at);
    }

    /// Tells the constraint of a token, and takes in what it leaves no choice about. A complete
    /// text is complete even where the token limit is reached with it.
    fn advance_constraint(
        &mut self,
        tokenizer: &Tokenizer,
        token: TokenId,
        stats: &mut EngineStats,
    ) {
        let Some(constraint) = &mut self.constraint else {
            return;
        };
        let outcome = constraint.accept(token).map(|complete| {
            let forces = self.decoding.fast_forward && !complete;
            let forced = if forces {
                constraint.forced()
            } else {
                Vec::new()
            };
            (complete, forced)
        });
        match outcome {
            Ok((true, _)) => self.finish = Some(FinishReason::Stop),
            Ok((false, forced)) => self.force(tokenizer, &forced, stats),
            Err(error) => self.fail(error),
        }
    }

    fn force(&mut self, tokenizer: &Tokenizer, forced: &[TokenId], stats: &mut EngineStats) {
        for &token in forced {
            if self.finish.is_some() || tokenizer.is_end(token) {
                return;
            }
            self.sampler.pass_over();
            self.settle(tokenizer, token);
            stats.forced_tokens += 1;
            stats.generated_tokens += 1;
            let Some(constraint) = &mut self.constraint else {
                return;
            };
            match constraint.accept(token) {
                Ok(true) => self.finish = Some(FinishReason::Stop),
                Ok(false) => {}
                Err(error) => self.fail(error),
            }
        }
    }

    fn fail(&mut self, error: crate::constraint::ConstraintError) {
        self.failure = Some(EngineError::engine(LocalError::Constraint(error)));
    }

    /// Ends a pass that fed `proposed` proposals behind `before` settled tokens: what was wrong
    /// leaves the cache. Says how many were right.
    pub(crate) fn end_pass(
        &mut self,
        cache: &mut KvCache,
        before: usize,
        proposed: usize,
    ) -> usize {
        let right = self.agreed.min(self.settled).saturating_sub(before);
        let right = right.min(proposed);
        self.lookup.learn(proposed, right);
        self.tokens.truncate(self.settled);
        let len = self.sequence.len().min(self.agreed).min(self.settled);
        cache.truncate(&mut self.sequence, len);
        right
    }

    /// Settled tokens, before proposals are added: what [`Self::end_pass`] counts from.
    pub(crate) fn settled(&self) -> usize {
        self.settled
    }

    /// Whether nothing more is to be computed.
    pub(crate) fn has_ended(&self) -> bool {
        let told =
            !self.decoding.logprobs || self.logprobs.len() == self.settled - self.prompt_tokens;
        self.failure.is_some() || (self.finish.is_some() && told)
    }

    /// What has become known since this was last asked: tokens with all that is to be told of them.
    pub(crate) fn take_delta(&mut self) -> Delta {
        self.text.push_str(&self.fresh_text);
        let generated = &self.tokens[self.prompt_tokens..self.settled];
        let known = if self.decoding.logprobs {
            self.logprobs.len()
        } else {
            generated.len()
        };
        let fresh = self.told..known;
        self.told = known;
        let of = |end: usize| fresh.start.min(end)..fresh.end.min(end);
        Delta {
            text: std::mem::take(&mut self.fresh_text),
            tokens: generated[fresh.clone()].to_vec(),
            logprobs: self.logprobs[of(self.logprobs.len())].to_vec(),
            top: self.top[of(self.top.len())].to_vec(),
        }
    }

    /// Chooses no further token: what the request has is its answer.
    pub(crate) fn cancel(&mut self) {
        self.finish.get_or_insert(FinishReason::Cancelled);
    }

    /// What is left to tell and the answer of a request that has ended.
    pub(crate) fn conclude(&mut self) -> (Delta, Result<Completion, EngineError>) {
        if let Some(error) = self.failure.take() {
            return (Delta::default(), Err(error));
        }
        if !self.stopped_by_text {
            let (text, _) = self.stops.push(&self.stream.finish());
            self.fresh_text += &text;
            self.fresh_text += &self.stops.finish();
        }
        let delta = self.take_delta();
        let completion = Completion {
            text: std::mem::take(&mut self.text),
            tokens: self.tokens[self.prompt_tokens..self.settled].to_vec(),
            finish: self.finish.expect("only finished requests are concluded"),
            usage: Usage {
                prompt_tokens: self.prompt_tokens,
                cached_tokens: self.cached_tokens,
                completion_tokens: self.settled - self.prompt_tokens,
                compute: self.started.elapsed(),
            },
            logprobs: std::mem::take(&mut self.logprobs),
            top: std::mem::take(&mut self.top),
        };
        (delta, Ok(completion))
    }
}
