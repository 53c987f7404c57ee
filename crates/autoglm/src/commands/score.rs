//! `autoglm score`: probabilities of given continuations.

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use autoglm_spec::{Cancel, Normalise, Prompt, Score, ScoreRequest};
use clap::Args;
use serde_json::json;

use crate::engine::EngineArgs;
use crate::models::Need;

/// Score given continuations of a prompt by their log-probabilities.
#[derive(Debug, Args)]
pub struct ScoreArgs {
    /// What stands before the options; no chat template is applied.
    #[arg(long, short = 'p', allow_hyphen_values = true)]
    prompt: String,
    /// A continuation, as it would stand behind the prompt (mind the space in front); give it
    /// once for each.
    #[arg(
        long = "option",
        short = 'o',
        value_name = "TEXT",
        required = true,
        allow_hyphen_values = true
    )]
    options: Vec<String>,
    /// Normalise over the options alone instead of over the whole vocabulary.
    #[arg(long)]
    among_options: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

/// Runs the command.
///
/// # Errors
/// A model that cannot be used, options that are empty or equal, a prompt that does not fit.
pub fn run(args: &ScoreArgs, home: &Path) -> anyhow::Result<()> {
    let engine = args.engine.open(home, Need::Closed)?;
    let normalise = if args.among_options {
        Normalise::Options
    } else {
        Normalise::Vocabulary
    };
    let request = ScoreRequest {
        prompt: Prompt::Plain(args.prompt.clone()),
        options: args.options.clone(),
        normalise,
        states: false,
        adapter: None,
    };
    let results = engine.score(&[request], &Cancel::default());
    let scoring = results
        .into_iter()
        .next()
        .context("the engine gave no result")??;
    engine.tell_notes();
    let mut out = std::io::stdout().lock();
    let scored = args.options.iter().zip(&scoring.options);
    if args.json {
        let options: Vec<_> = scored
            .map(|(text, s)| json!({"option": text, "logprob": s.logprob, "tokens": s.tokens}))
            .collect();
        writeln!(
            out,
            "{}",
            json!({"options": options, "usage": scoring.usage})
        )?;
    } else {
        for (text, score) in scored {
            writeln!(
                out,
                "{:>10.4}  {:>8.4}  {text:?}",
                score.logprob,
                score.logprob.exp()
            )?;
        }
    }
    Ok(())
}
