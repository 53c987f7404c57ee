//! `autoglm perplexity`: how well a model predicts a text.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use autoglm_engine::{Divergence, Estimate, LocalEngine, Perplexity, PerplexitySettings};
use autoglm_spec::AttentionPolicy;
use autoglm_token::{Specials, TokenId};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use serde_json::json;

use super::attention::AttentionArgs;
use crate::engine::LocalArgs;
use crate::interrupt::cancel_on_interrupt;
use crate::models::Need;

/// Measure how well a model predicts a text. The text is cut into windows of --context positions,
/// each computed from an empty cache, with BOS in front where the model wants one; every token
/// but the first position of a window is predicted.
#[derive(Debug, Args)]
pub struct PerplexityArgs {
    /// A text file.
    #[arg(long, value_name = "FILE", required_unless_present = "continuations")]
    text: Option<PathBuf>,
    /// Instead of a text: a file of JSON lines `{"prompt": TEXT, "continuations": [TEXT, …]}`. Each
    /// prompt is read once, in full, and each of its continuations is predicted from there; a
    /// line of negative log-likelihoods is printed for each. With `"attention": ["full", {"gated":
    /// {"selected_tokens": N, …}}, …]` in a line, under each of these in turn.
    #[arg(long, value_name = "FILE",
          conflicts_with_all = ["text", "context", "limit", "last", "reference", "json"])]
    continuations: Option<PathBuf>,
    /// Positions of a window.
    #[arg(long, value_name = "TOKENS", default_value_t = 512)]
    context: usize,
    /// Use this many tokens of the text at most.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Predict only the last N tokens of each window; the ones before stand for a prompt.
    #[arg(long, value_name = "N", conflicts_with = "reference")]
    last: Option<usize>,
    /// Compare the predictions with those of another model with the same vocabulary, such as
    /// the original of a quantised one: a GGUF file or a name.
    #[arg(long, value_name = "MODEL")]
    reference: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    attention: AttentionArgs,
    #[command(flatten)]
    engine: LocalArgs,
}

/// Runs the command.
///
/// # Errors
/// A text that cannot be read or has fewer than two tokens, a model that cannot be used.
pub fn run(args: &PerplexityArgs, home: &Path) -> anyhow::Result<()> {
    if let Some(path) = &args.continuations {
        return predict_continuations(args, home, path);
    }
    let path = args.text.as_deref().context("no text is given")?;
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the text {}", path.display()))?;
    let engine = args.engine.open(home, Need::Closed)?;
    let mut tokens = engine.tokenizer().encode(&text, Specials::AsText);
    tokens.truncate(args.limit.unwrap_or(usize::MAX));
    anyhow::ensure!(
        tokens.len() >= 2,
        "the text has {} tokens, want at least 2",
        tokens.len()
    );
    match &args.reference {
        Some(reference) => compare(args, home, reference, &engine, &tokens),
        None => measure(args, &engine, &tokens),
    }
}

/// A prompt and what may follow it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Continued {
    prompt: String,
    continuations: Vec<String>,
    /// What the command line says where not given.
    #[serde(default)]
    attention: Vec<AttentionPolicy>,
}

fn predict_continuations(args: &PerplexityArgs, home: &Path, path: &Path) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the continuations {}", path.display()))?;
    let engine = args.engine.open(home, Need::Closed)?;
    let tokens = |text: &str| engine.tokenizer().encode(text, Specials::AsText);
    let cancel = cancel_on_interrupt();
    for (index, line) in text.lines().enumerate() {
        let place = || format!("line {} of {}", index + 1, path.display());
        let mut line: Continued = serde_json::from_str(line).with_context(place)?;
        if line.attention.is_empty() {
            line.attention.push(args.attention.policy());
        }
        let continuations: Vec<_> = line.continuations.iter().map(|text| tokens(text)).collect();
        let prompt = tokens(&line.prompt);
        let found = engine
            .predict_continuations(&prompt, &continuations, &line.attention, &cancel)
            .with_context(place)?;
        let losses = |found: &Vec<Perplexity>| -> Vec<f64> {
            found.iter().map(|f| f.negative_log_likelihood).collect()
        };
        let counts: Vec<usize> = continuations.iter().map(Vec::len).collect();
        let result = json!({
            "prompt_tokens": prompt.len(),
            "predicted_tokens": counts,
            "negative_log_likelihoods": found.iter().map(losses).collect::<Vec<_>>(),
        });
        writeln!(std::io::stdout().lock(), "{result}")?;
    }
    Ok(())
}

