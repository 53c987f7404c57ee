//! The learner beside its formulas in plain `f64`, and what feedback does to verdicts.

use std::collections::{BTreeMap, HashMap};

use autoglm_spec::{Calibration, Verdict};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::scripted::{record, review_task};
use crate::store::{Feedback, Judgement};

/// Ad Click Prediction, KDD 2013, algorithm 1, one map entry a coordinate, the sums as the paper has them.
struct Naive {
    shape: Shape,
    /// `(z, n)` by kind, row and output.
    state: HashMap<(char, usize, usize), (f64, f64)>,
}

impl Naive {
    fn weight(&self, key: (char, usize, usize), rates: &Rates) -> f64 {
        let (z, n) = self.state.get(&key).copied().unwrap_or_default();
        if z.abs() <= f64::from(rates.l1) {
            return 0.0;
        }
        let pace = (f64::from(rates.beta) + n.sqrt()) / f64::from(rates.alpha);
        -(z - z.signum() * f64::from(rates.l1)) / (pace + f64::from(rates.l2))
    }

    /// Inputs as `(kind, row, value)`; the outputs of two labels are one.
    fn inputs(&self, seen: &Observation<'_>) -> Vec<(char, usize, f64, Rates)> {
        let value = 1.0 / (seen.buckets.len().max(1) as f64).sqrt();
        let words = seen.buckets.iter();
        let mut all: Vec<_> = words
            .map(|&bucket| ('w', bucket as usize, value, self.shape.words))
            .collect();
        all.push(('b', 0, 1.0, self.shape.words));
        let numbers = seen.dense.iter().enumerate();
        all.extend(numbers.map(|(at, x)| ('n', at, f64::from(*x), self.shape.numbers)));
        all
    }

    fn outputs(&self) -> usize {
        if self.shape.labels == 2 {
            1
        } else {
            self.shape.labels
        }
    }

    fn fit(&mut self, seen: &Observation<'_>, right: usize) -> Vec<f64> {
        let mut scores = vec![0.0; self.shape.labels];
        for (kind, row, value, rates) in self.inputs(seen) {
            for (output, score) in scores.iter_mut().enumerate().take(self.outputs()) {
                *score += value * self.weight((kind, row, output), &rates);
            }
        }
        for (at, opinion) in seen.opinions.iter().enumerate() {
            let start = if at == 0 { 1.0 } else { 0.0 };
            let belief = start + self.weight(('o', at, 0), &self.shape.belief);
            for (score, o) in scores.iter_mut().zip(*opinion) {
                *score += belief * f64::from(*o);
            }
        }
        let sum: f64 = scores.iter().map(|s| s.exp()).sum();
        let probabilities: Vec<f64> = scores.iter().map(|s| s.exp() / sum).collect();
        let gradient = |label: usize| probabilities[label] - f64::from(u8::from(label == right));
        for (kind, row, value, rates) in self.inputs(seen) {
            for output in 0..self.outputs() {
                self.step((kind, row, output), gradient(output) * value, &rates);
            }
        }
        for (at, opinion) in seen.opinions.iter().enumerate() {
            let sum = (0..self.shape.labels).map(|l| gradient(l) * f64::from(opinion[l]));
            let (sum, rates) = (sum.sum(), self.shape.belief);
            self.step(('o', at, 0), sum, &rates);
        }
        probabilities
    }

    fn step(&mut self, key: (char, usize, usize), g: f64, rates: &Rates) {
        let weight = self.weight(key, rates);
        let (z, n) = self.state.entry(key).or_default();
        let sigma = ((*n + g * g).sqrt() - n.sqrt()) / f64::from(rates.alpha);
        *z += g - sigma * weight;
        *n += g * g;
    }
}

fn rates() -> impl Strategy<Value = Rates> {
    (0.05f32..1.0, 0.05f32..1.0, 0.0f32..0.05, 0.0f32..0.5).prop_map(|(alpha, beta, l1, l2)| {
        Rates {
            alpha,
            beta,
            l1,
            l2,
        }
    })
}

/// Buckets, vector, two opinions, label.
type Row = (Vec<u32>, Vec<f32>, Vec<Vec<f32>>, usize);

fn row(labels: usize) -> impl Strategy<Value = Row> {
    (
        prop::collection::vec(0u32..16, 0..8),
        prop::collection::vec(-1.0f32..1.0, 3),
        prop::collection::vec(prop::collection::vec(-3.0f32..0.0, labels), 2),
        0..labels,
    )
}

fn rows() -> impl Strategy<Value = (usize, Vec<Row>)> {
    (2usize..5).prop_flat_map(|labels| (Just(labels), prop::collection::vec(row(labels), 1..40)))
}

