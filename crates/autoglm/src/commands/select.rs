//! Examples that are chosen for each record, as command-line options, and what they are chosen from.

use std::sync::Arc;

use autoglm_spec::{Example, Prompt, Record, TaskSpec};
use autoglm_task::run::{Choosing, RunSettings};
use autoglm_task::select::{
    Nearness, Pool, Selection, Selector, TokenCounter, vectors_of_examples,
};
use autoglm_task::store::SqliteStore;
use clap::{Args, ValueEnum};

use super::teach::{Lesson, Teacher};
use crate::engine::OpenEngine;

/// Examples for each record when their number is not given.
const USUAL_COUNT: usize = 4;
/// Examples for each record at most.
const MOST_COUNT: u64 = 64;

/// How examples are chosen for each record.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Examples for each record")]
pub(crate) struct SelectArgs {
    /// Choose labelled examples that are near each record, by words, by vectors (English), or by
    /// both, and put them before it; as the strategy says when not given.
    #[arg(long, value_name = "BY")]
    select: Option<SelectChoice>,
    /// How many at most; 4 when not given.
    #[arg(long, value_name = "N", requires = "select",
          value_parser = clap::value_parser!(u64).range(1..=MOST_COUNT))]
    select_count: Option<u64>,
    /// Drop the least near until the prompt has N tokens at most; what the model's context has room
    /// for when not given.
    #[arg(long, value_name = "N", requires = "select")]
    select_tokens: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SelectChoice {
    /// None.
    None,
    /// The labelled examples that share rare words with it.
    Words,
    /// Those whose vectors are near.
    Vectors,
    /// Those that both put first.
    Both,
}

impl SelectArgs {
    /// Whether the command line wants examples for each record.
    pub(crate) fn is_on(&self) -> bool {
        self.select.is_some_and(|by| by != SelectChoice::None)
    }

    /// The settings with what the command line says.
    pub(crate) fn settings(&self, run: RunSettings) -> RunSettings {
        let by = match self.select {
            None => return run,
            Some(SelectChoice::None) => None,
            Some(SelectChoice::Words) => Some(Nearness::Words),
            Some(SelectChoice::Vectors) => Some(Nearness::Vectors),
            Some(SelectChoice::Both) => Some(Nearness::Both),
        };
        let count = self
            .select_count
            .map_or(USUAL_COUNT, |count| count as usize);
        let selection = by.map(|by| Selection {
            by,
            count,
            tokens: self.select_tokens,
            pool: Pool::Library,
        });
        RunSettings { selection, ..run }
    }
}

/// What examples are chosen from.
pub(crate) enum Library<'a> {
    /// The labelled examples that the task has in the store, without records that are measured on.
    Stored(&'a [Record]),
    /// These.
    Given(&'a [Example]),
}

/// What chooses examples, where the settings say so.
///
/// # Errors
/// A store or a model for vectors that cannot be used, and a task that has no examples to choose
/// from, or whose language the model for vectors does not know.
pub(crate) fn open_selector(
    spec: &TaskSpec,
    settings: &RunSettings,
    library: &Library<'_>,
    teacher: &Teacher<'_>,
    store: &mut SqliteStore,
) -> anyhow::Result<Option<Arc<Selector>>> {
    let Some(selection) = &settings.selection else {
        return Ok(None);
    };
    let rows = match (library, &selection.pool) {
        (_, Pool::Fixed(_)) => Vec::new(),
        (Library::Given(examples), Pool::Library) => examples.to_vec(),
        (Library::Stored(held_out), Pool::Library) => {
            Lesson::of_any_task(spec.clone(), store, held_out)?.rows
        }
    };
    let selector = Selector::new(spec, selection, &rows);
    anyhow::ensure!(
        !selector.examples().is_empty(),
        "the task {} has no labelled examples to choose from\n\
         hint: `autoglm examples import TASK FILE` keeps some, --select none does without",
        spec.name
    );
    if !selector.uses_vectors() {
        return Ok(Some(Arc::new(selector)));
    }
    let embedder = teacher.embedder_for(spec)?;
    let examples = selector.examples();
    let vectors = vectors_of_examples(spec, examples, store, embedder, teacher.site.cancel)?;
    Ok(Some(Arc::new(selector.with_vectors(vectors))))
}

/// A selector as a run takes it.
pub(crate) fn choosing<'a>(
    selector: Option<&Arc<Selector>>,
    teacher: &'a Teacher<'_>,
    tokens: &'a TokenCounter<'a>,
) -> Option<Choosing<'a>> {
    selector.map(|selector| Choosing {
        selector: Arc::clone(selector),
        embedder: teacher.open_embedder(),
        tokens: Some(tokens),
    })
}

/// Counts the tokens of prompts.
pub(crate) fn counter(engine: &OpenEngine) -> impl Fn(&Prompt) -> Option<usize> + '_ {
    |prompt| engine.count_tokens(prompt)
}
