//! Repository checks and set-up: `cargo xtask COMMAND`.

mod fuzz;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Repository checks and set-up")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Feed generated inputs to a parser and fail when one breaks it.
    Fuzz(fuzz::Arguments),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Fuzz(arguments) => fuzz::run(&arguments),
    }
}