fn progress_bar(tokens: &[TokenId]) -> anyhow::Result<ProgressBar> {
    let progress = ProgressBar::new(tokens.len() as u64);
    progress.set_style(
        ProgressStyle::with_template("{bar:30} {pos}/{len} tokens  {per_sec}  {eta} left  {msg}")
            .context("the progress line's template")?,
    );
    Ok(progress)
}

fn measure(args: &PerplexityArgs, engine: &LocalEngine, tokens: &[TokenId]) -> anyhow::Result<()> {
    let progress = progress_bar(tokens)?;
    let started = Instant::now();
    let settings = PerplexitySettings {
        context: args.context,
        last: args.last,
        attention: args.attention.policy(),
    };
    let total = engine.perplexity(tokens, &settings, &cancel_on_interrupt(), &mut |so_far| {
        progress.set_position(so_far.predicted_tokens as u64);
        progress.set_message(format!("perplexity {:.4}", so_far.value()));
    })?;
    progress.finish_and_clear();
    let seconds = started.elapsed().as_secs_f64();
    let mut out = std::io::stdout().lock();
    if args.json {
        let result = json!({
            "perplexity": total.value(),
            "negative_log_likelihood": total.negative_log_likelihood,
            "predicted_tokens": total.predicted_tokens,
            "text_tokens": tokens.len(),
            "context": args.context,
            "seconds": seconds,
        });
        writeln!(out, "{result}")?;
    } else {
        writeln!(
            out,
            "perplexity {:.4} over {} tokens in {seconds:.1} s",
            total.value(),
            total.predicted_tokens
        )?;
    }
    Ok(())
}

fn compare(
    args: &PerplexityArgs,
    home: &Path,
    reference: &str,
    engine: &LocalEngine,
    tokens: &[TokenId],
) -> anyhow::Result<()> {
    let mut original = args.engine.clone();
    original.model = Some(reference.to_owned());
    // The original is what it is.
    original.quantize = None;
    original.adapter = None;
    let original = original.open(home, Need::Closed)?;
    let progress = progress_bar(tokens)?;
    let started = Instant::now();
    let found = engine.divergence(
        &original,
        tokens,
        args.context,
        &cancel_on_interrupt(),
        &mut |so_far| {
            progress.set_position(so_far.predicted_tokens() as u64);
            progress.set_message(format!("divergence {:.5}", so_far.divergence().mean));
        },
    )?;
    progress.finish_and_clear();
    write_comparison(args, &found, tokens.len(), started.elapsed().as_secs_f64())
}

fn write_comparison(
    args: &PerplexityArgs,
    found: &Divergence,
    text_tokens: usize,
    seconds: f64,
) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let (ratio, divergence, agreement) = (
        found.perplexity_ratio(),
        found.divergence(),
        found.agreement(),
    );
    if args.json {
        let estimate = |estimate: Estimate| {
            // The error of a single window is not a number that JSON has.
            json!({"mean": estimate.mean, "standard_error": estimate.standard_error})
        };
        let result = json!({
            "perplexity": found.perplexity(),
            "reference_perplexity": found.reference_perplexity(),
            "perplexity_ratio": estimate(ratio),
            "divergence": estimate(divergence),
            "agreement": estimate(agreement),
            "predicted_tokens": found.predicted_tokens(),
            "text_tokens": text_tokens,
            "context": args.context,
            "seconds": seconds,
        });
        writeln!(out, "{result}")?;
        return Ok(());
    }
    let Estimate {
        mean,
        standard_error,
    } = ratio;
    writeln!(
        out,
        "perplexity {:.4}, reference {:.4}, ratio {mean:.5} ± {standard_error:.5}",
        found.perplexity(),
        found.reference_perplexity(),
    )?;
    let Estimate {
        mean,
        standard_error,
    } = divergence;
    writeln!(
        out,
        "divergence {mean:.6} ± {standard_error:.6} nats a token"
    )?;
    let Estimate {
        mean,
        standard_error,
    } = agreement;
    writeln!(
        out,
        "the same first choice for {:.2} % ± {:.2} % of {} tokens, {seconds:.1} s",
        100.0 * mean,
        100.0 * standard_error,
        found.predicted_tokens(),
    )?;
    Ok(())
}
