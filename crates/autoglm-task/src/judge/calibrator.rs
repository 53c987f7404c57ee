//! From how sure an answer claims to be to how often such answers are right, fitted on answers
//! whose rightness is known.

use serde::{Deserialize, Serialize};

/// Confidences are kept this far from 0 and 1 before their log-odds are taken.
const MARGIN: f64 = 1e-6;
/// Newton steps of a fit; it settles within ten.
const NEWTON_STEPS: usize = 100;

/// Corrects confidences. A plain value, which does not know where confidences come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Calibrator {
    /// A rising staircase with straight lines between its steps.
    Isotonic {
        /// Confidences, rising.
        from: Vec<f64>,
        /// The share of right answers at each.
        to: Vec<f64>,
    },
    /// `σ(slope · logit(confidence) + offset)`.
    Logistic {
        /// What log-odds are multiplied by.
        slope: f64,
        /// What is added to them.
        offset: f64,
    },
}

impl Calibrator {
    /// The best staircase: least squares among all functions that never fall. It needs many
    /// answers, some hundreds, and makes no assumption but that higher is better.
    ///
    /// # Source
    /// Zadrozny and Elkan 2002, Transforming Classifier Scores into Accurate Multiclass
    /// Probability Estimates, section 3.2; pool adjacent violators, Ayer et al. 1955.
    pub fn isotonic(answers: &[(f32, bool)]) -> Option<Self> {
        let mut sorted: Vec<(f64, f64)> = answers.iter().copied().map(numeric).collect();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut steps: Vec<Step> = Vec::new();
        for (confidence, right) in sorted {
            match steps.last_mut() {
                Some(last) if last.from == confidence => last.add(right),
                _ => steps.push(Step::new(confidence, right)),
            }
        }
        let steps = pooled(steps);
        let from = steps.iter().flat_map(|step| [step.from, step.until]);
        let to = steps.iter().flat_map(|step| [step.mean(); 2]);
        let mut corners: Vec<(f64, f64)> = from.zip(to).collect();
        corners.dedup();
        let (from, to) = corners.into_iter().unzip();
        (!steps.is_empty()).then_some(Self::Isotonic { from, to })
    }

    /// Slope and offset that make the answers most likely, drawn towards no change by a
    /// pseudo-answer of each kind.
    ///
    /// # Source
    /// Platt 1999, Probabilistic Outputs for Support Vector Machines, section 2.2, with its targets
    /// `(n₊ + 1)/(n₊ + 2)` and `1/(n₋ + 2)`.
    pub fn platt(answers: &[(f32, bool)]) -> Option<Self> {
        let fit = Fit::new(answers)?;
        Some(fit.newton())
    }

    /// What suits so many answers: nothing below 20, a slope and an offset below 300, the staircase
    /// from there on.
    pub fn fit(answers: &[(f32, bool)]) -> Option<Self> {
        Self::fit_as_for(answers.len(), answers)
    }

    /// As [`Calibrator::fit`], of the kind that suits `count` answers, for which these stand: what is
    /// tested on parts of them must be what is kept.
    pub fn fit_as_for(count: usize, answers: &[(f32, bool)]) -> Option<Self> {
        match answers.len() {
            0..FEW_ANSWERS => None,
            _ if count < MANY_ANSWERS => Self::platt(answers),
            _ => Self::isotonic(answers),
        }
    }

    /// The corrected confidence.
    pub fn apply(&self, confidence: f32) -> f32 {
        let corrected = match self {
            Self::Isotonic { from, to } => interpolated(from, to, f64::from(confidence)),
            Self::Logistic { slope, offset } => {
                sigmoid(slope * log_odds(f64::from(confidence)) + offset)
            }
        };
        corrected.clamp(0.0, 1.0) as f32
    }
}

/// Fewer answers say less of a model's confidence than nothing: with 20 the standard error of a
/// share is up to 0.11.
const FEW_ANSWERS: usize = 20;
/// A staircase has some ten free steps; each should rest on thirty answers.
const MANY_ANSWERS: usize = 300;