proptest! {
    #[test]
    fn the_learner_is_the_plain_formula((labels, rows) in rows(), words in rates(), belief in rates()) {
        let shape = Shape {
            labels,
            buckets: 16,
            dense: 3,
            opinions: 2,
            words,
            numbers: words,
            belief,
        };
        let mut learner = Learner::new(shape);
        let mut naive = Naive { shape, state: HashMap::new() };
        for (buckets, dense, opinions, label) in &rows {
            let opinions: Vec<&[f32]> = opinions.iter().map(Vec::as_slice).collect();
            let seen = Observation { buckets, dense, opinions: &opinions };
            let before = learner.predict(&seen);
            let told = learner.fit_partial(&seen, Lesson::Is(*label));
            let wanted = naive.fit(&seen, *label);
            for ((a, b), wanted) in before.iter().zip(&told).zip(wanted) {
                prop_assert!((a - b).abs() < 1e-5);
                prop_assert!((f64::from(*a) - wanted).abs() < 2e-3, "{a} for {wanted}");
            }
        }
    }
}

#[test]
fn without_feedback_the_model_has_its_say_unchanged() {
    let shape = Shape::beside_a_model(3, 64, 0);
    let opinion = [0.5f32.ln(), 0.3f32.ln(), 0.2f32.ln()];
    let seen = Observation {
        buckets: &[1, 2, 3],
        dense: &[],
        opinions: &[&opinion],
    };
    let probabilities = Learner::new(shape).predict(&seen);
    for (found, wanted) in probabilities.iter().zip([0.5, 0.3, 0.2]) {
        assert!((found - wanted).abs() < 1e-6, "{probabilities:?}");
    }
}

#[test]
fn what_is_said_to_be_wrong_becomes_less_likely_and_the_rest_keep_their_order() {
    let mut learner = Learner::new(Shape::beside_a_model(3, 64, 0));
    let opinion = [0.5f32.ln(), 0.3f32.ln(), 0.2f32.ln()];
    let seen = Observation {
        buckets: &[1, 2, 3],
        dense: &[],
        opinions: &[&opinion],
    };
    let before = learner.fit_partial(&seen, Lesson::IsNot(0));
    let after = learner.predict(&seen);
    assert!(after[0] < before[0] && after[1] > before[1] && after[2] > before[2]);
    assert!(after[1] > after[2]);
}

#[test]
fn words_of_any_script_are_cut_as_they_should_be() {
    let count = |text: &str| {
        let mut buckets = Vec::new();
        Featurizer::new(20, 1).text(0, text, &mut buckets);
        buckets
    };
    // Two words and one pair.
    assert_eq!(count("Good service").len(), 3);
    assert_eq!(count("good  SERVICE"), count("Good service"));
    assert_eq!(count("ÄRGER"), count("ärger"));
    // Four characters, three pairs, two triples.
    assert_eq!(count("质量很好").len(), 9);
    // No triple reaches over a mark: 4 characters, 1 mark, 4 pairs.
    assert_eq!(count("很好，推荐").len(), 9);
    assert!(count(" \n").is_empty());
    let mut other = Vec::new();
    Featurizer::new(20, 1).text(1, "good", &mut other);
    assert_ne!(other, count("good"));
}

/// A row of feedback on the text of the review task.
fn said(id: i64, batch: i64, text: &str, judgement: Judgement) -> Feedback {
    Feedback {
        id,
        batch,
        at_ms: 0,
        run: None,
        index: None,
        input: record(&json!({"text": text})),
        opinion: Some(vec![
            ("positive".to_owned(), 0.6),
            ("negative".to_owned(), 0.4),
        ]),
        given: Some("positive".to_owned()),
        judgement,
        note: None,
        pinned: false,
        withdrawn_ms: None,
    }
}

fn correct(label: &str) -> Judgement {
    Judgement::Correct(label.to_owned())
}

/// Reviews that say what they are in one word.
fn honest(rows: i64) -> Vec<Feedback> {
    let row = |id: i64| {
        let (word, label) = if id % 2 == 0 {
            ("splendid", "positive")
        } else {
            ("dreadful", "negative")
        };
        said(
            id,
            (id - 1) / 20 + 1,
            &format!("{word} number {id}"),
            correct(label),
        )
    };
    (1..=rows).map(row).collect()
}

fn learn(feedback: &[Feedback]) -> (Corrector, FeedbackReport) {
    let learnt = Corrector::learn(&review_task(), feedback, &BTreeMap::new());
    learnt.unwrap().expect("there is feedback")
}

fn verdict() -> Verdict {
    Verdict {
        answer: "positive".to_owned(),
        confidence: 0.6,
        distribution: vec![("positive".to_owned(), 0.6), ("negative".to_owned(), 0.4)],
        calibration: Calibration::Batch,
        vote: None,
        learnt: None,
    }
}

#[test]
fn corrections_change_answers_to_like_records_and_say_so() {
    let feedback = honest(40);
    let (corrector, report) = learn(&feedback);
    let verdict = corrector.correct(&record(&json!({"text": "dreadful"})), None, verdict());
    assert_eq!(verdict.answer, "negative");
    let learnt = verdict.learnt.unwrap();
    assert_eq!(learnt.before, [0.4, 0.6]);
    assert_eq!((learnt.version.last, learnt.version.rows), (40, 40));
    assert_eq!(report.curve.len(), 4);
    let last = report.curve[3];
    assert_eq!((last.rows, last.right, last.right_before), (10, 10, 5));
    assert!(report.suspicious.is_empty() && report.drift.is_empty());
}

