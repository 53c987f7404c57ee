//! Probabilities of given continuations, the shared prompt computed once.

use std::ops::Range;
use std::time::Instant;

use autoglm_model::{Outputs, Sequence, Step, log_sum_exp};
use autoglm_spec::{Cancel, EngineError, OptionScore, Scoring, Usage};
use autoglm_token::TokenId;

use crate::options::{Factor, OptionPlan};
use crate::runner::{PASS_TOKENS, Runner};

/// Vocabulary-wide logit rows that are held at once: 32 × 262,144 × 4 bytes = 32 MiB.
const VOCABULARY_ROWS: usize = 32;

/// Option runs that are computed in one pass. Each takes two blocks at most, so 64 of them stay
/// far below the smallest cache.
const FEEDS_PER_PASS: usize = 64;

/// A request with its tokens.
pub(crate) struct ScoreJob {
    pub(crate) prompt: Vec<TokenId>,
    pub(crate) options: Vec<Vec<TokenId>>,
    pub(crate) plan: OptionPlan,
}

/// A job whose prompt is being or was computed.
struct Running<'j> {
    job: &'j ScoreJob,
    sequence: Sequence,
    cached_tokens: usize,
    logprobs: Vec<f32>,
    started: Instant,
}

/// A factor of an option's probability that the row's hidden state gives.
struct Need<'j> {
    row: usize,
    job: usize,
    option: usize,
    factor: &'j Factor,
}

/// Scores jobs; each as if it were alone. Stops early when cancelled.
pub(crate) fn score(
    runner: &mut Runner<'_>,
    jobs: &[ScoreJob],
    cancel: &Cancel,
) -> Vec<Result<Scoring, EngineError>> {
    let prompts: Vec<&[TokenId]> = jobs.iter().map(|job| job.prompt.as_slice()).collect();
    // A prefix that does not fit into the cache is no error yet: each job is still tried alone.
    let _ = runner.cache_shared_prefix(&prompts);
    let mut results = Vec::with_capacity(jobs.len());
    let mut most_jobs = usize::MAX;
    while results.len() < jobs.len() {
        if cancel.is_cancelled() {
            results.push(Err(EngineError::Cancelled));
            continue;
        }
        let (running, outcome) = score_pass(runner, &jobs[results.len()..], most_jobs);
        let scorings: Vec<Scoring> = running.iter().map(Running::scoring).collect();
        let count = running.len();
        for item in running {
            runner.release(item.sequence);
        }
        match outcome {
            Ok(()) => results.extend(scorings.into_iter().map(Ok)),
            Err(error) if count <= 1 => results.push(Err(error)),
            // Together they do not fit; fewer may.
            Err(_) => most_jobs = count / 2,
        }
    }
    results
}

/// Scores as many of the first jobs as one pass holds, at least one and at most `most_jobs`.
fn score_pass<'j>(
    runner: &mut Runner<'_>,
    jobs: &'j [ScoreJob],
    most_jobs: usize,
) -> (Vec<Running<'j>>, Result<(), EngineError>) {
    let mut running = Vec::new();
    let mut tokens = 0;
    for job in jobs.iter().take(most_jobs) {
        let sequence = runner.begin(&job.prompt);
        tokens += job.prompt.len() - sequence.len();
        if tokens > PASS_TOKENS && !running.is_empty() {
            runner.release(sequence);
            break;
        }
        running.push(Running {
            job,
            cached_tokens: sequence.len(),
            sequence,
            logprobs: vec![0.0; job.options.len()],
            started: Instant::now(),
        });
    }
    let outcome = run_prompts(runner, &mut running).and_then(|()| run_feeds(runner, &mut running));
    (running, outcome)
}

/// Computes the prompts and every option's first factor.
fn run_prompts(runner: &mut Runner<'_>, running: &mut [Running<'_>]) -> Result<(), EngineError> {
    let mut steps = Vec::with_capacity(running.len());
    for item in running.iter_mut() {
        let left = &item.job.prompt[item.sequence.len()..];
        let tokens = runner.feed_beginning(&mut item.sequence, left)?;
        steps.push(Step {
            sequence: &mut item.sequence,
            tokens,
            outputs: Outputs::Last,
        });
    }
    let rows = runner.forward(&mut steps)?;
    drop(steps);
    let mut needs = Vec::new();
    for (job, (item, row)) in running.iter().zip(rows).enumerate() {
        for (option, factors) in item.job.plan.factors.iter().enumerate() {
            let root = factors.iter().filter(|factor| factor.depth == 0);
            needs.extend(root.map(|factor| Need {
                row: row.start,
                job,
                option,
                factor,
            }));
        }
    }
    add_factors(runner, running, &needs);
    Ok(())
}

