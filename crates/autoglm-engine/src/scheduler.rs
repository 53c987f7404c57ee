//! Passes over all requests that are being worked on, whatever call they came with.
//!
//! Each pass takes tokens within a budget: first what running generations decode, then the runs
//! behind scored prompts, then prompts in the order in which they came, cut where the budget
//! ends. A prompt that begins like one that is being computed waits until that beginning is in
//! the tree of prefixes, and shares it.

use std::ops::Range;

use autoglm_model::{BLOCK_TOKENS, CacheFull, KvCache, Step};
use autoglm_spec::EngineError;

use crate::error::LocalError;
use crate::prefix::common_prefix;
use crate::request::{Active, Answer, CallId, Event, Job, News, Work};
use crate::runner::{Machine, PASS_TOKENS, Runner};
use crate::score::{Need, add_factors};
use crate::stats::EngineStats;

/// Generations that decode together at most. 16 rows use a weight tile 16 times; the keys and
/// values of more would crowd each other out of the cache on a small machine.
const MAX_GENERATIONS: usize = 16;

/// Requests that are worked on at once at most.
const MAX_ACTIVE: usize = 64;

/// Tokens of prompts in a pass in which generations decode too: 128 rows still use the weights
/// well, and a running text never waits for more than a quarter of a full pass.
const PROMPT_TOKENS_BESIDE_DECODING: usize = 128;

/// Rows that generations decode in a pass, proposals included, at most.
const DECODING_ROWS: usize = 64;

/// Option runs that are computed in one pass.
const RUNS_PER_PASS: usize = 64;

/// A prompt waits for another one's beginning when that saves it at least so many tokens.
const WORTH_WAITING_TOKENS: usize = BLOCK_TOKENS / 2;

/// What one request does in a pass.
#[derive(Clone, Copy, Default)]
struct Portion {
    /// Settled tokens and proposals that are fed.
    tokens: usize,
    /// Of these, proposals.
    proposals: usize,
    /// Tokens that were settled before the pass.
    settled: usize,
    /// Runs behind a scored prompt.
    runs: usize,
}

/// Whether a request can be begun.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    Now,
    /// When others of its kind are done.
    Later,
    /// When others have given their memory back.
    NoMemory,
}

/// How a call stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It wants its answers.
    Waiting,
    /// It was cancelled and wants what there is.
    Cancelled,
    /// Nobody waits for it.
    Gone,
}

/// The requests that are being worked on, with all that they share.
pub(crate) struct Scheduler {
    pub(crate) runner: Runner,
    active: Vec<Active>,
    stats: EngineStats,
}

impl Scheduler {
    pub(crate) fn new(cache: KvCache) -> Self {
        Self {
            runner: Runner::new(cache),
            active: Vec::new(),
            stats: EngineStats::default(),
        }
    }

    pub(crate) fn stats(&self) -> EngineStats {
        EngineStats {
            prefix_blocks: self.runner.prefixes.blocks(),
            evictable_blocks: self.runner.prefixes.evictable(&self.runner.cache),
            free_blocks: self.runner.cache.free_blocks(),
            total_blocks: self.runner.cache.total_blocks(),
            ..self.counts()
        }
    }

    /// What was counted, without a look at the cache: that may be broken.
    pub(crate) fn counts(&self) -> EngineStats {
        EngineStats {
            evicted_blocks: self.stats.evicted_blocks + self.runner.evicted_blocks,
            ..self.stats
        }
    }

    /// The scheduler with the counts of the one in whose place it comes.
    #[must_use]
    pub(crate) fn carrying_on(mut self, stats: EngineStats) -> Self {
        self.stats = stats.carried_on();
        self
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.active.is_empty()
    }

    /// Whether a request can be begun now: there is room for all that it and those before it may
    /// need. The first one always can.
    pub(crate) fn room(&self, job: &Job) -> Room {
        if self.active.is_empty() {
            return Room::Now;
        }
        if self.active.len() >= MAX_ACTIVE || self.has_enough_like(job) {
            return Room::Later;
        }
        let wanted_tokens = match job {
            Job::Generate(job) => job.prompt.len() + job.max_tokens,
            Job::Score(job) => {
                job.prompt.len() + job.options.iter().map(Vec::len).max().unwrap_or(0)
            }
        };
        // One block more for the copy of a tail that the tree of prefixes keeps.
        let wanted = KvCache::blocks_for(0, wanted_tokens) + 1;
        if self.committed_blocks() + wanted > self.runner.available_blocks() {
            return Room::NoMemory;
        }
        Room::Now
    }

