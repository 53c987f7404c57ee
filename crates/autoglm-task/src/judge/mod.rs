//! From what a model said to an answer with an honest confidence: label bias is divided out by a
//! prior that needs no labelled record, and open answers are as sure as their tokens were.

pub mod agreement;
mod calibrator;
mod fitted;
mod prior;
#[cfg(test)]
mod tests;

use autoglm_spec::{Calibration, EngineError, FinishReason, Label, Output, Stopped, Verdict};

use agreement::{Agreement, Compare, SamplingPlan};
pub use calibrator::Calibrator;
pub use prior::{BATCH_FULL_RECORDS, BATCH_RECORDS, Prior};

use crate::row::{Raw, Sample};

/// The most confidence that an open answer gets: tokens that were certain can still be wrong, and
/// nothing here has seen whether they were.
pub const OPEN_CONFIDENCE_LIMIT: f32 = 0.95;

/// Judges what engines say in one task.
#[derive(Debug, Clone)]
pub struct Judge {
    output: Output,
    prior: Prior,
    agreement: Agreement,
    plan: SamplingPlan,
    calibrator: Option<Calibrator>,
}

impl Judge {
    /// A judge that divides `prior` out of the labels' probabilities.
    pub fn new(output: &Output, prior: Prior) -> Self {
        Self {
            output: output.clone(),
            prior,
            agreement: Agreement::new(output, Compare::Words),
            plan: SamplingPlan::default(),
            calibrator: None,
        }
    }

    /// The same for open answers that were sampled by a plan and are compared so.
    #[must_use]
    pub fn sampled(self, agreement: Agreement, plan: SamplingPlan) -> Self {
        Self {
            agreement,
            plan,
            ..self
        }
    }

    /// The same with confidences of open answers that a calibrator, fitted on labelled ones, corrects.
    #[must_use]
    pub fn calibrated(self, calibrator: Option<Calibrator>) -> Self {
        Self { calibrator, ..self }
    }

    /// The prior that is divided out.
    pub fn prior(&self) -> &Prior {
        &self.prior
    }

    /// The verdict on one raw answer.
    ///
    /// # Errors
    /// A sentence for the error row where a generated answer cannot be used.
    pub fn verdict(&self, raw: &Raw) -> Result<Verdict, String> {
        match (raw, &self.output) {
            (Raw::Scores { logprobs }, Output::Labels { labels }) => {
                Ok(self.label_verdict(labels, logprobs))
            }
            (Raw::Text { .. }, Output::Labels { .. }) => {
                Err("labels were asked for, text was generated".to_owned())
            }
            (Raw::Scores { .. }, _) => Err("text was asked for, labels were scored".to_owned()),
            (Raw::Text { .. }, _) => self.open_verdict(&raw.samples()),
        }
    }

    fn label_verdict(&self, labels: &[Label], logprobs: &[f32]) -> Verdict {
        let probabilities = self.prior.divide_out(logprobs);
        ranked(labels, probabilities, self.prior.calibration)
    }

    fn open_verdict(&self, samples: &[Sample]) -> Result<Verdict, String> {
        let told = |error: EngineError| format!("the samples cannot be compared: {error}");
        let counted = self.agreement.count(samples).map_err(told)?;
        // Whether to go on was decided before the turn that says what is wrong.
        let votes = samples.iter().take_while(|sample| !sample.repair).count();
        let before = self.agreement.count(&samples[..votes]).map_err(told)?;
        let stopped = self.plan.decide(&before.ballot).unwrap_or(Stopped::Limit);
        let (answer, confidence, vote) = counted.verdict(samples, stopped)?;
        let (confidence, calibration) = match &self.calibrator {
            Some(calibrator) => (calibrator.apply(confidence), Calibration::Fitted),
            None => (confidence, self.prior.calibration),
        };
        Ok(Verdict {
            answer,
            confidence,
            distribution: Vec::new(),
            calibration,
            vote: (self.plan.samples > 1 || samples.len() > 1).then_some(vote),
            learnt: None,
        })
    }
}

/// How sure an open answer is: the geometric mean of its tokens' probabilities,
/// `min(exp(mean log p), 0.95)`; 0 for an answer without tokens.
pub fn open_confidence(mean_logprob: f32, tokens: usize) -> f32 {
    if tokens == 0 || !mean_logprob.is_finite() {
        return 0.0;
    }
    mean_logprob.exp().min(OPEN_CONFIDENCE_LIMIT)
}

/// Mean of the tokens' log-probabilities; 0 where there are none.
pub(crate) fn mean_logprob(logprobs: &[f32]) -> f32 {
    if logprobs.is_empty() {
        return 0.0;
    }
    let sum: f64 = logprobs.iter().map(|&p| f64::from(p)).sum();
    (sum / logprobs.len() as f64) as f32
}

/// The answer without the blanks around it, where it is whole.
fn usable_text(output: &Output, text: &str, finish: FinishReason) -> Result<String, String> {
    match output {
        Output::Json { max_tokens, .. } => {
            let text = text.trim();
            match (serde_json::from_str::<serde_json::Value>(text), finish) {
                (Ok(_), _) => Ok(text.to_owned()),
                (Err(_), FinishReason::Length) => Err(format!(
                    "the JSON was not complete after {max_tokens} tokens, the task's limit"
                )),
                (Err(error), _) => Err(format!("the answer is not JSON: {error}")),
            }
        }
        // Blanks at the start of code are indentation.
        Output::Code { .. } => Ok(text.trim_end().to_owned()),
        Output::Text { .. } | Output::Labels { .. } => Ok(text.trim().to_owned()),
    }
}

/// The verdict that labels' probabilities make, the most likely label first.
pub(crate) fn ranked(
    labels: &[Label],
    probabilities: impl IntoIterator<Item = f32>,
    calibration: Calibration,
) -> Verdict {
    let names = labels.iter().map(|label| label.name.clone());
    let mut distribution: Vec<(String, f32)> = names.zip(probabilities).collect();
    // Stable, so that equal probabilities keep the task's order.
    distribution.sort_by(|a, b| b.1.total_cmp(&a.1));
    let (answer, confidence) = distribution.first().cloned().unwrap_or_default();
    Verdict {
        answer,
        confidence,
        distribution,
        calibration,
        vote: None,
        learnt: None,
    }
}
