//! What a task's labelled records teach without training the model: several views of a record,
//! each an opinion on its label, and a pool that weighs them by how right they were about rows
//! that they had not seen.
//!
//! The labelled rows are parted into two halves. Each half gives the examples of one prompt, and
//! its rows are judged behind the other's, so that no row is judged by a prompt that holds its
//! answer. What the model says behind a prompt is seen twice, as the labels' scores and as the
//! hidden state, on which a linear probe is fitted; a vector of the record itself is a third view.

mod anchors;
mod discriminant;
#[cfg(test)]
mod fakes;
mod fit;
mod halves;
mod panel;
mod pool;
#[cfg(test)]
mod run_tests;
#[cfg(test)]
mod tests;
mod trial;
#[cfg(test)]
mod unseen_tests;
mod view;

use autoglm_spec::{Calibration, Example, Label, Verdict};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use fit::{FitProgress, FitSettings, Fitting, fit, key};
pub(crate) use panel::Panel;
pub use panel::{Engines, Evidence, PromptEvidence};
use pool::Pool;
pub use view::View;
use view::Views;

use crate::judge::ranked;
use crate::run::hexadecimal;

/// A judge of a closed set of labels, fitted to labelled records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ensemble {
    /// The examples of each prompt.
    sets: Vec<Vec<Example>>,
    views: Views,
    pool: Pool,
    report: FitReport,
}

/// How an ensemble came out on the rows that it was fitted to, each judged as if it were new.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FitReport {
    /// Labelled rows.
    pub rows: usize,
    /// Examples of each label in a prompt.
    pub shots: usize,
    /// Share of right answers.
    pub accuracy: f64,
    /// One entry a view.
    pub views: Vec<ViewReport>,
}

/// How one view alone came out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ViewReport {
    /// The view.
    pub view: View,
    /// Share of right answers.
    pub accuracy: f64,
    /// Its weight in the pool.
    pub weight: f64,
}

impl Ensemble {
    /// The examples of each prompt.
    pub fn sets(&self) -> &[Vec<Example>] {
        &self.sets
    }

    /// The first 128 bits of a hash of all that determines its verdicts, in hexadecimal.
    ///
    /// # Panics
    /// Never: an ensemble can be written as JSON.
    pub fn hash(&self) -> String {
        let json =
            serde_json::to_vec(self).expect("an ensemble has no map with keys other than text");
        hexadecimal(&Sha256::digest(json)[..16])
    }

    /// How it came out.
    pub fn report(&self) -> &FitReport {
        &self.report
    }

    /// Whether a view of records' own vectors takes part.
    pub fn uses_vectors(&self) -> bool {
        self.views.uses_vectors()
    }

    /// The verdict on a record.
    ///
    /// # Panics
    /// When the evidence lacks what the ensemble was fitted to.
    pub fn verdict(&self, labels: &[Label], evidence: &Evidence) -> Verdict {
        let opinions = self.views.opinions(evidence);
        let logs = self.pool.log_probabilities(&opinions);
        let probabilities = logs.iter().map(|log| log.exp() as f32);
        ranked(labels, probabilities, Calibration::Fitted)
    }
}
