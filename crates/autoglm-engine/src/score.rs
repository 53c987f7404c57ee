//! One request for the probabilities of given continuations: what it wants in the next pass, and
//! what it makes of the logits.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use autoglm_model::{Adapter, KvCache, Outputs, Sequence, Step, log_sum_exp};
use autoglm_spec::{OptionScore, Scoring, Usage};
use autoglm_token::TokenId;

use crate::options::{Factor, OptionPlan};
use crate::runner::{Machine, Runner};

/// A request with its tokens.
pub(crate) struct ScoreJob {
    pub(crate) prompt: Vec<TokenId>,
    pub(crate) options: Vec<Vec<TokenId>>,
    pub(crate) plan: OptionPlan,
    /// Whether the hidden states behind the prompt are wanted.
    pub(crate) wants_states: bool,
    pub(crate) adapter: Option<Arc<Adapter>>,
}

/// A request that is being worked on: first the prompt, then the runs behind it.
pub(crate) struct Scored {
    pub(crate) sequence: Sequence,
    pub(crate) cached_tokens: usize,
    job: ScoreJob,
    /// Whether the first factors are known, so that the prompt is done.
    root_done: bool,
    /// Runs behind the prompt that are done.
    fed: usize,
    /// The sequences of the runs of this pass.
    forks: Vec<Sequence>,
    logprobs: Vec<f32>,
    states: Vec<Vec<f32>>,
    started: Instant,
}

/// A factor of an option's probability that the row's hidden state gives.
pub(crate) struct Need {
    row: usize,
    /// Index of the request among the active ones.
    pub(crate) request: usize,
    option: usize,
    token: TokenId,
    rivals: Option<Vec<TokenId>>,
}

impl Scored {
    pub(crate) fn new(job: ScoreJob) -> Self {
        Self {
            sequence: Sequence::default().under(job.adapter.clone()),
            cached_tokens: 0,
            root_done: false,
            fed: 0,
            forks: Vec::new(),
            logprobs: vec![0.0; job.options.len()],
            states: Vec::new(),
            job,
            started: Instant::now(),
        }
    }

    pub(crate) fn prompt(&self) -> &[TokenId] {
        &self.job.prompt
    }

    /// Tokens of the prompt that the model has not seen.
    pub(crate) fn pending(&self) -> usize {
        self.job.prompt.len() - self.sequence.len()
    }

    /// Whether the hidden states of the last row of the prompt are to be kept.
    pub(crate) fn wants_states(&self) -> bool {
        self.job.wants_states
    }

    /// Keeps the hidden states of the last row of the prompt.
    pub(crate) fn keep_states(&mut self, states: Vec<Vec<f32>>) {
        self.states = states;
    }

    pub(crate) fn is_in_prompt(&self) -> bool {
        !self.root_done
    }

    /// Runs behind the prompt that are still to be computed.
    pub(crate) fn runs_left(&self) -> usize {
        self.job.plan.feeds.len() - self.fed
    }

    /// Tokens of the longest run behind the prompt.
    pub(crate) fn run_tokens(&self) -> usize {
        self.job.plan.feeds.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// Blocks that one run behind the prompt takes at most.
    pub(crate) fn blocks_of_run(&self) -> usize {
        KvCache::blocks_for(self.job.prompt.len(), self.run_tokens())
    }

    /// Blocks that the request needs at least to go on.
    pub(crate) fn blocks_to_come(&self) -> usize {
        let run = if self.runs_left() > 0 {
            self.blocks_of_run()
        } else {
            0
        };
        KvCache::blocks_for(self.sequence.len(), self.pending()) + run
    }

    /// The step that feeds the next `count` tokens of the prompt.
    pub(crate) fn step(&mut self, count: usize) -> Step<'_> {
        let start = self.sequence.len();
        let outputs = match start + count == self.job.prompt.len() {
            true if self.job.wants_states => Outputs::Traced,
            true => Outputs::Last,
            false => Outputs::None,
        };
        Step {
            tokens: &self.job.prompt[start..start + count],
            sequence: &mut self.sequence,
            outputs,
        }
    }

    /// Makes the sequences of the next `count` runs.
    pub(crate) fn fork_runs(&mut self, cache: &mut KvCache, count: usize) {
        let len = self.sequence.len();
        self.forks
            .extend((0..count).map(|_| cache.fork(&self.sequence, len)));
    }

