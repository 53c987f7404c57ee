//! Repository checks and set-up: `cargo xtask COMMAND`.

mod check;
mod test;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Repository checks and set-up")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check what a compiler cannot: crate edges, paths in documents, forbidden text, file sizes.
    Check,
    /// Fetch what the tests need, then run every check and every test.
    Test(test::Arguments),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Check => check::run(),
        Command::Test(arguments) => test::run(&arguments),
    }
}
