//! From what a model said to an answer with an honest confidence: label bias is divided out by a
//! prior that needs no labelled record, and open answers are as sure as their tokens were.

mod prior;
#[cfg(test)]
mod tests;

use autoglm_spec::{FinishReason, Label, Output, Verdict};

pub use prior::{BATCH_FULL_RECORDS, BATCH_RECORDS, Prior};

use crate::row::Raw;

/// The most confidence that an open answer gets: tokens that were certain can still be wrong, and
/// nothing here has seen whether they were.
pub const OPEN_CONFIDENCE_LIMIT: f32 = 0.95;

/// Judges what engines say in one task.
#[derive(Debug, Clone)]
pub struct Judge {
    output: Output,
    prior: Prior,
}

impl Judge {
    /// A judge that divides `prior` out of the labels' probabilities.
    pub fn new(output: &Output, prior: Prior) -> Self {
        Self {
            output: output.clone(),
            prior,
        }
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
            (
                Raw::Text {
                    text,
                    mean_logprob,
                    tokens,
                    finish,
                },
                output,
            ) => {
                let answer = usable_text(output, text, *finish)?;
                Ok(self.open_verdict(answer, *mean_logprob, *tokens))
            }
        }
    }

    fn label_verdict(&self, labels: &[Label], logprobs: &[f32]) -> Verdict {
        let probabilities = self.prior.divide_out(logprobs);
        let names = labels.iter().map(|label| label.name.clone());
        let mut distribution: Vec<(String, f32)> = names.zip(probabilities).collect();
        // Stable, so that equal probabilities keep the task's order.
        distribution.sort_by(|a, b| b.1.total_cmp(&a.1));
        let (answer, confidence) = distribution.first().cloned().unwrap_or_default();
        Verdict {
            answer,
            confidence,
            distribution,
            calibration: self.prior.calibration,
            learnt: None,
        }
    }

    fn open_verdict(&self, answer: String, mean_logprob: f32, tokens: usize) -> Verdict {
        Verdict {
            answer,
            confidence: open_confidence(mean_logprob, tokens),
            distribution: Vec::new(),
            calibration: self.prior.calibration,
            learnt: None,
        }
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