    /// Whether enough requests of this kind are worked on to fill the next passes.
    fn has_enough_like(&self, job: &Job) -> bool {
        match job {
            Job::Generate(_) => {
                let is_generation = |a: &&Active| matches!(a.work, Work::Generate(_));
                self.active.iter().filter(is_generation).count() >= MAX_GENERATIONS
            }
            Job::Score(_) => {
                let prompts = self.active.iter().filter(|a| a.work.is_in_prompt());
                prompts.map(|a| a.work.pending()).sum::<usize>() >= 2 * PASS_TOKENS
            }
        }
    }

    /// Blocks that the active requests may still take.
    fn committed_blocks(&self) -> usize {
        self.active.iter().map(|a| a.work.blocks_to_come()).sum()
    }

    pub(crate) fn begin(&mut self, call: CallId, index: usize, job: Job) {
        self.stats.requests += 1;
        self.stats.prompt_tokens += job.prompt().len() as u64;
        let mut work = job.begin();
        share_prefix(&mut self.runner, &mut self.stats, &mut work);
        self.active.push(Active { call, index, work });
    }

    /// Ends requests whose call no longer waits for them, and reports those that have an answer.
    pub(crate) fn sort_out(&mut self, standing: impl Fn(CallId) -> Standing) -> Vec<Event> {
        for active in &mut self.active {
            if let (Standing::Cancelled, Work::Generate(item)) =
                (standing(active.call), &mut active.work)
            {
                item.cancel();
            }
        }
        let stays = |active: &Active| match (&active.work, standing(active.call)) {
            (_, Standing::Waiting) => true,
            (Work::Generate(item), Standing::Cancelled) => !item.has_ended(),
            (Work::Score(_), Standing::Cancelled) | (_, Standing::Gone) => false,
        };
        let ended: Vec<Active> = self
            .active
            .extract_if(.., |active| !stays(active))
            .collect();
        let mut events = Vec::new();
        for active in ended {
            match (&active.work, standing(active.call)) {
                (_, Standing::Gone) => self.runner.cache.release(active.work.into_sequence()),
                (Work::Generate(_), _) => self.conclude(active, &mut events),
                (Work::Score(_), _) => self.give_up(active, EngineError::Cancelled, &mut events),
            }
        }
        events
    }

    /// One forward pass over the active requests, and what came of it.
    pub(crate) fn pass(&mut self, machine: Machine<'_>) -> Vec<Event> {
        let mut events = Vec::new();
        self.collect(&mut events);
        let portions = self.plan();
        match self.forward(machine, &portions) {
            Ok(rows) => {
                self.keep_prompts(&portions);
                self.take_logits(machine, &portions, &rows);
                self.tell(&portions, &mut events);
            }
            Err(full) => {
                self.abandon_pass();
                // The youngest request gives way; alone it cannot be helped.
                if let Some(youngest) = self.active.pop() {
                    let error = EngineError::engine(LocalError::CacheFull(full));
                    self.give_up(youngest, error, &mut events);
                }
            }
        }
        self.collect(&mut events);
        events
    }

    /// Decides what each active request does in the next pass.
    fn plan(&mut self) -> Vec<Portion> {
        let mut portions = vec![Portion::default(); self.active.len()];
        let mut budget = PASS_TOKENS;
        let decoding = self.plan_decoding(&mut portions, &mut budget);
        self.plan_runs(&mut portions, &mut budget);
        if decoding {
            budget = budget.min(PROMPT_TOKENS_BESIDE_DECODING);
        }
        self.plan_prompts(&mut portions, budget);
        portions
    }

    /// Gives generations behind their prompts what they have, and as many proposals as there are
    /// rows left; says whether there are any.
    fn plan_decoding(&mut self, portions: &mut [Portion], budget: &mut usize) -> bool {
        let is_decoding =
            |a: &Active| matches!(a.work, Work::Generate(_)) && !a.work.is_in_prompt();
        let decoding = self.active.iter().filter(|a| is_decoding(a)).count();
        let proposals_each = DECODING_ROWS.saturating_sub(decoding) / decoding.max(1);
        for (active, portion) in self.active.iter_mut().zip(portions) {
            let Work::Generate(item) = &mut active.work else {
                continue;
            };
            if item.is_in_prompt() {
                continue;
            }
            portion.settled = item.settled();
            let at_once = if item.is_gated() { 1 } else { *budget };
            portion.tokens = item.pending().min(at_once).min(*budget);
            *budget -= portion.tokens;
            if portion.tokens == item.pending() {
                portion.proposals = item.propose(proposals_each.min(*budget));
                portion.tokens += portion.proposals;
                *budget -= portion.proposals;
            }
        }
        decoding > 0
    }

