//! `autoglm tokenize`: a text as the model sees it.

use std::io::{Read, Write};
use std::path::Path;

use anyhow::Context;
use autoglm_token::{Specials, Tokenizer};
use clap::Args;
use serde_json::json;

use crate::models::{Need, resolve_model};

/// Show the tokens of a text.
#[derive(Debug, Args)]
pub struct TokenizeArgs {
    /// The text; read from standard input when not given.
    text: Option<String>,
    /// Take the text of control tokens, such as `<|im_end|>`, for the tokens themselves.
    #[arg(long)]
    special: bool,
    /// Print only the number of tokens.
    #[arg(long, conflicts_with = "json")]
    count: bool,
    /// Print one JSON array of {id, text}.
    #[arg(long)]
    json: bool,
    /// A GGUF file, a folder with safetensors, or the name of a model.
    #[arg(long, short = 'm', value_name = "MODEL")]
    model: Option<String>,
}

/// Runs the command. Only the model's vocabulary is read, not its weights.
///
/// # Errors
/// A model that cannot be used, or text that cannot be read.
pub fn run(args: &TokenizeArgs, home: &Path) -> anyhow::Result<()> {
    let path = resolve_model(home, args.model.as_deref(), Need::Closed)?;
    let tokenizer = Tokenizer::new(autoglm_model::open(&path)?.vocabulary()?)?;
    let text = read_text(args)?;
    let specials = if args.special {
        Specials::Parse
    } else {
        Specials::AsText
    };
    let tokens = tokenizer.encode(&text, specials);
    let mut out = std::io::stdout().lock();
    if args.count {
        writeln!(out, "{}", tokens.len())?;
        return Ok(());
    }
    let shown = |id| tokenizer.token_text(id).into_owned();
    if args.json {
        let tokens: Vec<_> = tokens
            .iter()
            .map(|&id| json!({"id": id, "text": shown(id)}))
            .collect();
        writeln!(out, "{}", serde_json::Value::from(tokens))?;
    } else {
        for &id in &tokens {
            writeln!(out, "{id:>8}  {:?}", shown(id))?;
        }
    }
    Ok(())
}

/// The text of the command line, or of standard input.
fn read_text(args: &TokenizeArgs) -> anyhow::Result<String> {
    if let Some(text) = &args.text {
        return Ok(text.clone());
    }
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .context("cannot read standard input")?;
    Ok(text)
}
