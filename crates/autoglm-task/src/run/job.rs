//! What is run and how, and what of it makes a run the same run.

use std::sync::Arc;

use autoglm_spec::{Calibration, Decoding, Output, Sampling, TaskSpec};

use super::ask::uses_both_orders;
use super::{Choosing, Correction, Engine, Resume, Survey, Taught};
use crate::judge::agreement::{Agreement, Compare, SamplingPlan, Similar};
use crate::judge::{Calibrator, Judge, Prior};
use crate::select::Selection;
use crate::store::RunKey;
use crate::strategy::Route;

/// Records of a closed set that are given to the engine together: enough to keep batches full,
/// few enough that an interruption loses seconds.
pub(super) const SCORE_WINDOW_RECORDS: usize = 64;
/// Records with open answers that are given to the engine together; each takes much longer.
const GENERATE_WINDOW_RECORDS: usize = 16;

/// What is to be run.
pub struct Job<'a> {
    /// The task.
    pub spec: &'a TaskSpec,
    /// The engine that answers.
    pub engine: &'a dyn Engine,
    /// The judge of labels that labelled records have taught, where there is one.
    pub taught: Option<Taught<'a>>,
    /// What chooses examples for each record, where the settings say so and no judge is taught.
    pub choosing: Option<Choosing<'a>>,
    /// How it is run.
    pub settings: RunSettings,
    /// How near texts are, where they are compared by meaning; by their words where none is given.
    pub similar: Option<Arc<dyn Similar>>,
    /// Where the records come from: an absolute path, or `-`.
    pub source: String,
    /// What was found out about the input beforehand, where it could be read twice.
    pub survey: Option<Survey>,
    /// Where rows go: an absolute path, or `-`.
    pub output: String,
    /// Whether an earlier run goes on.
    pub resume: Resume,
    /// What feedback has taught, where it shall take part.
    pub correction: Option<Correction<'a>>,
}

/// How a job is run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunSettings {
    /// How label bias is removed; open answers have none.
    pub calibration: Calibration,
    /// How tokens of open answers are chosen.
    pub sampling: Sampling,
    /// How many samples an open answer gets.
    pub plan: SamplingPlan,
    /// By what open answers are compared; what suits the task where nothing is said.
    pub compare: Option<Compare>,
    /// Corrects how sure open answers are, before any is withheld.
    pub calibrator: Option<Calibrator>,
    /// Answers that are less sure than this are withheld.
    pub min_confidence: Option<f32>,
    /// What may be done to answer sooner.
    pub decoding: Decoding,
    /// Texts that end an open answer, besides those of the template.
    pub stop: Vec<String>,
    /// Whether labels are scored behind the examples in their order and in reverse, and the mean
    /// taken. It costs twice the time and removes most of the harm of an unlucky order; tasks
    /// without at least two examples have only one order.
    pub both_orders: bool,
    /// Whether the first record without an answer ends the run.
    pub strict: bool,
    /// Records at most.
    pub limit: Option<u64>,
    /// How examples are chosen for each record; none where all have the same.
    pub selection: Option<Selection>,
    /// The strategies between which each record is routed.
    pub route: Option<Arc<Route>>,
    /// Hash of the strategy that task and settings come from.
    pub strategy: Option<String>,
    /// What is divided out of labels' probabilities, where it is known before the first record;
    /// else it is found as `calibration` says.
    pub prior: Option<Prior>,
}

impl Default for RunSettings {
    /// Batch calibration over both orders of the examples, the most likely tokens, all records,
    /// errors as rows.
    fn default() -> Self {
        Self {
            calibration: Calibration::Batch,
            sampling: Sampling::GREEDY,
            plan: SamplingPlan::default(),
            compare: None,
            calibrator: None,
            min_confidence: None,
            decoding: Decoding::default(),
            stop: Vec::new(),
            both_orders: true,
            strict: false,
            limit: None,
            selection: None,
            route: None,
            strategy: None,
            prior: None,
        }
    }
}

