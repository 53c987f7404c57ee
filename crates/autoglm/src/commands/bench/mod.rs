//! `autoglm model bench`: tokens per second, beside what the machine can do at most.

mod limits;
mod machine;
mod measure;
mod report;
mod work;

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::Path;

use anyhow::Context;
use autoglm_engine::{CacheType, LocalEngine, LocalSettings};
use autoglm_model::{GatingLimits, GgufFile, ModelConfig, Pool};
use autoglm_spec::{AttentionPolicy, Cancel, EngineError};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::attention::AttentionArgs;
use crate::engine::CacheTypeName;
use crate::interrupt::cancel_on_interrupt;
use limits::Weights;
use machine::Machine;
use measure::{Bench, Sizes};
use report::{Report, Row};
use work::Work;

/// Measure a model's speed on this machine, and the share of what the machine can do at most.
///
/// The machine's limits are measured with it: the bytes a second that all threads read from
/// memory, and the integer operations a second of the instruction that the matrix products rest
/// on. A pass cannot be faster than the bytes that it must read and the operations that it must
/// do take at these rates.
///
/// Without sizes: prefill of 512 tokens, decoding behind an empty context and behind 2,048
/// tokens, and 8 and 16 sequences that decode together. With sizes, only what they name. Tokens
/// are random and none is sampled; `--prefix` alone measures whole requests. With `--attention gated`
/// each depth is measured with full attention and with gates, in turn.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// The name of a model that is here, or the path of a GGUF file.
    pub model: String,
    /// Tokens of a prompt that is computed from an empty context; commas between several.
    #[arg(long, value_name = "TOKENS", value_delimiter = ',')]
    prefill: Vec<NonZeroUsize>,
    /// Tokens of context that one sequence decodes behind.
    #[arg(long, value_name = "TOKENS", value_delimiter = ',')]
    depth: Vec<usize>,
    /// Sequences that decode together from an empty context.
    #[arg(long, value_name = "N", value_delimiter = ',')]
    sequences: Vec<NonZeroUsize>,
    /// Tokens that the prompts of whole requests begin with: the time to the first token when the
    /// prefix is new and when it is known, and --clients requests at once behind it.
    #[arg(long, value_name = "TOKENS", value_delimiter = ',')]
    prefix: Vec<NonZeroUsize>,
    /// Requests at once for --prefix.
    #[arg(long, value_name = "N", default_value = "8")]
    clients: NonZeroUsize,
    /// Tokens that are decoded for one measurement.
    #[arg(long, value_name = "TOKENS", default_value = "32")]
    decode: NonZeroUsize,
    /// Counted measurements of each kind; one more comes first as a warm-up.
    #[arg(long, value_name = "N", default_value = "5")]
    repetitions: NonZeroUsize,
    /// Compute threads; all processors when not given.
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Seed of the random tokens.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How the cache stores keys and values: q8 takes half the memory of f16.
    #[arg(long, value_name = "TYPE", value_enum, default_value_t = CacheTypeName::F16)]
    cache_type: CacheTypeName,
    /// Print a JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    attention: AttentionArgs,
}

/// Runs the command on the model in a file.
///
/// # Errors
/// A file that is not usable, or sizes that the model's context does not hold.
pub(super) fn run(args: &BenchArgs, path: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
    let threads = args
        .threads
        .or_else(|| std::thread::available_parallelism().ok())
        .unwrap_or(NonZeroUsize::MIN);
    let pool = Pool::new(threads);
    let file = GgufFile::open(path)?;
    let weights = Weights::of(&file)?;
    let cache_type = CacheType::from(args.cache_type);
    let settings = LocalSettings {
        threads,
        cache_tokens: Some(args.engine_cache_tokens()),
        cache_type,
        memory_limit: None,
        quantize: None,
        adapter_bytes: 0,
    };
    let engine = LocalEngine::from_source(path.display().to_string(), &file, settings)?;
    drop(file);
    let works = args.works(engine.model().config())?;
    let mut machine = Machine::measure(&pool)?;
    let sizes = Sizes {
        decode: args.decode.get(),
        seed: args.seed,
        cache_type,
    };
    let bench = Bench::new(&engine, &pool, sizes, &works);
    let samples = measure_all(bench, &works, args.repetitions, &cancel_on_interrupt())?;
    // Speeds of a machine that is shared come and go; the better of before and after counts.
    machine.keep_better(&Machine::measure(&pool)?);
    let report = Report {
        model: path.to_owned(),
        threads,
        decode_tokens: args.decode,
        rows: works
            .iter()
            .zip(samples)
            .map(|(work, samples)| {
                let model = (engine.model().config(), cache_type);
                let demand = work.demand(model, &weights, args.decode.get());
                Row::new(work, samples, demand.and_then(|d| machine.limit(&d)))
            })
            .collect(),
        machine,
    };
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report.json())?)?;
    } else {
        report.write(out)?;
    }
    Ok(())
}

