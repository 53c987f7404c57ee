//! `autoglm generate`: one prompt, one answer.

use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use autoglm_engine::EngineStats;
use autoglm_spec::{
    Completion, Constraint, Decoding, Generate, GenerateRequest, Prompt, Role, Sampling, Segment,
    Usage,
};
use autoglm_token::{Answer, ChatOptions, ToolDefinition};
use clap::Args;
use serde_json::json;

use super::attention::AttentionArgs;
use super::sampling::{DecodingArgs, SamplingArgs};
use crate::engine::{EngineArgs, OpenEngine};
use crate::interrupt::cancel_on_interrupt;
use crate::models::Need;

/// Generate text for one prompt. The answer goes to standard output as it is made; without
/// sampling options it is always made of the most likely tokens.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// The prompt; read from standard input when neither this nor --prompt-file is given.
    #[arg(
        long,
        short = 'p',
        conflicts_with = "prompt_file",
        allow_hyphen_values = true
    )]
    prompt: Option<String>,
    /// Read the prompt from a file.
    #[arg(long, value_name = "FILE")]
    prompt_file: Option<PathBuf>,
    /// A system message in front of the prompt.
    #[arg(
        long,
        value_name = "TEXT",
        conflicts_with = "raw",
        allow_hyphen_values = true
    )]
    system: Option<String>,
    /// Continue the prompt as it stands, without the model's chat template.
    #[arg(long)]
    raw: bool,
    /// Tokens at most.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 256)]
    max_tokens: usize,
    /// End the answer before this text; may be given several times.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    stop: Vec<String>,
    /// A JSON Schema file that the answer must satisfy.
    #[arg(long, value_name = "FILE", conflicts_with = "regex")]
    json_schema: Option<PathBuf>,
    /// A regular expression that the answer must match from start to end.
    #[arg(long, value_name = "REGEX")]
    regex: Option<String>,
    /// A JSON file with a list of tools that the model may call; --json prints its calls.
    #[arg(long, value_name = "FILE", conflicts_with = "raw")]
    tools: Option<PathBuf>,
    /// Answer without thinking first, where the model's chat template can ask for that.
    #[arg(long, conflicts_with = "raw")]
    no_thinking: bool,
    /// Print one JSON object with text, what it says (reasoning, content, calls of tools),
    /// tokens, log-probabilities and timings.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    sampling: SamplingArgs,
    #[command(flatten)]
    decoding: DecodingArgs,
    #[command(flatten)]
    attention: AttentionArgs,
    #[command(flatten)]
    engine: EngineArgs,
}

/// Runs the command.
///
/// # Errors
/// A prompt or schema that cannot be read, a model that cannot be used, a request that does not
/// fit.
pub fn run(args: &GenerateArgs, home: &Path) -> anyhow::Result<()> {
    let prompt = read_prompt(args)?;
    let constraint = read_constraint(args)?;
    let options = ChatOptions {
        tools: read_tools(args)?,
        thinking: args.no_thinking.then_some(false),
    };
    let engine = args.engine.open_for_chat(home, Need::Open, options)?;
    let request = GenerateRequest {
        prompt: shape_prompt(args, &engine, prompt),
        max_tokens: args.max_tokens,
        sampling: args.sampling.sampling(Sampling::GREEDY),
        logit_bias: Vec::new(),
        stop: args.stop.clone(),
        constraint,
        decoding: args.decoding.decoding(Decoding {
            logprobs: args.json,
            ..Decoding::default()
        }),
        attention: args.attention.policy(),
        adapter: None,
    };
    let cancel = cancel_on_interrupt();
    let mut out = std::io::stdout().lock();
    let stream = !args.json;
    let results = engine.generate(std::slice::from_ref(&request), &cancel, &mut |_, delta| {
        if stream {
            // A reader that went away ends the program at the final write.
            let _ = out
                .write_all(delta.text.as_bytes())
                .and_then(|()| out.flush());
        }
    });
    let completion = results
        .into_iter()
        .next()
        .context("the engine gave no result")??;
    engine.tell_notes();
    if args.json {
        let answer = engine
            .answer_parser(&request.prompt)?
            .parse(&completion.text);
        writeln!(out, "{}", describe(&completion, &answer, engine.stats()))?;
    } else {
        writeln!(out)?;
        report(&completion.usage);
    }
    Ok(())
}

