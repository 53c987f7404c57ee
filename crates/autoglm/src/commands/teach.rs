//! A judge of labels from labelled records: fitted, or taken from the store where the same records
//! have taught the same task before.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::SystemTime;

use anyhow::Context;
use autoglm_engine::LocalEngine;
use autoglm_spec::{Cancel, Embed, Example, Language, Record, TaskSpec};
use autoglm_task::ensemble::{
    Engines, Ensemble, FitProgress, FitReport, FitSettings, Fitting, View, ViewReport, fit, key,
};
use autoglm_task::library::{Ensembles, Library, task_fields};
use autoglm_task::run::{Engine, Progress, Taught};
use clap::Args;
use serde_json::json;

use crate::engine::EngineArgs;
use crate::models::Need;
use crate::streams::{Meter, now};

/// How labelled records teach a judge.
#[derive(Debug, Clone, Args)]
pub(crate) struct TeachArgs {
    /// Answer as the task is written, without what its examples in the store teach.
    #[arg(long)]
    untaught: bool,
    /// Views that take part: scores, states, vectors; all when not given.
    #[arg(
        long,
        value_name = "VIEWS",
        value_delimiter = ',',
        hide_short_help = true
    )]
    views: Vec<ViewName>,
    /// Examples of each label in a prompt; the number that does best when not given.
    #[arg(long, value_name = "N", hide_short_help = true)]
    shots: Option<usize>,
}

/// [`View`] by the names of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ViewName {
    /// The labels' scores behind the prompts.
    Scores,
    /// A probe on the model's hidden states.
    States,
    /// A probe on the records' own vectors.
    Vectors,
}

impl From<ViewName> for View {
    fn from(name: ViewName) -> Self {
        match name {
            ViewName::Scores => Self::Scores,
            ViewName::States => Self::States,
            ViewName::Vectors => Self::Vectors,
        }
    }
}

impl TeachArgs {
    pub(crate) fn settings(&self) -> FitSettings {
        let mut settings = FitSettings {
            shots: self.shots,
            ..FitSettings::default()
        };
        if !self.views.is_empty() {
            settings.views = self.views.iter().map(|&view| view.into()).collect();
        }
        settings
    }
}

/// The engine that makes the vectors of a task's records: the default embedder knows English.
///
/// # Errors
/// A model that cannot be fetched or opened.
pub(crate) fn open_embedder(
    args: &EngineArgs,
    spec: &TaskSpec,
    home: &Path,
) -> anyhow::Result<Option<LocalEngine>> {
    if spec.language != Language::English {
        return Ok(None);
    }
    let mut local = args.local.clone();
    local.model = None;
    local.adapter = None;
    Ok(Some(local.open(home, Need::Embeddings)?))
}

/// What the store has to teach a task with labels; records that are held out are left out.
///
/// # Errors
/// A store that cannot be read.
pub(crate) fn lessons(
    args: &TeachArgs,
    spec: &TaskSpec,
    store: &dyn Library,
    held_out: &[Record],
) -> anyhow::Result<Vec<Example>> {
    if args.untaught || spec.output.labels().is_empty() {
        return Ok(Vec::new());
    }
    let text = |record: &Record| json!(record).to_string();
    let held_out = held_out.iter().filter_map(|r| task_fields(spec, r).ok());
    let held_out: BTreeSet<String> = held_out.map(|record| text(&record)).collect();
    let entries = store.examples(&spec.name)?.into_iter();
    let examples = entries.map(|entry| entry.example);
    Ok(examples
        .filter(|example| !held_out.contains(&text(&example.input)))
        .collect())
}

/// A teacher of judges.
pub(crate) struct Teacher<'a> {
    pub(crate) engine: &'a dyn Engine,
    pub(crate) embedder: Option<&'a LocalEngine>,
    pub(crate) cancel: &'a Cancel,
}

/// Labelled records of a task.
#[derive(Clone, Copy)]
pub(crate) struct Lesson<'a> {
    pub(crate) spec: &'a TaskSpec,
    pub(crate) rows: &'a [Example],
}

impl Teacher<'_> {
    /// The judge that labelled records teach: out of the store, or fitted and kept there; none
    /// where there are none or too few.
    ///
    /// # Errors
    /// What [`fit`] says, and a store that fails.
    pub(crate) fn teach(
        &self,
        lesson: Lesson<'_>,
        settings: FitSettings,
        store: &mut dyn Ensembles,
    ) -> anyhow::Result<Option<Ensemble>> {
        if lesson.rows.is_empty() {
            return Ok(None);
        }
        let meter = Meter::new(None);
        let started = now();
        let progress = |progress: &FitProgress| meter.show(&told(progress, started));
        let fitting = Fitting {
            spec: lesson.spec,
            engines: Engines {
                language: self.engine,
                embedder: self.embedder.map(|e| e as &dyn Embed),
            },
            settings,
            cancel: self.cancel,
            progress: &progress,
        };
        let key = key(&fitting, lesson.rows);
        if let Some(known) = store.ensemble_of_key(&key)? {
            say(&summary(known.report()));
            return Ok(Some(known));
        }
        let fitted = fit(&fitting, lesson.rows);
        meter.clear();
        let fitted = fitted.with_context(|| {
            format!(
                "cannot learn from the labelled records of the task {:?}\nhint: --untaught does \
                 without those in the store, `autoglm examples list` shows them",
                lesson.spec.name
            )
        })?;
        if let Some(ensemble) = &fitted {
            store.put_ensemble(&key, ensemble, now())?;
            say(&summary(ensemble.report()));
        }
        Ok(fitted)
    }

    /// The judge with what it needs.
    pub(crate) fn taught<'a>(&'a self, ensemble: &'a Ensemble) -> Taught<'a> {
        Taught {
            ensemble,
            embedder: self.embedder.map(|e| e as &dyn Embed),
        }
    }
}

fn told(fit: &FitProgress, started: SystemTime) -> Progress {
    Progress {
        done: fit.asked as u64,
        resumed: 0,
        total: Some(fit.total as u64),
        errors: 0,
        elapsed: now().duration_since(started).unwrap_or_default(),
    }
}

fn summary(report: &FitReport) -> String {
    let of_view = |view: &ViewReport| {
        let name = match view.view {
            View::Scores => "scores",
            View::States => "states",
            View::Vectors => "vectors",
        };
        format!("{name} {:.3} × {:.2}", view.accuracy, view.weight)
    };
    let views: Vec<String> = report.views.iter().map(of_view).collect();
    format!(
        "taught by {} records, {} of a label in a prompt: right on {:.3} of them, each judged as new ({})",
        report.rows,
        report.shots,
        report.accuracy,
        views.join(", ")
    )
}

#[expect(
    clippy::print_stderr,
    reason = "talk to the user goes to standard error"
)]
fn say(text: &str) {
    eprintln!("{text}");
}
