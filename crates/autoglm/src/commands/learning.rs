//! Bringing a task's feedback to a run: the learner, made anew from the store, and the vectors
//! that it looks at.

use std::collections::BTreeMap;
use std::sync::Arc;

use autoglm_engine::LocalEngine;
use autoglm_spec::{Embed, Generate, Language, Output, Record, TaskSpec};
use autoglm_task::ensemble::Ensemble;
use autoglm_task::learn::{
    Corrector, FeedbackReport, leave_out, only_opinions_of, vectors_of_feedback,
};
use autoglm_task::run::Correction;
use autoglm_task::store::{Feedback, FeedbackStore, SqliteStore};
use clap::Args;

use super::workbench::Site;
use crate::engine::{EngineArgs, OpenEngine};
use crate::environment;
use crate::models::{ModelStore, Need, default_for};

/// Whether feedback takes part.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct LearningArgs {
    /// Leave out what feedback on the task has taught.
    #[arg(long)]
    no_feedback: bool,
}

/// What feedback has taught, ready to correct verdicts.
pub(crate) struct Learning {
    corrector: Corrector,
    /// What makes the vectors of records; without it words alone must do.
    embedder: Option<Arc<LocalEngine>>,
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
    pub(crate) site: Site<'a>,
}

impl LearningArgs {
    /// The learner of a task; none where the task has no feedback or shall do without.
    ///
    /// # Errors
    /// A store or a model for vectors that cannot be used.
    pub(crate) fn open(
        self,
        purpose: &Purpose<'_>,
        store: &mut SqliteStore,
    ) -> anyhow::Result<Option<Learning>> {
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
            None
        };
        let vectors = match as_embedder(embedder.as_ref()) {
            Some(embedder) => {
                let cancel = purpose.site.cancel;
                vectors_of_feedback(purpose.spec, &feedback, store, embedder, cancel)?
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

fn as_embedder(engine: Option<&Arc<LocalEngine>>) -> Option<&dyn Embed> {
    engine.map(|engine| engine.as_ref() as &dyn Embed)
}

impl Learning {
    /// The learner as a run takes it.
    pub(crate) fn correction(&self) -> Correction<'_> {
        Correction {
            corrector: &self.corrector,
            embedder: as_embedder(self.embedder.as_ref()),
        }
    }
}

impl Purpose<'_> {
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
    fn embedder(&self) -> anyhow::Result<Option<Arc<LocalEngine>>> {
        if self.spec.language == Language::English {
            let Site { home, pool, .. } = self.site;
            let name = default_for(Need::Embeddings).name;
            let models = ModelStore::open(home, environment::hub());
            if models.find(name).is_err() {
                return Ok(None);
            }
            let mut local = self.args.local.clone();
            local.model = None;
            local.adapter = None;
            return pool.open(&local, home, Need::Embeddings).map(Some);
        }
        Ok(match self.engine {
            OpenEngine::Local(engine) => Some(Arc::clone(engine)),
            OpenEngine::Remote(_) => None,
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
