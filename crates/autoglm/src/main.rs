//! `autoglm`: turns a task told in plain words into a program that runs on a language model.
//!
//! Standard output is data, standard error is talk. Only this crate reads the environment and the
//! command line.

#![expect(unreachable_pub, reason = "a binary exports nothing")]

mod commands;
mod engine;
mod environment;
mod exit;
mod interrupt;
mod models;
mod serve;
mod streams;

use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::commands::knowledge::{ask, index, search};
use crate::commands::{
    chat, embed, eval, examples, feedback, generate, init, key, learn, model, optimize, perplexity,
    report, run, runs, score, serve as serve_command, strategy, tokenize,
};

/// Turns a task told in plain words into a program that runs on a language model.
#[derive(Debug, Parser)]
#[command(name = "autoglm", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::InitArgs),
    Run(run::RunArgs),
    Eval(eval::EvalArgs),
    Examples(examples::ExamplesArgs),
    Feedback(feedback::FeedbackArgs),
    Learn(learn::LearnArgs),
    Runs(runs::RunsArgs),
    Report(report::ReportArgs),
    Optimize(Box<optimize::OptimizeArgs>),
    Strategy(strategy::StrategyCommandArgs),
    Serve(serve_command::ServeArgs),
    Key(key::KeyArgs),
    Model(model::ModelArgs),
    Generate(generate::GenerateArgs),
    Chat(chat::ChatArgs),
    Score(score::ScoreArgs),
    Embed(embed::EmbedArgs),
    Index(index::IndexArgs),
    Search(Box<search::SearchArgs>),
    Ask(Box<ask::AskArgs>),
    Perplexity(perplexity::PerplexityArgs),
    Tokenize(tokenize::TokenizeArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match environment::home().and_then(|home| dispatch(&cli.command, &home)) {
        Ok(code) => code,
        Err(error) => exit::report(&error),
    }
}

fn dispatch(command: &Command, home: &Path) -> anyhow::Result<ExitCode> {
    match command {
        Command::Init(args) => init::run(args, home)?,
        Command::Run(args) => return run::run(args, home),
        Command::Eval(args) => return eval::run(args, home),
        Command::Examples(args) => examples::run(args, home)?,
        Command::Feedback(args) => feedback::run(args, home)?,
        Command::Learn(args) => learn::run(args)?,
        Command::Runs(args) => runs::run(args, home)?,
        Command::Report(args) => report::run(args, home)?,
        Command::Optimize(args) => return optimize::run(args, home),
        Command::Strategy(args) => return strategy::run(args, home),
        Command::Serve(args) => serve_command::run(args, home)?,
        Command::Key(args) => key::run(args)?,
        Command::Model(args) => model::run(args, home)?,
        Command::Generate(args) => generate::run(args, home)?,
        Command::Chat(args) => chat::run(args, home)?,
        Command::Embed(args) => return embed::run(args, home),
        Command::Index(args) => return index::run(args, home),
        Command::Search(args) => search::run(args, home)?,
        Command::Ask(args) => ask::run(args, home)?,
        Command::Score(args) => score::run(args, home)?,
        Command::Perplexity(args) => perplexity::run(args, home)?,
        Command::Tokenize(args) => tokenize::run(args, home)?,
    }
    Ok(ExitCode::SUCCESS)
}