    fn plan_runs(&mut self, portions: &mut [Portion], budget: &mut usize) {
        let mut runs_left = RUNS_PER_PASS;
        let mut spare = self
            .runner
            .available_blocks()
            .saturating_sub(self.committed_blocks());
        for (active, portion) in self.active.iter_mut().zip(portions) {
            let Work::Score(item) = &mut active.work else {
                continue;
            };
            if item.is_in_prompt() || item.runs_left() == 0 {
                continue;
            }
            // One run's blocks are committed to the request.
            let within_cache = 1 + spare / item.blocks_of_run().max(1);
            let within_budget = *budget / item.run_tokens().max(1);
            let first = usize::from(runs_left == RUNS_PER_PASS);
            portion.runs = item
                .runs_left()
                .min(runs_left)
                .min(within_cache)
                .min(within_budget.max(first));
            runs_left -= portion.runs;
            spare -= portion.runs.saturating_sub(1) * item.blocks_of_run();
            *budget = budget.saturating_sub(portion.runs * item.run_tokens());
            item.fork_runs(&mut self.runner.cache, portion.runs);
        }
    }

    fn plan_prompts(&mut self, portions: &mut [Portion], mut budget: usize) {
        let mut planned: Vec<usize> = Vec::new();
        for index in 0..self.active.len() {
            if budget == 0 {
                return;
            }
            if !self.active[index].work.is_in_prompt() {
                continue;
            }
            let work = &mut self.active[index].work;
            share_prefix(&mut self.runner, &mut self.stats, work);
            let waits = |&leader: &usize| self.saves(leader, portions[leader].tokens, index);
            if planned.iter().any(waits) {
                continue;
            }
            let taken = self.active[index].work.pending().min(budget);
            portions[index].tokens = taken;
            budget -= taken;
            planned.push(index);
        }
    }

    /// Whether request `index` is saved enough tokens when it waits for `leader`, which computes
    /// `tokens` tokens in this pass.
    fn saves(&self, leader: usize, tokens: usize, index: usize) -> bool {
        let (leader, follower) = (&self.active[leader].work, &self.active[index].work);
        let id = |work: &Work| work.sequence().adapter().map(|adapter| adapter.id());
        if id(leader) != id(follower) {
            return false;
        }
        let mut computed = leader.sequence().len() + tokens;
        if computed < leader.prompt().len() {
            computed -= computed % BLOCK_TOKENS;
        }
        let wanted = &follower.prompt()[..follower.prompt().len() - 1];
        let shared = common_prefix(&leader.prompt()[..computed], wanted);
        shared >= follower.sequence().len() + WORTH_WAITING_TOKENS
    }

    /// The forward pass; the rows that each request's steps gave.
    fn forward(
        &mut self,
        machine: Machine<'_>,
        portions: &[Portion],
    ) -> Result<Vec<Vec<Range<usize>>>, CacheFull> {
        let mut steps: Vec<Step<'_>> = Vec::new();
        let mut counts = Vec::with_capacity(portions.len());
        for (active, portion) in self.active.iter_mut().zip(portions) {
            let before = steps.len();
            if let Work::Generate(item) = &mut active.work {
                item.set_gates(machine.model);
            }
            if portion.tokens > 0 {
                steps.push(active.work.step(portion.tokens));
            } else if let Work::Score(item) = &mut active.work {
                steps.extend(item.run_steps());
            }
            counts.push(steps.len() - before);
        }
        self.stats.passes += 1;
        self.stats.computed_tokens += steps.iter().map(|s| s.tokens.len() as u64).sum::<u64>();
        let mut rows = self.runner.forward(machine, &mut steps)?.into_iter();
        drop(steps);
        let of_request = |count: usize| rows.by_ref().take(count).collect();
        Ok(counts.into_iter().map(of_request).collect())
    }

    /// Puts what was computed of prompts into the tree of prefixes: whole blocks as they come,
    /// the last block when the prompt is done.
    fn keep_prompts(&mut self, portions: &[Portion]) {
        let Runner {
            cache, prefixes, ..
        } = &mut self.runner;
        for (active, portion) in self.active.iter().zip(portions) {
            if portion.tokens == 0 || !active.work.is_in_prompt() {
                continue;
            }
            let (prompt, sequence) = (active.work.prompt(), active.work.sequence());
            let len = if sequence.len() == prompt.len() {
                prompt.len()
            } else {
                sequence.len() / BLOCK_TOKENS * BLOCK_TOKENS
            };
            prefixes.insert(cache, &prompt[..len], sequence);
        }
    }

