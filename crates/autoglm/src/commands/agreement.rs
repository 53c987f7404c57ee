//! How open answers are sampled, compared and withheld, as command-line options.

use std::path::Path;
use std::sync::Arc;

use autoglm_task::file::{TaskFile, TaskSettings};
use autoglm_task::judge::agreement::{
    Compare, Embedded, MOST_SAMPLES, SamplingPlan, Similar, StopRule,
};
use autoglm_task::run::RunSettings;
use clap::{Args, ValueEnum};

use crate::engine::LocalArgs;
use crate::models::Need;

/// How sure answers are and must be. What is not given is as the task says.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Confidence")]
pub(crate) struct AgreementArgs {
    /// Sample open answers up to N times and let them vote; most records take fewer.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MOST_SAMPLES as u64))]
    samples: Option<u64>,
    /// Take all the samples, even where the vote is decided before.
    #[arg(long)]
    fixed_samples: bool,
    /// By what open answers are the same; as the task says, or what suits it, when not given.
    #[arg(long, value_name = "HOW")]
    compare_by: Option<CompareChoice>,
    /// The model whose vectors tell which texts mean the same, such as `all-minilm-l6-v2`; their
    /// words do when not given.
    #[arg(long, value_name = "MODEL")]
    embedder: Option<String>,
    /// Ask a chat model once more, with what is wrong, where samples disagree or none can be used.
    #[arg(long)]
    repair: bool,
    /// Withhold answers whose confidence is below P.
    #[arg(long, value_name = "P", value_parser = super::sampling::fraction)]
    min_confidence: Option<f32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CompareChoice {
    /// By the number that they come to.
    Number,
    /// By their JSON value.
    Json,
    /// By their code, layout and comments aside.
    Code,
    /// By their words, case, punctuation and articles aside.
    Words,
    /// By what they say.
    Meaning,
}

impl AgreementArgs {
    /// The settings of a run of a task with these settings.
    pub(crate) fn settings(&self, task: &TaskSettings, run: RunSettings) -> RunSettings {
        let samples = self.samples.map(|samples| samples as usize);
        RunSettings {
            plan: SamplingPlan {
                samples: samples.unwrap_or(task.plan.samples),
                stop: if self.fixed_samples {
                    StopRule::Fixed
                } else {
                    task.plan.stop
                },
                repair: task.plan.repair || self.repair,
                ..task.plan
            },
            compare: self.compare_by.map(CompareChoice::compare).or(task.compare),
            min_confidence: self.min_confidence.or(task.min_confidence),
            ..run
        }
    }

    /// The measure of nearness for answers that are compared by meaning, where a model for it is
    /// named.
    ///
    /// # Errors
    /// A model that cannot be used.
    pub(crate) fn similar(
        &self,
        home: &Path,
        task: &TaskFile,
        run: &RunSettings,
    ) -> anyhow::Result<Option<Arc<dyn Similar>>> {
        let compare = run.compare.unwrap_or_else(|| Compare::of(&task.spec));
        let named = self.embedder.as_ref().or(task.settings.embedder.as_ref());
        match named {
            Some(name) if compare == Compare::Meaning => open_similar(home, name).map(Some),
            _ => Ok(None),
        }
    }
}

/// Opens a model for vectors of texts.
///
/// # Errors
/// A model that cannot be used.
pub(crate) fn open_similar(home: &Path, name: &str) -> anyhow::Result<Arc<dyn Similar>> {
    let args = LocalArgs {
        model: Some(name.to_owned()),
        ..LocalArgs::default()
    };
    let engine = args.open(home, Need::Embeddings)?;
    Ok(Arc::new(Embedded::new(Arc::new(engine))))
}

impl CompareChoice {
    fn compare(self) -> Compare {
        match self {
            Self::Number => Compare::Number,
            Self::Json => Compare::Json,
            Self::Code => Compare::Code,
            Self::Words => Compare::Words,
            Self::Meaning => Compare::Meaning,
        }
    }
}
