//! Bringing a task's feedback to a run: the learner, made anew from the store, and the vectors
//! that it looks at.

use std::collections::BTreeMap;
use std::path::Path;

use autoglm_engine::LocalEngine;
use autoglm_spec::{Cancel, Embed, EngineError, Language, Output, TaskSpec};
use autoglm_task::learn::{Corrector, FeedbackReport, record_text};
use autoglm_task::run::Correction;
use autoglm_task::store::{Feedback, FeedbackStore};
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
pub(crate) struct Purpose<'a> {
    pub(crate) spec: &'a TaskSpec,
    pub(crate) args: &'a EngineArgs,
    pub(crate) engine: &'a OpenEngine,
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
        store: &mut dyn FeedbackStore,
    ) -> anyhow::Result<Option<Learning<'a>>> {
        let closed = matches!(purpose.spec.output, Output::Labels { .. });
        if self.no_feedback || !closed {
            return Ok(None);
        }
        let feedback = store.feedback(&purpose.spec.name)?;
        if !feedback.iter().any(Feedback::is_live) {
            return Ok(None);
        }
        let embedder = purpose.embedder()?;
        let vectors = match embedder.get() {
            Some(embedder) => purpose.vectors(&feedback, embedder, store)?,
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

    /// The vectors of all feedback that counts; those that are not stored yet are made.
    fn vectors(
        &self,
        feedback: &[Feedback],
        embedder: &dyn Embed,
        store: &mut dyn FeedbackStore,
    ) -> anyhow::Result<BTreeMap<i64, Vec<f32>>> {
        let space = &embedder.space().name;
        let mut vectors = store.vectors(&self.spec.name, space)?;
        let lacking = |row: &&Feedback| row.is_live() && !vectors.contains_key(&row.id);
        let rows: Vec<&Feedback> = feedback.iter().filter(lacking).collect();
        let text = |row: &&Feedback| record_text(&self.spec.fields, &row.input);
        let texts: Vec<String> = rows.iter().map(text).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let mut made = Vec::new();
        for (row, result) in rows.iter().zip(embedder.embed(&texts, self.cancel)) {
            match result {
                Ok(embedding) => made.push((row.id, embedding.vector)),
                Err(EngineError::Cancelled) => return Err(EngineError::Cancelled.into()),
                // Such as an empty text: the row's words count all the same.
                Err(_) => {}
            }
        }
        store.put_vectors(space, &made)?;
        vectors.extend(made);
        Ok(vectors)
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
    for batch in &report.suspicious {
        eprintln!("{batch}");
    }
}