#[test]
fn withdrawn_rows_leave_no_trace() {
    let mut feedback = honest(30);
    let (clean, _) = learn(&feedback);
    for id in 31..=50 {
        let mut row = said(id, 9, "dreadful", correct("positive"));
        row.withdrawn_ms = Some(1);
        feedback.push(row);
    }
    let (rolled_back, report) = learn(&feedback);
    assert_eq!(report.withdrawn, 20);
    for text in ["dreadful", "splendid", "something else"] {
        let of = |corrector: &Corrector| {
            corrector.correct(&record(&json!({"text": text})), None, verdict())
        };
        assert_eq!(of(&rolled_back), of(&clean));
    }
}

#[test]
fn a_batch_of_wrong_feedback_is_noticed() {
    let mut feedback = honest(100);
    assert!(learn(&feedback).1.suspicious.is_empty());
    for id in 101..=120 {
        let swapped = if id % 2 == 0 { "negative" } else { "positive" };
        let word = if id % 2 == 0 { "splendid" } else { "dreadful" };
        feedback.push(said(
            id,
            77,
            &format!("{word} thing {id}"),
            correct(swapped),
        ));
    }
    let (_, report) = learn(&feedback);
    let [batch] = report.suspicious[..] else {
        panic!("one batch is wrong: {:?}", report.suspicious);
    };
    assert_eq!((batch.batch, batch.rows, batch.disagreed), (77, 20, 20));
    assert!(report.to_string().contains("withdraw --batch 77"));
}

#[test]
fn answers_that_become_worse_are_drift() {
    let mut feedback = honest(200);
    for id in 201..=300 {
        // One at a time, so that no batch can be suspicious.
        let label = if id % 2 == 0 { "positive" } else { "negative" };
        feedback.push(said(
            id,
            id,
            &format!("unheard {} of {}", id * 7, id * 11),
            correct(label),
        ));
    }
    let (_, report) = learn(&feedback);
    assert!(report.suspicious.is_empty());
    let drift = report
        .drift
        .first()
        .expect("half of the answers are wrong since 201");
    assert!(drift.before > 0.9 && drift.after < 0.8, "{drift:?}");
}

#[test]
fn pinned_records_are_right_whatever_comes_later() {
    let mut feedback = honest(20);
    feedback[0].pinned = true;
    for id in 21..=60 {
        feedback.push(said(id, 5, "dreadful number", correct("positive")));
    }
    let (corrector, report) = learn(&feedback);
    assert_eq!((report.pinned, report.pinned_wrong.len()), (1, 0));
    let pinned = corrector.correct(&feedback[0].input, None, verdict());
    assert_eq!(pinned.answer, "negative");
}

#[test]
fn pinned_records_that_contradict_each_other_are_told() {
    let mut feedback = honest(10);
    for (id, label) in [(11, "positive"), (12, "negative")] {
        feedback.push(Feedback {
            pinned: true,
            ..said(id, 3, "the same words", correct(label))
        });
    }
    let (corrector, report) = learn(&feedback);
    let [wrong] = &report.pinned_wrong[..] else {
        panic!("one of both must be wrong: {report:?}");
    };
    assert_eq!((wrong.id, wrong.wanted.as_str()), (12, "negative"));
    // What the model alone has right is not given up.
    let kept = corrector.correct(&feedback[10].input, None, verdict());
    assert_eq!(kept.answer, "positive");
}

#[test]
fn vectors_take_part_where_there_are_some() {
    let feedback: Vec<Feedback> = (1..=40)
        .map(|id| {
            let label = if id % 2 == 0 { "positive" } else { "negative" };
            said(id, 1, &format!("review {}", id * 13), correct(label))
        })
        .collect();
    let vector = |id: i64| vec![(id % 2) as f32, 0.3, (id % 5) as f32 / 50.0];
    let vectors = feedback
        .iter()
        .map(|row| (row.id, vector(row.id)))
        .collect();
    let learnt = Corrector::learn(&review_task(), &feedback, &vectors);
    let (corrector, _) = learnt.unwrap().expect("there is feedback");
    assert!(corrector.uses_vectors());
    let input = record(&json!({"text": "another one"}));
    let answer = |id| {
        corrector
            .correct(&input, Some(&vector(id)), verdict())
            .answer
    };
    assert_eq!(
        (answer(101).as_str(), answer(102).as_str()),
        ("negative", "positive")
    );
}

#[test]
fn a_task_without_labels_cannot_be_corrected() {
    let mut spec = review_task();
    spec.output = autoglm_spec::Output::Text { max_tokens: 9 };
    let error = Corrector::learn(&spec, &honest(3), &BTreeMap::new()).unwrap_err();
    assert!(error.to_string().contains("needs a task with labels"));
}