fn numeric((confidence, right): (f32, bool)) -> (f64, f64) {
    (f64::from(confidence), f64::from(u8::from(right)))
}

fn log_odds(p: f64) -> f64 {
    let p = p.clamp(MARGIN, 1.0 - MARGIN);
    (p / (1.0 - p)).ln()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Confidences that share a value.
#[derive(Debug, Clone, Copy)]
struct Step {
    from: f64,
    until: f64,
    sum: f64,
    weight: f64,
}

impl Step {
    fn new(at: f64, right: f64) -> Self {
        Self {
            from: at,
            until: at,
            sum: right,
            weight: 1.0,
        }
    }

    fn add(&mut self, right: f64) {
        self.sum += right;
        self.weight += 1.0;
    }

    fn mean(&self) -> f64 {
        self.sum / self.weight
    }
}

/// Steps that never fall: each that lies below the one before is pooled with it.
fn pooled(steps: Vec<Step>) -> Vec<Step> {
    let mut done: Vec<Step> = Vec::new();
    for mut step in steps {
        while let Some(last) = done.pop_if(|last| last.mean() >= step.mean()) {
            step = Step {
                from: last.from,
                until: step.until,
                sum: last.sum + step.sum,
                weight: last.weight + step.weight,
            };
        }
        done.push(step);
    }
    done
}

/// The value at `x` on the line through the corners; beyond them the outermost.
fn interpolated(from: &[f64], to: &[f64], x: f64) -> f64 {
    let above = from.partition_point(|&corner| corner < x);
    let (Some(&first), Some(&last)) = (to.first(), to.last()) else {
        return x;
    };
    if above == 0 {
        return first;
    }
    if above == from.len() {
        return last;
    }
    let (left, right) = (from[above - 1], from[above]);
    let share = (x - left) / (right - left);
    to[above - 1] + share * (to[above] - to[above - 1])
}

/// A logistic fit.
struct Fit {
    /// Log-odds and targets.
    points: Vec<(f64, f64)>,
}

impl Fit {
    fn new(answers: &[(f32, bool)]) -> Option<Self> {
        let right = answers.iter().filter(|(_, right)| *right).count();
        let wrong = answers.len() - right;
        let target = |right_one: bool| {
            if right_one {
                (right as f64 + 1.0) / (right as f64 + 2.0)
            } else {
                1.0 / (wrong as f64 + 2.0)
            }
        };
        let point = |(p, right): &(f32, bool)| (log_odds(f64::from(*p)), target(*right));
        (!answers.is_empty()).then(|| Self {
            points: answers.iter().map(point).collect(),
        })
    }

    /// Newton's method on the mean cross-entropy with step halving, which cannot get worse.
    fn newton(&self) -> Calibrator {
        let mut at = (1.0, 0.0);
        let mut loss = self.loss(at);
        for _ in 0..NEWTON_STEPS {
            let step = self.step(at);
            let mut scale = 1.0;
            let better = loop {
                let next = (at.0 - scale * step.0, at.1 - scale * step.1);
                let next_loss = self.loss(next);
                if next_loss < loss {
                    break Some((next, next_loss));
                }
                scale /= 2.0;
                if scale < 1e-9 {
                    break None;
                }
            };
            match better {
                Some((next, next_loss)) => (at, loss) = (next, next_loss),
                None => break,
            }
        }
        // Confidence that is higher where answers are worse says nothing of a single answer.
        Calibrator::Logistic {
            slope: at.0.clamp(0.0, SLOPE_LIMIT),
            offset: at.1,
        }
    }

    /// Mean cross-entropy, in the form that does not overflow.
    fn loss(&self, (slope, offset): (f64, f64)) -> f64 {
        let of_point = |&(x, y): &(f64, f64)| {
            let z = slope * x + offset;
            z.max(0.0) - z * y + (-z.abs()).exp().ln_1p()
        };
        self.points.iter().map(of_point).sum::<f64>() / self.points.len() as f64
    }

    /// The inverse Hessian times the gradient.
    fn step(&self, (slope, offset): (f64, f64)) -> (f64, f64) {
        let (mut gs, mut go, mut ss, mut so, mut oo) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for &(x, y) in &self.points {
            let p = sigmoid(slope * x + offset);
            let weight = p * (1.0 - p);
            gs += (p - y) * x;
            go += p - y;
            ss += weight * x * x;
            so += weight * x;
            oo += weight;
        }
        // A little on the diagonal where all confidences are equal and the slope is free.
        let (ss, oo) = (ss + 1e-9, oo + 1e-9);
        let determinant = ss * oo - so * so;
        (
            (oo * gs - so * go) / determinant,
            (ss * go - so * gs) / determinant,
        )
    }
}

/// A steeper slope than this makes every confidence 0 or 1.
const SLOPE_LIMIT: f64 = 100.0;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Deserialize)]
    struct Golden {
        answers: Vec<(f32, bool)>,
        at: Vec<f32>,
        isotonic: Vec<f32>,
        platt: Vec<f32>,
    }

    #[test]
    fn fits_are_those_of_an_independent_implementation() {
        let text = include_str!("../../fixtures/calibrators.json");
        let cases: Vec<Golden> = serde_json::from_str(text).unwrap();
        assert!(cases.len() >= 3);
        for case in cases {
            let fits = [
                (Calibrator::isotonic(&case.answers), &case.isotonic, 1e-5),
                (Calibrator::platt(&case.answers), &case.platt, 1e-4),
            ];
            for (fit, wanted, bound) in fits {
                let fit = fit.unwrap();
                for (at, wanted) in case.at.iter().zip(wanted) {
                    let got = fit.apply(*at);
                    assert!(
                        (got - wanted).abs() < bound,
                        "{fit:?} at {at}: {got}, {wanted}"
                    );
                }
            }
        }
    }

    #[test]
    fn few_answers_fit_nothing() {
        assert_eq!(Calibrator::fit(&[(0.5, true); 19]), None);
        assert!(matches!(
            Calibrator::fit(&[(0.5, true); 20]),
            Some(Calibrator::Logistic { .. })
        ));
        assert!(matches!(
            Calibrator::fit(&[(0.5, true); 300]),
            Some(Calibrator::Isotonic { .. })
        ));
        assert_eq!(Calibrator::isotonic(&[]), None);
    }

    #[test]
    fn a_stored_calibrator_reads_back() {
        for fit in [Calibrator::isotonic, Calibrator::platt] {
            let fit = fit(&[(0.2, false), (0.4, true), (0.9, true)]).unwrap();
            let text = serde_json::to_string(&fit).unwrap();
            assert_eq!(serde_json::from_str::<Calibrator>(&text).unwrap(), fit);
        }
    }

    proptest! {
        #[test]
        fn no_fit_turns_the_order_of_answers_around(
            answers in prop::collection::vec((0.0f32..=1.0, any::<bool>()), 1..60),
            a in 0.0f32..=1.0,
            b in 0.0f32..=1.0,
        ) {
            for fit in [Calibrator::isotonic, Calibrator::platt] {
                let fit = fit(&answers).unwrap();
                let (low, high) = (fit.apply(a.min(b)), fit.apply(a.max(b)));
                prop_assert!(low <= high + 1e-6 && (0.0..=1.0).contains(&low), "{fit:?}");
            }
        }

        #[test]
        fn the_staircase_is_right_on_average(
            answers in prop::collection::vec((0.0f32..=1.0, any::<bool>()), 1..60),
        ) {
            let fit = Calibrator::isotonic(&answers).unwrap();
            let given: f32 = answers.iter().map(|(p, _)| fit.apply(*p)).sum();
            let right = answers.iter().filter(|(_, right)| *right).count();
            prop_assert!((given - right as f32).abs() < 1e-3);
        }
    }
}
