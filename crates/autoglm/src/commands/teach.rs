//! A judge of labels from labelled records: fitted, or taken from the store where the same records
//! have taught the same task before.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context;
use autoglm_engine::LocalEngine;
use autoglm_spec::{Embed, Example, Language, Record, TaskSpec};
use autoglm_task::ensemble::{
    Engines, Ensemble, FitProgress, FitReport, FitSettings, Fitting, View, ViewReport, fit, key,
};
use autoglm_task::library::{Ensembles, Entry, Library, identity, task_fields};
use autoglm_task::run::{Engine, Progress, Taught};
use clap::Args;

use super::task::need;
use super::workbench::Site;
use crate::engine::{EngineArgs, Pool};
use crate::models::Need;
use crate::streams::{Meter, now};

/// How labelled records teach a judge.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct TeachArgs {
    /// Answer as the task is written, without what its examples in the store teach (so do
    /// --calibration and --one-order) and what labelled answers tell of how sure open ones are.
    #[arg(long)]
    untaught: bool,
    /// Views that take part: scores, states, vectors, anchors; the first three when not given.
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
    /// The labelled records whose scores are spread alike.
    Anchors,
}

impl From<ViewName> for View {
    fn from(name: ViewName) -> Self {
        match name {
            ViewName::Scores => Self::Scores,
            ViewName::States => Self::States,
            ViewName::Vectors => Self::Vectors,
            ViewName::Anchors => Self::Anchors,
        }
    }
}

impl TeachArgs {
    /// Whether nothing of the store shall teach.
    pub(crate) fn is_off(&self) -> bool {
        self.untaught
    }

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
    pool: &Pool,
    home: &Path,
) -> anyhow::Result<Arc<LocalEngine>> {
    let mut local = args.local.clone();
    local.model = None;
    local.adapter = None;
    pool.open(&local, home, Need::Embeddings)
}

/// Labelled records of a task.
pub(crate) struct Lesson {
    /// The task; its own examples count as labelled records.
    pub(crate) spec: TaskSpec,
    pub(crate) rows: Vec<Example>,
}

impl Lesson {
    /// What the store has to teach a task with labels. Records that are held out are left out, and,
    /// which is told, those that do not fit the task as it is now.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub(crate) fn stored(
        spec: TaskSpec,
        store: &dyn Library,
        held_out: &[Record],
    ) -> anyhow::Result<Self> {
        if spec.output.labels().is_empty() {
            return Ok(Self::none(spec));
        }
        Self::of_any_task(spec, store, held_out)
    }

    /// As [`Lesson::stored`], for tasks with open answers, too.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub(crate) fn of_any_task(
        spec: TaskSpec,
        store: &dyn Library,
        held_out: &[Record],
    ) -> anyhow::Result<Self> {
        let entries = store.examples(&spec.name)?;
        let text = |record: &Record| identity(&spec.fields, record);
        let held_out: BTreeSet<String> = held_out.iter().map(text).collect();
        let (mut rows, mut unfit) = (Vec::new(), 0);
        for Entry { example, .. } in entries {
            let labels = spec.output.labels();
            let is_known = labels.iter().any(|label| label.name == example.output);
            match task_fields(&spec, &example.input) {
                Ok(_) if !labels.is_empty() && !is_known => unfit += 1,
                Ok(input) if held_out.contains(&text(&input)) => {}
                Ok(_) => rows.push(example),
                Err(_) => unfit += 1,
            }
        }
        if unfit > 0 {
            say(&format!(
                "note: {unfit} of the labelled records of {} have other labels or fields than the \
                 task now, and are left out\nhint: `autoglm examples list` shows them",
                spec.name
            ));
        }
        Ok(Self { spec, rows })
    }

    /// Records that teach nothing.
    pub(crate) fn none(spec: TaskSpec) -> Self {
        let rows = Vec::new();
        Self { spec, rows }
    }
}

/// A teacher of judges.
pub(crate) struct Teacher<'a> {
    pub(crate) engine: &'a dyn Engine,
    pub(crate) args: &'a EngineArgs,
    pub(crate) site: Site<'a>,
    /// Opened when it is first needed.
    embedder: OnceCell<Arc<LocalEngine>>,
}

