//! Repository checks and set-up: `cargo xtask COMMAND`.

mod browser;
mod check;
mod components;
mod fuzz;
mod postgres;
mod test;

use std::path::{Path, PathBuf};

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
    /// Feed generated inputs to a parser and fail when one breaks it.
    Fuzz(fuzz::Arguments),
    /// Fetch the PostgreSQL that tests start.
    Postgres,
    /// Fetch what the tests need, then run every check and every test.
    Test(test::Arguments),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Check => check::run(),
        Command::Fuzz(arguments) => fuzz::run(&arguments),
        Command::Postgres => postgres::prepare(&root()),
        Command::Test(arguments) => test::run(&arguments),
    }
}

/// The repository's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the repository")
        .to_owned()
}
