//! Records asked and judged by the strategies that a route sends them to.

use std::sync::Arc;

use autoglm_spec::{
    Calibration, Cancel, EngineError, Label, Output, Record, TaskSpec, Usage, Verdict,
};

use super::ask::{Answer, Asked, Asker};
use super::taught::Question;
use super::{Engine, RunSettings};
use crate::TaskError;
use crate::compose::{ComposeError, Composed};
use crate::judge::ranked;
use crate::learn::{Branches, Gate};
use crate::row::Raw;
use crate::strategy::{Branch, Route, RouteTaken};

/// Asks the branches of a route for the records that go to them.
pub(super) struct RoutedAsker<'a> {
    route: Arc<Route>,
    gate: Gate,
    /// One a branch.
    askers: Vec<Asker<'a>>,
    labels: Vec<Label>,
}

/// A record's answer, the verdict on it, and the way that it took.
pub(super) struct Routed {
    pub(super) answer: Answer,
    pub(super) verdict: Option<Verdict>,
    pub(super) taken: RouteTaken,
}

/// What the branches said of one record: the labels' log-probabilities by each that was asked.
struct Said {
    scores: Vec<Vec<f32>>,
    usage: Usage,
}

impl<'a> RoutedAsker<'a> {
    /// An asker for a task as it is written.
    ///
    /// # Errors
    /// When the task has no labels, or no prompt for a branch.
    pub(super) fn new(
        spec: &TaskSpec,
        engine: &'a dyn Engine,
        settings: &RunSettings,
        route: Arc<Route>,
    ) -> Result<Self, TaskError> {
        let Output::Labels { labels } = &spec.output else {
            return Err(TaskError::NoLabels {
                operation: "a route",
                task: spec.name.clone(),
            });
        };
        let asker = |branch: &Branch| {
            let (spec, settings) = branch.strategy.apply(spec, settings);
            Asker::of(&spec, engine, &settings)
        };
        Ok(Self {
            askers: route.branches.iter().map(asker).collect::<Result<_, _>>()?,
            gate: Gate::of(&route, &spec.fields),
            labels: labels.clone(),
            route,
        })
    }

    /// A record's prompts: those of each branch that it goes to, the likeliest branch first.
    pub(super) fn prompts(&self, record: &Record) -> Result<Vec<Composed>, ComposeError> {
        let weights = self.gate.branches(record).weights();
        let mut prompts = Vec::new();
        for branch in asked(&weights) {
            prompts.extend(self.askers[branch].prompts_behind(&[], record)?);
        }
        Ok(prompts)
    }

    /// Asks for records, one branch after the other, so that the prompts of a call share their
    /// long beginning.
    pub(super) fn ask(
        &self,
        questions: &[Question<'_>],
        cancel: &Cancel,
    ) -> Result<Vec<Routed>, TaskError> {
        let ways = questions.iter().map(|q| self.gate.branches(q.record));
        let ways: Vec<(Branches, Vec<f32>)> =
            ways.map(|way| (way.clone(), way.weights())).collect();
        let mut all: Vec<Result<Said, EngineError>> =
            questions.iter().map(|_| Ok(self.nothing())).collect();
        for (branch, asker) in self.askers.iter().enumerate() {
            let goes = |place: &usize| ways[*place].1[branch] > 0.0;
            let places: Vec<usize> = (0..questions.len()).filter(goes).collect();
            let asked = places.iter().map(|&place| Asked {
                index: place as u64,
                prompts: self.part(questions[place].prompts, &ways[place].1, branch),
            });
            let answers = asker.ask(&asked.collect::<Vec<_>>(), cancel)?;
            for (place, answer) in places.into_iter().zip(answers) {
                note(&mut all[place], branch, answer);
            }
        }
        let told = all.into_iter().zip(&ways);
        Ok(told.map(|(said, way)| self.judged(said, way)).collect())
    }

    fn nothing(&self) -> Said {
        Said {
            scores: vec![Vec::new(); self.askers.len()],
            usage: Usage::default(),
        }
    }

    /// Of a record's prompts those of one branch.
    fn part<'p>(&self, prompts: &'p [Composed], weights: &[f32], branch: usize) -> &'p [Composed] {
        let before = asked(weights).into_iter().take_while(|b| *b != branch);
        let first: usize = before.map(|b| self.askers[b].orders()).sum();
        &prompts[first..first + self.askers[branch].orders()]
    }

    fn judged(
        &self,
        said: Result<Said, EngineError>,
        (way, weights): &(Branches, Vec<f32>),
    ) -> Routed {
        let taken = self.route.taken(way);
        let Said { scores, usage } = match said {
            Ok(said) => said,
            Err(error) => {
                return Routed {
                    answer: Err(error),
                    verdict: None,
                    taken,
                };
            }
        };
        let (logprobs, probabilities) = self.route.mix(weights, &scores);
        Routed {
            answer: Ok((Raw::Scores { logprobs }, usage)),
            verdict: Some(ranked(&self.labels, probabilities, Calibration::Fitted)),
            taken,
        }
    }
}

/// The branches that a record goes to, the likeliest first.
fn asked(weights: &[f32]) -> Vec<usize> {
    let mut branches: Vec<usize> = (0..weights.len()).filter(|b| weights[*b] > 0.0).collect();
    // Stable, so that equal ones keep the route's order.
    branches.sort_by(|a, b| weights[*b].total_cmp(&weights[*a]));
    branches
}

/// Takes in what a branch said, or the first error of a record.
fn note(said: &mut Result<Said, EngineError>, branch: usize, answer: Answer) {
    match (said.as_mut(), answer) {
        (Ok(said), Ok((Raw::Scores { logprobs }, usage))) => {
            said.scores[branch] = logprobs;
            said.usage += usage;
        }
        (Ok(_), Ok((Raw::Text { .. }, _))) => unreachable!("labels are scored"),
        (Ok(_), Err(error)) => *said = Err(error),
        (Err(_), _) => {}
    }
}