impl<'a> Teacher<'a> {
    pub(crate) fn new(engine: &'a dyn Engine, args: &'a EngineArgs, site: Site<'a>) -> Self {
        Self {
            engine,
            args,
            site,
            embedder: OnceCell::new(),
        }
    }

    /// The judge that labelled records teach: out of the store, or fitted and kept there; none
    /// where there are none or, which is told, too few.
    ///
    /// # Errors
    /// What [`fit`] says, a store that fails, and a model for vectors that cannot be opened.
    pub(crate) fn teach(
        &self,
        lesson: &Lesson,
        settings: FitSettings,
        store: &mut dyn Ensembles,
    ) -> anyhow::Result<Option<Ensemble>> {
        if lesson.rows.is_empty() {
            return Ok(None);
        }
        let scope = self.args.identity(self.site.home, need(&lesson.spec))?;
        let mut fitting = Fitting {
            spec: &lesson.spec,
            engines: Engines {
                language: self.engine,
                embedder: None,
            },
            scope: &scope,
            settings,
            cancel: self.site.cancel,
            progress: &|_| (),
        };
        let key = key(&fitting, &lesson.rows);
        if let Some(known) = store.ensemble_of_key(&key)? {
            if known.uses_vectors() {
                self.embedder()?;
            }
            say(&summary(known.report()));
            return Ok(Some(known));
        }
        let sees_vectors = fitting.settings.views.contains(&View::Vectors);
        if sees_vectors && lesson.spec.language == Language::English {
            fitting.engines.embedder = Some(self.embedder()?);
        }
        let fitted = fit_shown(fitting, lesson)?;
        match &fitted {
            Some(ensemble) => {
                store.put_ensemble(&key, ensemble, now())?;
                say(&summary(ensemble.report()));
            }
            None => say(&format!(
                "note: the {} labelled records teach nothing, want two that the model can read of \
                 each of two labels",
                lesson.rows.len()
            )),
        }
        Ok(fitted)
    }

    fn embedder(&self) -> anyhow::Result<&LocalEngine> {
        if let Some(open) = self.embedder.get() {
            return Ok(open);
        }
        let open = open_embedder(self.args, self.site.pool, self.site.home)?;
        Ok(self.embedder.get_or_init(|| open))
    }

    /// The model for vectors, where it was needed.
    pub(crate) fn into_embedder(self) -> Option<Arc<LocalEngine>> {
        self.embedder.into_inner()
    }

    /// The model for vectors of a task's records.
    ///
    /// # Errors
    /// A task in a language that it does not know, a model that cannot be opened.
    pub(crate) fn embedder_for(&self, spec: &TaskSpec) -> anyhow::Result<&LocalEngine> {
        anyhow::ensure!(
            spec.language == Language::English,
            "the model for vectors knows English alone\nhint: --select words chooses by words"
        );
        self.embedder()
    }

    /// The model for vectors, where it was opened.
    pub(crate) fn open_embedder(&self) -> Option<&dyn Embed> {
        self.embedder.get().map(|e| e.as_ref() as &dyn Embed)
    }

    /// The judge with what it needs.
    pub(crate) fn taught<'t>(&'t self, ensemble: &'t Ensemble) -> Taught<'t> {
        Taught {
            ensemble,
            embedder: self.open_embedder(),
        }
    }
}

/// Fits a judge and shows how far that is.
fn fit_shown(fitting: Fitting<'_>, lesson: &Lesson) -> anyhow::Result<Option<Ensemble>> {
    let meter = Meter::new(None);
    let started = now();
    let progress = |progress: &FitProgress| meter.show(&told(progress, started));
    let fitted = fit(
        &Fitting {
            progress: &progress,
            ..fitting
        },
        &lesson.rows,
    );
    meter.clear();
    fitted.with_context(|| {
        let task = &lesson.spec.name;
        format!("cannot learn from the labelled records of the task {task:?}")
    })
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
            View::Anchors => "anchors",
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
