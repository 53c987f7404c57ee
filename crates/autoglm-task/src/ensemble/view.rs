//! The ways in which an ensemble looks at a record, each giving an opinion on its label.

use serde::{Deserialize, Serialize};

use super::anchors::Anchors;
use super::discriminant::Discriminant;
use super::panel::{Evidence, PromptEvidence};
use super::pool::Opinions;
use crate::numeric::log_softmax;

/// Probabilities are kept this far from 0, so that no single row decides on a lean.
const PROBABILITY_MARGIN: f64 = 1e-4;

/// A way to look at a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum View {
    /// The labels' scores behind the prompts, without the model's lean.
    Scores,
    /// Probes on the model's hidden states behind the prompts, one a depth.
    States,
    /// A probe on the record's own vector.
    Vectors,
    /// The labelled rows whose scores are spread most like the record's. It takes part where it earns
    /// that.
    Anchors,
}

/// The views of an ensemble.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Views {
    /// One a prompt: what is taken off before its evidence is used.
    pub(super) centres: Vec<Centre>,
    pub(super) has_scores: bool,
    /// One a depth.
    pub(super) states: Vec<Discriminant>,
    pub(super) vectors: Option<Discriminant>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) anchors: Option<Anchors>,
}

/// What the evidence behind one prompt has in common, whatever the record.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Centre {
    /// The labels' log-probabilities.
    lean: Vec<f64>,
    /// The mean hidden state at each depth.
    states: Vec<Vec<f32>>,
}

impl Centre {
    /// The mean over rows, each label counting the same.
    ///
    /// # Source
    /// For the lean: Zhou et al. 2023, Batch Calibration, equation 5, over labelled rows.
    pub(super) fn of(rows: &[(&PromptEvidence, usize)]) -> Self {
        let probabilities = rows.iter().map(|(evidence, label)| {
            let wide: Vec<f64> = evidence.logprobs.iter().map(|&p| f64::from(p)).collect();
            let within = |log: f64| log.exp().max(PROBABILITY_MARGIN);
            (log_softmax(&wide).into_iter().map(within).collect(), *label)
        });
        let lean = balanced_mean(probabilities.collect());
        let depths = depths(rows.iter().map(|(evidence, _)| *evidence));
        let mean_state = |depth: usize| {
            let states = rows.iter().map(|(evidence, label)| {
                let state = evidence.states[depth].iter();
                (state.map(|&x| f64::from(x)).collect(), *label)
            });
            let mean = balanced_mean(states.collect());
            mean.into_iter().map(|x| x as f32).collect()
        };
        Self {
            lean: lean.into_iter().map(f64::ln).collect(),
            states: (0..depths).map(mean_state).collect(),
        }
    }

    /// The scores without the lean.
    pub(super) fn scores(&self, evidence: &PromptEvidence) -> Vec<f64> {
        let logs = evidence.logprobs.iter().zip(&self.lean);
        let off: Vec<f64> = logs.map(|(&p, lean)| f64::from(p) - lean).collect();
        log_softmax(&off)
    }

    /// The hidden state at a depth as it differs from the mean.
    ///
    /// # Panics
    /// When there is none.
    pub(super) fn state(&self, evidence: &PromptEvidence, depth: usize) -> Vec<f32> {
        let state = evidence.states.get(depth);
        let state = state.expect("an ensemble with states is asked with an engine that has them");
        let mean = &self.states[depth];
        state.iter().zip(mean).map(|(x, m)| x - m).collect()
    }
}

/// The depths at which all evidence has a hidden state.
pub(super) fn depths<'a>(evidence: impl IntoIterator<Item = &'a PromptEvidence>) -> usize {
    let depths = evidence.into_iter().map(|evidence| evidence.states.len());
    depths.min().unwrap_or(0)
}

/// The mean of the labels' means.
fn balanced_mean(rows: Vec<(Vec<f64>, usize)>) -> Vec<f64> {
    let Some(width) = rows.first().map(|(row, _)| row.len()) else {
        return Vec::new();
    };
    let labels = rows.iter().map(|(_, label)| label + 1).max().unwrap_or(0);
    let mut counts = vec![0usize; labels];
    for (_, label) in &rows {
        counts[*label] += 1;
    }
    let seen = counts.iter().filter(|&&count| count > 0).count();
    let mut mean = vec![0.0; width];
    for (row, label) in rows {
        let share = 1.0 / (seen * counts[label]) as f64;
        for (mean, x) in mean.iter_mut().zip(row) {
            *mean += share * x;
        }
    }
    mean
}

impl Views {
    pub(super) fn uses_vectors(&self) -> bool {
        self.vectors.is_some()
    }

    /// The views that take part, in the order of their opinions.
    pub(super) fn list(&self) -> Vec<View> {
        let scores = self.has_scores.then_some(View::Scores);
        let states = self.states.iter().map(|_| View::States);
        let vectors = self.vectors.as_ref().map(|_| View::Vectors);
        let anchors = self.anchors.as_ref().map(|_| View::Anchors);
        let probes = scores.into_iter().chain(states);
        probes.chain(vectors).chain(anchors).collect()
    }

    /// One opinion a view: the mean over the prompts, where it looks at what stands behind them.
    ///
    /// # Panics
    /// When the evidence lacks what the views were fitted to.
    pub(super) fn opinions(&self, evidence: &Evidence) -> Opinions {
        let behind = || self.centres.iter().zip(&evidence.prompts);
        let mut opinions = Vec::new();
        if self.has_scores {
            opinions.push(mean(
                &behind().map(|(centre, e)| centre.scores(e)).collect(),
            ));
        }
        for (depth, probe) in self.states.iter().enumerate() {
            let of_prompt = |(centre, e): (&Centre, &PromptEvidence)| {
                probe.log_probabilities(&centre.state(e, depth))
            };
            opinions.push(mean(&behind().map(of_prompt).collect()));
        }
        if let Some(probe) = &self.vectors {
            let vector = evidence.vector.as_ref();
            let vector = vector.expect("an ensemble with vectors is asked with an embedder");
            opinions.push(probe.log_probabilities(vector));
        }
        if let Some(anchors) = &self.anchors {
            let of_prompt = |(set, (centre, e)): (usize, (&Centre, &PromptEvidence))| {
                anchors.opinion(set, centre, e)
            };
            opinions.push(mean(&behind().enumerate().map(of_prompt).collect()));
        }
        opinions
    }
}

/// The mean of log-probabilities, made to add up to 1 again.
fn mean(opinions: &Opinions) -> Vec<f64> {
    let mut sum = vec![0.0; opinions.first().map_or(0, Vec::len)];
    for opinion in opinions {
        for (sum, log) in sum.iter_mut().zip(opinion) {
            *sum += log / opinions.len() as f64;
        }
    }
    log_softmax(&sum)
}