    /// Computes the logits that are of use and hands them to their requests.
    fn take_logits(
        &mut self,
        machine: Machine<'_>,
        portions: &[Portion],
        rows: &[Vec<Range<usize>>],
    ) {
        let (mut text_rows, mut owners, mut needs) = (Vec::new(), Vec::new(), Vec::<Need>::new());
        for (index, (active, rows)) in self.active.iter_mut().zip(rows).enumerate() {
            match &mut active.work {
                Work::Generate(item) => {
                    for (row, position) in rows.iter().flat_map(|r| item.useful_rows(r.clone())) {
                        text_rows.push(row);
                        owners.push((index, position));
                    }
                }
                Work::Score(item) if portions[index].runs > 0 => {
                    needs.extend(item.run_needs(index, rows));
                    item.release_runs(&mut self.runner.cache);
                }
                Work::Score(item) => {
                    for rows in rows.iter().filter(|rows| !rows.is_empty()) {
                        needs.extend(item.root_needs(index, rows.start));
                        if item.wants_states() {
                            item.keep_states(self.runner.traced_states(machine, rows.start));
                        }
                    }
                }
            }
        }
        let Self {
            runner,
            active,
            stats,
        } = self;
        let mut owners = owners.into_iter();
        runner.for_each_logits(machine, &text_rows, |_, logits| {
            let (index, position) = owners.next().expect("a row for each owner");
            if let Work::Generate(item) = &mut active[index].work {
                item.take(machine.tokenizer, position, logits, stats);
            }
        });
        add_factors(runner, machine, &needs, |need, logprob| {
            if let Work::Score(item) = &mut active[need.request].work {
                item.add(need, logprob);
            }
        });
    }

    /// Ends the pass for generations and reports what is new of them.
    fn tell(&mut self, portions: &[Portion], events: &mut Vec<Event>) {
        for (active, portion) in self.active.iter_mut().zip(portions) {
            let Work::Generate(item) = &mut active.work else {
                continue;
            };
            if portion.tokens == 0 {
                continue;
            }
            if portion.settled > 0 {
                let cache = &mut self.runner.cache;
                let right = item.end_pass(cache, portion.settled, portion.proposals);
                self.stats.proposed_tokens += portion.proposals as u64;
                self.stats.accepted_tokens += right as u64;
            }
            let delta = item.take_delta();
            if !delta.is_empty() {
                events.push(active.event(News::Delta(delta)));
            }
        }
    }

    /// Undoes what was prepared for a pass that could not run.
    fn abandon_pass(&mut self) {
        for active in &mut self.active {
            match &mut active.work {
                Work::Generate(item) => item.withdraw_proposals(),
                Work::Score(item) => item.release_runs(&mut self.runner.cache),
            }
        }
    }

    /// Reports requests that are done.
    fn collect(&mut self, events: &mut Vec<Event>) {
        let ended: Vec<Active> = self
            .active
            .extract_if(.., |active| active.work.has_ended())
            .collect();
        for active in ended {
            self.conclude(active, events);
        }
    }

    /// Reports a request's answer and keeps what was computed for later ones.
    fn conclude(&mut self, mut active: Active, events: &mut Vec<Event>) {
        let answer = match &mut active.work {
            Work::Score(item) => Ok(Answer::Scoring(item.scoring())),
            Work::Generate(item) => {
                let Runner {
                    cache, prefixes, ..
                } = &mut self.runner;
                prefixes.insert(cache, item.reusable(), &item.sequence);
                let (delta, completion) = item.conclude();
                if !delta.is_empty() {
                    let event = Event {
                        call: active.call,
                        index: active.index,
                        news: News::Delta(delta),
                    };
                    events.push(event);
                }
                completion.map(Answer::Completion)
            }
        };
        events.push(active.event(News::Done(answer)));
        self.runner.cache.release(active.work.into_sequence());
    }

    /// Reports a request that gets no answer.
    fn give_up(&mut self, active: Active, error: EngineError, events: &mut Vec<Event>) {
        events.push(active.event(News::Done(Err(error))));
        self.runner.cache.release(active.work.into_sequence());
    }

    /// The requests that are being worked on, where they cannot go on: who waits for what.
    pub(crate) fn waiters(&self) -> Vec<(CallId, usize)> {
        self.active.iter().map(|a| (a.call, a.index)).collect()
    }
}

/// Gives a request the longest cached beginning of its prompt, without the last token, whose
/// hidden state has to be computed.
fn share_prefix(runner: &mut Runner, stats: &mut EngineStats, work: &mut Work) {
    let prompt = work.prompt();
    let prompt = &prompt[..prompt.len() - 1];
    let adapter = work.sequence().adapter().cloned();
    let adapter = adapter.as_ref();
    let cached = runner.prefixes.cached(adapter, prompt);
    let gain = cached.saturating_sub(work.sequence().len());
    if gain == 0 {
        return;
    }
    stats.cached_tokens += gain as u64;
    let longer = runner.prefixes.fork(&mut runner.cache, adapter, prompt);
    let shorter = work.replace_sequence(longer);
    runner.cache.release(shorter);
}