    /// The steps of the runs of this pass.
    pub(crate) fn run_steps(&mut self) -> impl Iterator<Item = Step<'_>> {
        let runs = &self.job.plan.feeds[self.fed..];
        self.forks
            .iter_mut()
            .zip(runs)
            .map(|(sequence, tokens)| Step {
                sequence,
                tokens,
                outputs: Outputs::All,
            })
    }

    /// The factors that the row behind the prompt gives.
    pub(crate) fn root_needs(&mut self, request: usize, row: usize) -> Vec<Need> {
        self.root_done = true;
        let mut needs = Vec::new();
        for (option, factors) in self.job.plan.factors.iter().enumerate() {
            let root = factors.iter().filter(|factor| factor.depth == 0);
            needs.extend(root.map(|factor| need(row, request, option, factor)));
        }
        needs
    }

    /// The factors that the rows of the runs of this pass give.
    pub(crate) fn run_needs(&mut self, request: usize, rows: &[Range<usize>]) -> Vec<Need> {
        let feeds = self.fed..;
        self.fed += rows.len();
        let of_feed =
            |(feed, rows): (usize, &Range<usize>)| feed_needs(&self.job, request, feed, rows);
        feeds.zip(rows).flat_map(of_feed).collect()
    }

    /// Gives the sequences of the runs of this pass back.
    pub(crate) fn release_runs(&mut self, cache: &mut KvCache) {
        self.forks.drain(..).for_each(|fork| cache.release(fork));
    }

    pub(crate) fn is_done(&self) -> bool {
        self.root_done && self.runs_left() == 0
    }

    pub(crate) fn scoring(&self) -> Scoring {
        let options = self.job.options.iter().zip(&self.logprobs);
        Scoring {
            options: options
                .map(|(tokens, &logprob)| OptionScore {
                    logprob,
                    tokens: tokens.len(),
                })
                .collect(),
            states: self.states.clone(),
            usage: Usage {
                prompt_tokens: self.job.prompt.len(),
                cached_tokens: self.cached_tokens,
                completion_tokens: self.job.plan.feeds.iter().map(Vec::len).sum(),
                compute: self.started.elapsed(),
            },
        }
    }

    /// Adds a factor to an option's log-probability.
    pub(crate) fn add(&mut self, need: &Need, logprob: f32) {
        self.logprobs[need.option] += logprob;
    }
}

fn need(row: usize, request: usize, option: usize, factor: &Factor) -> Need {
    Need {
        row,
        request,
        option,
        token: factor.token,
        rivals: factor.rivals.clone(),
    }
}

/// The factors that a feed's rows give. Row d - 1 of the feed stands before depth d.
fn feed_needs(job: &ScoreJob, request: usize, feed: usize, rows: &Range<usize>) -> Vec<Need> {
    let options = (0..job.options.len()).filter(|&o| job.plan.feed_of[o] == Some(feed));
    options
        .flat_map(|option| {
            let deeper = job.plan.factors[option]
                .iter()
                .filter(|factor| factor.depth > 0);
            deeper.map(move |factor| need(rows.start + factor.depth - 1, request, option, factor))
        })
        .collect()
}

/// Computes the factors of all requests of a pass and calls `add` with each need and its
/// log-probability.
pub(crate) fn add_factors(
    runner: &mut Runner,
    machine: Machine<'_>,
    needs: &[Need],
    mut add: impl FnMut(&Need, f32),
) {
    let over_vocabulary = |need: &&Need| need.rivals.is_none();
    let (whole, confined): (Vec<&Need>, Vec<&Need>) = needs.iter().partition(over_vocabulary);
    add_confined(runner, machine, &confined, &mut add);
    add_over_vocabulary(runner, machine, &whole, &mut add);
}

/// Factors over the options alone: only the rows of the head that some option needs.
fn add_confined(
    runner: &mut Runner,
    machine: Machine<'_>,
    needs: &[&Need],
    add: &mut impl FnMut(&Need, f32),
) {
    if needs.is_empty() {
        return;
    }
    let rivals = |need: &&Need| need.rivals.clone().unwrap_or_default();
    let tokens = sorted(needs.iter().flat_map(rivals).collect());
    let rows = sorted(needs.iter().map(|need| need.row).collect());
    let logits = runner.logits_of(machine, &rows, &tokens);
    for need in needs {
        let row = position(&rows, &need.row) * tokens.len();
        let logit = |token: &TokenId| logits[row + position(&tokens, token)];
        let rivals: Vec<f32> = need.rivals.iter().flatten().map(logit).collect();
        add(need, logit(&need.token) - log_sum_exp(&rivals));
    }
}

/// Factors over the whole vocabulary, some rows at a time.
fn add_over_vocabulary(
    runner: &mut Runner,
    machine: Machine<'_>,
    needs: &[&Need],
    add: &mut impl FnMut(&Need, f32),
) {
    let rows = sorted(needs.iter().map(|need| need.row).collect());
    runner.for_each_logits(machine, &rows, |row, logits| {
        let normaliser = log_sum_exp(logits);
        for need in needs.iter().filter(|need| need.row == row) {
            add(need, logits[need.token as usize] - normaliser);
        }
    });
}

fn sorted<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort_unstable();
    items.dedup();
    items
}

fn position<T: Ord>(sorted: &[T], item: &T) -> usize {
    sorted
        .binary_search(item)
        .expect("the list was made from all items")
}