impl Job<'_> {
    pub(super) fn key(&self, task_hash: &str) -> RunKey {
        RunKey {
            task_hash: task_hash.to_owned(),
            model: self.engine.facts().clone(),
            source: self.source.clone(),
            fingerprint: self.survey.as_ref().map(|s| s.fingerprint.clone()),
            output: self.output.clone(),
            calibration: self.calibration(),
            ensemble: self.taught.map(|taught| taught.ensemble.hash()),
            sampling: self.settings.sampling,
            plan: self.plan(),
            compare: self.settings.compare,
            similar: self.similar.as_ref().map(|similar| similar.name()),
            calibrator: self.calibrator(),
            min_confidence: self.settings.min_confidence,
            stop: self.settings.stop.clone(),
            both_orders: self.uses_both_orders(),
            limit: self.settings.limit,
            strategy: self.settings.strategy.clone(),
            selection: self.choosing.as_ref().map(Choosing::key),
            feedback: self.correction.map(|correction| correction.key()),
        }
    }

    /// The calibration that applies: open answers have no label bias.
    pub(super) fn calibration(&self) -> Calibration {
        match self.spec.output {
            Output::Labels { .. } if self.taught.is_some() || self.route().is_some() => {
                Calibration::Fitted
            }
            Output::Labels { .. } => self.settings.calibration,
            Output::Json { .. } | Output::Text { .. } | Output::Code { .. } => Calibration::None,
        }
    }

    /// The route that records take, where no judge is taught.
    pub(super) fn route(&self) -> Option<&Arc<Route>> {
        let route = self.settings.route.as_ref();
        route.filter(|_| self.taught.is_none())
    }

    /// The prior that is known beforehand, where one is divided out.
    pub(super) fn prior(&self) -> Option<Prior> {
        let divides = match self.calibration() {
            Calibration::Batch | Calibration::Contextual => true,
            Calibration::Fitted => self.taught.is_none() && self.route().is_none(),
            Calibration::None => false,
        };
        self.settings.prior.clone().filter(|_| divides)
    }

    /// Whether records are scored twice.
    pub(super) fn uses_both_orders(&self) -> bool {
        uses_both_orders(self.spec, &self.settings)
    }

    /// How records are sampled: labels are scored, and never sampled.
    pub(super) fn plan(&self) -> SamplingPlan {
        plan_of(self.spec, &self.settings)
    }

    /// How open answers are compared.
    pub(super) fn agreement(&self) -> Agreement {
        agreement_of(self.spec, &self.settings, self.similar.as_ref())
    }

    pub(super) fn judge(&self, prior: Prior) -> Judge {
        Judge::new(&self.spec.output, prior)
            .sampled(self.agreement(), self.plan())
            .calibrated(self.calibrator())
    }

    /// What corrects confidences: those of labels are corrected by what labelled records teach.
    fn calibrator(&self) -> Option<Calibrator> {
        let closed = matches!(self.spec.output, Output::Labels { .. });
        self.settings.calibrator.clone().filter(|_| !closed)
    }

    pub(super) fn window_records(&self) -> usize {
        match self.spec.output {
            Output::Labels { .. } => SCORE_WINDOW_RECORDS,
            Output::Json { .. } | Output::Text { .. } | Output::Code { .. } => {
                GENERATE_WINDOW_RECORDS
            }
        }
    }
}

/// How many samples an answer of a task gets.
pub(super) fn plan_of(spec: &TaskSpec, settings: &RunSettings) -> SamplingPlan {
    let closed = matches!(spec.output, Output::Labels { .. });
    if closed {
        return SamplingPlan::default();
    }
    if settings.plan.samples <= 1 {
        return SamplingPlan {
            repair: settings.plan.repair,
            ..SamplingPlan::default()
        };
    }
    let mut plan = settings.plan;
    if settings.sampling.temperature > 1.0 {
        // Then the first answer's probability no longer bounds how often it comes again.
        plan.sure = Some(1.0);
    }
    plan
}

/// How the open answers of a task are compared.
pub(crate) fn agreement_of(
    spec: &TaskSpec,
    settings: &RunSettings,
    similar: Option<&Arc<dyn Similar>>,
) -> Agreement {
    let compare = settings.compare.unwrap_or_else(|| Compare::of(spec));
    let agreement = Agreement::new(&spec.output, compare);
    match similar {
        Some(similar) => agreement.with_similar(Arc::clone(similar)),
        None => agreement,
    }
}
