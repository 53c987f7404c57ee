//! What labelled records tell of how sure a task's open answers are: kept by `autoglm eval
//! --calibrate`, and used by later runs.

use std::path::Path;

use autoglm_spec::{Output, TaskSpec};
use autoglm_task::Row;
use autoglm_task::eval::Evaluation;
use autoglm_task::judge::Calibrator;
use autoglm_task::judge::agreement::Similar;
use autoglm_task::run::{Engine, RunSettings};
use autoglm_task::store::{CalibratorStore, FittedConfidence, SqliteStore, confidence_basis};

use super::task::need;
use super::teach::TeachArgs;
use crate::engine::EngineArgs;
use crate::streams::now;

/// What confidences depend on.
#[derive(Clone, Copy)]
pub(super) struct Confidence<'a> {
    pub(super) spec: &'a TaskSpec,
    pub(super) engine: &'a dyn Engine,
    pub(super) engine_args: &'a EngineArgs,
    pub(super) home: &'a Path,
    pub(super) settings: &'a RunSettings,
    pub(super) similar: Option<&'a dyn Similar>,
}

impl Confidence<'_> {
    fn basis(&self) -> anyhow::Result<String> {
        let similar = self.similar.map(Similar::name);
        let scope = self.engine_args.identity(self.home, need(self.spec))?;
        let model = (self.engine.facts(), scope.as_str());
        let settings = self.settings;
        Ok(confidence_basis(
            self.spec,
            model,
            settings,
            similar.as_deref(),
        ))
    }

    /// What corrects the confidences of open answers, which is told; nothing where nothing of the
    /// store shall teach.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub(super) fn stored(
        &self,
        teach: &TeachArgs,
        store: &SqliteStore,
    ) -> anyhow::Result<Option<Calibrator>> {
        if teach.is_off() || matches!(self.spec.output, Output::Labels { .. }) {
            return Ok(None);
        }
        let found = store.calibrator(&self.spec.name, &self.basis()?)?;
        Ok(found.map(|fitted| {
            say(&format!(
                "confidences are corrected by {} labelled answers (--untaught leaves them as they are)",
                fitted.rows
            ));
            fitted.calibrator
        }))
    }

    /// Fits a calibrator on labelled answers and keeps it where it is better; told.
    ///
    /// # Errors
    /// Answers that cannot be compared, a store that cannot be written.
    pub(super) fn keep(
        &self,
        evaluation: &Evaluation<'_>,
        rows: &[Row],
        store: &mut SqliteStore,
    ) -> anyhow::Result<()> {
        let basis = self.basis()?;
        let present = store.calibrator(&self.spec.name, &basis)?;
        let present = present.as_ref().map(|fitted| &fitted.calibrator);
        let Some(fitted) = evaluation.calibrator(rows, present)? else {
            say("note: confidences stay as they are: there are too few labelled answers, want 40");
            return Ok(());
        };
        let is_better = fitted.gain.is_better();
        if is_better {
            store.put_calibrator(&self.spec.name, &basis, &fitted, now())?;
        }
        say(&told(&fitted, is_better));
        Ok(())
    }
}

fn told(fitted: &FittedConfidence, is_better: bool) -> String {
    let [before, after] = fitted.calibration_error;
    let end = if is_better {
        "runs of the task correct their confidences by them from now on"
    } else {
        "that is not surely better: confidences stay as they are"
    };
    format!(
        "{} labelled answers, each half corrected by the other: calibration error {before:.4} → \
         {after:.4}; {end}",
        fitted.rows
    )
}

#[expect(
    clippy::print_stderr,
    reason = "talk to the user goes to standard error"
)]
fn say(text: &str) {
    eprintln!("{text}");
}
