//! What the bound of coverage does to questions whose passage is there, and to those whose passage was
//! taken away: in one collection of all passages of a file, and in collections of five.
//!
//! `cargo run --release -p autoglm-retrieve --example coverage -- FILE` reads a file as `SQuAD` lays
//! it out. The bound is chosen on the questions of every other five passages in the large collection,
//! and told of the others. Search is by words alone.

#![expect(clippy::print_stdout, reason = "an example shows what it has measured")]

use std::path::Path;

use autoglm_retrieve::RetrieveError;
use autoglm_retrieve::answer::coverage;
use autoglm_retrieve::chunk::ChunkSettings;
use autoglm_retrieve::eval::{Asked, Reading};
use autoglm_retrieve::index::Indexer;
use autoglm_retrieve::read::{Format, Limits};
use autoglm_retrieve::search::{Ranked, SearchSettings, Searcher};
use autoglm_retrieve::store::{SqliteStore, Store};
use autoglm_spec::Cancel;

/// Passages of a small collection: those of one article of `XQuAD`.
const FEW: usize = 5;
/// Passages that an answer is made from.
const SHOWN: usize = 3;
/// The share of questions without their passage that shall be refused.
const REFUSED: f64 = 0.8;

fn main() -> Result<(), RetrieveError> {
    let file = std::env::args().nth(1).unwrap_or_default();
    let reading = Reading::read(Path::new(&file))?;
    let lines: Vec<&str> = reading.passages.lines().collect();
    let all = Measured::of(&lines, &reading.questions.iter().collect::<Vec<_>>())?;
    let mut few = Measured::default();
    for (article, lines) in lines.chunks(FEW).enumerate() {
        let questions = reading.questions.iter();
        let own: Vec<&Asked> = questions.filter(|q| place(q) / FEW == article).collect();
        few.extend(Measured::of(lines, &own)?);
    }
    let bounds = (0..=100).map(|percent| f64::from(percent) / 100.0);
    let chosen = bounds
        .clone()
        .find(|bound| all.shares(*bound, true).1 >= REFUSED);
    let chosen = chosen.unwrap_or(1.0);
    println!("the least bound that refuses {REFUSED} is {chosen:.2}");
    println!("bound  all: answered, refused   five: answered, refused");
    for bound in bounds.filter(|bound| (bound - chosen).abs() < 0.105) {
        let (many, few) = (all.shares(bound, false), few.shares(bound, false));
        println!(
            "{bound:.2}   {:.3} {:.3}   {:.3} {:.3}",
            many.0, many.1, few.0, few.1
        );
    }
    Ok(())
}

/// The number of a question's passage.
fn place(asked: &Asked) -> usize {
    asked.passage.parse().unwrap_or(0)
}

/// The coverage of each question with its passage and without, and whether bounds are chosen on it.
#[derive(Default)]
struct Measured(Vec<(f64, f64, bool)>);

impl Measured {
    fn of(lines: &[&str], questions: &[&Asked]) -> Result<Self, RetrieveError> {
        let mut store = SqliteStore::in_memory()?;
        fill(&mut store, lines)?;
        let mut measured = Self::default();
        for asked in questions {
            let found = find(&store, &asked.question)?;
            let is_right =
                |ranked: &&Ranked| ranked.passage.record.as_deref() == Some(&asked.passage);
            let others: Vec<Ranked> = found.iter().filter(|r| !is_right(r)).cloned().collect();
            let of = |found: &[Ranked]| {
                let shown = &found[..found.len().min(SHOWN)];
                let covered = coverage(&store, &asked.question, shown)?;
                Ok::<f64, RetrieveError>(covered.into_iter().fold(0.0, f64::max))
            };
            let is_for_choice = (place(asked) / FEW).is_multiple_of(2);
            measured.0.push((of(&found)?, of(&others)?, is_for_choice));
        }
        Ok(measured)
    }

    fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The shares that are answered with their passage and refused without it.
    fn shares(&self, bound: f64, is_for_choice: bool) -> (f64, f64) {
        let rows = self.0.iter().filter(|row| row.2 == is_for_choice);
        let rows: Vec<_> = rows.collect();
        let share = |count: usize| count as f64 / rows.len().max(1) as f64;
        (
            share(rows.iter().filter(|row| row.0 >= bound).count()),
            share(rows.iter().filter(|row| row.1 < bound).count()),
        )
    }
}

fn find(store: &SqliteStore, question: &str) -> Result<Vec<Ranked>, RetrieveError> {
    let searcher = Searcher { store, embed: None };
    let settings = SearchSettings {
        limit: SHOWN + 1,
        ..SearchSettings::default()
    };
    searcher.search(question, &settings, &Cancel::default())
}

fn fill(store: &mut dyn Store, lines: &[&str]) -> Result<(), RetrieveError> {
    let tokens = |text: &str| text.len();
    let cancel = Cancel::default();
    let mut indexer = Indexer {
        store,
        embed: None,
        vectors_know_chinese: true,
        tokens: &tokens,
        chunks: ChunkSettings {
            max_tokens: usize::MAX,
        },
        limits: Limits::default(),
        now_ns: 0,
        cancel: &cancel,
    };
    indexer.put("passages", lines.join("\n").as_bytes(), Format::Jsonl)?;
    Ok(())
}