/// Computes what stands behind the prompts: the factors at depth ≥ 1.
fn run_feeds(runner: &mut Runner<'_>, running: &mut [Running<'_>]) -> Result<(), EngineError> {
    let feeds: Vec<(usize, usize)> = running
        .iter()
        .enumerate()
        .flat_map(|(job, item)| (0..item.job.plan.feeds.len()).map(move |feed| (job, feed)))
        .collect();
    for chunk in feeds.chunks(FEEDS_PER_PASS) {
        let mut forks: Vec<Sequence> = chunk
            .iter()
            .map(|&(job, _)| runner.fork(&running[job].sequence))
            .collect();
        let outcome = run_feed_chunk(runner, running, chunk, &mut forks);
        for fork in forks {
            runner.release(fork);
        }
        outcome?;
    }
    Ok(())
}

fn run_feed_chunk(
    runner: &mut Runner<'_>,
    running: &mut [Running<'_>],
    chunk: &[(usize, usize)],
    forks: &mut [Sequence],
) -> Result<(), EngineError> {
    let mut steps: Vec<Step<'_>> = chunk
        .iter()
        .zip(forks)
        .map(|(&(job, feed), sequence)| Step {
            sequence,
            tokens: &running[job].job.plan.feeds[feed],
            outputs: Outputs::All,
        })
        .collect();
    let rows = runner.forward(&mut steps)?;
    let needs: Vec<Need<'_>> = chunk
        .iter()
        .zip(&rows)
        .flat_map(|(&(job, feed), rows)| feed_needs(running[job].job, job, feed, rows))
        .collect();
    add_factors(runner, running, &needs);
    Ok(())
}

/// The factors that a feed's rows give. Row d - 1 of the feed stands before depth d.
fn feed_needs<'j>(
    job: &'j ScoreJob,
    index: usize,
    feed: usize,
    rows: &Range<usize>,
) -> Vec<Need<'j>> {
    let options = (0..job.options.len()).filter(|&o| job.plan.feed_of[o] == Some(feed));
    options
        .flat_map(|option| {
            let deeper = job.plan.factors[option]
                .iter()
                .filter(|factor| factor.depth > 0);
            deeper.map(move |factor| Need {
                row: rows.start + factor.depth - 1,
                job: index,
                option,
                factor,
            })
        })
        .collect()
}

/// Adds factors to the options' log-probabilities.
fn add_factors(runner: &mut Runner<'_>, running: &mut [Running<'_>], needs: &[Need<'_>]) {
    let over_vocabulary = |need: &&Need<'_>| need.factor.rivals.is_none();
    let (whole, confined): (Vec<&Need<'_>>, Vec<&Need<'_>>) =
        needs.iter().partition(over_vocabulary);
    add_confined(runner, running, &confined);
    add_over_vocabulary(runner, running, &whole);
}

/// Factors over the options alone: only the rows of the head that some option needs.
fn add_confined(runner: &mut Runner<'_>, running: &mut [Running<'_>], needs: &[&Need<'_>]) {
    let rivals = |need: &&Need<'_>| need.factor.rivals.clone().unwrap_or_default();
    let tokens = sorted(needs.iter().flat_map(rivals).collect());
    let rows = sorted(needs.iter().map(|need| need.row).collect());
    if needs.is_empty() {
        return;
    }
    let logits = runner.logits_of(&rows, &tokens);
    for need in needs {
        let row = position(&rows, &need.row) * tokens.len();
        let logit = |token: &TokenId| logits[row + position(&tokens, token)];
        let rivals: Vec<f32> = need.factor.rivals.iter().flatten().map(logit).collect();
        running[need.job].logprobs[need.option] += logit(&need.factor.token) - log_sum_exp(&rivals);
    }
}

/// Factors over the whole vocabulary, some rows at a time.
fn add_over_vocabulary(runner: &mut Runner<'_>, running: &mut [Running<'_>], needs: &[&Need<'_>]) {
    let rows = sorted(needs.iter().map(|need| need.row).collect());
    for chunk in rows.chunks(VOCABULARY_ROWS) {
        let logits = runner.logits(chunk);
        for (&row, logits) in chunk.iter().zip(&logits) {
            let normaliser = log_sum_exp(logits);
            for need in needs.iter().filter(|need| need.row == row) {
                running[need.job].logprobs[need.option] +=
                    logits[need.factor.token as usize] - normaliser;
            }
        }
    }
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

impl Running<'_> {
    fn scoring(&self) -> Scoring {
        let options = self.job.options.iter().zip(&self.logprobs);
        Scoring {
            options: options
                .map(|(tokens, &logprob)| OptionScore {
                    logprob,
                    tokens: tokens.len(),
                })
                .collect(),
            usage: Usage {
                prompt_tokens: self.job.prompt.len(),
                cached_tokens: self.cached_tokens,
                completion_tokens: self.job.plan.feeds.iter().map(Vec::len).sum(),
                compute: self.started.elapsed(),
            },
        }
    }
}
