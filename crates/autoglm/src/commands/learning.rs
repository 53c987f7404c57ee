//! Bringing a task's feedback to a run: the learner, made anew from the store, and the vectors
//! that it looks at.

use std::collections::BTreeMap;
use std::path::Path;

use autoglm_engine::LocalEngine;
use autoglm_spec::{Cancel, Embed, Generate, Language, Output, Record, TaskSpec};
use autoglm_task::ensemble::Ensemble;
use autoglm_task::learn::{
    Corrector, FeedbackReport, leave_out, only_opinions_of, vectors_of_feedback,
};
use autoglm_task::run::Correction;
use autoglm_task::store::{Feedback, FeedbackStore, SqliteStore};
use clap::Args;

use crate::engine::{EngineArgs, OpenEngine};
use crate::environment;
use crate::models::{ModelStore, Need, default_for};

/// Whether feedback takes part.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct LearningArgs {
    /// Leave out what feedback on the task has taught.
    #[arg(long)]
    no_feedback: bool,
}

/// What feedback has taught, ready to correct verdicts.
pub(crate) struct Learning<'a> {
    corrector: Corrector,
    embedder: Embedder<'a>,
}

/// What makes the vectors of records.
enum Embedder<'a> {
    /// The default model for vectors, which knows English.
    Default(Box<LocalEngine>),
    /// The language model itself.
    Engine(&'a LocalEngine),
    /// Nothing: words alone must do.
    None,
}

impl Embedder<'_> {
    fn get(&self) -> Option<&dyn Embed> {
        match self {
            Self::Default(engine) => Some(engine.as_ref()),
            Self::Engine(engine) => Some(*engine),
            Self::None => None,
        }
    }
}

/// What a learner is made for.
#[derive(Clone, Copy)]
pub(crate) struct Purpose<'a> {
    pub(crate) spec: &'a TaskSpec,
    pub(crate) args: &'a EngineArgs,
    pub(crate) engine: &'a OpenEngine,
    /// The judge that answers, where labelled records have taught one.
    pub(crate) ensemble: Option<&'a Ensemble>,
    /// Records that are measured on: what was said of them does not count.
    pub(crate) held_out: &'a [Record],
    pub(crate) home: &'a Path,
    pub(crate) cancel: &'a Cancel,
}

impl LearningArgs {
    /// The learner of a task; none where the task has no feedback or shall do without.
    ///
    /// # Errors
    /// A store or a model for vectors that cannot be used.
    pub(crate) fn open<'a>(
        self,
        purpose: &Purpose<'a>,
        store: &mut SqliteStore,
    ) -> anyhow::Result<Option<Learning<'a>>> {
        let closed = matches!(purpose.spec.output, Output::Labels { .. });
        if self.no_feedback || !closed {
            return Ok(None);
        }
        let feedback = purpose.feedback(store)?;
        let counts = |row: &Feedback| row.is_live() && row.opinion.is_some();
        // Without opinions to be compared with, the learner has no say, and looks at no vector.
        let embedder = if feedback.iter().any(counts) {
            purpose.embedder()?
        } else {
            Embedder::None
        };
        let vectors = match embedder.get() {
            Some(embedder) => {
                vectors_of_feedback(purpose.spec, &feedback, store, embedder, purpose.cancel)?
            }
            None => BTreeMap::new(),
        };
        let learnt = Corrector::learn(purpose.spec, &feedback, &vectors)?;
        Ok(learnt.map(|(corrector, report)| {
            tell(&report);
            Learning {
                corrector,
                embedder,
            }
        }))
    }
}

impl Learning<'_> {
    /// The learner as a run takes it.
    pub(crate) fn correction(&self) -> Correction<'_> {
        Correction {
            corrector: &self.corrector,
            embedder: self.embedder.get(),
        }
    }
}

impl<'a> Purpose<'a> {
    /// The task's feedback as it counts for what answers now.
    fn feedback(&self, store: &SqliteStore) -> anyhow::Result<Vec<Feedback>> {
        let mut feedback = store.feedback(&self.spec.name)?;
        leave_out(self.spec, &mut feedback, self.held_out);
        let ensemble = self.ensemble.map(Ensemble::hash);
        let answering = (self.engine.facts().name.as_str(), ensemble.as_deref());
        only_opinions_of(answering, &mut feedback, store)?;
        Ok(feedback)
    }

    /// What makes vectors: for English the default model where it was fetched, for other
    /// languages the model of this machine that answers.
    fn embedder(&self) -> anyhow::Result<Embedder<'a>> {
        if self.spec.language == Language::English {
            let name = default_for(Need::Embeddings).name;
            if ModelStore::open(self.home, environment::hub())
                .find(name)
                .is_err()
            {
                return Ok(Embedder::None);
            }
            let mut local = self.args.local.clone();
            local.model = None;
            local.adapter = None;
            let engine = local.open(self.home, Need::Embeddings)?;
            return Ok(Embedder::Default(Box::new(engine)));
        }
        Ok(match self.engine {
            OpenEngine::Local(engine) => Embedder::Engine(engine),
            OpenEngine::Remote(_) => Embedder::None,
        })
    }
}

#[expect(
    clippy::print_stderr,
    reason = "talk to the user goes to standard error"
)]
fn tell(report: &FeedbackReport) {
    eprintln!(
        "note: {} rows of feedback take part, with {:.0} % of the say; --no-feedback leaves them out",
        report.version.rows,
        report.share * 100.0
    );
    if report.without_opinion > 0 {
        eprintln!(
            "note: {} of them are on no answer of this model and judge, and do not count for the say",
            report.without_opinion
        );
    }
    for batch in &report.suspicious {
        eprintln!("{batch}");
    }
}