impl BenchArgs {
    /// What is measured, with everything that the model's context holds when nothing is named.
    fn works(&self, config: &ModelConfig) -> anyhow::Result<Vec<Work>> {
        let named = self.named();
        let fits = |work: &Work| work.context_tokens(self.decode.get()) <= config.context_tokens;
        if named.is_empty() {
            return Ok(Work::DEFAULTS.into_iter().filter(fits).collect());
        }
        for work in &named {
            anyhow::ensure!(
                fits(work),
                "{} takes {} tokens of context, the model has {}",
                work.title(),
                work.context_tokens(self.decode.get()),
                config.context_tokens
            );
        }
        Ok(named)
    }

    fn named(&self) -> Vec<Work> {
        let prefill = self.prefill.iter().map(|tokens| Work::Prefill {
            tokens: tokens.get(),
        });
        let depth = self.depth.iter().flat_map(|&depth| {
            let gated = self
                .gates()
                .map(|limits| Work::GatedDecode { depth, limits });
            std::iter::once(Work::Decode { depth }).chain(gated)
        });
        let sequences = self
            .sequences
            .iter()
            .map(|count| Work::Sequences { count: count.get() });
        let clients = self.clients.get();
        let prefix = self.prefix.iter().flat_map(|prefix| {
            let prefix = prefix.get();
            [
                Work::FirstToken { prefix },
                Work::NextFirstToken { prefix },
                Work::Clients { prefix, clients },
            ]
        });
        prefill
            .chain(depth)
            .chain(sequences)
            .chain(prefix)
            .collect()
    }

    /// What gates let through, where they are measured.
    fn gates(&self) -> Option<GatingLimits> {
        match self.attention.policy() {
            AttentionPolicy::Full => None,
            AttentionPolicy::Gated(settings) => Some(GatingLimits {
                sink_tokens: settings.sink_tokens,
                least_recent_tokens: settings.least_recent_tokens,
                most_recent_tokens: settings.most_recent_tokens,
                selected_tokens: settings.selected_tokens,
            }),
        }
    }

    /// Room in the engine's own cache for all requests of one measurement.
    fn engine_cache_tokens(&self) -> usize {
        let longest = self.prefix.iter().map(|prefix| prefix.get()).max();
        let request = longest.unwrap_or(0) + work::SUFFIX_TOKENS + self.decode.get();
        // Twice: what the measurement before has left is evicted, not waited for.
        2 * self.clients.get() * request
    }
}

/// Every sample of every work: a warm-up round and the counted ones, forwards and backwards in
/// turn, so that no work always follows the same other one.
fn measure_all(
    mut bench: Bench<'_>,
    works: &[Work],
    repetitions: NonZeroUsize,
    cancel: &Cancel,
) -> anyhow::Result<Vec<Vec<f64>>> {
    let rounds = repetitions.get() + 1;
    let progress = ProgressBar::new((rounds * works.len()) as u64);
    progress.set_style(
        ProgressStyle::with_template("{bar:30} {pos}/{len}  {eta} left  {msg}")
            .context("the progress line's template")?,
    );
    let mut samples = vec![Vec::with_capacity(repetitions.get()); works.len()];
    for round in 0..rounds {
        let mut order: Vec<usize> = (0..works.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            if cancel.is_cancelled() {
                return Err(EngineError::Cancelled.into());
            }
            progress.set_message(works[index].title());
            let sample = bench.measure(&works[index], cancel)?;
            if round > 0 {
                samples[index].push(sample);
            }
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    Ok(samples)
}
