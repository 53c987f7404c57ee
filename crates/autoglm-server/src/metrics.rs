//! What is counted.

use autoglm_spec::Completion;

/// What is counted.
#[derive(Debug, Default)]
pub(crate) struct Metrics {}

impl Metrics {
    /// A request was answered.
    pub(crate) fn completed(&self, model: &str, completions: &[Completion]) {
        let _ = (self, model, completions);
    }
}