fn read_prompt(args: &GenerateArgs) -> anyhow::Result<String> {
    if let Some(prompt) = &args.prompt {
        return Ok(prompt.clone());
    }
    if let Some(file) = &args.prompt_file {
        return std::fs::read_to_string(file)
            .with_context(|| format!("cannot read the prompt file {}", file.display()));
    }
    if std::io::stdin().is_terminal() {
        anyhow::bail!(
            "no prompt is given\nhint: use --prompt TEXT, --prompt-file FILE or standard input"
        );
    }
    let mut prompt = String::new();
    std::io::stdin()
        .read_to_string(&mut prompt)
        .context("cannot read standard input")?;
    Ok(prompt)
}

fn read_constraint(args: &GenerateArgs) -> anyhow::Result<Option<Constraint>> {
    if let Some(regex) = &args.regex {
        return Ok(Some(Constraint::Regex(regex.clone())));
    }
    let Some(file) = &args.json_schema else {
        return Ok(None);
    };
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read the JSON Schema {}", file.display()))?;
    let schema =
        serde_json::from_str(&text).with_context(|| format!("{} is no JSON", file.display()))?;
    Ok(Some(Constraint::JsonSchema(schema)))
}

/// The tools that the model may call.
fn read_tools(args: &GenerateArgs) -> anyhow::Result<Vec<ToolDefinition>> {
    let Some(file) = &args.tools else {
        return Ok(Vec::new());
    };
    let name = file.display();
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {name}"))?;
    let tools: Vec<serde_json::Value> =
        serde_json::from_str(&text).with_context(|| format!("{name} is no JSON list of tools"))?;
    let read = |(index, tool)| {
        ToolDefinition::from_json(tool)
            .with_context(|| format!("tool {index} of {name} has no \"name\""))
    };
    (1..).zip(tools).map(read).collect()
}

/// Turns where the model follows turns, plain text where it does not or must not.
fn shape_prompt(args: &GenerateArgs, engine: &OpenEngine, prompt: String) -> Prompt {
    if args.raw || !engine.facts().chat {
        let system = args.system.as_ref().map(|system| format!("{system}\n\n"));
        return Prompt::Plain(system.unwrap_or_default() + &prompt);
    }
    let system = args.system.iter().map(|text| Segment {
        role: Role::System,
        text: text.clone(),
    });
    Prompt::Chat(
        system
            .chain([Segment {
                role: Role::User,
                text: prompt,
            }])
            .collect(),
    )
}

fn describe(
    completion: &Completion,
    answer: &Answer,
    stats: Option<EngineStats>,
) -> serde_json::Value {
    let mut described = json!({
        "text": completion.text,
        "reasoning": answer.reasoning,
        "content": answer.content,
        "tool_calls": answer.tool_calls,
        "malformed_calls": answer.malformed,
        "finish": completion.finish,
        "tokens": completion.tokens,
        "logprobs": completion.logprobs,
        "usage": completion.usage,
    });
    // A server does not tell how it went about it.
    if let Some(stats) = stats {
        described["passes"] = json!(stats.passes);
        described["computed_tokens"] = json!(stats.computed_tokens);
        described["proposed_tokens"] = json!(stats.proposed_tokens);
        described["accepted_tokens"] = json!(stats.accepted_tokens);
        described["forced_tokens"] = json!(stats.forced_tokens);
    }
    described
}

/// Tokens and speed on standard error, when a person looks at it.
#[expect(
    clippy::print_stderr,
    reason = "talk to the user goes to standard error"
)]
pub(super) fn report(usage: &Usage) {
    if std::io::stderr().is_terminal() {
        let seconds = usage.compute.as_secs_f64();
        eprintln!(
            "{} prompt tokens ({} cached), {} answered in {seconds:.2} s",
            usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens,
        );
    }
}
