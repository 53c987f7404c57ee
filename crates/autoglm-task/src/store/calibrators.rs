//! What has been learnt of how sure open answers are, in the SQLite file.

use std::time::SystemTime;

use autoglm_spec::{ModelFacts, TaskSpec};
use rusqlite::{OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::sqlite::{SqliteStore, failed, from_json, json, millis};
use crate::TaskError;
use crate::eval::Paired;
use crate::judge::Calibrator;
use crate::run::RunSettings;
use crate::strategy::content_hash;

/// A calibrator that labelled answers have taught.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FittedConfidence {
    /// What corrects confidences.
    pub calibrator: Calibrator,
    /// Answers that it was fitted on.
    pub rows: usize,
    /// One less the squared error of confidences, with what corrected them before, if anything did,
    /// and with it; each half of the rows by a calibrator that the other half has taught.
    pub gain: Paired,
    /// The calibration error before, and so with it.
    pub calibration_error: [f64; 2],
}

/// Hash of all that confidences of open answers depend on: task, model with what else determines
/// its answers, how examples are chosen for each record, and how answers are sampled and compared.
pub fn confidence_basis(
    spec: &TaskSpec,
    (model, scope): (&ModelFacts, &str),
    settings: &RunSettings,
    similar: Option<&str>,
) -> String {
    // A single sample is compared with nothing.
    let similar = similar.filter(|_| settings.plan.samples > 1);
    content_hash(&(
        spec,
        (model, scope, &settings.strategy),
        (&settings.sampling, &settings.plan, &settings.stop),
        (settings.compare, similar, &settings.selection),
    ))
}

/// Where calibrators are kept.
pub trait CalibratorStore {
    /// Keeps a calibrator of a task in place of the one with the same basis.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn put_calibrator(
        &mut self,
        task: &str,
        basis: &str,
        fitted: &FittedConfidence,
        at: SystemTime,
    ) -> Result<(), TaskError>;

    /// The calibrator of a task with this basis.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn calibrator(&self, task: &str, basis: &str) -> Result<Option<FittedConfidence>, TaskError>;
}

impl CalibratorStore for SqliteStore {
    fn put_calibrator(
        &mut self,
        task: &str,
        basis: &str,
        fitted: &FittedConfidence,
        at: SystemTime,
    ) -> Result<(), TaskError> {
        self.connection
            .execute(
                "INSERT OR REPLACE INTO calibrators (task_name, basis, fitted, created_ms) \
                 VALUES (?1, ?2, ?3, ?4)",
                params![task, basis, json(fitted), millis(at)],
            )
            .map_err(failed("write a calibrator"))?;
        Ok(())
    }

    fn calibrator(&self, task: &str, basis: &str) -> Result<Option<FittedConfidence>, TaskError> {
        let found: Option<String> = self
            .connection
            .query_row(
                "SELECT fitted FROM calibrators WHERE task_name = ?1 AND basis = ?2",
                [task, basis],
                |row| row.get(0),
            )
            .optional()
            .map_err(failed("read a calibrator"))?;
        let parse = |text: String| from_json(&text, "calibrator", 0);
        let parsed = found.map(parse).transpose();
        parsed.map_err(|e| e.explain("read a calibrator"))
    }
}
