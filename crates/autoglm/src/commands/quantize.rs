//! `autoglm model quantize`: writes a model in another number format.

use std::io::Write;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use autoglm_model::{
    ModelError, Pool, QuantizeProgress, QuantizeSummary, QuantizedType, Quantizer, identity, open,
};
use autoglm_spec::EngineError;
use clap::Args;
use indicatif::{DecimalBytes, ProgressBar, ProgressStyle};
use serde_json::json;

use crate::engine::{available_threads, quantized_type};
use crate::interrupt::cancel_on_interrupt;
use crate::models::ModelStore;

/// Write a model with its weights in another number format.
///
/// Memory is bounded whatever the model's size. Until it is whole the file grows under a hidden
/// name beside OUT; a run that was interrupted goes on where it stopped when it is started again,
/// and gives the same bytes as a run at once.
#[derive(Debug, Args)]
pub struct QuantizeArgs {
    /// A GGUF file, a folder with `config.json` and safetensors, or the name of a model that
    /// `autoglm model list` shows.
    input: String,
    /// The GGUF file to write.
    output: PathBuf,
    /// `q8_0`, `q4_0`, `q4_k_m`, `f16` or `bf16`.
    #[arg(long = "type", value_name = "TYPE", value_parser = quantized_type)]
    kind: QuantizedType,
    /// Write over OUT where it exists.
    #[arg(long)]
    force: bool,
    /// Compute threads; all processors when not given.
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Print a JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// A model that cannot be used, a file that is there already or cannot be written, a weight that
/// does not fit into the format, Ctrl-C.
pub fn run(args: &QuantizeArgs, store: &ModelStore, out: &mut dyn Write) -> anyhow::Result<()> {
    anyhow::ensure!(
        args.force || !args.output.exists(),
        "{} exists already\nhint: --force writes over it",
        args.output.display()
    );
    let path = store.find(&args.input)?;
    let source = open(&path)?;
    if path.is_dir() {
        // Only files that were so before have no tokenizer.
        source.vocabulary()?;
    }
    let quantizer = Quantizer::new(&*source, args.kind)?;
    warn_of_double_loss(&quantizer);
    let pool = Pool::new(args.threads.unwrap_or_else(available_threads));
    let started = Instant::now();
    let summary = write(&quantizer, &path, args, &pool)?;
    report(args, &summary, started.elapsed().as_secs_f64(), out)
}

fn write(
    quantizer: &Quantizer<'_>,
    path: &Path,
    args: &QuantizeArgs,
    pool: &Pool,
) -> anyhow::Result<QuantizeSummary> {
    let (cancel, bar) = (cancel_on_interrupt(), progress_bar()?);
    let mut on_progress = |progress: QuantizeProgress| {
        show(&bar, progress);
        if cancel.is_cancelled() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let outcome = quantizer.write(&args.output, &identity(path)?, pool, &mut on_progress);
    bar.finish_and_clear();
    let kept = format!(
        "{} of {} is not whole\nhint: what is written is kept; the same command goes on",
        args.output.display(),
        DecimalBytes(quantizer.size_bytes())
    );
    match outcome {
        Ok(Some(summary)) => Ok(summary),
        Ok(None) => Err(EngineError::Cancelled).context(kept),
        Err(error @ ModelError::Write { .. }) => Err(error).context(kept),
        Err(error) => Err(error.into()),
    }
}

fn warn_of_double_loss(quantizer: &Quantizer<'_>) {
    let twice = quantizer.requantized();
    if let Some((name, format)) = twice.first() {
        say(&format!(
            "warning: {} tensors are quantised already ({name} is {}) and lose a second time; \
             quantise the original where you have it",
            twice.len(),
            format.name()
        ));
    }
}

fn progress_bar() -> anyhow::Result<ProgressBar> {
    let bar = ProgressBar::new(0);
    let template = "{bar:30} {percent} %  {msg}  {eta} left";
    bar.set_style(ProgressStyle::with_template(template).context("the progress line's template")?);
    Ok(bar)
}

fn show(bar: &ProgressBar, progress: QuantizeProgress) {
    if bar.length() != Some(progress.total_weights) {
        // What an earlier run has written says nothing of this one's rate.
        bar.set_length(progress.total_weights);
        bar.set_position(progress.weights);
        bar.reset_eta();
    }
    bar.set_position(progress.weights);
    bar.set_message(format!("{:.0} million weights/s", bar.per_sec() / 1e6));
}

fn report(
    args: &QuantizeArgs,
    summary: &QuantizeSummary,
    seconds: f64,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let bits = 8.0 * summary.size_bytes as f64 / summary.weights as f64;
    if args.json {
        let facts = json!({
            "path": args.output,
            "type": args.kind.name(),
            "tensors": summary.tensors,
            "resumed_tensors": summary.resumed_tensors,
            "weights": summary.weights,
            "size_bytes": summary.size_bytes,
            "bits_per_weight": bits,
            "seconds": seconds,
        });
        writeln!(out, "{facts}")?;
        return Ok(());
    }
    let resumed = match summary.resumed_tensors {
        0 => String::new(),
        resumed => format!(" ({resumed} from before)"),
    };
    writeln!(
        out,
        "{}: {} tensors{resumed}, {}, {bits:.2} bits a weight, {seconds:.1} s",
        args.output.display(),
        summary.tensors,
        DecimalBytes(summary.size_bytes),
    )?;
    Ok(())
}

#[expect(
    clippy::print_stderr,
    reason = "talk to the user goes to standard error"
)]
fn say(text: &str) {
    eprintln!("{text}");
}
